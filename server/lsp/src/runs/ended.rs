//! How a run that did not pass looks on its target.

use std::collections::VecDeque;

use tower_lsp::lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, Range,
};
use vmtest_vm::event::Finished;
use vmtest_vm::verdict::Verdict;
use vmtest_vm::{sanitize, wording};

/// Lines of the output that are shown.
const LINES: usize = 10;
/// Longest part of one that is shown.
const WIDTH: usize = 200;
/// Lines of a console or of QEMU that are shown.
const DETAILS: usize = 20;
/// Bytes of output kept for them.
const KEPT: usize = LINES * WIDTH * 4;

/// The end of a target's output.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    /// Takes more output.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let over = (self.0.len() + bytes.len()).saturating_sub(KEPT);
        self.0.drain(..over);
        self.0.extend(bytes);
    }

    /// The last lines, clean, without empty ones at the end.
    fn lines(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.0.make_contiguous()).into_owned();
        let lines: Vec<_> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(LINES)..]
            .iter()
            .map(|line| shorten(&sanitize::line(line.as_bytes())))
            .collect()
    }
}

/// What is known when a target is done.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    /// The verdict and all beside it.
    pub(crate) finished: &'a Finished,
    /// The kernel's bug, as it was reported.
    pub(crate) bug: Option<&'a (String, Vec<String>)>,
    /// The end of the output.
    pub(crate) tail: &'a mut Tail,
    /// Where else to look, for clients that show such things.
    pub(crate) related: Vec<(Location, String)>,
}

/// The diagnostic on the target's header; none when there is nothing to say, or the user knows.
pub(crate) fn diagnostic(ended: Ended<'_>, header: Range) -> Option<Diagnostic> {
    let Ended { finished, bug, tail, related } = ended;
    let verdict = &finished.verdict;
    let none = (String::new(), Vec::new());
    let (title, excerpt) = bug.unwrap_or(&none);
    let (severity, headline) = match verdict {
        Verdict::Cancelled => return None,
        Verdict::Passed => {
            let tolerated = bug.and_then(|_| wording::tolerated_bug(verdict, title))?;
            (DiagnosticSeverity::WARNING, tolerated)
        }
        _ => (DiagnosticSeverity::ERROR, wording::headline(verdict)?),
    };
    let mut lines = vec![headline];
    lines.extend(wording::details(verdict, excerpt).iter().take(DETAILS).map(|line| shorten(line)));
    let output = tail.lines();
    if !verdict.passed() && !output.is_empty() {
        lines.push("The last lines of the output:".to_owned());
        lines.extend(output.iter().map(|line| format!("  | {line}")));
    }
    if let Some(lost) = wording::lost_writes(&finished.lost_writes).filter(|_| !verdict.passed()) {
        lines.push(lost);
    }
    let related: Vec<_> = related
        .into_iter()
        .map(|(location, message)| DiagnosticRelatedInformation { location, message })
        .collect();
    Some(Diagnostic {
        range: header,
        severity: Some(severity),
        code: Some(NumberOrString::String(wording::kind(verdict).replace(' ', "-"))),
        source: Some("vmtest".to_owned()),
        message: lines.join("\n"),
        related_information: (!related.is_empty()).then_some(related),
        ..Diagnostic::default()
    })
}

fn shorten(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use vmtest_vm::event::LostWrites;
    use vmtest_vm::verdict::Failure;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "so that a table reads well")]
    fn check(verdict: Verdict, output: &str, bug: Option<&str>, expected: Expect) {
        let lost_writes = LostWrites { count: 1, paths: vec!["/etc/motd".into()] };
        let finished = Finished { lost_writes, ..verdict.into() };
        let mut tail = Tail::default();
        tail.push(output.as_bytes());
        let bug = bug.map(|title| (title.to_owned(), vec![title.to_owned(), "Call Trace:".to_owned()]));
        let ended = Ended { finished: &finished, bug: bug.as_ref(), tail: &mut tail, related: vec![] };
        let shown = diagnostic(ended, Range::default()).map(|diagnostic| {
            let severity = diagnostic.severity.unwrap();
            let Some(NumberOrString::String(code)) = diagnostic.code else { panic!("no code") };
            format!("{severity:?} {code}\n{}\n", diagnostic.message)
        });
        expected.assert_eq(&shown.unwrap_or_default());
    }

    #[test]
    fn a_failure_shows_the_end_of_the_output() {
        let output =
            (0..20).map(|number| format!("\x1b[31mline {number}\x1b[0m\n")).collect::<Vec<_>>().concat();
        check(
            Verdict::Failed { exit_code: 3 },
            &(output + "\n\n"),
            None,
            expect![[r"
                Error failed
                Command failed with exit code: 3
                The last lines of the output:
                  | line 10
                  | line 11
                  | line 12
                  | line 13
                  | line 14
                  | line 15
                  | line 16
                  | line 17
                  | line 18
                  | line 19
                1 file that the guest wrote was thrown away: /etc/motd
            "]],
        );
    }

    #[test]
    fn a_boot_that_failed_shows_the_likely_cause_and_the_console() {
        let failure = Failure {
            reason: "no agent".into(),
            help: Some("set CONFIG_9P_FS".into()),
            console: vec!["Kernel panic".into()],
            qemu_stderr: vec![],
        };
        check(
            Verdict::BootFailed(failure),
            "",
            None,
            expect![[r"
                Error boot-failed
                Boot failed: no agent
                Help: set CONFIG_9P_FS
                Last lines of the console:
                  | Kernel panic
                1 file that the guest wrote was thrown away: /etc/motd
            "]],
        );
    }

    #[test]
    fn a_kernel_bug_shows_what_the_kernel_said() {
        check(
            Verdict::KernelBug { title: "BUG: bad".into() },
            "",
            Some("BUG: bad"),
            expect![[r"
                Error kernel-bug
                Kernel bug: BUG: bad
                The kernel's console said:
                  | BUG: bad
                  | Call Trace:
                1 file that the guest wrote was thrown away: /etc/motd
            "]],
        );
    }

    #[test]
    fn a_tolerated_bug_of_a_target_that_passed_is_a_warning() {
        check(
            Verdict::Passed,
            "fine\n",
            Some("BUG: bad"),
            expect![[r"
                Warning passed
                the kernel reported a bug: BUG: bad
            "]],
        );
    }

    #[test]
    fn what_passed_and_what_the_user_stopped_says_nothing() {
        check(Verdict::Passed, "x\n", None, expect![""]);
        check(Verdict::Cancelled, "x\n", None, expect![""]);
    }

    #[test]
    fn the_tail_is_bounded_and_its_lines_are_cut() {
        let mut tail = Tail::default();
        for _ in 0..100 {
            tail.push(&vec![b'x'; 10_000]);
        }
        assert_eq!(tail.0.len(), KEPT);
        assert_eq!(tail.lines()[0].chars().count(), WIDTH);
    }
}
