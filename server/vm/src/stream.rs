//! What comes out of a guest's ports becomes events: frames of our guest init, or the plain bytes of an image's command. What
//! the run itself must know goes to it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, watch};
use vmtest_guest::wire::{Decoder, Exit, Frame};

use crate::event::{EventKind, Output, OutputStream};

/// What the guest init says about the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// Its first process is started next.
    Starting,
    /// Its first process runs.
    Started,
    /// It ended, and all its output has been passed on.
    Ended(Exit),
    /// It could not be started.
    Failed(String),
}

/// Counts signs of life, for the boot watchdog.
pub(crate) type Progress = watch::Sender<u64>;

/// Records a sign of life.
pub(crate) fn note_progress(progress: &Progress) {
    progress.send_modify(|count| *count += 1);
}

/// Reads frames until the stream ends. A listener that is slow makes the guest wait: nothing is collected here.
pub(crate) async fn pump(
    mut stream: impl AsyncRead + Unpin,
    events: mpsc::Sender<EventKind>,
    control: mpsc::UnboundedSender<Control>,
    progress: Progress,
) {
    let mut decoder = Decoder::default();
    let mut stdout = Utf8Joiner::new(OutputStream::Stdout);
    let mut stderr = Utf8Joiner::new(OutputStream::Stderr);
    let mut buffer = vec![0; 256 * 1024];
    let mut has_started = false;
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        note_progress(&progress);
        decoder.push(&buffer[..count]);
        loop {
            let frame = match decoder.next_message::<Frame>() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    let _ = control.send(Control::Failed(format!("the guest init sent nonsense: {error}")));
                    return;
                }
            };
            let event = match frame {
                Frame::Stdout(bytes) => stdout.push(bytes),
                Frame::Stderr(bytes) => stderr.push(bytes),
                Frame::Notice(message) => Some(EventKind::Notice { message }),
                Frame::Alive(stage) => {
                    tracing::debug!(stage, "the guest init lives");
                    None
                }
                Frame::Starting => {
                    let _ = control.send(Control::Starting);
                    None
                }
                // Each would give the command its time anew.
                Frame::Started if has_started => {
                    let twice = "the guest init sent nonsense: the command started twice".to_owned();
                    let _ = control.send(Control::Failed(twice));
                    return;
                }
                Frame::Started => {
                    has_started = true;
                    // The event comes before the first output, and the run learns of it at once.
                    let _ = control.send(Control::Started);
                    Some(EventKind::CommandStarted)
                }
                Frame::Exit(exit) => {
                    for joiner in [&mut stdout, &mut stderr] {
                        send(&events, joiner.finish()).await;
                    }
                    let _ = control.send(Control::Ended(exit));
                    None
                }
                Frame::Failed(sentence) => {
                    let _ = control.send(Control::Failed(sentence));
                    None
                }
            };
            send(&events, event).await;
        }
    }
    for joiner in [&mut stdout, &mut stderr] {
        send(&events, joiner.finish()).await;
    }
}

/// How far the command of an image is: its ports carry bytes and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainPhase {
    /// It has not begun: what comes now is not its own.
    Before,
    /// It runs.
    Running,
    /// It has ended, and nobody writes any more.
    Over,
}

/// How long a port that nobody writes to must be silent to be empty: what was written is in it by then.
const EMPTY: Duration = Duration::from_millis(50);

/// Reads a plain port until it ends or, when the command is over, until it is empty. A listener that is slow makes the guest wait.
pub(crate) async fn pump_plain(
    mut port: impl AsyncRead + Unpin,
    stream: OutputStream,
    events: mpsc::Sender<EventKind>,
    mut phase: watch::Receiver<PlainPhase>,
) {
    let mut joiner = Utf8Joiner::new(stream);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let is_over = *phase.borrow_and_update() == PlainPhase::Over;
        let count = tokio::select! {
            biased;
            count = port.read(&mut buffer) => count.unwrap_or(0),
            Ok(()) = phase.changed() => continue,
            () = tokio::time::sleep(EMPTY), if is_over => 0,
        };
        if count == 0 {
            break;
        }
        // Asked for after the bytes came: what is the command's is never taken for older.
        if *phase.borrow() != PlainPhase::Before {
            send(&events, joiner.push(buffer[..count].to_vec())).await;
        }
    }
    send(&events, joiner.finish()).await;
}

async fn send(events: &mpsc::Sender<EventKind>, event: Option<EventKind>) {
    if let Some(event) = event {
        // A listener that is gone does not change what happened.
        let _ = events.send(event).await;
    }
}

/// Keeps back the beginning of a UTF-8 character until the rest of it is there.
struct Utf8Joiner {
    stream: OutputStream,
    kept: BytesMut,
}

impl Utf8Joiner {
    fn new(stream: OutputStream) -> Self {
        Self { stream, kept: BytesMut::new() }
    }

    fn push(&mut self, bytes: Vec<u8>) -> Option<EventKind> {
        let mut data = if self.kept.is_empty() {
            BytesMut::from(Bytes::from(bytes))
        } else {
            let mut joined = std::mem::take(&mut self.kept);
            joined.extend_from_slice(&bytes);
            joined
        };
        self.kept = data.split_off(data.len() - unfinished(&data));
        self.event(data.freeze())
    }

    fn finish(&mut self) -> Option<EventKind> {
        let rest = std::mem::take(&mut self.kept).freeze();
        self.event(rest)
    }

    fn event(&self, data: Bytes) -> Option<EventKind> {
        (!data.is_empty()).then_some(EventKind::Output(Output { stream: self.stream, data }))
    }
}

/// How many bytes at the end begin a UTF-8 character that is not whole.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - back] {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => return 0,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use vmtest_guest::wire::{ExitStatus, to_bytes};

    use super::*;

    async fn events_of(bytes: Vec<u8>) -> (Vec<EventKind>, Vec<Control>) {
        let (events, mut receiver) = mpsc::channel(1000);
        let (control, mut controls) = mpsc::unbounded_channel();
        pump(bytes.as_slice(), events, control, watch::Sender::new(0)).await;
        let mut seen = (Vec::new(), Vec::new());
        while let Ok(event) = receiver.try_recv() {
            seen.0.push(event);
        }
        while let Ok(control) = controls.try_recv() {
            seen.1.push(control);
        }
        seen
    }

    fn texts(events: &[EventKind]) -> Vec<String> {
        events
            .iter()
            .filter_map(|event| match event {
                EventKind::Output(output) => Some(String::from_utf8_lossy(&output.data).into_owned()),
                _ => None,
            })
            .collect()
    }

    #[tokio::test]
    async fn a_character_is_never_split_between_two_events() {
        for cut in 1..4 {
            let (first, rest) = "🦀".as_bytes().split_at(cut);
            let frames = [Frame::Stdout(first.to_vec()), Frame::Stdout(rest.to_vec())];
            let (events, _) = events_of(frames.iter().flat_map(to_bytes).collect()).await;
            assert_eq!(texts(&events), ["🦀"]);
        }
    }

    #[tokio::test]
    async fn the_beginning_of_a_character_at_the_end_is_not_lost() {
        let exit = Exit {
            status: ExitStatus::Code(0),
            tainted_before: 0,
            tainted_after: 0,
            lost_paths: Vec::new(),
            lost_count: 0,
        };
        let frames = [Frame::Stdout(vec![b'a', 0xf0, 0x9f]), Frame::Exit(exit.clone())];
        let (events, controls) = events_of(frames.iter().flat_map(to_bytes).collect()).await;
        let bytes: Vec<u8> = events
            .iter()
            .filter_map(
                |event| if let EventKind::Output(output) = event { Some(output.data.to_vec()) } else { None },
            )
            .flatten()
            .collect();
        assert_eq!(bytes, [b'a', 0xf0, 0x9f]);
        assert_eq!(controls, [Control::Ended(exit)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_port_is_the_commands_from_its_start_to_the_last_byte_after_its_end() {
        let (events, mut receiver) = mpsc::channel(10);
        let phase = watch::Sender::new(PlainPhase::Before);
        let (port, mut guest) = tokio::io::duplex(100);
        let pump = tokio::spawn(pump_plain(port, OutputStream::Stderr, events, phase.subscribe()));
        guest.write_all(b"firmware").await.unwrap();
        // Paused time goes on when everybody waits: by then the pump has read it.
        tokio::time::sleep(EMPTY).await;
        phase.send_replace(PlainPhase::Running);
        guest.write_all("é🦀".as_bytes()).await.unwrap();
        phase.send_replace(PlainPhase::Over);
        pump.await.unwrap();
        let mut seen = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            seen.push(event);
        }
        assert_eq!(texts(&seen).concat(), "é🦀");
    }

    #[tokio::test]
    async fn a_stream_of_nonsense_is_a_failure_of_the_run() {
        let (_, controls) = events_of(vec![77, 1, 0, 0, 0, 0]).await;
        assert!(matches!(&controls[..], [Control::Failed(_)]));
    }

    #[tokio::test]
    async fn that_a_command_may_have_run_is_known_before_it_is_seen_to_run() {
        let (events, controls) = events_of(to_bytes(&Frame::Starting)).await;
        assert_eq!(controls, [Control::Starting]);
        // Its time and its output begin later.
        assert!(events.is_empty(), "{events:?}");
    }

    // G5
    #[tokio::test]
    async fn a_command_starts_once() {
        let frames = [Frame::Started, Frame::Started, Frame::Started];
        let (_, controls) = events_of(frames.iter().flat_map(to_bytes).collect()).await;
        assert!(matches!(&controls[..], [Control::Started, Control::Failed(_)]), "{controls:?}");
    }
}
