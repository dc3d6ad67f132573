//! What all groups share: the programs and kernels, a place for files, the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Usage};
use crate::results::Machine;
use crate::{Result, Saying as _};

/// What makes vmtest write its events.
pub(crate) const EVENTS: [&str; 2] = ["--format", "json"];
/// How often a kernel may run before its guest must have been kept.
const TRIES: usize = 3;

/// A kernel to measure with.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) path: PathBuf,
    /// What `uname -r` says under it.
    pub(crate) release: String,
    /// Its name in tables.
    pub(crate) title: String,
    /// A distribution's, with everything as modules; the other has 9p built in.
    pub(crate) is_stock: bool,
}

/// What a run of vmtest said and took.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) usage: Usage,
    pub(crate) events: Vec<Value>,
}

impl Run {
    /// A field of the event `booted`.
    pub(crate) fn booted(&self, field: &str) -> &str {
        self.events.iter().find(|event| event["event"] == "booted").map_or("", |event| str(&event[field]))
    }

    /// What the command wrote to standard output.
    pub(crate) fn text(&self) -> String {
        let output = self.events.iter().filter(|event| event["event"] == "output");
        output.filter(|event| event["stream"] == "stdout").map(|event| str(&event["text"])).collect()
    }

    /// Fails unless every target of the run was resumed from a kept guest.
    pub(crate) fn resumed(self) -> Result<Self> {
        match self.events.iter().find(|event| event["event"] == "booted" && event["start"] != "snapshot") {
            Some(event) => Err(format!("a run was not resumed: {}", str(&event["cold_because"]))),
            None => Ok(self),
        }
    }
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Files of the tree that is walked, in a thousand folders or fewer.
    pub(crate) tree: usize,
    /// Files of the tree that goes through `tar`.
    pub(crate) source: usize,
    /// Megabytes of the file that is read.
    pub(crate) big: usize,
    /// Megabytes that a guest prints.
    pub(crate) output: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self { tree: 12_000, source: 4_000, big: 200, output: 200 };
    pub(crate) const QUICK: Self = Self { tree: 1_200, source: 400, big: 20, output: 20 };
}

/// What all groups share.
#[derive(Debug)]
pub(crate) struct Bench {
    program: PathBuf,
    /// The stock one comes first.
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) machine: Machine,
    pub(crate) size: Size,
    scratch: TempDir,
}

impl Bench {
    /// Finds everything, and runs each kernel until its guest is kept: the page cache is full then, and what vmtest finds
    /// out once is known.
    pub(crate) fn new(size: Size) -> Result<Self> {
        let program = required("VMTEST_BIN", "the vmtest to measure")?;
        let stock = required("VMTEST_KERNELS", "the folder of kernels")?.join("stable/boot/vmlinuz");
        if !stock.exists() {
            return Err(format!("there is no {}: scripts/kernels.sh stable", stock.display()));
        }
        let scratch = tempfile::Builder::new()
            .prefix("vmtest-bench-")
            .tempdir()
            .saying("cannot make a temporary folder")?;
        let machine = Machine::of_host()?;
        let mut bench = Self { program, kernels: Vec::new(), machine, size, scratch };
        bench.add_kernel(stock, true)?;
        if let Some(built_in) = path_in("VMTEST_BENCH_KERNEL") {
            bench.add_kernel(built_in, false)?;
        }
        Ok(bench)
    }

    fn add_kernel(&mut self, path: PathBuf, is_stock: bool) -> Result<()> {
        for _ in 0..TRIES {
            let run = self.uname(&path, &[])?;
            run.booted("accelerator").clone_into(&mut self.machine.accelerator);
            if run.booted("start") == "snapshot" {
                let release = run.text().trim().to_owned();
                if is_stock {
                    release.clone_into(&mut self.machine.kernel_release);
                }
                let kind = if is_stock { "stock, all modules" } else { "9p built in" };
                let title = format!("Linux {release} ({kind})");
                self.kernels.push(Kernel { path, release, title, is_stock });
                return Ok(());
            }
        }
        Err(format!("no guest of {} is kept: `vmtest doctor` may know why", path.display()))
    }

    /// The kernel of every group that needs only one.
    pub(crate) fn stock(&self) -> &Kernel {
        &self.kernels[0]
    }

    /// An empty folder of the scratch directory.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().canonicalize().saying("the temporary folder is gone")?.join(name);
        std::fs::create_dir_all(&folder).saying(folder.display())?;
        Ok(folder)
    }

    /// A program whose surroundings, cache and state are the benchmark's own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let scratch = self.scratch.path();
        let mut command = Command::new(program);
        command
            .current_dir(scratch)
            .env("HOME", scratch)
            .env("XDG_CACHE_HOME", scratch.join("cache"))
            .env("XDG_STATE_HOME", scratch.join("state"))
            .stdin(Stdio::null());
        command
    }

    /// `vmtest`, without arguments.
    pub(crate) fn vmtest(&self) -> Command {
        self.command(&self.program)
    }

    /// Runs `uname -r` under a kernel.
    pub(crate) fn uname(&self, kernel: &Path, options: &[&str]) -> Result<Run> {
        run(self.vmtest().args(EVENTS).args(options).arg("-k").arg(kernel).arg("uname -r"))
    }

    /// Builds a program of `tests/bench/guest`, static.
    pub(crate) fn build_guest_program(&self, name: &str) -> Result<PathBuf> {
        let program = self.folder("guest")?.join(name);
        let source = format!("{}/guest/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let target = "x86_64-unknown-linux-gnu";
        let mut rustc = Command::new("rustc");
        rustc.args(["-O", "-C", "target-feature=+crt-static", "--edition", "2024", "--target", target]);
        process::output(rustc.arg("-o").arg(&program).arg(source)).map_err(|error| {
            format!("{error}\na static program needs rustc and a C compiler: scripts/setup.sh demo")
        })?;
        Ok(program)
    }
}

/// Runs a vmtest that has the options [`EVENTS`].
pub(crate) fn run(vmtest: &mut Command) -> Result<Run> {
    let mut text = Vec::new();
    let usage = process::run(vmtest, |piece| text.extend_from_slice(piece));
    // What the command said is among the last events.
    let usage = usage.map_err(|error| format!("{error}\n{}", process::last_lines(&text)))?;
    let events = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events = events.map(serde_json::from_slice).collect::<std::result::Result<_, _>>();
    Ok(Run { usage, events: events.saying("vmtest wrote an event that is no JSON")? })
}

/// The path that an environment variable names.
pub(crate) fn path_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).and_then(|path| std::path::absolute(path).ok())
}

fn required(variable: &str, what: &str) -> Result<PathBuf> {
    path_in(variable).ok_or_else(|| format!("{variable} does not name {what}: use `make bench`"))
}
