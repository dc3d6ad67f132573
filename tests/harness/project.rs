//! A project with a vmtest.toml, and surroundings of its own: home, state, temporary and runtime directories.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use tempfile::TempDir;

use super::running::{LIMIT, Running};
use super::slots::Permit;
use super::{Outcome, Pty, machine};

/// A directory with a vmtest.toml.
#[derive(Debug)]
pub struct Project {
    base: TempDir,
    dir: PathBuf,
    cache: PathBuf,
}

impl Project {
    /// In the temporary directory. In `toml`, `{stable}`, `{cloud}` and `{newer}` become the paths of those kernels, and
    /// `{small.qcow2}` and the like those of images.
    pub fn new(toml: &str) -> Self {
        Self::under(&std::env::temp_dir(), toml)
    }

    /// With one target, `t`, that runs `command` under the stable kernel.
    pub fn one(command: &str) -> Self {
        Self::new(&target("t", "", command))
    }

    /// Somewhere else.
    pub fn under(parent: &Path, toml: &str) -> Self {
        let base = tempfile::Builder::new()
            .prefix("vmtest-e2e-")
            .tempdir_in(parent)
            .unwrap_or_else(|error| panic!("cannot make a directory in {}: {error}", parent.display()));
        // So that it has the one name that the guest shows.
        let path = base.path().canonicalize().expect("it was just made");
        machine::give(&path);
        let project = Self { base, dir: path.join("project"), cache: machine::shared_cache().to_owned() };
        for name in ["project", "home", "state", "tmp", "run"] {
            project.make_dir(&path.join(name));
        }
        project.write("vmtest.toml", toml);
        project
    }

    /// With a cache of its own, which knows nothing.
    #[must_use]
    pub fn with_own_cache(mut self) -> Self {
        self.cache = self.base().join("cache");
        self.make_dir(&self.cache);
        self
    }

    /// With a cache of its own, which knows what this machine is like, and has kept no guest.
    #[must_use]
    pub fn without_snapshots(self) -> Self {
        let shared = self.cache.clone();
        let project = self.with_own_cache();
        project.make_dir(&project.cache.join("vmtest"));
        for known in ["kvm-broken", "modules"] {
            let (from, to) = (shared.join("vmtest").join(known), project.cache.join("vmtest").join(known));
            project.make_dir(&from);
            std::os::unix::fs::symlink(from, to).expect("the cache is new");
        }
        project
    }

    /// The folder of the guests that were kept.
    pub fn snapshots(&self) -> PathBuf {
        self.cache.join("vmtest/snapshots/1")
    }

    /// The directory of vmtest.toml.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What holds everything of this project; outside the directory that is shared with the guest.
    pub fn base(&self) -> PathBuf {
        self.base.path().canonicalize().expect("it lasts as long as the project")
    }

    /// The cache's directory.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Writes a file relative to the project's directory, with the names of kernels replaced.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.write_bytes(name, with_kernels(text).as_bytes())
    }

    /// Writes a file relative to the project's directory.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        machine::give(&path);
        path
    }

    /// Writes a program relative to the project's directory.
    pub fn write_program(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// Puts `guest-probe` into the project's directory.
    #[must_use]
    pub fn with_probe(self) -> Self {
        let copy = self.dir.join("guest-probe");
        fs::copy(machine::helper("guest-probe"), &copy).expect("the project is writable");
        machine::give(&copy);
        self
    }

    /// Makes a directory that belongs to the user who runs `vmtest`.
    pub fn make_dir(&self, path: &Path) {
        fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        machine::give(path);
    }

    /// Makes a directory that can be a guest's root: with this machine's bash, and nothing else.
    pub fn make_rootfs(&self) -> PathBuf {
        let rootfs = self.base().join("rootfs");
        for dir in ["bin", "lib", "lib64", "usr", "dev", "proc", "sys", "tmp", "etc"] {
            self.make_dir(&rootfs.join(dir));
        }
        // The shell with its libraries, at their own places.
        let libraries = std::process::Command::new("ldd").arg("/bin/bash").output().expect("ldd is there");
        let libraries = String::from_utf8(libraries.stdout).expect("paths of libraries are text");
        let files = libraries.split_whitespace().filter(|word| word.starts_with('/')).chain(["/bin/bash"]);
        for file in files {
            let copy = rootfs.join(file.trim_start_matches('/'));
            fs::create_dir_all(copy.parent().expect("it is in a directory")).expect("the root is writable");
            fs::copy(file, copy).expect("the root is writable");
        }
        rootfs
    }

    /// What a file relative to the project's directory holds.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        let path = self.dir.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `vmtest` with `args`, not yet started.
    pub fn vmtest<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation<'_> {
        Invocation {
            project: self,
            args: args
                .into_iter()
                .map(|arg| OsString::from(with_kernels(&arg.as_ref().to_string_lossy())))
                .collect(),
            cwd: self.dir.clone(),
            env: Vec::new(),
            stdin: Vec::new(),
            leaves: BTreeSet::new(),
            machines: Machines::One,
            inside: Vec::new(),
            panics: false,
            limit: LIMIT,
        }
    }

    /// Runs `vmtest` without arguments to its end.
    pub fn run(&self) -> Outcome {
        self.vmtest::<&str>([]).run()
    }

    /// Runs `vmtest --format json` to its end.
    pub fn run_json(&self) -> Outcome {
        self.vmtest(["--format", "json"]).run()
    }
}

/// The text of one target under the stable kernel, with `keys` (whole lines) added.
pub fn target(name: &str, keys: &str, command: &str) -> String {
    format!("[[target]]\nname = '{name}'\nkernel = '{{stable}}'\ncommand = '''{command}'''\n{keys}\n\n")
}

/// `text` with the names of kernels and images replaced, as [`Project::write`] does.
pub fn with_kernels(text: &str) -> String {
    let kernels = ["stable", "cloud", "newer"].map(|name| (name, true));
    let images = ["small.raw", "small.qcow2", "systemd.qcow2"].map(|name| (name, false));
    kernels.into_iter().chain(images).fold(text.to_owned(), |text, (name, is_kernel)| {
        let mark = format!("{{{name}}}");
        // Only what is asked for must be there.
        if !text.contains(&mark) {
            return text;
        }
        let path = if is_kernel { machine::kernel(name).image } else { machine::image(name) };
        text.replace(&mark, &path.display().to_string())
    })
}

/// How many machines a run starts at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machines {
    None,
    One,
    Many,
}

/// A run of `vmtest` that has not begun.
#[derive(Debug)]
pub struct Invocation<'p> {
    pub(super) project: &'p Project,
    pub(super) args: Vec<OsString>,
    pub(super) cwd: PathBuf,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) stdin: Vec<u8>,
    pub(super) leaves: BTreeSet<PathBuf>,
    /// A program and its first arguments.
    pub(super) inside: Vec<OsString>,
    pub(super) panics: bool,
    machines: Machines,
    /// The longest time; when it takes more, it has hung.
    pub(super) limit: Duration,
}

impl Invocation<'_> {
    /// Adds to the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What standard input holds; it is empty otherwise.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Where it starts, instead of the project's directory.
    #[must_use]
    pub fn cwd(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.cwd);
        self
    }

    /// Files that it may leave in the project's directory; any other fails the test.
    #[must_use]
    pub fn leaves<S: AsRef<Path>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.leaves.extend(names.into_iter().map(|name| name.as_ref().to_owned()));
        self
    }

    /// The test makes it panic.
    #[must_use]
    pub fn panics(mut self) -> Self {
        self.panics = true;
        self
    }

    /// It starts several machines at once, so nothing else may.
    #[must_use]
    pub fn with_many_machines(mut self) -> Self {
        self.machines = Machines::Many;
        self
    }

    /// It starts no machine, so it need not wait for others.
    #[must_use]
    pub fn without_machine(mut self) -> Self {
        self.machines = Machines::None;
        self
    }

    /// It may take longer than others.
    #[must_use]
    pub fn may_take(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it as the argument of another program.
    #[must_use]
    pub fn inside(self, program: PathBuf) -> Self {
        self.inside_words([program])
    }

    /// Runs it as the last arguments of another program, after these.
    #[must_use]
    pub fn inside_words<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.inside = words.into_iter().map(Into::into).collect();
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.start().finish()
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let permit = self.permit();
        Running::start(&self, permit)
    }

    /// Starts it and leaves its standard input and output to the caller, who talks with it.
    pub fn start_to_talk(self) -> (Running, ChildStdin, ChildStdout) {
        let permit = self.permit();
        Running::start_to_talk(&self, permit)
    }

    /// Starts it on a terminal.
    pub fn start_on_terminal(self, rows: u16, cols: u16) -> Pty {
        let permit = self.permit();
        Pty::start(&self, permit, rows, cols)
    }

    fn permit(&self) -> Option<Permit> {
        if self.machines != Machines::None {
            machine::check();
        }
        match self.machines {
            Machines::None => None,
            Machines::One => Some(Permit::for_one()),
            Machines::Many => Some(Permit::for_all()),
        }
    }
}
