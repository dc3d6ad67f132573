//! From the command line to the targets that will run.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vmtest_config::{
    Document, KernelOptions, LineIndex, Loaded, MAX_FILE_SIZE, MINIMAL_EXAMPLE, Problem, Purpose, Resolved,
    Source, Target, check_paths, confine, decode,
};
use vmtest_vm::verdict::EXIT_CONFIG;

use crate::args::{Partition, RunArgs};
use crate::paint::Paint;
use crate::problems;
use crate::reporter::github::Place;

/// The file when none is named.
const DEFAULT_FILE: &str = "vmtest.toml";
/// A pipe opens at once with it; a file does anyway.
const NONBLOCK: i32 = nix::fcntl::OFlag::O_NONBLOCK.bits();

/// What will run.
#[derive(Debug)]
pub(crate) struct Project {
    /// In the order of the file.
    pub(crate) targets: Vec<Target>,
    /// Where each stands, for annotations.
    pub(crate) places: Vec<Option<Place>>,
    /// Whether the one target comes from the command line.
    pub(crate) one_liner: bool,
}

/// A vmtest.toml as it was read.
#[derive(Debug)]
pub(crate) struct File {
    /// What the user calls it.
    pub(crate) name: String,
    /// None for standard input.
    path: Option<PathBuf>,
    /// What relative paths start at.
    pub(crate) base: PathBuf,
    /// What it says.
    pub(crate) text: String,
}

/// Why nothing runs.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file cannot be read.
    Unreadable {
        /// What happened.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// What the file or the command line says cannot run.
    Problems {
        /// All of them.
        problems: Vec<Problem>,
        /// What the user calls the file.
        name: String,
        /// What the file says.
        text: String,
    },
}

impl Refused {
    /// `--timeout` is a `--set` inside; the user wrote no `--set`.
    fn name_timeout(mut self, timeout: Option<&str>) -> Self {
        if let Self::Problems { problems, .. } = &mut self {
            for problem in problems {
                if let Source::Argument { option, text } = &mut problem.source
                    && Some(text.as_str()) == timeout
                {
                    *option = "--timeout";
                }
            }
        }
        self
    }

    /// Tells the user.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Unreadable { message, help } => {
                crate::say(format_args!("{message}"));
                if let Some(help) = help {
                    eprint(help);
                }
            }
            Self::Problems { problems, name, text } => {
                eprint(&problems::render(problems, name, text, stderr_paint()));
                if let Some(count) = problems::count(problems) {
                    crate::say(format_args!("{count}; nothing was run"));
                }
            }
        }
        ExitCode::from(EXIT_CONFIG)
    }
}

/// The targets of a run.
pub(crate) fn for_run(args: &RunArgs) -> Result<Project, Refused> {
    let timeout = args.timeout.as_ref().map(|time| format!("timeout={time}"));
    let mut choice = Choice {
        filter: args.filter.as_deref(),
        partition: args.partition,
        set: args.set.iter().map(|setting| setting.0.as_str()).collect(),
        set_text: args.set_text.iter().map(|setting| setting.0.as_str()).collect(),
        untrusted: args.guests.untrusted,
    };
    choice.set.extend(timeout.as_deref());
    let one_liner = &args.one_liner;
    let Some(kernel) = &one_liner.kernel else {
        let file = File::read(args.config.as_deref())?;
        let document = Document::parse(&file.text, &file.base).map_err(|problems| file.refuse(problems))?;
        let loaded =
            file.load(document, &choice).map_err(|refused| refused.name_timeout(timeout.as_deref()))?;
        return Ok(file.project(loaded));
    };
    let base = working_directory()?;
    let command = args.command.join(" ");
    let options = KernelOptions {
        kernel,
        kernel_args: one_liner.kargs.as_deref(),
        kvm_cpu_args: one_liner.kvm_cpu_args.as_deref(),
        rootfs: one_liner.rootfs.as_deref(),
        arch: one_liner.arch.as_deref(),
        qemu_command: one_liner.qemu_command.as_deref(),
        command: &command,
    };
    let file = File { name: "command line".to_owned(), path: None, base: base.clone(), text: String::new() };
    let loaded = file
        .load(Document::from_options(&options, &base), &choice)
        .map_err(|refused| refused.name_timeout(timeout.as_deref()))?;
    Ok(Project { one_liner: true, ..file.project(loaded) })
}

/// Which targets, and how changed.
#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    /// `--filter`.
    pub(crate) filter: Option<&'a str>,
    /// `--partition`.
    pub(crate) partition: Option<Partition>,
    /// `--set`.
    pub(crate) set: Vec<&'a str>,
    /// `--set-text`.
    pub(crate) set_text: Vec<&'a str>,
    /// `--untrusted`.
    pub(crate) untrusted: bool,
}

impl File {
    /// Reads a vmtest.toml; `-` is standard input.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Refused> {
        let (name, path) = match path {
            Some(path) if path == Path::new("-") => ("<stdin>".to_owned(), None),
            Some(path) => (path.display().to_string(), Some(path.to_owned())),
            None => (DEFAULT_FILE.to_owned(), Some(PathBuf::from(DEFAULT_FILE))),
        };
        let bytes = match &path {
            None => read_bounded(io::stdin().lock()),
            Some(path) => open(path, path == Path::new(DEFAULT_FILE)).and_then(read_bounded),
        };
        let bytes = bytes.map_err(|error| Refused::Unreadable {
            message: format!("cannot read {name}: {error}"),
            help: (error.kind() == io::ErrorKind::NotFound).then(|| {
                format!(
                    "Name a file with -c, run one command with -k KERNEL COMMAND, or write a {DEFAULT_FILE}:\n\n\
                     {MINIMAL_EXAMPLE}"
                )
            }),
        })?;
        let base = match path.as_deref().map(Path::parent) {
            None => working_directory()?,
            Some(folder) => working_directory()?.join(folder.unwrap_or(Path::new(""))),
        };
        match decode(&bytes) {
            Ok(text) => Ok(Self { name, path, base, text: text.to_owned() }),
            Err(problem) => Err(Refused::Problems {
                problems: vec![problem],
                name,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }),
        }
    }

    /// Where it lies; none for standard input.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its targets that `choice` leaves; the disk is not looked at, because a list is wanted where nothing is built yet.
    pub(crate) fn select(&self, choice: &Choice<'_>) -> Result<Loaded, Refused> {
        let document = Document::parse(&self.text, &self.base).map_err(|problems| self.refuse(problems))?;
        self.resolve(document, choice)
    }

    /// The same, ready to run.
    fn load<'t>(&'t self, document: Document<'t>, choice: &Choice<'t>) -> Result<Loaded, Refused> {
        let mut loaded = self.resolve(document, choice)?;
        let mut found: Vec<_> = loaded.targets.iter().flat_map(check_paths).collect();
        if choice.untrusted {
            found.extend(loaded.targets.iter_mut().flat_map(confine));
        }
        // One `--set` with a wrong path is wrong in every target.
        found.dedup();
        loaded.warnings.extend(found);
        if loaded.warnings.iter().any(Problem::is_error) {
            return Err(self.refuse(loaded.warnings));
        }
        eprint(&problems::render(&loaded.warnings, &self.name, &self.text, stderr_paint()));
        Ok(loaded)
    }

    fn resolve<'t>(&self, mut document: Document<'t>, choice: &Choice<'t>) -> Result<Loaded, Refused> {
        let refuse = |problems: Vec<Problem>| self.refuse(problems);
        if let Some(filter) = choice.filter {
            document.select(filter).map_err(|problem| refuse(vec![problem]))?;
        }
        if let Some(partition) = choice.partition {
            let mut place = 0;
            document.retain(|_, _| {
                place += 1;
                partition.holds(place - 1)
            });
        }
        let mut wrong: Vec<_> = choice.set.iter().filter_map(|setting| document.set(setting).err()).collect();
        wrong.extend(choice.set_text.iter().filter_map(|setting| document.set_text(setting).err()));
        if !wrong.is_empty() {
            return Err(refuse(wrong));
        }
        document.resolve(Purpose::Run).map_err(refuse)
    }

    fn refuse(&self, problems: Vec<Problem>) -> Refused {
        Refused::Problems { problems, name: self.name.clone(), text: self.text.clone() }
    }

    fn project(&self, loaded: Loaded) -> Project {
        let lines = LineIndex::new(&self.text);
        let file = self.path.as_ref().map(|_| self.name_in_workspace());
        let place = |target: &Resolved| {
            let (line, _) = lines.line_column(target.header.start);
            file.clone().map(|file| Place { file, line })
        };
        let places = loaded.targets.iter().map(place).collect();
        let targets = loaded.targets.into_iter().map(|resolved| resolved.target).collect();
        Project { targets, places, one_liner: false }
    }

    /// What GitHub calls the file.
    fn name_in_workspace(&self) -> String {
        let absolute = self.path.as_deref().and_then(|path| std::path::absolute(path).ok());
        let workspace = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
        match (absolute, workspace) {
            (Some(file), Some(workspace)) => match file.strip_prefix(&workspace) {
                Ok(inside) => inside.display().to_string(),
                Err(_) => self.name.clone(),
            },
            _ => self.name.clone(),
        }
    }
}

/// Opens a file that the user has named, a pipe perhaps, or the one that is there: that may be anybody's, and a pipe to which nobody
/// writes would never open.
fn open(path: &Path, is_default: bool) -> io::Result<fs::File> {
    if !is_default {
        return fs::File::open(path);
    }
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

fn read_bounded(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to be told that it is too much.
    source.take(MAX_FILE_SIZE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn working_directory() -> Result<PathBuf, Refused> {
    std::env::current_dir().map_err(|error| Refused::Unreadable {
        message: format!("cannot find the working directory: {error}"),
        help: Some("Change to a directory that exists.\n".to_owned()),
    })
}

/// Colours for standard error.
pub(crate) fn stderr_paint() -> Paint {
    Paint::for_terminal(io::stderr().is_terminal())
}

/// Writes to standard error, which may be closed.
pub(crate) fn eprint(text: &str) {
    use io::Write as _;
    let _ = io::stderr().write_all(text.as_bytes());
}
