//! How a run may end: each target has one end, the exit status is the documented one, nothing panicked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::Outcome;

/// A wrong vmtest.toml or option.
const CONFIG: i32 = 78;
/// A report that was asked for could not be written.
const INCOMPLETE: i32 = 74;
/// Where a program of Rust's ends that panicked.
const PANICKED: i32 = 101;

/// What standard output of a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdout {
    /// For people, or not known.
    #[default]
    Text,
    /// All of `--format json`.
    Events,
    /// What a terminal showed, standard error included.
    Terminal,
    /// The test reads it, or does not.
    Elsewhere,
}

/// What is known of a run beside its [`Outcome`].
#[derive(Debug, Default)]
pub struct Circumstances {
    /// What to expect there.
    pub stdout: Stdout,
    /// Where its logs are, and which of them are of earlier runs.
    pub logs: Option<(PathBuf, BTreeSet<PathBuf>)>,
    /// The signals that were sent.
    pub sent: Vec<Signal>,
    /// What was started is another program, with a `vmtest` in it.
    pub inside: bool,
    /// The test makes it panic.
    pub panics: bool,
}

impl Circumstances {
    fn was_sent(&self, signal: i32) -> bool {
        self.sent.iter().any(|sent| *sent as i32 == signal)
    }

    /// Whether it had no time to end well: the second signal ends it at once, and one alone does so in the end, where nobody reads
    /// what it writes.
    fn was_cut(&self) -> bool {
        let ends = |signal: &&Signal| !matches!(signal, Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGCONT);
        let enough = if self.stdout == Stdout::Elsewhere { 1 } else { 2 };
        self.was_sent(libc::SIGKILL) || self.sent.iter().filter(ends).count() >= enough
    }
}

/// What is wrong with the end of a run.
pub fn problems(outcome: &Outcome, of: &Circumstances) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(signal) = outcome.signal {
        // Any other of those that are sent is taken, and told by the status.
        if !(of.was_sent(signal) && (signal == libc::SIGKILL || of.inside)) {
            found.push(format!("signal {signal} ended it"));
        }
    }
    if !of.panics {
        let said = if of.stdout == Stdout::Terminal { outcome.text() } else { outcome.error_text() };
        if said.contains("panicked at") {
            found.push("it panicked".to_owned());
        }
        let is_the_commands =
            outcome.text().contains("exit code: 101") || of.stdout == Stdout::Events || of.inside;
        if outcome.status == Some(PANICKED) && !is_the_commands {
            found.push("its exit status is that of a panic".to_owned());
        }
    }
    if !of.was_cut() && !of.panics {
        if of.stdout == Stdout::Events {
            let events = outcome.events();
            found.extend(problems_of_events(&events, Ends::One));
            found.extend(problem_of_status(outcome.status, &events, of));
        } else if let Some((folder, before)) = &of.logs {
            found.extend(logs(folder).difference(before).flat_map(|run| problems_of_logs(run)));
        }
    }
    found
}

/// How many `finished` a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The run is over.
    One,
    /// Perhaps it goes on.
    AtMostOne,
}

/// Each target of each run has events that are numbered without a gap, and `finished` is the last.
pub fn problems_of_events<'e>(events: impl IntoIterator<Item = &'e Value>, ends: Ends) -> Vec<String> {
    let mut targets: BTreeMap<(&str, u64), Vec<&Value>> = BTreeMap::new();
    for event in events {
        let run = event["run_id"].as_str().unwrap_or_default();
        targets.entry((run, event["index"].as_u64().unwrap_or(u64::MAX))).or_default().push(event);
    }
    let mut found = Vec::new();
    for ((_, index), events) in targets {
        if let Some((_, event)) = events.iter().enumerate().find(|(number, event)| event["seq"] != *number) {
            found.push(format!("target {index} has a gap before {event}"));
        }
        let finished = events.iter().filter(|event| event["event"] == "finished").count();
        let last = events.last().is_some_and(|event| event["event"] == "finished");
        let is_right = if finished == 0 { ends == Ends::AtMostOne } else { finished == 1 && last };
        if !is_right {
            found.push(format!("target {index} has {finished} ends, or more after its end"));
        }
    }
    found
}

fn problem_of_status(status: Option<i32>, events: &[Value], of: &Circumstances) -> Option<String> {
    let status = status?;
    let ends: Vec<_> = events.iter().filter(|event| event["event"] == "finished").collect();
    let expected = match ends.as_slice() {
        [] => vec![0, CONFIG, INCOMPLETE],
        [only] => Vec::from_iter(status_of(only)),
        many => vec![many.iter().filter(|end| end["verdict"] != "passed").count().min(125) as i32],
    };
    let is_right = expected.contains(&status)
        || (status == INCOMPLETE && expected == [0])
        || (status > 128 && of.was_sent(status - 128))
        // What another program makes of it is its own.
        || of.inside;
    (!is_right).then(|| format!("its exit status is {status}, and its events tell {expected:?}"))
}

/// `docs/protocol.md`, "Verdicts".
fn status_of(finished: &Value) -> Option<i32> {
    let number = |field: &str| finished[field].as_i64().and_then(|number| i32::try_from(number).ok());
    match finished["verdict"].as_str()? {
        "passed" => Some(0),
        "failed" => number("exit_code"),
        "killed" => Some(128 + number("signal")?),
        "timed_out" => Some(124),
        "kernel_bug" => Some(70),
        "boot_failed" | "lost" => Some(69),
        "cancelled" => Some(130),
        _ => None,
    }
}

/// The folders of runs that have logs there.
pub fn logs(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|run| run.path()).collect()
}

/// A run that is not asked for events writes them all the same: its log ends with the end of the target.
fn problems_of_logs(run: &Path) -> Vec<String> {
    let files = fs::read_dir(run).into_iter().flatten().flatten().map(|file| file.path());
    let consoles = files.filter(|file| file.to_string_lossy().ends_with(".console.log"));
    let has_end = |file: &PathBuf| {
        let text = fs::read(file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let is_end =
            |line: &&str| line.starts_with("vmtest: ") && line.contains(" (boot ") && line.ends_with(" s)");
        text.lines().filter(is_end).count() == 1 && text.lines().last().as_ref().is_some_and(is_end)
    };
    let wrong = consoles.filter(|file| !has_end(file));
    wrong.map(|file| format!("the log does not end with the target's end: {}", file.display())).collect()
}
