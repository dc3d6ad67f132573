//! Children of this process. What its children leave becomes its own: a process of a run cannot hide by leaving its parent,
//! its session and its environment.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, Once};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpgrp};

use super::processes::{self, MARK, Process};

/// Those that were started by [`start`].
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a run.
pub fn start(command: &mut Command) -> io::Result<Child> {
    static REAPER: Once = Once::new();
    REAPER.call_once(|| nix::sys::prctl::set_child_subreaper(true).expect("Linux has had it since 3.4"));
    // Nobody may look at our children before the new one is known.
    let mut started = STARTED.lock().expect("no holder panics");
    let child = command.spawn()?;
    started.insert(child.id() as i32);
    Ok(child)
}

/// The children that nobody here has started. Those that have ended are buried.
pub(super) fn orphans() -> BTreeSet<Process> {
    let started = STARTED.lock().expect("no holder panics");
    let us = std::process::id() as i32;
    let ours = processes::environment(us);
    let is_orphan = |process: &Process| {
        let Some(Stat { state, parent, group }) = stat(process.pid) else { return false };
        if parent != us || started.contains(&process.pid) {
            return false;
        }
        let leads_on_its_own = group != getpgrp().as_raw();
        if state == 'Z' {
            // One of our group may be a test's own, which waits for it; as a zombie it harms nobody.
            if leads_on_its_own {
                bury(process);
            }
            return false;
        }
        leads_on_its_own || !is_tests_own(process, &ours)
    };
    processes::all().filter(is_orphan).collect()
}

/// Whether a test has started it as it starts `git`: with all of its own environment. A run never has that.
fn is_tests_own(process: &Process, ours: &[Vec<u8>]) -> bool {
    let theirs: BTreeSet<_> = processes::environment(process.pid).into_iter().collect();
    let is_marked = theirs.iter().any(|word| word.starts_with(MARK.as_bytes()));
    !is_marked && ours.iter().all(|word| theirs.contains(word))
}

/// Ends an orphan.
pub(super) fn end(orphan: &Process) {
    // It is our child: until it is buried, its number is nobody else's.
    let _ = kill(Pid::from_raw(orphan.pid), Signal::SIGKILL);
    let _ = waitpid(Pid::from_raw(orphan.pid), None);
}

fn bury(orphan: &Process) {
    let _ = waitpid(Pid::from_raw(orphan.pid), Some(WaitPidFlag::WNOHANG));
}

/// Of `/proc/PID/stat`.
struct Stat {
    state: char,
    parent: i32,
    group: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may hold anything, also parentheses.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}
