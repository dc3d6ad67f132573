//! Events on their way to the client: bounded, and put together while they wait.
//!
//! Who fills it waits for room, and with it the guest, unless the run is being stopped: then what finds no room is left
//! out, so that a client that reads nothing cannot keep a machine alive.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use tokio::time::Instant;
use vmtest_vm::event::{EventKind, Output, OutputStream};

/// Pieces of output are put together up to this size.
const PIECE: usize = 64 << 10;
/// What may wait; more makes the guest wait.
const ROOM: usize = 1 << 20;
/// Shortest time between two small pieces.
const PACE: Duration = Duration::from_millis(30);

/// The events of one target on their way.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    waiting: Mutex<Waiting>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    ended: bool,
}

#[derive(Debug)]
enum Item {
    Event(EventKind),
    Output(Joined),
}

/// Output put together.
#[derive(Debug)]
struct Joined {
    stream: OutputStream,
    data: BytesMut,
    /// Text is not joined with what is none: it would no longer go as text.
    is_text: bool,
}

impl Pipe {
    /// Adds an event, at once. What finds no room is left out, where it can be.
    pub(crate) fn push(&self, event: EventKind) {
        let mut waiting = self.lock();
        let size = size(&event);
        let is_full = waiting.bytes >= ROOM;
        if is_full
            && matches!(
                event,
                EventKind::Output(_) | EventKind::Console { .. } | EventKind::Downloading { .. }
            )
        {
            return;
        }
        waiting.ended |= matches!(event, EventKind::Finished(_));
        waiting.bytes += size;
        match event {
            EventKind::Output(output) => waiting.join(output),
            event => waiting.items.push_back(Item::Event(event)),
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits until there is room.
    pub(crate) async fn room(&self) {
        while self.lock().bytes >= ROOM {
            self.emptied.notified().await;
        }
    }

    /// Takes the next event when it is time to send it; none after `finished`. `last` is when output was sent before.
    pub(crate) async fn take(&self, last: Option<Instant>) -> Option<EventKind> {
        loop {
            let pause = {
                let mut waiting = self.lock();
                match waiting.pause(last) {
                    Some(Pause::Not) => {
                        let event = waiting.pop();
                        drop(waiting);
                        self.emptied.notify_one();
                        return event;
                    }
                    Some(Pause::Until(time)) => Some(time),
                    None if waiting.ended => return None,
                    None => None,
                }
            };
            match pause {
                None => self.filled.notified().await,
                Some(time) => tokio::select! {
                    () = tokio::time::sleep_until(time) => {}
                    () = self.filled.notified() => {}
                },
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder panics")
    }
}

enum Pause {
    Not,
    Until(Instant),
}

impl Waiting {
    fn join(&mut self, output: Output) {
        let Output { stream, data } = output;
        let is_text = std::str::from_utf8(&data).is_ok();
        if let Some(Item::Output(last)) = self.items.back_mut()
            && last.stream == stream
            && last.is_text == is_text
            && last.data.len() + data.len() <= PIECE
        {
            last.data.extend_from_slice(&data);
            return;
        }
        // The only holder's bytes are taken over, not copied.
        self.items.push_back(Item::Output(Joined { stream, data: BytesMut::from(data), is_text }));
    }

    /// Whether the first item can go; none when there is none. A lone small piece may wait for company.
    fn pause(&self, last: Option<Instant>) -> Option<Pause> {
        let item = self.items.front()?;
        let Item::Output(piece) = item else { return Some(Pause::Not) };
        let time = last.map(|last| last + PACE).filter(|time| *time > Instant::now());
        Some(match time {
            Some(time) if self.items.len() == 1 && piece.data.len() < PIECE => Pause::Until(time),
            _ => Pause::Not,
        })
    }

    fn pop(&mut self) -> Option<EventKind> {
        let event = match self.items.pop_front()? {
            Item::Event(event) => event,
            Item::Output(Joined { stream, data, .. }) => {
                EventKind::Output(Output { stream, data: data.freeze() })
            }
        };
        self.bytes -= size(&event);
        Some(event)
    }
}

/// What an event weighs in memory.
fn size(event: &EventKind) -> usize {
    match event {
        EventKind::Output(output) => output.data.len(),
        // A small one costs more than its text.
        EventKind::Console { line } => line.len() + 64,
        EventKind::Notice { message } => message.len() + 64,
        _ => 64,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vmtest_vm::verdict::Verdict;

    use super::*;

    fn output(stream: OutputStream, data: &[u8]) -> EventKind {
        EventKind::Output(Output { stream, data: Bytes::copy_from_slice(data) })
    }

    fn out(data: &[u8]) -> EventKind {
        output(OutputStream::Stdout, data)
    }

    fn data(event: Option<EventKind>) -> Vec<u8> {
        match event {
            Some(EventKind::Output(output)) => output.data.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_piece_goes_at_once_and_the_next_wait_for_company() {
        let pipe = Pipe::default();
        pipe.push(out(b"1"));
        let start = Instant::now();
        assert_eq!(data(pipe.take(None).await), b"1");
        assert_eq!(start.elapsed(), Duration::ZERO);
        pipe.push(out(b"2"));
        pipe.push(out(b"3"));
        assert_eq!(data(pipe.take(Some(start)).await), b"23");
        // The runtime's timer counts whole milliseconds.
        assert!((PACE..PACE + Duration::from_millis(2)).contains(&start.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_for_company_when_something_else_comes_after_it() {
        let pipe = Pipe::default();
        pipe.push(out(b"1"));
        pipe.push(EventKind::Finished(Verdict::Passed.into()));
        let now = Instant::now();
        assert_eq!(data(pipe.take(Some(now)).await), b"1");
        assert!(matches!(pipe.take(Some(now)).await, Some(EventKind::Finished(_))));
        assert!(pipe.take(Some(now)).await.is_none());
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn streams_and_what_is_no_text_are_kept_apart() {
        let pipe = Pipe::default();
        for event in [out(b"a"), output(OutputStream::Stderr, b"b"), out(b"c"), out(b"\xff"), out(b"\xfe")] {
            pipe.push(event);
        }
        let mut pieces = Vec::new();
        for _ in 0..4 {
            pieces.push(data(pipe.take(None).await));
        }
        assert_eq!(pieces, [&b"a"[..], b"b", b"c", b"\xff\xfe"]);
    }

    #[tokio::test]
    async fn pieces_grow_no_larger_than_their_limit() {
        let pipe = Pipe::default();
        for _ in 0..5 {
            pipe.push(out(&vec![b'x'; 20 << 10]));
        }
        assert_eq!(data(pipe.take(None).await).len(), 60 << 10);
        assert_eq!(data(pipe.take(None).await).len(), 40 << 10);
    }

    #[tokio::test]
    async fn who_fills_it_waits_for_who_empties_it() {
        let pipe = Pipe::default();
        pipe.push(out(&vec![b'x'; ROOM]));
        assert!(futures::FutureExt::now_or_never(pipe.room()).is_none());
        pipe.take(None).await;
        pipe.room().await;
    }

    #[tokio::test]
    async fn without_room_output_is_left_out_and_the_end_is_not() {
        let pipe = Pipe::default();
        pipe.push(out(&vec![b'x'; ROOM]));
        pipe.push(out(b"lost"));
        pipe.push(EventKind::Finished(Verdict::Cancelled.into()));
        assert_eq!(data(pipe.take(None).await).len(), ROOM);
        assert!(matches!(pipe.take(None).await, Some(EventKind::Finished(_))));
    }
}
