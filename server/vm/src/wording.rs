//! The sentences about a target's end that every report shares.

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::{Durations, LostWrites};
use crate::verdict::{Failure, Verdict};
use nix::sys::signal::Signal;

use crate::sanitize;

/// `0.9 s`, `75.0 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// `12 kB`, `3.4 MB`, `1.2 GB`.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// `3.4 MB of 12.0 MB, 28 %`: how far a download is.
pub fn progress(received: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => {
            let percent = received.min(total) as f64 / total as f64 * 100.0;
            format!("{} of {}, {percent:.0} %", bytes(received), bytes(total))
        }
        _ => bytes(received),
    }
}

/// `90 s`, `1.5 s`: a limit as the user would write it.
fn limit(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// `SIGSEGV`; none for a real-time signal.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Signal::try_from(signal).ok().map(Signal::as_str)
}

/// The word that the summary counts.
pub fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed { .. } => "failed",
        Verdict::Killed { .. } => "killed",
        Verdict::TimedOut { .. } => "timed out",
        Verdict::KernelBug { .. } => "kernel bug",
        Verdict::BootFailed(_) => "boot failed",
        Verdict::Lost(_) => "lost",
        Verdict::Cancelled => "cancelled",
    }
}

/// One line that says what went wrong; none when nothing did. Scripts look for the first of these.
pub fn headline(verdict: &Verdict) -> Option<String> {
    let line = match verdict {
        Verdict::Passed => return None,
        Verdict::Failed { exit_code } => format!("Command failed with exit code: {exit_code}"),
        Verdict::Killed { signal } => match signal_name(*signal) {
            Some(name) => format!("Command killed by signal: {signal} ({name})"),
            None => format!("Command killed by signal: {signal}"),
        },
        Verdict::TimedOut { limit: time } => format!("Command timed out after {}", limit(*time)),
        Verdict::KernelBug { title } => format!("Kernel bug: {}", sanitize::line(title.as_bytes())),
        Verdict::BootFailed(failure) => format!("Boot failed: {}", sanitize::line(failure.reason.as_bytes())),
        Verdict::Lost(failure) => format!("Lost: {}", sanitize::line(failure.reason.as_bytes())),
        Verdict::Cancelled => "Cancelled".to_owned(),
    };
    Some(line)
}

/// What to know beyond the headline. Every line of the guest or of QEMU starts with a bar, so that it cannot pass for a
/// line of vmtest.
pub fn details(verdict: &Verdict, excerpt: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    match verdict {
        Verdict::KernelBug { .. } => quote(&mut lines, "The kernel's console said:", excerpt),
        Verdict::BootFailed(failure) | Verdict::Lost(failure) => {
            let Failure { reason: _, help, console, qemu_stderr } = failure;
            if let Some(help) = help {
                lines.push(format!("Help: {}", sanitize::line(help.as_bytes())));
            }
            quote(&mut lines, "Last lines of the console:", console);
            quote(&mut lines, "QEMU said:", qemu_stderr);
        }
        Verdict::Passed
        | Verdict::Failed { .. }
        | Verdict::Killed { .. }
        | Verdict::TimedOut { .. }
        | Verdict::Cancelled => {}
    }
    lines
}

/// A bug of the kernel that did not decide the verdict, because the target has `fail_on_kernel_bug = false`.
pub fn tolerated_bug(verdict: &Verdict, title: &str) -> Option<String> {
    let decides = matches!(verdict, Verdict::KernelBug { .. });
    (!decides).then(|| format!("the kernel reported a bug: {}", sanitize::line(title.as_bytes())))
}

fn quote(lines: &mut Vec<String>, title: &str, quoted: &[String]) {
    if quoted.is_empty() {
        return;
    }
    lines.push(title.to_owned());
    lines.extend(quoted.iter().map(|line| format!("  | {}", sanitize::line(line.as_bytes()))));
}

/// Remembers what was said in a run: what is true of the machine is told by every target, and read once.
#[derive(Debug, Default)]
pub struct Said(std::collections::HashSet<String>);

impl Said {
    /// Whether `message` is new.
    pub fn first_time(&mut self, message: &str) -> bool {
        const REMEMBERED: usize = 1000;
        !self.0.contains(message) && (self.0.len() >= REMEMBERED || self.0.insert(message.to_owned()))
    }
}

/// What the user would look for in vain; none when nothing was lost.
pub fn lost_writes(lost: &LostWrites) -> Option<String> {
    const SHOWN: usize = 5;
    if lost.count == 0 {
        return None;
    }
    let (files, were) = if lost.count == 1 { ("file", "was") } else { ("files", "were") };
    let mut line = format!("{} {files} that the guest wrote {were} thrown away", lost.count);
    let mut separator = ": ";
    for path in lost.paths.iter().take(SHOWN) {
        let _ = write!(line, "{separator}{}", sanitize::line(path.as_bytes()));
        separator = ", ";
    }
    let shown = lost.paths.len().min(SHOWN) as u64;
    if shown > 0 && lost.count > shown {
        line.push_str(", …");
    }
    Some(line)
}

/// `boot 0.4 s, set-up 0.1 s, command 2.0 s`.
pub fn phases(durations: &Durations) -> String {
    format!(
        "boot {}, set-up {}, command {}",
        seconds(durations.boot),
        seconds(durations.setup),
        seconds(durations.command)
    )
}

/// `3 passed, 1 failed, 1 killed in 12.3 s`.
pub fn summary<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>, elapsed: Duration) -> String {
    const ORDER: [&str; 8] =
        ["passed", "failed", "killed", "timed out", "kernel bug", "boot failed", "lost", "cancelled"];
    let kinds: Vec<_> = verdicts.into_iter().map(kind).collect();
    let count = |known: &&'static str| (*known, kinds.iter().filter(|kind| *kind == known).count());
    let counted: Vec<_> = ORDER
        .iter()
        .map(count)
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let counted = if counted.is_empty() { "nothing ran".to_owned() } else { counted.join(", ") };
    format!("{counted} in {}", seconds(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named() {
        assert_eq!(
            headline(&Verdict::Killed { signal: 11 }).as_deref(),
            Some("Command killed by signal: 11 (SIGSEGV)")
        );
        assert_eq!(
            headline(&Verdict::Killed { signal: 40 }).as_deref(),
            Some("Command killed by signal: 40")
        );
    }

    #[test]
    fn the_summary_counts_each_kind() {
        let verdicts = [
            Verdict::Passed,
            Verdict::Killed { signal: 9 },
            Verdict::Passed,
            Verdict::Failed { exit_code: 1 },
        ];
        assert_eq!(
            summary(&verdicts, Duration::from_millis(12_340)),
            "2 passed, 1 failed, 1 killed in 12.3 s"
        );
    }

    #[test]
    fn lost_writes_name_the_first_paths() {
        let lost = LostWrites { count: 2, paths: vec!["/etc/a".into(), "/var/b\n".into()] };
        assert_eq!(
            lost_writes(&lost).as_deref(),
            Some("2 files that the guest wrote were thrown away: /etc/a, /var/b")
        );
        let many = LostWrites { count: 9, paths: (0..9).map(|n| format!("/{n}")).collect() };
        assert!(lost_writes(&many).unwrap().ends_with("/3, /4, …"));
    }

    #[test]
    fn a_guest_line_cannot_pass_for_ours() {
        let failure = Failure {
            reason: "no agent".into(),
            console: vec!["PASS".into(), "\x1b[2J".into()],
            ..Failure::default()
        };
        assert_eq!(
            details(&Verdict::BootFailed(failure), &[]),
            ["Last lines of the console:", "  | PASS", "  | "]
        );
    }
}
