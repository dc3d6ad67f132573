//! Which lines of the console belong to one report of a bug.

use super::bug::{BugKind, KernelBug, PANIC, recognize};
use super::line::Line;

/// The longest report that is kept.
const EXCERPT_LINES: usize = 80;

/// After so many reports it is clear that the kernel is broken; further ones are not told.
const MAX_BUGS: usize = 20;

/// How far the line that names a bug can be behind the line that starts its report ("cut here", a border).
const LEAD_LINES: usize = 8;

/// Panics that only follow from a bug that was reported before.
const CONSEQUENCES: [&str; 8] = [
    "Fatal exception",
    "Oops",
    "kernel: panic_on_warn set",
    "panic_on_warn set",
    "softlockup: hung tasks",
    "hung_task: blocked tasks",
    "RCU Stall",
    "Hard LOCKUP",
];

/// Finds reports of bugs, line by line.
#[derive(Debug, Default)]
pub(super) struct Detector {
    /// The report that is being read.
    current: Option<Splat>,
    /// The last lines since something that may be the start of a report.
    lead: Vec<String>,
    /// The warning whose report is being read; it becomes a bug if the kernel panics over it.
    warning: Option<String>,
    /// Every complete report, in order; at most [`MAX_BUGS`].
    done: Vec<KernelBug>,
}

#[derive(Debug)]
struct Splat {
    bug: KernelBug,
    /// Whether its stack trace has begun.
    traced: bool,
    /// Whether the last line is a border that ends it.
    borders: bool,
}

impl Detector {
    /// Takes a line; gives the reports that are complete with it.
    pub(super) fn line(&mut self, line: &Line) -> Vec<KernelBug> {
        let mut done = Vec::new();
        // The tail of an overlong line is part of that line.
        if !line.is_whole() {
            if let Some(splat) = &mut self.current {
                splat.keep(line);
            }
            return done;
        }
        let message = line.message();
        if let Some(mut splat) = self.current.take() {
            match splat.step(message) {
                Step::Inside => {
                    splat.keep(line);
                    self.current = Some(splat);
                    return done;
                }
                Step::Last => {
                    splat.keep(line);
                    done.extend(self.close(splat));
                    return done;
                }
                Step::Behind => done.extend(self.close(splat)),
            }
        }
        self.follow_lead(line);
        if let Some((title, kind)) = recognize(message) {
            self.open(line, title, kind);
        }
        done
    }

    /// The console ended: whatever was being read is all there is.
    pub(super) fn finish(&mut self) -> Option<KernelBug> {
        let splat = self.current.take()?;
        self.close(splat)
    }

    /// Every report, in order; the last may not be complete.
    pub(super) fn bugs(&self) -> impl Iterator<Item = &KernelBug> {
        self.done.iter().chain(self.current.as_ref().map(|splat| &splat.bug))
    }

    /// Remembers lines that turn out to start a report when a later one names a bug.
    fn follow_lead(&mut self, line: &Line) {
        let message = line.message();
        if is_cut(message) || is_border(message) {
            self.lead.clear();
            self.warning = None;
            self.lead.push(line.text().to_owned());
        } else if !self.lead.is_empty() {
            if let Some(at) = message.strip_prefix("WARNING: ") {
                self.warning = Some(warning_title(at));
            }
            self.lead.push(line.text().to_owned());
            let over = message.starts_with("---[ end trace");
            let limit = if self.warning.is_some() { EXCERPT_LINES } else { LEAD_LINES };
            if over || self.lead.len() > limit {
                self.lead.clear();
                self.warning = None;
            }
        }
    }

    fn open(&mut self, line: &Line, mut title: String, kind: BugKind) {
        let lead = std::mem::take(&mut self.lead);
        let warning = self.warning.take();
        if kind == BugKind::Panic {
            let reason = title.as_str();
            if let Some(warning) = warning.filter(|_| reason.contains("panic_on_warn")) {
                title = warning;
            } else if !self.done.is_empty() && is_consequence(reason) {
                return;
            }
        }
        // The line itself is the last of its lead.
        let excerpt = if lead.is_empty() { vec![line.text().to_owned()] } else { lead };
        let borders = excerpt.len() > 1 && excerpt.first().is_some_and(|first| first.contains("====="));
        self.current = Some(Splat { bug: KernelBug { title, excerpt, kind }, traced: false, borders });
    }

    fn close(&mut self, splat: Splat) -> Option<KernelBug> {
        self.lead.clear();
        self.warning = None;
        if self.done.len() == MAX_BUGS {
            return None;
        }
        self.done.push(splat.bug.clone());
        Some(splat.bug)
    }
}

enum Step {
    Inside,
    Last,
    /// The line before was the last.
    Behind,
}

impl Splat {
    fn keep(&mut self, line: &Line) {
        if self.bug.excerpt.len() < EXCERPT_LINES {
            self.bug.excerpt.push(line.text().to_owned());
        }
    }

    fn step(&mut self, message: &str) -> Step {
        if message.starts_with("---[ end ") {
            return Step::Last;
        }
        if let Some(reason) = message.strip_prefix(PANIC) {
            // What became fatal before its own end goes on to the end of the panic.
            let same = self.bug.kind == BugKind::Panic || is_consequence(reason);
            return if same { Step::Inside } else { Step::Behind };
        }
        // A kernel that reboots after a panic says so, and then the firmware speaks.
        if message.starts_with("Rebooting in ") || message.starts_with("reboot: ") {
            return Step::Last;
        }
        if self.bug.excerpt.len() >= EXCERPT_LINES {
            return Step::Behind;
        }
        // An oops says what it is more than once: "BUG: unable to handle …", then "Oops: …". Any other bug is the next one.
        if let Some((_, kind)) = recognize(message)
            && !(kind == BugKind::Oops && matches!(self.bug.kind, BugKind::Oops | BugKind::Panic))
        {
            return Step::Behind;
        }
        match self.bug.kind {
            BugKind::Panic | BugKind::Oops => Step::Inside,
            _ if self.borders && is_border(message) => Step::Last,
            // Between two borders everything belongs to it.
            BugKind::Memory | BugKind::Undefined if self.borders => Step::Inside,
            _ => self.step_by_trace(message),
        }
    }

    /// A report without an end mark ends with its stack trace.
    fn step_by_trace(&mut self, message: &str) -> Step {
        if message.trim() == "</TASK>" {
            return Step::Last;
        }
        if message.trim_start().starts_with("Call Trace:") {
            self.traced = true;
            return Step::Inside;
        }
        if is_cut(message) || (self.traced && !message.starts_with(' ') && !is_register(message)) {
            return Step::Behind;
        }
        Step::Inside
    }
}

fn is_consequence(reason: &str) -> bool {
    CONSEQUENCES.iter().any(|consequence| reason.starts_with(consequence))
}

fn is_cut(message: &str) -> bool {
    message.starts_with("------------[ cut here ]")
}

fn is_border(message: &str) -> bool {
    let message = message.trim_end();
    message.len() >= 20 && message.bytes().all(|byte| byte == b'=')
}

/// `RIP: 0010:foo+0x1/0x2`, `RAX: 0000…`, `Code: 0f 0b`, `CR2: …`: part of a trace.
fn is_register(message: &str) -> bool {
    message.split_once(": ").is_some_and(|(name, _)| {
        name == "Code"
            || (2..=8).contains(&name.len())
                && name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// `CPU: 0 PID: 1 at kernel/x.c:12 foo+0x1/0x2` without the numbers that change from run to run.
fn warning_title(text: &str) -> String {
    let place = match text.split_once(" at ") {
        Some((numbers, place)) if numbers.starts_with("CPU: ") => place,
        _ => text,
    };
    let place = place.split_once("+0x").map_or(place, |(start, _)| start);
    format!("WARNING: {place}")
}
