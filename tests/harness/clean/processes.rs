//! Processes by the mark in their environment.

use std::fs;

/// Names a run in the environment of its processes; QEMU and every other child inherit it.
pub const MARK: &str = "VMTEST_E2E_RUN";

/// A process of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The first 15 characters of its name.
    pub name: String,
}

/// The processes of the run that is marked so, but for the one that was started.
pub fn processes(mark: &str, started: i32) -> Vec<Process> {
    let wanted = format!("{MARK}={mark}");
    let is_of_run = |process: &Process| {
        process.pid != started && environment(process.pid).iter().any(|word| word == wanted.as_bytes())
    };
    all().filter(is_of_run).collect()
}

/// The most memory that a process has had so far, in bytes; 0 when it is gone.
pub fn peak_memory(pid: nix::unistd::Pid) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) << 10
}

/// Every process of this machine.
pub(super) fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    entries.flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?.trim_end().to_owned();
        Some(Process { pid, name })
    })
}

/// The environment that a process was started with; nothing of one that has ended, or is another user's.
pub(super) fn environment(pid: i32) -> Vec<Vec<u8>> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}
