//! The command line: a drop-in for the original's, and what was added to it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use vmtest_config::Target;

const AFTER_HELP: &str = "\
Exit status:
  one target       its command's own status; 128+S when signal S ended it, 124 on
                   a timeout, 70 on a kernel bug, 69 when the machine did not come up
  several targets  the number of targets that did not pass, at most 125
  78               an error in vmtest.toml or on the command line
  130, 143, 129,   stopped by SIGINT, SIGTERM, SIGHUP,
  131              SIGQUIT

Environment:
  VMTEST_NO_UI     set to anything: plain output even on a terminal
  NO_COLOR         set to anything: no colours
  VMTEST_LOG       what vmtest itself logs to standard error, such as `debug`";

const EXAMPLES: &str = "\
Examples:
  vmtest                                    every target of ./vmtest.toml
  vmtest -f 'bpf.*' -j auto --junit out.xml the targets that match, as many at once as fit
  vmtest -k ./bzImage 'uname -r'            one command under one kernel
  vmtest -k ./bzImage -                     a shell under that kernel
  vmtest --set vm.memory=8G --cold          every target, with more memory, without boot snapshots
  vmtest check                              only check ./vmtest.toml
  vmtest doctor                             what this machine has, what it lacks and how to get it

The first argument is a subcommand when it is one of those above and there is no -k:
`vmtest -k ./bzImage check` runs `check` in the guest.";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Run targets.
    Run(RunArgs),
    /// Anything else.
    Sub(Sub),
}

/// Runs commands inside virtual machines, under the kernels that vmtest.toml names.
#[derive(Debug, Parser)]
#[command(name = "vmtest", version, about, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{AFTER_HELP}"))]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    sub: Option<Sub>,
    #[command(flatten)]
    run: RunArgs,
}

/// The same without subcommands, for a first argument that is none.
#[derive(Debug, Parser)]
#[command(name = "vmtest", version, about = None)]
struct RunOnly {
    #[command(flatten)]
    run: RunArgs,
}

/// What runs and how it is reported.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// File that names the targets; `-` reads it from standard input [default: vmtest.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run only the targets whose name matches
    #[arg(short, long, value_name = "REGEX", conflicts_with = "kernel")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) one_liner: OneLiner,
    /// Targets that run at once; `auto` takes what processors and memory allow
    #[arg(short, long, value_name = "N|auto", default_value = "1")]
    pub(crate) jobs: Jobs,
    /// Longest time a command may take, such as `90s` or `5m`; for every target that runs
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Run only part K of N; the parts share no target and leave none out
    #[arg(long, value_name = "K/N", conflicts_with = "kernel")]
    pub(crate) partition: Option<Partition>,
    /// Stop everything when the first target does not pass
    #[arg(long)]
    pub(crate) fail_fast: bool,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
    /// Replace a key of vmtest.toml in every target that runs, such as `vm.num_cpus=4`
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// The same for a key that takes a string: the value is used as it is, with quotes and line breaks
    #[arg(long, value_name = "KEY=TEXT")]
    pub(crate) set_text: Vec<Setting>,
    /// What standard output gets: text, or one JSON event a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: Format,
    #[arg(long, value_name = "FILE", help = "Write a JUnit report when the run ends")]
    pub(crate) junit: Option<PathBuf>,
    /// Write each target's output and console there
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// Print the guest's console too
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// With -k: what to run in the guest; `-` for a shell
    #[arg(value_name = "COMMAND", conflicts_with = "config")]
    pub(crate) command: Vec<String>,
}

/// A target that is written on the command line.
#[derive(Debug, Default, Args)]
pub(crate) struct OneLiner {
    /// Kernel to boot, instead of the targets of a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) kernel: Option<String>,
    /// With -k: added to the kernel's command line
    #[arg(long, value_name = "ARGS", requires = "kernel", allow_hyphen_values = true)]
    pub(crate) kargs: Option<String>,
    /// With -k: QEMU's `-cpu` under KVM [default: host]
    #[arg(long, value_name = "ARGS", requires = "kernel")]
    pub(crate) kvm_cpu_args: Option<String>,
    /// With -k: directory that becomes the guest's root [default: /]
    #[arg(short, long, value_name = "DIR", requires = "kernel")]
    pub(crate) rootfs: Option<String>,
    /// With -k: the guest's architecture [default: this machine's]
    #[arg(short, long, value_name = "ARCH", requires = "kernel")]
    pub(crate) arch: Option<String>,
    /// With -k: QEMU program to start [default: qemu-system-ARCH]
    #[arg(short, long, value_name = "PROGRAM", requires = "kernel")]
    pub(crate) qemu_command: Option<String>,
}

/// Everything that is not a run.
#[derive(Debug, Subcommand)]
pub(crate) enum Sub {
    /// Check a vmtest.toml without running anything
    Check {
        /// The file; `-` for standard input [default: vmtest.toml]
        file: Option<PathBuf>,
        /// The same, by name
        #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// Put a vmtest.toml in order: blanks and line breaks, nothing else
    #[command(
        after_help = "Examples:\n  vmtest fmt\n  vmtest fmt --check            # in CI\n  vmtest fmt - <vmtest.toml     # to standard output"
    )]
    Fmt {
        /// The file; `-` for standard input to standard output [default: vmtest.toml]
        file: Option<PathBuf>,
        /// Change nothing; exit with 1 when something would be changed
        #[arg(long)]
        check: bool,
    },
    /// List the targets
    List(ListArgs),
    /// Open a shell in a target's machine
    #[command(
        after_help = "The shell starts where the target's command would. Press Ctrl-] three times to leave one that hangs."
    )]
    Shell(ShellArgs),
    /// Say what this machine has, what it lacks and how to get it
    Doctor,
    /// List what was kept so that later runs are faster: guests, downloads, packages; or remove it
    #[command(
        after_help = "A guest is kept after its kernel's first boot, one for each kernel and machine, and serves every \
                            project. Guests may take 4 GB, downloads 20 GB and unpacked packages 10 GB; what was used \
                            the longest time ago goes first. What a run uses just now stays, also when all is cleared."
    )]
    Cache {
        /// What to do with it
        #[arg(value_enum, default_value_t)]
        action: CacheAction,
    },
    /// List kernels: of this machine, fetched before, offered by the distribution; or fetch one
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  vmtest kernels\n  vmtest kernels --format json\n  vmtest kernels fetch linux-image-amd64\n\n\
                      A fetched package is unpacked into the cache with its modules; nothing is installed, and root is not \
                      needed.\nA target uses it with `kernel_package = \"linux-image-amd64\"`, which fetches it when it is \
                      not there."
    )]
    Kernels(KernelsArgs),
    /// Print the JSON Schema of vmtest.toml
    Schema,
    /// Serve an editor: the Language Server Protocol on standard input and output
    #[command(
        after_help = "An editor starts this by itself; there is nothing to type. VMTEST_LOG=debug logs to standard error."
    )]
    Lsp {
        /// Accepted because some editors always pass it
        #[arg(long, hide = true)]
        stdio: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// File that names the targets; `-` for standard input [default: vmtest.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// List only the targets whose name matches
    #[arg(short, long, value_name = "REGEX")]
    pub(crate) filter: Option<String>,
    /// List only part K of N
    #[arg(long, value_name = "K/N")]
    pub(crate) partition: Option<Partition>,
    /// Text, JSON, or a `matrix` for a GitHub workflow
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,
}

/// `kernels`.
#[derive(Debug, Args)]
pub(crate) struct KernelsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<KernelsAction>,
    /// Text or JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// What `kernels` does besides listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum KernelsAction {
    /// Fetch a kernel package, or bring the one that was fetched up to date
    Fetch {
        /// Its name, such as `linux-image-amd64`
        package: String,
    },
}

/// How guests are made, whatever runs in them.
#[derive(Debug, Default, Args)]
pub(crate) struct GuestArgs {
    /// Boot kernels instead of resuming kept states
    #[arg(long)]
    pub(crate) cold: bool,
    /// How directories reach the guest, instead of the best that works
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) share: Option<ShareBy>,
    /// Run a project that is not trusted: all that the guest writes is thrown away, and what would reach further is refused
    #[arg(long)]
    pub(crate) untrusted: bool,
}

/// How directories reach a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShareBy {
    /// QEMU's own server.
    #[value(name = "9p")]
    NineP,
    /// A virtiofsd for each.
    Virtiofs,
    /// By virtiofs what the guest can write, by 9p the rest.
    Mixed,
}

/// `shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// The target's name; may be left out when there is only one
    #[arg(conflicts_with = "kernel")]
    target: Option<String>,
    /// File that names the targets [default: vmtest.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    one_liner: OneLiner,
    #[command(flatten)]
    guests: GuestArgs,
    /// Replace a key of vmtest.toml
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// Print the guest's console too
    #[arg(short, long)]
    verbose: bool,
}

/// What standard output gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text.
    #[default]
    Human,
    /// Of a run one event a line, of a list an object.
    Json,
}

/// What `cache` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheAction {
    /// Show it.
    #[default]
    List,
    /// Remove all of it.
    Clear,
}

/// How `list` writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// One target a line.
    #[default]
    Human,
    /// An array of objects.
    Json,
    /// What `strategy.matrix` takes through `fromJSON`.
    GithubMatrix,
}

/// `-j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jobs {
    /// What processors and memory allow.
    Auto,
    /// This many.
    Count(usize),
}

impl Jobs {
    /// How many of `targets` run at once.
    pub(crate) fn number(self, targets: &[Target]) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Auto => vmtest_vm::capacity::auto(targets),
        }
    }
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count @ 1..=1024) => Ok(Self::Count(count)),
            _ => Err("use a number from 1 to 1024, or `auto`".to_owned()),
        }
    }
}

/// `--partition`: targets at the places K-1, K-1+N, K-1+2N … of those that the filter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    part: usize,
    of: usize,
}

impl Partition {
    /// Whether the target at `place`, counted from 0, is in this part.
    pub(crate) fn holds(self, place: usize) -> bool {
        place % self.of == self.part - 1
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // nextest's spelling is accepted too: it is what CI files often hold already.
        let text = text.strip_prefix("count:").unwrap_or(text);
        let (part, of) = text
            .split_once('/')
            .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)))
            .ok_or("use K/N, such as `2/5`")?;
        if part == 0 || part > of {
            return Err(format!("K must be from 1 to N, which is {of}"));
        }
        Ok(Self { part, of })
    }
}

/// `--set`: a key of vmtest.toml, `=`, and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting(pub(crate) String);

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, _)) if !key.trim().is_empty() => Ok(Self(text.to_owned())),
            _ => Err("use KEY=VALUE, such as `vm.memory=8G`".to_owned()),
        }
    }
}

impl ShellArgs {
    /// A run whose command is a shell.
    pub(crate) fn into_run(self) -> RunArgs {
        let is_one_liner = self.one_liner.kernel.is_some();
        let mut set = self.set;
        if !is_one_liner {
            set.push(Setting("command=-".to_owned()));
        }
        RunArgs {
            config: self.config,
            filter: self.target.map(|name| format!("^{}$", regex::escape(&name))),
            one_liner: self.one_liner,
            jobs: Jobs::Count(1),
            timeout: None,
            partition: None,
            fail_fast: false,
            guests: self.guests,
            set,
            set_text: Vec::new(),
            format: Format::Human,
            junit: None,
            log_dir: None,
            verbose: self.verbose,
            command: if is_one_liner { vec!["-".to_owned()] } else { Vec::new() },
        }
    }
}

/// Reads `argv`, whose first element is the program.
pub(crate) fn parse(argv: &[OsString]) -> Result<Invocation, clap::Error> {
    if is_subcommand(argv) {
        let cli = Cli::try_parse_from(argv)?;
        return Ok(match cli.sub {
            Some(sub) => Invocation::Sub(sub),
            None => Invocation::Run(cli.run),
        });
    }
    let run = match RunOnly::try_parse_from(argv) {
        Ok(only) => only.run,
        // Only the whole command knows the subcommands, and help must name them.
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            let flag = if argv.iter().any(|word| word == "--help") { "--help" } else { "-h" };
            return Err(Cli::try_parse_from(["vmtest", flag]).expect_err("help is reported as an error"));
        }
        Err(error) => return Err(error),
    };
    if run.one_liner.kernel.is_none() && !run.command.is_empty() {
        return Err(Cli::command().error(
            clap::error::ErrorKind::MissingRequiredArgument,
            format!(
                "`{}` is neither a subcommand nor an option: a command to run in a guest needs a kernel\n\n  \
                 tip: `vmtest -k KERNEL {}` runs it, `vmtest -f REGEX` chooses targets of vmtest.toml",
                run.command[0],
                run.command.join(" "),
            ),
        ));
    }
    Ok(Invocation::Run(run))
}

/// A subcommand is one only as the first argument and without `-k`, so that no command for a guest is ever taken for
/// one. `shell` has a `-k` of its own.
fn is_subcommand(argv: &[OsString]) -> bool {
    let Some(first) = argv.get(1).and_then(|word| word.to_str()) else { return false };
    let known = Cli::command().get_subcommands().any(|sub| sub.get_name() == first) || first == "help";
    known
        && (first == "shell"
            || !argv[2..].iter().take_while(|word| *word != "--").any(|word| names_kernel(word)))
}

fn names_kernel(word: &OsStr) -> bool {
    let word = word.as_encoded_bytes();
    word.starts_with(b"-k") || word == b"--kernel" || word.starts_with(b"--kernel=")
}

/// Writes a completion script for `shell`.
pub(crate) fn completions(shell: clap_complete::Shell, out: &mut dyn std::io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), "vmtest", out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Result<Invocation, clap::Error> {
        let argv: Vec<OsString> =
            std::iter::once("vmtest").chain(line.split_whitespace()).map(OsString::from).collect();
        parse(&argv)
    }

    fn run(line: &str) -> RunArgs {
        match read(line) {
            Ok(Invocation::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
        RunOnly::command().debug_assert();
    }

    #[test]
    fn the_first_argument_is_a_subcommand() {
        assert!(matches!(read("check"), Ok(Invocation::Sub(Sub::Check { .. }))));
        assert!(matches!(read("list -f x"), Ok(Invocation::Sub(Sub::List { .. }))));
    }

    #[test]
    fn a_subcommands_name_after_k_is_a_command_for_the_guest() {
        assert_eq!(run("-k bz check").command, ["check"]);
        assert_eq!(run("check -k bz").command, ["check"]);
        assert_eq!(run("check -kbz").command, ["check"]);
        assert_eq!(run("doctor --kernel=bz now").command, ["doctor", "now"]);
    }

    #[test]
    fn the_language_server_takes_what_editors_pass() {
        assert!(matches!(read("lsp"), Ok(Invocation::Sub(Sub::Lsp { .. }))));
        assert!(matches!(read("lsp --stdio"), Ok(Invocation::Sub(Sub::Lsp { .. }))));
        assert!(read("lsp --socket=1").is_err());
    }

    #[test]
    fn shell_takes_a_kernel() {
        assert!(matches!(read("shell -k bz"), Ok(Invocation::Sub(Sub::Shell { .. }))));
        assert_eq!(run("-k bz shell").command, ["shell"]);
    }

    #[test]
    fn options_may_follow_the_command() {
        let args =
            run("uname -k bz -r /rootfs --kargs console=ttyS1 -a riscv64 -q ./qemu --kvm-cpu-args host,+x");
        assert_eq!(args.command, ["uname"]);
        assert_eq!(args.one_liner.rootfs, Some("/rootfs".into()));
        assert_eq!(args.one_liner.kargs.as_deref(), Some("console=ttyS1"));
    }

    #[test]
    fn words_after_two_hyphens_are_the_command() {
        assert_eq!(run("-k bz -- ls -k --kernel").command, ["ls", "-k", "--kernel"]);
    }

    #[test]
    fn a_hyphen_is_a_command() {
        assert_eq!(run("-k bz -").command, ["-"]);
    }

    #[test]
    fn a_kernel_excludes_a_file() {
        assert_eq!(read("-k bz -c x.toml").unwrap_err().kind(), clap::error::ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_command_without_a_kernel_is_explained() {
        let error = read("chekc").unwrap_err().to_string();
        assert!(error.contains("`chekc` is neither a subcommand nor an option"), "{error}");
        assert!(error.contains("vmtest -k KERNEL chekc"), "{error}");
    }

    #[test]
    fn options_of_the_one_liner_need_a_kernel() {
        assert!(read("--kargs quiet").is_err());
    }

    #[test]
    fn help_names_the_subcommands_also_with_other_options() {
        let help = read("-f x --help").unwrap_err().to_string();
        assert!(help.contains("doctor") && help.contains("Examples:"), "{help}");
    }

    #[test]
    fn a_partition_outside_its_range_is_refused() {
        for wrong in ["0/3", "4/3", "1/0", "1", "a/b", "-1/3", "1/3/4"] {
            assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
        }
        assert_eq!("2/3".parse(), Ok(Partition { part: 2, of: 3 }));
        assert_eq!("count:2/3".parse(), Ok(Partition { part: 2, of: 3 }));
    }

    #[test]
    fn a_setting_needs_a_key() {
        assert!("vm.memory=8G".parse::<Setting>().is_ok());
        assert!("command=".parse::<Setting>().is_ok());
        assert!("=x".parse::<Setting>().is_err());
        assert!("x".parse::<Setting>().is_err());
    }

    #[test]
    fn jobs_are_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(Jobs::Auto));
        assert_eq!("3".parse(), Ok(Jobs::Count(3)));
        assert!("0".parse::<Jobs>().is_err());
    }

    proptest! {
        #[test]
        fn every_target_is_in_exactly_one_part(of in 1usize..20, place in 0usize..10_000) {
            let parts = (1..=of).filter(|part| Partition { part: *part, of }.holds(place)).count();
            prop_assert_eq!(parts, 1);
        }
    }
}
