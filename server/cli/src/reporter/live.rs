//! A terminal: a window for each running target, that folds to one line when the target passes and unfolds to what is
//! kept of its output when it does not.
//!
//! [`Live::frame`] says what the lower part of the screen shows, as text; [`Screen`] puts it there. No cursor is hidden
//! and no mode is set, so there is nothing to restore whatever ends the process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use console::{measure_text_width, truncate_str};
use tokio_util::sync::CancellationToken;
use vmtest_vm::event::{EventKind, Finished, RunEvent, Start};
use vmtest_vm::verdict::Verdict;

use super::{Clock, Reporter, Summary};
use crate::linebuf::LineBuffer;
use crate::paint::Paint;
use vmtest_vm::logs::LogPaths;
use vmtest_vm::wording::Said;
use vmtest_vm::{sanitize, wording};

/// Lines of a window.
const WINDOW: usize = 8;
/// Time between two frames.
const FRAME: Duration = Duration::from_millis(50);

/// What the live view needs to know.
pub(crate) struct Options {
    /// How many targets there are.
    pub(crate) targets: usize,
    /// A target of the command line: all its output stays.
    pub(crate) one_liner: bool,
    /// The console is kept too.
    pub(crate) verbose: bool,
    /// Whether there are colours.
    pub(crate) paint: Paint,
    /// Where whole outputs are.
    pub(crate) logs: LogPaths,
    /// Time since the run's start.
    pub(crate) clock: Clock,
    /// Rows and columns of the terminal, asked before each frame.
    pub(crate) size: Box<dyn Fn() -> (usize, usize) + Send>,
    /// Fires when the user stops the run.
    pub(crate) cancel: CancellationToken,
}

/// Draws.
pub(crate) struct Live<W> {
    options: Options,
    screen: Screen<W>,
    running: BTreeMap<usize, Running>,
    done: Vec<Verdict>,
    /// Lines that will scroll away above the windows.
    settled: Vec<String>,
    changed: bool,
    said: Said,
}

/// One running target.
#[derive(Debug)]
struct Running {
    name: String,
    phase: &'static str,
    /// More about the phase.
    with: Cow<'static, str>,
    since: Duration,
    output: LineBuffer,
    console: LineBuffer,
    in_command: bool,
    notes: Vec<String>,
    bug: Option<(String, Vec<String>)>,
}

impl<W: Write + Send> Live<W> {
    /// Draws on `out`.
    pub(crate) fn new(out: W, options: Options) -> Self {
        Self {
            options,
            screen: Screen { out, drawn: 0 },
            running: BTreeMap::new(),
            done: Vec::new(),
            settled: Vec::new(),
            changed: false,
            said: Said::default(),
        }
    }

    /// What the lower part of the screen shows now.
    fn frame(&self, rows: usize, columns: usize) -> Vec<String> {
        let paint = self.options.paint;
        let now = (self.options.clock)();
        let stopping = self.options.cancel.is_cancelled();
        let status = self.options.targets > 1 || stopping;
        // One row stays free for the cursor; a frame taller than the screen could not be taken back.
        let room = rows.saturating_sub(1 + usize::from(status));
        let each = (room / self.running.len().max(1)).saturating_sub(1).min(WINDOW);
        let mut frame = Vec::new();
        for running in self.running.values() {
            if frame.len() + 1 > room {
                break;
            }
            let elapsed = wording::seconds(now.saturating_sub(running.since));
            let with = if running.with.is_empty() { String::new() } else { format!(" ({})", running.with) };
            let state = format!("  {}{with}  {elapsed}", running.phase);
            let name = fit(&running.name, columns.saturating_sub(3 + measure_text_width(&state)).max(8));
            frame.push(fit(
                &format!("{} {}{}", paint.running("▶"), paint.strong(&name), paint.dim(&state)),
                columns,
            ));
            let lines = match (self.options.one_liner, running.in_command) {
                // All its lines are above already; only one that is not complete is not.
                (true, true) => running.output.partial_line().into_iter().collect(),
                (_, true) => running.output.last(each),
                (_, false) => running.console.last(each),
            };
            for line in lines {
                if frame.len() < room {
                    frame.push(paint.dim(&fit(&format!("  │ {line}"), columns)));
                }
            }
        }
        if status {
            let failed = self.done.iter().filter(|verdict| !verdict.passed()).count();
            let failed = if failed > 0 { format!(", {failed} not passed") } else { String::new() };
            let (done, all) = (self.done.len(), self.options.targets);
            let stopping = if stopping { "  stopping… (again to quit at once)" } else { "" };
            let line = format!("  {done} of {all} done{failed}  {}{stopping}", wording::seconds(now));
            frame.push(paint.dim(&fit(&line, columns)));
        }
        frame
    }

    fn draw(&mut self) -> io::Result<()> {
        let (rows, columns) = (self.options.size)();
        let frame = self.frame(rows, columns);
        self.changed = false;
        self.screen.draw(&std::mem::take(&mut self.settled), &frame)
    }

    fn running(&mut self, event: &RunEvent) -> &mut Running {
        let now = (self.options.clock)();
        self.running.entry(event.index).or_insert_with(|| Running {
            name: sanitize::line(event.target.as_bytes()),
            phase: "preparing",
            with: Cow::Borrowed(""),
            since: now,
            output: LineBuffer::default(),
            console: LineBuffer::default(),
            in_command: false,
            notes: Vec::new(),
            bug: None,
        })
    }

    fn phase(&mut self, event: &RunEvent, phase: &'static str, with: &'static str) {
        let now = (self.options.clock)();
        let running = self.running(event);
        (running.phase, running.with, running.since) = (phase, Cow::Borrowed(with), now);
    }

    fn download(&mut self, event: &RunEvent, received: u64, total: Option<u64>) {
        const PHASE: &str = "downloading";
        if self.running(event).phase != PHASE {
            self.phase(event, PHASE, "");
        }
        let bar = total.map(|total| format!("{} ", bar(received, total))).unwrap_or_default();
        self.running(event).with = Cow::Owned(format!("{bar}{}", wording::progress(received, total)));
    }

    fn finish(&mut self, event: &RunEvent, finished: &Finished) {
        self.done.push(finished.verdict.clone());
        let Some(mut running) = self.running.remove(&event.index) else { return };
        let (paint, one_liner) = (self.options.paint, self.options.one_liner);
        let settled = &mut self.settled;
        let keep = |line: &str| {
            if one_liner {
                settled.push(line.to_owned());
            }
        };
        running.output.finish(keep);
        let time = wording::seconds(finished.durations.total);
        let headline = wording::headline(&finished.verdict);
        match &headline {
            None => self.settled.push(format!("{} {}  {}", paint.good("✓"), running.name, paint.dim(&time))),
            Some(headline) => {
                self.settled.push(format!(
                    "{} {}  {}",
                    paint.bad("✗"),
                    paint.strong(&running.name),
                    paint.dim(&time)
                ));
                if !one_liner {
                    let log = self.options.logs.output_file(event.index, &event.target);
                    let log = log.map(|log| {
                        format!(", full log in {}", sanitize::line(log.as_os_str().as_encoded_bytes()))
                    });
                    let (head, left_out, tail) = running.output.kept();
                    let show = |line: &String| format!("  │ {line}");
                    self.settled.extend(head.iter().map(show));
                    if left_out > 0 {
                        let note = format!("  … {left_out} lines left out{}", log.unwrap_or_default());
                        self.settled.push(paint.dim(&note));
                    }
                    self.settled.extend(tail.map(show));
                }
                self.settled.push(format!("  {}", paint.bad(headline)));
            }
        }
        let (title, excerpt) = running.bug.unzip();
        let details = wording::details(&finished.verdict, &excerpt.unwrap_or_default());
        self.settled.extend(details.into_iter().map(|line| format!("  {line}")));
        let bug = title.and_then(|title| wording::tolerated_bug(&finished.verdict, &title));
        let lost = wording::lost_writes(&finished.lost_writes);
        for note in running.notes.into_iter().chain(bug).chain(lost) {
            self.settled.push(format!("  {} {note}", paint.dim("note:")));
        }
    }
}

impl<W: Write + Send> Reporter for Live<W> {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        self.changed = true;
        match &event.kind {
            EventKind::Queued => {}
            EventKind::Downloading { received, total, .. } => self.download(event, *received, *total),
            EventKind::Preparing => self.phase(event, "preparing", ""),
            EventKind::Booting { accelerator, .. } => self.phase(event, "booting", accelerator.name()),
            EventKind::Booted { start, .. } => {
                self.phase(event, "setting up", if *start == Start::Snapshot { "snapshot" } else { "" });
            }
            EventKind::CommandStarted => {
                self.phase(event, "running", "");
                self.running(event).in_command = true;
            }
            EventKind::Notice { message } => {
                if !self.said.first_time(message) {
                    return Ok(());
                }
                let notes = &mut self.running(event).notes;
                if notes.len() < 100 {
                    notes.push(sanitize::line(message.as_bytes()));
                }
            }
            EventKind::Console { line } => {
                let verbose = self.options.verbose;
                let mut lines = Vec::new();
                let console = &mut self.running(event).console;
                console.push(line.as_bytes(), |_| ());
                console.push(b"\n", |line| lines.push(format!("  | {line}")));
                if verbose {
                    self.settled.extend(lines);
                }
            }
            EventKind::Output(output) => {
                let one_liner = self.options.one_liner;
                let mut lines = Vec::new();
                self.running(event).output.push(&output.data, |line| {
                    if one_liner {
                        lines.push(line.to_owned());
                    }
                });
                self.settled.extend(lines);
            }
            EventKind::KernelBug { title, excerpt } => {
                // The first one is the cause, as a rule; what follows comes from it.
                self.running(event).bug.get_or_insert_with(|| (title.clone(), excerpt.clone()));
            }
            EventKind::Finished(finished) => {
                self.finish(event, finished);
                return self.draw();
            }
        }
        // Between two frames a fast guest may print more than is worth keeping in memory.
        if self.settled.len() > 1000 { self.draw() } else { Ok(()) }
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(FRAME)
    }

    fn tick(&mut self) -> io::Result<()> {
        if self.running.is_empty() && !self.changed { Ok(()) } else { self.draw() }
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        if summary.results.len() > 1 {
            let passed = summary.verdicts().all(Verdict::passed);
            let line = wording::summary(summary.verdicts(), summary.elapsed);
            let paint = self.options.paint;
            self.settled.push(if passed { paint.good(&line) } else { paint.bad(&line) });
        }
        self.screen.draw(&std::mem::take(&mut self.settled), &[])
    }
}

/// How much of a download is there, in ten steps.
fn bar(received: u64, total: u64) -> String {
    let done = (received.min(total) * 10 / total.max(1)) as usize;
    format!("{}{}", "━".repeat(done), "┄".repeat(10 - done))
}

/// Cuts `line` to the terminal's width; one column stays free, because a full line wraps on some terminals.
fn fit(line: &str, columns: usize) -> String {
    truncate_str(line, columns.saturating_sub(1).max(1), "…").into_owned()
}

/// The part of the terminal that is drawn over.
struct Screen<W> {
    out: W,
    drawn: usize,
}

impl<W: Write> Screen<W> {
    /// Replaces the last frame by `settled`, which stays, and `frame`, which the next call replaces. One write, so that a
    /// terminal shows no state in between.
    fn draw(&mut self, settled: &[String], frame: &[String]) -> io::Result<()> {
        use std::fmt::Write as _;
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A\r\x1b[J", self.drawn);
        }
        for line in settled.iter().chain(frame) {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = frame.len();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;
    use vmtest_vm::executor::{Script, ScriptEnd};
    use vmtest_vm::verdict::Verdict;

    use super::*;
    use crate::reporter::testing::{self, Scripted, Written, passing, scripted, stdout};
    use vmtest_vm::logs::Logs;

    fn options(one_liner: bool, targets: usize) -> Options {
        Options {
            targets,
            one_liner,
            verbose: false,
            paint: Paint::off(),
            logs: LogPaths::default(),
            clock: Arc::new(|| Duration::from_millis(2300)),
            size: Box::new(|| (24, 40)),
            cancel: CancellationToken::new(),
        }
    }

    /// What a terminal would show after everything written so far.
    fn screen(written: &Written) -> String {
        let mut lines: Vec<String> = Vec::new();
        let text = written.text();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\x1b') {
            lines.extend(rest[..at].lines().map(str::to_owned));
            let (up, after) = rest[at + 2..].split_once('A').expect("only frames are taken back");
            lines.truncate(lines.len() - up.parse::<usize>().unwrap());
            rest = after.strip_prefix("\r\x1b[J").unwrap();
        }
        lines.extend(rest.lines().map(str::to_owned));
        lines.join("\n") + "\n"
    }

    fn shown(targets: Vec<Scripted>, one_liner: bool) -> String {
        let out = Written::default();
        let count = targets.len();
        testing::report(targets, Live::new(out.clone(), options(one_liner, count)));
        screen(&out)
    }

    #[test]
    fn a_target_that_passes_folds_to_one_line() {
        expect![[r"
            ✓ a  0.9 s
        "]]
        .assert_eq(&shown(vec![passing("a", b"hi\n")], false));
    }

    #[test]
    fn a_target_that_fails_unfolds() {
        let target = scripted("a", vec![stdout(b"one\ntwo")], Verdict::Failed { exit_code: 3 });
        expect![[r"
            ✓ b  0.9 s
            ✗ a  0.9 s
              │ one
              │ two
              Command failed with exit code: 3
            1 passed, 1 failed in 12.3 s
        "]]
        .assert_eq(&shown(vec![passing("b", b""), target], false));
    }

    #[test]
    fn a_one_liner_keeps_its_output() {
        expect![[r"
            one
            two
            ✓ a  0.9 s
        "]]
        .assert_eq(&shown(vec![passing("a", b"one\ntwo")], true));
    }

    #[test]
    fn windows_show_phase_time_and_last_lines() {
        let out = Written::default();
        let mut live = Live::new(out.clone(), options(false, 3));
        let lines: Vec<u8> = (0..20)
            .flat_map(|n| format!("line {n} of a guest that writes very much\n").into_bytes())
            .collect();
        // Eight events each: a is in its command, b has just begun to boot.
        let order = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1];
        testing::interleave(vec![passing("a", &lines), passing("b", b"")], &order, &mut live);
        live.tick().unwrap();
        expect![[r"
            ▶ a  running  0.0 s
              │ line 12 of a guest that writes ver…
              │ line 13 of a guest that writes ver…
              │ line 14 of a guest that writes ver…
              │ line 15 of a guest that writes ver…
              │ line 16 of a guest that writes ver…
              │ line 17 of a guest that writes ver…
              │ line 18 of a guest that writes ver…
              │ line 19 of a guest that writes ver…
            ▶ b  booting (kvm)  0.0 s
              │ Linux version 6.1
              0 of 3 done  2.3 s
        "]]
        .assert_eq(&screen(&out));
    }

    #[test]
    fn a_download_shows_how_far_it_is() {
        let out = Written::default();
        let wide = Options { size: Box::new(|| (24, 80)), ..options(false, 1) };
        let mut live = Live::new(out.clone(), wide);
        let url = || "https://example.org/k".to_owned();
        let events = vec![
            EventKind::Downloading { url: url(), received: 0, total: None },
            EventKind::Downloading { url: url(), received: 300_000, total: Some(1_200_000) },
        ];
        let end = ScriptEnd::Finish(testing::finished(Verdict::Passed));
        testing::interleave(vec![("a".to_owned(), Script { events, end })], &[0, 0, 0], &mut live);
        live.tick().unwrap();
        expect![[r"
            ▶ a  downloading (━━┄┄┄┄┄┄┄┄ 300 kB of 1.2 MB, 25 %)  0.0 s
        "]]
        .assert_eq(&screen(&out));
    }

    #[test]
    fn a_frame_is_never_taller_than_the_terminal() {
        let small = Options { size: Box::new(|| (5, 40)), ..options(false, 9) };
        let mut live = Live::new(Written::default(), small);
        let targets = (0..9).map(|n| passing(&n.to_string(), b"x\n")).collect();
        let order: Vec<_> = (0..7).flat_map(|_| 0..9).collect();
        testing::interleave(targets, &order, &mut live);
        assert!(live.frame(5, 40).len() < 5);
    }

    #[test]
    fn hostile_output_moves_nothing() {
        let hostile = b"\x1b[2J\x1b[10A\x1b]0;title\x07bad\r\xc2\x9b5A\x1bcgood\n";
        let out = Written::default();
        let targets = vec![scripted("a\x1b[2J", vec![stdout(hostile)], Verdict::Failed { exit_code: 1 })];
        testing::report(targets, Live::new(out.clone(), options(false, 1)));
        let foreign = out
            .text()
            .split('\x1b')
            .skip(1)
            .filter(|rest| {
                let up = rest.trim_start_matches('[').trim_start_matches(|c: char| c.is_ascii_digit());
                !up.starts_with("A\r") && *rest != "[J" && !rest.starts_with("[J")
            })
            .count();
        assert_eq!(foreign, 0, "{:?}", out.text());
        assert!(screen(&out).contains("  │ good"));
    }

    #[test]
    fn lines_left_out_are_counted_and_the_log_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::create(folder.path().to_owned(), 1).unwrap();
        let out = Written::default();
        let many: Vec<u8> = (0..900).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let options = Options { logs: logs.paths(), ..options(false, 1) };
        let targets = vec![scripted("a", vec![stdout(&many)], Verdict::Failed { exit_code: 1 })];
        testing::report(targets, Live::new(out.clone(), options));
        let expected = format!("  … 400 lines left out, full log in {}/01-a.log\n", folder.path().display());
        assert!(screen(&out).contains(&expected));
    }
}
