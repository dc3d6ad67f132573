//! A target of a project that is not trusted: what it gets of what it asks for.
//!
//! What it would write is thrown away, which is said. What would run or open something on the host, or let out what the guest can
//! read, is refused: a target that goes on without it would not be the one that was asked for. docs/security.md has the table.

use std::path::{Path, PathBuf};

use crate::problem::Problem;
use crate::{
    ImageSource, InheritEnv, KernelSource, QemuCommand, Resolved, RootAccess, Severity, System, Target,
};

/// What a terminal and the user's own programs need of the environment, and no secret is in.
const HARMLESS: [&str; 24] = [
    "COLORTERM",
    "COLUMNS",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ADDRESS",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "LINES",
    "NO_COLOR",
    "PATH",
    "PWD",
    "TERM",
    "TZ",
];

const TRUST: &str = "run it without --untrusted, if you trust it with your files";

/// Takes from a target what an untrusted project must not have. An error is something that it cannot run without; a warning,
/// something that it is not given.
pub fn confine(resolved: &mut Resolved) -> Vec<Problem> {
    let refusals = refusals(&resolved.target);
    let demotions = demote(&mut resolved.target);
    let errors = refusals.into_iter().map(|refusal| (Severity::Error, refusal));
    let warnings = demotions.into_iter().map(|demotion| (Severity::Warning, demotion));
    let mut problems: Vec<_> =
        errors.chain(warnings).map(|(severity, finding)| finding.place(severity, resolved)).collect();
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

/// Something of a target that an untrusted one must not have.
struct Finding {
    /// The key's path in the target.
    key: &'static str,
    /// The mount that it is of.
    mount: Option<PathBuf>,
    message: String,
    help: String,
}

impl Finding {
    fn new(key: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { key, mount: None, message: message.into(), help: help.into() }
    }

    fn place(self, severity: Severity, resolved: &Resolved) -> Problem {
        let spans = &resolved.spans;
        let place = match &self.mount {
            Some(mount) => spans.of_mount(self.key, mount),
            None => spans.of(self.key),
        };
        let span = place.map_or(resolved.header.clone(), |place| place.key.clone());
        let mut problem = Problem { severity, ..Problem::error("untrusted", span, self.message) };
        if let Some(place) = place {
            problem.source = place.source.clone();
        }
        problem.help(self.help)
    }
}

/// What cannot be taken away without making another target of it.
fn refusals(target: &Target) -> Vec<Finding> {
    let mut found = Vec::new();
    if let QemuCommand::Custom(program) = &target.qemu_command
        && !is_default_qemu(target, program)
    {
        found.push(Finding::new(
            "qemu_command",
            format!("`qemu_command` would start {} on this machine, outside of any guest", program.display()),
            format!("`--set qemu_command={}` starts the installed QEMU", default_qemu(target)),
        ));
    }
    if !target.vm.extra_args.is_empty() {
        found.push(Finding::new(
            "vm.extra_args",
            "`vm.extra_args` can make QEMU open any file of this machine, and take away its sandbox",
            "`--set 'vm.extra_args=[]'` runs it without them",
        ));
    }
    if target.vm.network {
        found.push(Finding::new(
            "vm.network",
            "with `vm.network` the guest, which can read all files that you can, could send them away",
            "`--set vm.network=false` runs it without a network",
        ));
    }
    let url = match &target.system {
        System::Kernel(system) => matches!(system.source, KernelSource::Url(_)).then_some("kernel_url"),
        System::Image(system) => matches!(system.source, ImageSource::Url(_)).then_some("image_url"),
    };
    if let Some(key) = url {
        found.push(Finding::new(
            key,
            format!("`{key}` makes this machine ask any server, also one that only your network reaches"),
            "download it yourself, and name the file in a vmtest.toml of your own",
        ));
    }
    found
}

/// Takes away what the guest can do without: its writes seem to succeed, and are gone with it.
fn demote(target: &mut Target) -> Vec<Finding> {
    let mut said = Vec::new();
    target.discards_writes = true;
    if let QemuCommand::Custom(program) = &target.qemu_command
        && is_default_qemu(target, program)
    {
        target.qemu_command = QemuCommand::Default;
    }
    if let System::Kernel(system) = &mut target.system
        && system.root_access == RootAccess::Writable
    {
        system.root_access = RootAccess::Overlay;
        said.push(Finding::new(
            "kernel_args",
            "`rw` does not make the root writable: what the guest writes is thrown away",
            TRUST,
        ));
    }
    for mount in target.vm.mounts.iter().filter(|mount| mount.writable) {
        let finding = Finding::new(
            "vm.mounts.*.writable",
            format!("what the guest writes to {} is thrown away", mount.guest_path.display()),
            TRUST,
        );
        said.push(Finding { mount: Some(mount.guest_path.clone()), ..finding });
    }
    target.inherit_env = match std::mem::replace(&mut target.inherit_env, InheritEnv::None) {
        InheritEnv::None => InheritEnv::None,
        InheritEnv::All => InheritEnv::Only(HARMLESS.map(str::to_owned).into()),
        InheritEnv::Only(names) => {
            let (kept, others): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| HARMLESS.contains(&name.as_str()));
            if !others.is_empty() {
                said.push(Finding::new(
                    "inherit_env",
                    format!("the guest does not get {} from your environment", others.join(", ")),
                    "give it what it needs with `env`",
                ));
            }
            InheritEnv::Only(kept)
        }
    };
    said
}

fn default_qemu(target: &Target) -> String {
    format!("qemu-system-{}", target.arch)
}

/// A name is looked up in `PATH`, as it is without the key; a path would not be.
fn is_default_qemu(target: &Target, program: &Path) -> bool {
    program.as_os_str() == default_qemu(target).as_str()
}
