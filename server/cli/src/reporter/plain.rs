//! Text for a pipe, a file or a CI log. Scripts scrape its markers, so they are the original's to the letter.
//!
//! The guest's output reaches standard output byte for byte. Its standard error goes there too, which keeps the order of
//! what the command wrote; only for a target of the command line it goes to standard error, so that
//! `vmtest -k … 'cat file' | …` means what it does without vmtest.
//!
//! Targets that run at once never mix: one has the floor and is written as it happens, the others wait, each in its own
//! spool.

use std::collections::BTreeMap;
use std::io::{self, Write};

use vmtest_vm::event::{EventKind, Finished, OutputStream, RunEvent};
use vmtest_vm::verdict::Verdict;

use super::github::Commands;
use super::{Reporter, Summary};
use crate::spool::Spool;
use vmtest_vm::wording::Said;
use vmtest_vm::{sanitize, wording};

/// Notes kept for a target that waits for the floor.
const NOTES: usize = 100;

/// A download of so many bytes takes time, so there are lines about it.
const LARGE: u64 = 50_000_000;

/// How the text differs from case to case.
#[derive(Debug, Default)]
pub(crate) struct Style {
    /// A target of the command line: no verdict line, standard error apart.
    pub(crate) one_liner: bool,
    /// The console is written too.
    pub(crate) verbose: bool,
    /// Workflow commands around each target.
    pub(crate) github: Option<Commands>,
}

/// Writes text.
pub(crate) struct Plain<O, E> {
    out: O,
    err: E,
    style: Style,
    floor: Option<usize>,
    blocks: BTreeMap<usize, Block>,
    /// Finished without the floor, in the order in which they finished.
    waiting: Vec<usize>,
    said: Said,
}

/// One target's text.
#[derive(Debug, Default)]
struct Block {
    name: String,
    opened: bool,
    in_the_middle_of_a_line: bool,
    bug: Option<(String, Vec<String>)>,
    spool: Spool,
    notes: Vec<String>,
    download: Download,
}

/// What was said of a download.
#[derive(Debug, Default)]
struct Download {
    url: String,
    /// The last step that was said.
    step: u64,
}

impl Download {
    /// The line for how far it is now, where that is worth one: its beginning, and then four steps of a large one.
    fn line(&mut self, url: &str, received: u64, total: Option<u64>) -> Option<String> {
        if self.url != url {
            *self = Self { url: url.to_owned(), step: 0 };
            return Some(format!("===> Downloading {}", sanitize::line(url.as_bytes())));
        }
        let total = total.filter(|total| *total >= LARGE)?;
        let step = received * 4 / total;
        (step > self.step).then(|| {
            self.step = step;
            format!("  {}", wording::progress(received, Some(total)))
        })
    }
}

impl<O: Write + Send, E: Write + Send> Plain<O, E> {
    /// Writes to `out`, and what is not the run's own output to `err`.
    pub(crate) fn new(out: O, err: E, style: Style) -> Self {
        Self {
            out,
            err,
            style,
            floor: None,
            blocks: BTreeMap::new(),
            waiting: Vec::new(),
            said: Said::default(),
        }
    }

    /// Writes `text` as whole lines of target `index`.
    fn line(&mut self, index: usize, text: &str) -> io::Result<()> {
        let block = self.block(index);
        let break_first = std::mem::take(&mut block.in_the_middle_of_a_line);
        let text = format!("{}{text}\n", if break_first { "\n" } else { "" });
        self.raw(index, text.as_bytes())
    }

    fn raw(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        if self.floor == Some(index) {
            self.out.write_all(bytes)?;
            self.out.flush()
        } else {
            self.block(index).spool.push(bytes)
        }
    }

    fn block(&mut self, index: usize) -> &mut Block {
        self.blocks.entry(index).or_default()
    }

    fn note(&mut self, index: usize, text: &str) -> io::Result<()> {
        let text = sanitize::line(text.as_bytes());
        if self.style.github.is_some() {
            // Only inside the block commands have no effect.
            return self.line(index, &format!("note: {text}"));
        }
        let text = format!("vmtest: {}: {text}\n", sanitize::line(self.block(index).name.as_bytes()));
        if self.floor == Some(index) {
            return self.err.write_all(text.as_bytes());
        }
        let notes = &mut self.block(index).notes;
        if notes.len() < NOTES {
            notes.push(text);
        }
        Ok(())
    }

    fn output(&mut self, index: usize, stream: OutputStream, data: &[u8]) -> io::Result<()> {
        let Some(last) = data.last() else { return Ok(()) };
        if self.style.one_liner && stream == OutputStream::Stderr && self.style.github.is_none() {
            return self.err.write_all(data);
        }
        self.block(index).in_the_middle_of_a_line = *last != b'\n';
        self.raw(index, data)
    }

    /// Writes the beginning of a target's block, once.
    fn open(&mut self, event: &RunEvent) -> io::Result<()> {
        if self.floor.is_none() {
            self.floor = Some(event.index);
        }
        let block = self.block(event.index);
        if block.opened {
            return Ok(());
        }
        block.opened = true;
        block.name.clone_from(&event.target);
        if let Some(commands) = &self.style.github {
            let text = commands.open(&event.target, !self.style.one_liner);
            self.raw(event.index, text.as_bytes())?;
        }
        self.line(event.index, &format!("=> {}", sanitize::line(event.target.as_bytes())))
    }

    fn finish(&mut self, event: &RunEvent, finished: &Finished) -> io::Result<()> {
        let index = event.index;
        if !self.block(index).opened && finished.verdict == Verdict::Cancelled {
            // It never began; the summary counts it.
            self.blocks.remove(&index);
            return Ok(());
        }
        self.open(event)?;
        let (title, excerpt) = self.block(index).bug.take().unzip();
        let headline = wording::headline(&finished.verdict);
        if let Some(headline) = &headline {
            self.line(index, headline)?;
        }
        for line in wording::details(&finished.verdict, &excerpt.unwrap_or_default()) {
            self.line(index, &line)?;
        }
        if let Some(note) = title.and_then(|title| wording::tolerated_bug(&finished.verdict, &title)) {
            self.note(index, &note)?;
        }
        if let Some(note) = wording::lost_writes(&finished.lost_writes) {
            self.note(index, &note)?;
        }
        let group = !self.style.one_liner;
        if let Some(commands) = &self.style.github {
            let break_first =
                std::mem::take(&mut self.blocks.entry(index).or_default().in_the_middle_of_a_line);
            let close = commands.close(group);
            let annotation = headline
                .map(|headline| commands.annotation(index, &event.target, &headline))
                .unwrap_or_default();
            let text = format!("{}{close}{annotation}", if break_first { "\n" } else { "" });
            self.raw(index, text.as_bytes())?;
        }
        if group {
            self.line(index, if finished.verdict.passed() { "PASS" } else { "FAILED" })?;
        }
        if self.floor == Some(index) {
            self.blocks.remove(&index);
            self.pass_floor_on()
        } else {
            self.waiting.push(index);
            Ok(())
        }
    }

    /// Writes the blocks that are done, then lets the target that began first go on live.
    fn pass_floor_on(&mut self) -> io::Result<()> {
        for index in std::mem::take(&mut self.waiting) {
            if let Some(mut block) = self.blocks.remove(&index) {
                self.write_kept(&mut block)?;
            }
        }
        self.floor = self.blocks.iter().find(|(_, block)| block.opened).map(|(index, _)| *index);
        if let Some((index, mut block)) = self.floor.and_then(|floor| self.blocks.remove_entry(&floor)) {
            self.write_kept(&mut block)?;
            self.blocks.insert(index, block);
        }
        self.out.flush()
    }

    fn write_kept(&mut self, block: &mut Block) -> io::Result<()> {
        block.spool.drain_to(&mut self.out)?;
        for note in block.notes.drain(..) {
            self.err.write_all(note.as_bytes())?;
        }
        Ok(())
    }
}

impl<O: Write + Send, E: Write + Send> Reporter for Plain<O, E> {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        let index = event.index;
        if !matches!(event.kind, EventKind::Queued | EventKind::Finished(_)) {
            self.open(event)?;
        }
        match &event.kind {
            EventKind::Downloading { url, received, total } => {
                match self.block(index).download.line(url, *received, *total) {
                    Some(line) => self.line(index, &line),
                    None => Ok(()),
                }
            }
            // A second attempt is announced by a notice; the marker stands once for whoever counts.
            EventKind::Booting { attempt: 1, .. } => self.line(index, "===> Booting"),
            EventKind::Booted { .. } => self.line(index, "===> Setting up VM"),
            EventKind::CommandStarted => self.line(index, "===> Running command"),
            EventKind::Notice { message } if self.said.first_time(message) => self.note(index, message),
            EventKind::Console { line } if self.style.verbose => {
                self.line(index, &format!("  | {}", sanitize::line(line.as_bytes())))
            }
            EventKind::Notice { .. }
            | EventKind::Queued
            | EventKind::Preparing
            | EventKind::Booting { .. }
            | EventKind::Console { .. } => Ok(()),
            EventKind::Output(output) => self.output(index, output.stream, &output.data),
            EventKind::KernelBug { title, excerpt } => {
                // The first one is the cause, as a rule; what follows comes from it.
                self.block(index).bug.get_or_insert_with(|| (title.clone(), excerpt.clone()));
                Ok(())
            }
            EventKind::Finished(finished) => self.finish(event, finished),
        }
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        self.out.flush()?;
        if summary.results.len() > 1 {
            writeln!(self.err, "vmtest: {}", wording::summary(summary.verdicts(), summary.elapsed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use vmtest_vm::event::LostWrites;
    use vmtest_vm::executor::{Script, ScriptEnd};
    use vmtest_vm::verdict::Failure;

    use super::*;
    use crate::reporter::github::Place;
    use crate::reporter::testing::{self, Scripted, Written, passing, scripted, stdout};

    struct Outputs {
        out: Written,
        err: Written,
    }

    fn report(targets: Vec<Scripted>, style: Style) -> Outputs {
        let outputs = Outputs { out: Written::default(), err: Written::default() };
        testing::report(targets, Plain::new(outputs.out.clone(), outputs.err.clone(), style));
        outputs
    }

    fn check_verdict(verdict: Verdict, expected: &Expect) {
        expected.assert_eq(&report(vec![scripted("a", Vec::new(), verdict)], Style::default()).out.text());
    }

    fn one_liner() -> Style {
        Style { one_liner: true, ..Style::default() }
    }

    #[test]
    fn a_passing_target_has_the_originals_markers() {
        let outputs = report(vec![passing("bzImage-6.1", b"6.1.0\n")], Style::default());
        expect![[r"
            => bzImage-6.1
            ===> Booting
            ===> Setting up VM
            ===> Running command
            6.1.0
            PASS
        "]]
        .assert_eq(&outputs.out.text());
        assert_eq!(outputs.err.text(), "");
    }

    #[test]
    fn a_download_has_a_line_and_a_large_one_a_few() {
        let url = "https://example.org/\u{7}k";
        let reached = |received, total| EventKind::Downloading { url: url.to_owned(), received, total };
        let (small, large) = (LARGE - 1, LARGE * 2);
        for (total, lines) in [(small, 1), (large, 5)] {
            let events = (0..=100).map(|percent| reached(total * percent / 100, Some(total)));
            let events = std::iter::once(reached(0, None)).chain(events).collect();
            let end = ScriptEnd::Finish(testing::finished(Verdict::Passed));
            let text = report(vec![("a".to_owned(), Script { events, end })], Style::default()).out.text();
            assert_eq!(text.lines().nth(1), Some("===> Downloading https://example.org/k"), "{text}");
            assert_eq!(text.lines().count(), lines + 2, "{text}");
        }
    }

    #[test]
    fn a_one_liner_has_no_verdict_line() {
        expect![[r"
            => bzImage
            ===> Booting
            ===> Setting up VM
            ===> Running command
            6.1.0
        "]]
        .assert_eq(&report(vec![passing("bzImage", b"6.1.0\n")], one_liner()).out.text());
    }

    #[test]
    fn output_is_raw_to_the_byte() {
        let hostile = b"\xff\x00\x1b[2J]]>::error::x\r";
        let outputs = report(vec![passing("a", hostile)], one_liner());
        assert!(outputs.out.bytes().ends_with(b"===> Running command\n\xff\x00\x1b[2J]]>::error::x\r"));
    }

    #[test]
    fn a_marker_starts_a_line_also_after_output_without_a_line_break() {
        let text = report(vec![passing("a", b"no newline")], Style::default()).out.text();
        assert!(text.ends_with("no newline\nPASS\n"), "{text}");
    }

    #[test]
    fn standard_error_is_apart_only_for_a_one_liner() {
        let target = || {
            scripted(
                "a",
                vec![stdout(b"out\n"), testing::output(OutputStream::Stderr, b"err\n")],
                Verdict::Passed,
            )
        };
        let outputs = report(vec![target()], one_liner());
        assert!(outputs.out.text().ends_with("command\nout\n"));
        assert_eq!(outputs.err.text(), "err\n");
        let outputs = report(vec![target()], Style::default());
        assert!(outputs.out.text().ends_with("command\nout\nerr\nPASS\n"));
        assert_eq!(outputs.err.text(), "");
    }

    #[test]
    fn an_exit_status_is_told_in_the_originals_words() {
        check_verdict(
            Verdict::Failed { exit_code: 3 },
            &expect![[r"
                => a
                ===> Booting
                ===> Setting up VM
                ===> Running command
                Command failed with exit code: 3
                FAILED
            "]],
        );
    }

    #[test]
    fn a_signal_is_told_by_number_and_name() {
        check_verdict(
            Verdict::Killed { signal: 9 },
            &expect![[r"
                => a
                ===> Booting
                ===> Setting up VM
                ===> Running command
                Command killed by signal: 9 (SIGKILL)
                FAILED
            "]],
        );
    }

    #[test]
    fn a_timeout_tells_its_limit() {
        check_verdict(
            Verdict::TimedOut { limit: Duration::from_millis(1500) },
            &expect![[r"
                => a
                ===> Booting
                ===> Setting up VM
                ===> Running command
                Command timed out after 1.5 s
                FAILED
            "]],
        );
    }

    #[test]
    fn a_kernel_bug_comes_with_its_excerpt() {
        let bug = EventKind::KernelBug {
            title: "BUG: x".into(),
            excerpt: vec!["BUG: x".into(), "\x1b[31mRIP".into()],
        };
        let outputs = report(
            vec![scripted("a", vec![bug], Verdict::KernelBug { title: "BUG: x".into() })],
            Style::default(),
        );
        expect![[r"
            => a
            ===> Booting
            ===> Setting up VM
            ===> Running command
            Kernel bug: BUG: x
            The kernel's console said:
              | BUG: x
              | RIP
            FAILED
        "]]
        .assert_eq(&outputs.out.text());
    }

    #[test]
    fn a_kernel_bug_that_the_target_tolerates_is_still_said() {
        let bug = EventKind::KernelBug { title: "BUG: x".into(), excerpt: vec!["BUG: x".into()] };
        let outputs = report(vec![scripted("a", vec![bug], Verdict::Passed)], Style::default());
        assert!(outputs.out.text().ends_with("===> Running command\nPASS\n"));
        assert_eq!(outputs.err.text(), "vmtest: a: the kernel reported a bug: BUG: x\n");
    }

    #[test]
    fn a_failed_boot_comes_with_all_that_is_known() {
        let failure = Failure {
            reason: "QEMU exited with status 1".into(),
            help: Some("add your user to the group kvm".into()),
            console: vec!["Linux version 6.1".into()],
            qemu_stderr: vec!["could not access KVM".into()],
        };
        let script = Script {
            events: testing::booted().into_iter().take(3).collect(),
            end: ScriptEnd::Finish(testing::finished(Verdict::BootFailed(failure))),
        };
        expect![[r"
            => a
            ===> Booting
            Boot failed: QEMU exited with status 1
            Help: add your user to the group kvm
            Last lines of the console:
              | Linux version 6.1
            QEMU said:
              | could not access KVM
            FAILED
        "]]
        .assert_eq(&report(vec![("a".into(), script)], Style::default()).out.text());
    }

    #[test]
    fn the_console_is_written_only_when_asked_for() {
        let text = report(vec![passing("a", b"")], Style { verbose: true, ..Style::default() }).out.text();
        assert!(text.contains("===> Booting\n  | Linux version 6.1\n===> Setting up VM\n"), "{text}");
    }

    #[test]
    fn notices_and_lost_writes_go_to_standard_error() {
        let mut finished = testing::finished(Verdict::Passed);
        finished.lost_writes = LostWrites { count: 1, paths: vec!["/etc/x".into()] };
        let notice = EventKind::Notice { message: "KVM does not work; using TCG".into() };
        let script = Script { events: vec![notice], end: ScriptEnd::Finish(finished) };
        let outputs = report(vec![("a".into(), script)], Style::default());
        expect![[r"
            vmtest: a: KVM does not work; using TCG
            vmtest: a: 1 file that the guest wrote was thrown away: /etc/x
        "]]
        .assert_eq(&outputs.err.text());
    }

    #[test]
    fn a_notice_that_every_target_gives_is_written_once() {
        let target = || scripted("a", vec![EventKind::Notice { message: "no KVM".into() }], Verdict::Passed);
        let text = report(vec![target(), target()], Style::default()).err.text();
        assert_eq!(text.matches("no KVM").count(), 1, "{text}");
    }

    #[test]
    fn several_targets_have_a_summary_on_standard_error() {
        let targets = vec![passing("a", b""), scripted("b", Vec::new(), Verdict::Failed { exit_code: 1 })];
        expect![[r"
            vmtest: 1 passed, 1 failed in 12.3 s
        "]]
        .assert_eq(&report(targets, Style::default()).err.text());
    }

    #[test]
    fn targets_that_run_at_once_never_mix() {
        let target = |name: &str| {
            let lines = (0..3).map(|n| stdout(format!("{name}{n}\n").as_bytes())).collect();
            scripted(name, lines, Verdict::Passed)
        };
        // Ten events each: a has the floor while b finishes and c runs.
        let mut order = vec![0, 1, 2];
        order.extend([0, 1, 0, 2].repeat(4));
        order.extend([1, 1, 1, 1, 1]);
        order.extend([0, 2, 2, 2, 2, 2]);
        let out = Written::default();
        let mut plain = Plain::new(out.clone(), io::sink(), Style::default());
        testing::interleave(vec![target("a"), target("b"), target("c")], &order, &mut plain);
        let text = out.text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("===>")).collect();
        assert_eq!(
            lines,
            [
                "=> a", "a0", "a1", "a2", "PASS", "=> b", "b0", "b1", "b2", "PASS", "=> c", "c0", "c1", "c2",
                "PASS"
            ]
        );
    }

    #[test]
    fn the_floor_passes_to_a_running_target_which_goes_on_live() {
        let out = Written::default();
        let mut plain = Plain::new(out.clone(), io::sink(), Style::default());
        // b starts while a has the floor; a ends; b's next event is seen at once.
        let mut order = vec![0; 7];
        order.extend([1; 7]);
        order.extend([0; 1]);
        testing::interleave(vec![passing("a", b"a\n"), passing("b", b"b\n")], &order, &mut plain);
        assert!(
            out.text()
                .ends_with("a\nPASS\n=> b\n===> Booting\n===> Setting up VM\n===> Running command\nb\n")
        );
    }

    #[test]
    fn a_target_that_never_began_is_only_counted() {
        let finished = testing::finished(Verdict::Cancelled);
        let script = Script { events: Vec::new(), end: ScriptEnd::Finish(finished) };
        assert_eq!(report(vec![("a".into(), script)], Style::default()).out.text(), "");
    }

    #[test]
    fn in_github_actions_output_cannot_give_commands_and_failures_are_annotated() {
        let places = vec![None, Some(Place { file: "vmtest.toml".into(), line: 9 })];
        let style = Style { github: Some(Commands::new(places)), ..Style::default() };
        let targets = vec![
            passing("a", b"::error::forged"),
            scripted("b", vec![EventKind::Notice { message: "n".into() }], Verdict::Failed { exit_code: 2 }),
        ];
        let text = report(targets, style).out.text();
        let token = text.split("::stop-commands::").nth(1).unwrap().lines().next().unwrap();
        expect![[r"
            ::group::a
            ::stop-commands::TOKEN
            => a
            ===> Booting
            ===> Setting up VM
            ===> Running command
            ::error::forged
            ::TOKEN::
            ::endgroup::
            PASS
            ::group::b
            ::stop-commands::TOKEN
            => b
            ===> Booting
            ===> Setting up VM
            ===> Running command
            note: n
            Command failed with exit code: 2
            ::TOKEN::
            ::endgroup::
            ::error file=vmtest.toml,line=9,title=vmtest%3A b::Command failed with exit code: 2
            FAILED
        "]]
        .assert_eq(&text.replace(token, "TOKEN"));
    }
}
