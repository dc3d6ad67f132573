//! What every run must leave as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names a run in the environment of its processes; QEMU and every other child inherit it.
pub const MARK: &str = "VMTEST_E2E_RUN";

/// How long a process may live after `vmtest`: the promise is 1 s, the rest is for a machine with other work.
const GRACE: Duration = Duration::from_secs(2);

/// All files below a directory, by their paths relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(BTreeSet<PathBuf>);

impl Files {
    /// Those that are there now.
    pub fn of(dir: &Path) -> Self {
        let mut found = BTreeSet::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(next) = dirs.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                let path = entry.path();
                let relative = path.strip_prefix(dir).expect("it is below").to_owned();
                // What git keeps is git's.
                if entry.file_name() == ".git" {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(path);
                }
                found.insert(relative);
            }
        }
        Self(found)
    }

    /// Those that are here and neither in `before` nor expected, nor below one that is.
    pub fn new_since(&self, before: &Self, expected: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let is_expected = |path: &Path| expected.iter().any(|expected| path.starts_with(expected));
        self.0.difference(&before.0).filter(|path| !is_expected(path)).cloned().collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A process of a run.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The first 15 characters of its name.
    pub name: String,
}

/// The processes of the run that is marked so, but for `vmtest` itself.
pub fn processes(mark: &str, vmtest: i32) -> Vec<Process> {
    let wanted = format!("{MARK}={mark}");
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let is_of_run = environment.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes());
            let name = fs::read_to_string(entry.path().join("comm")).ok()?.trim_end().to_owned();
            (is_of_run && pid != vmtest).then_some(Process { pid, name })
        })
        .collect()
}

/// The most memory that a process has had so far, in bytes; 0 when it is gone.
pub fn peak_memory(pid: nix::unistd::Pid) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) << 10
}

/// Waits until no process of the run is left; those that are, when time is up.
pub(super) fn wait_until_gone(mark: &str, vmtest: i32) -> Vec<Process> {
    let deadline = Instant::now() + GRACE;
    loop {
        let left = processes(mark, vmtest);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        // A process of somebody else gives no event to wait for.
        std::thread::sleep(Duration::from_millis(10));
    }
}
