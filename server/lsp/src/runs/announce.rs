//! How a run shows in a client that knows nothing of vmtest: its output in the log, its phase as progress.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_lsp::lsp_types::{
    MessageType, NumberOrString, ProgressParams, ProgressParamsValue, WorkDoneProgress,
    WorkDoneProgressBegin, WorkDoneProgressEnd, WorkDoneProgressReport,
};
use vmtest_vm::event::{EventKind, Finished};
use vmtest_vm::verdict::Verdict;
use vmtest_vm::{sanitize, wording};

use super::TargetState;
use super::tokens::{self, Tokens};
use crate::outbox::{Notice, Outbox};

/// What the client's log gets of a target's output in a second; it is for reading, and the file has everything.
const PER_SECOND: usize = 32 << 10;
/// A line longer than this is cut.
const LONGEST: usize = 4 << 10;
/// A token is not used again for so long after its end: eglot forgets it 2 s after that, whoever has it then.
const REST: Duration = Duration::from_secs(3);

/// Turns events into messages for `window/logMessage`.
#[derive(Debug)]
pub(crate) struct LogLines {
    name: String,
    log: Option<PathBuf>,
    /// The URL that was told of.
    download: Option<String>,
    partial: Vec<u8>,
    second: Instant,
    spent: usize,
    left_out: u64,
}

impl LogLines {
    /// For a target of this name whose whole output is in `log`.
    pub(crate) fn new(name: &str, log: Option<PathBuf>) -> Self {
        let name = sanitize::name(name);
        Self { name, log, download: None, partial: Vec::new(), second: Instant::now(), spent: 0, left_out: 0 }
    }

    /// What to say about `event`, in order.
    pub(crate) fn messages(&mut self, event: &EventKind) -> Vec<Notice> {
        match event {
            EventKind::Output(output) => self.output(&output.data),
            EventKind::Downloading { url, .. } if self.download.as_ref() != Some(url) => {
                self.download = Some(url.clone());
                vec![self.say(MessageType::INFO, &format!("downloads {}", sanitize::line(url.as_bytes())))]
            }
            EventKind::Booting { accelerator, attempt } => {
                let again = if *attempt > 1 { " again" } else { "" };
                vec![self.say(MessageType::INFO, &format!("boots{again} ({})", accelerator.name()))]
            }
            EventKind::Notice { message } => {
                vec![self.say(MessageType::WARNING, &sanitize::line(message.as_bytes()))]
            }
            EventKind::KernelBug { title, .. } => {
                let title = sanitize::line(title.as_bytes());
                vec![self.say(MessageType::ERROR, &format!("the kernel reported a bug: {title}"))]
            }
            EventKind::Finished(finished) => self.finished(finished),
            _ => Vec::new(),
        }
    }

    fn say(&self, typ: MessageType, text: &str) -> Notice {
        Notice::Log(typ, format!("{}: {text}", self.name))
    }

    /// Whole lines, many in one message.
    fn output(&mut self, data: &[u8]) -> Vec<Notice> {
        let mut messages = Vec::new();
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.spent = 0;
            messages.extend(self.confess());
        }
        let mut text = String::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST - self.partial.len().min(LONGEST);
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.line(&mut text);
            }
        }
        messages.extend((!text.is_empty()).then(|| Notice::Log(MessageType::LOG, text)));
        messages
    }

    fn line(&mut self, text: &mut String) {
        let line = std::mem::take(&mut self.partial);
        if self.spent >= PER_SECOND {
            self.left_out += 1;
            return;
        }
        self.spent += line.len() + 1;
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&self.name);
        text.push_str(" | ");
        text.push_str(&sanitize::line(&line));
    }

    /// Says what was left out, once there is room again.
    fn confess(&mut self) -> Option<Notice> {
        let count = std::mem::take(&mut self.left_out);
        let lines = if count == 1 { "line" } else { "lines" };
        let place = self.log.as_ref().map(|log| format!("; the whole output is in {}", log.display()));
        (count > 0).then(|| {
            self.say(MessageType::LOG, &format!("… {count} {lines} left out{}", place.unwrap_or_default()))
        })
    }

    fn finished(&mut self, finished: &Finished) -> Vec<Notice> {
        let mut messages = Vec::new();
        if !self.partial.is_empty() {
            let mut text = String::new();
            self.line(&mut text);
            messages.extend((!text.is_empty()).then(|| Notice::Log(MessageType::LOG, text)));
        }
        messages.extend(self.confess());
        let verdict = &finished.verdict;
        let typ = severity(verdict);
        messages.push(self.say(typ, &ended(verdict, finished.durations.total)));
        for line in wording::details(verdict, &[]) {
            messages.push(self.say(typ, &line));
        }
        if let Some(lost) = wording::lost_writes(&finished.lost_writes) {
            messages.push(self.say(MessageType::WARNING, &lost));
        }
        messages
    }
}

/// The end of a target's run, for a client that shows neither events nor progress: it may show nothing of the log.
pub(crate) fn end(name: &str, finished: &Finished) -> Notice {
    let verdict = &finished.verdict;
    let text = format!("{}: {}", sanitize::name(name), ended(verdict, finished.durations.total));
    Notice::Message(severity(verdict), text)
}

fn severity(verdict: &Verdict) -> MessageType {
    match verdict {
        Verdict::Passed | Verdict::Cancelled => MessageType::INFO,
        _ => MessageType::ERROR,
    }
}

/// `passed (0.9 s)`.
fn ended(verdict: &Verdict, took: Duration) -> String {
    let said = wording::headline(verdict).unwrap_or_else(|| "passed".to_owned());
    format!("{said} ({})", wording::seconds(took))
}

/// Shows one target's phase as `$/progress`, from its turn to its end. The progress stops it by `cancel`.
pub(super) async fn progress(
    outbox: Arc<dyn Outbox>,
    tokens: Arc<Tokens>,
    cancel: CancellationToken,
    name: String,
    mut states: watch::Receiver<TargetState>,
) {
    // A target that waits needs no bar of its own: a file may have a thousand of them.
    let started = |state: &TargetState| !matches!(state, TargetState::Idle | TargetState::Queued);
    let Ok(state) = states.wait_for(started).await.map(|state| state.clone()) else { return };
    if !state.is_active() {
        return;
    }
    let token = tokens.take(&name, cancel);
    if !outbox.create_progress(token.text().to_owned()).await {
        return;
    }
    let send = async |progress| {
        let params = ProgressParams {
            token: NumberOrString::String(token.text().to_owned()),
            value: ProgressParamsValue::WorkDone(progress),
        };
        outbox.notify(Notice::Progress(params)).await;
    };
    send(WorkDoneProgress::Begin(WorkDoneProgressBegin {
        // Clients put the server's name before it, or the token.
        title: tokens::label(&name),
        cancellable: Some(true),
        message: message(&state),
        percentage: None,
    }))
    .await;
    loop {
        // Without a sender the run is gone; the end is said in any case.
        let changed = tokio::time::timeout(Duration::from_secs(1), states.changed()).await;
        let state = states.borrow_and_update().clone();
        if !state.is_active() || matches!(changed, Ok(Err(_))) {
            send(WorkDoneProgress::End(WorkDoneProgressEnd { message: message(&state) })).await;
            return tokio::time::sleep(REST).await;
        }
        send(WorkDoneProgress::Report(WorkDoneProgressReport {
            cancellable: Some(true),
            message: message(&state),
            percentage: None,
        }))
        .await;
    }
}

/// `booting, 2 s`; the verdict at the end; how far a download is.
fn message(state: &TargetState) -> Option<String> {
    match state {
        TargetState::Finished { verdict, took, .. } => return Some(ended(verdict, *took)),
        TargetState::Downloading { received, total, .. } => {
            return Some(format!("downloading, {}", wording::progress(*received, *total)));
        }
        _ => {}
    }
    state.phase().map(|(word, time)| match time {
        Some(time) if time >= Duration::from_secs(1) => format!("{word}, {} s", time.as_secs()),
        _ => word.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vmtest_vm::event::{Output, OutputStream};

    use super::*;
    use crate::outbox::testing::Recorder;

    fn output(data: &[u8]) -> EventKind {
        EventKind::Output(Output { stream: OutputStream::Stdout, data: Bytes::copy_from_slice(data) })
    }

    fn texts(notices: Vec<Notice>) -> Vec<String> {
        notices
            .into_iter()
            .map(|notice| match notice {
                Notice::Log(_, text) => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn the_log_gets_whole_lines_with_the_targets_name() {
        let mut log = LogLines::new("a\u{1b}[31m", None);
        assert_eq!(texts(log.messages(&output(b"on"))), [""; 0]);
        assert_eq!(texts(log.messages(&output(b"e\ntwo\nth"))), ["a | one\na | two"]);
        let end = texts(log.messages(&EventKind::Finished(Verdict::Failed { exit_code: 3 }.into())));
        assert_eq!(end, ["a | th", "a: Command failed with exit code: 3 (0.0 s)"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_for_a_second_is_left_out_and_said() {
        let mut log = LogLines::new("a", Some("/log".into()));
        let flood = output(&b"0123456789abcde\n".repeat(10_000));
        let said = texts(log.messages(&flood));
        assert!(said[0].len() < 2 * PER_SECOND);
        tokio::time::advance(Duration::from_secs(1)).await;
        let said = texts(log.messages(&output(b"next\n")));
        assert!(said[0].ends_with(" lines left out; the whole output is in /log"), "{said:?}");
        assert_eq!(said[1], "a | next");
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let mut log = LogLines::new("a", None);
        for _ in 0..100 {
            log.messages(&output(&[b'x'; 1000]));
        }
        assert_eq!(texts(log.messages(&output(b"\n")))[0].len(), "a | ".len() + LONGEST);
    }

    #[test]
    fn the_end_is_said_on_one_line_with_the_targets_name() {
        let said = |verdict: Verdict| end("a\n\u{1b}[31mb", &verdict.into());
        assert_eq!(said(Verdict::Passed), Notice::Message(MessageType::INFO, "a b: passed (0.0 s)".into()));
        assert_eq!(
            said(Verdict::Failed { exit_code: 3 }),
            Notice::Message(MessageType::ERROR, "a b: Command failed with exit code: 3 (0.0 s)".into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn progress_begins_with_the_turn_tells_the_time_and_ends() {
        let client = Arc::new(Recorder::default());
        let (state, states) = watch::channel(TargetState::Queued);
        let bar = progress(client.clone(), Arc::default(), CancellationToken::new(), "a".into(), states);
        let bar = tokio::spawn(bar);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(client.notices(), []);
        state.send_replace(TargetState::Booting { since: Instant::now() });
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let (received, total) = (300_000, Some(1_200_000));
        state.send_replace(TargetState::Downloading { since: Instant::now(), received, total });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (verdict, took) = (Verdict::Passed, Duration::from_millis(2500));
        state.send_replace(TargetState::Finished { verdict, took, log: None });
        bar.await.unwrap();
        let said: Vec<_> = client
            .notices()
            .into_iter()
            .map(|notice| match notice {
                Notice::Progress(ProgressParams {
                    value: ProgressParamsValue::WorkDone(progress), ..
                }) => progress,
                other => panic!("{other:?}"),
            })
            .map(|progress| match progress {
                WorkDoneProgress::Begin(begin) => format!("{} {}", begin.title, begin.message.unwrap()),
                WorkDoneProgress::Report(report) => report.message.unwrap(),
                WorkDoneProgress::End(end) => format!("end {}", end.message.unwrap()),
            })
            .collect();
        let download = "downloading, 300 kB of 1.2 MB, 25 %";
        assert_eq!(said, ["a booting", "booting, 1 s", "booting, 2 s", download, "end passed (2.5 s)"]);
    }
}
