//! An interactive shell: the user's keys to the guest, the guest's bytes to the terminal.

use std::io::{self, IsTerminal as _, Read as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_vm::event::{EventKind, RunEvent};
use vmtest_vm::executor::{Terminal, TerminalInput};

use crate::reporter::{Reporter, Summary};
use crate::terminal::{self, RawMode};

/// Ctrl-], which telnet made the way out.
const ESCAPE: u8 = 0x1d;
/// How often it leaves.
const TIMES: usize = 3;

/// Makes the two ends: what the run reads, and what starts to write when the shell runs.
pub(crate) fn connect(cancel: CancellationToken) -> (Terminal, Keyboard) {
    let (sender, input) = mpsc::channel(64);
    let size = io::stdin().is_terminal().then(terminal::window_size);
    (Terminal { size, input }, Keyboard { sender, cancel })
}

/// Standard input, before anything is read from it: what is typed while the machine boots stays for the shell, and
/// Ctrl-C still stops the boot.
#[derive(Debug)]
pub(crate) struct Keyboard {
    sender: mpsc::Sender<TerminalInput>,
    cancel: CancellationToken,
}

impl Keyboard {
    fn start(self, is_terminal: bool) {
        if is_terminal {
            let sender = self.sender.clone();
            tokio::spawn(async move {
                // Also at once: the window may have changed during the boot.
                let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
                while sender.send(TerminalInput::Resize(terminal::window_size())).await.is_ok() {
                    changes.recv().await;
                }
            });
        }
        // A thread of its own, which nobody waits for: a read of a terminal cannot be called off.
        std::thread::spawn(move || {
            let mut escape = EscapeWatch::default();
            let mut bytes = [0; 4096];
            loop {
                let count = match io::stdin().lock().read(&mut bytes) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(0) | Err(_) => break,
                    Ok(count) => count,
                };
                if is_terminal && escape.feed(&bytes[..count]) {
                    self.cancel.cancel();
                    return;
                }
                if self.sender.blocking_send(TerminalInput::Bytes(bytes[..count].to_vec())).is_err() {
                    return;
                }
            }
            let _ = self.sender.blocking_send(TerminalInput::End);
        });
    }
}

/// Looks for Ctrl-] three times in a row.
#[derive(Debug, Default)]
struct EscapeWatch {
    seen: usize,
}

impl EscapeWatch {
    /// Whether the user wants to leave.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            self.seen = if *byte == ESCAPE { self.seen + 1 } else { 0 };
            self.seen >= TIMES
        })
    }
}

/// Makes the terminal the guest's while the shell runs; the rest is `inner`'s.
pub(crate) struct Shell<R> {
    inner: R,
    keyboard: Option<Keyboard>,
    raw: Option<RawMode>,
}

impl<R: Reporter> Shell<R> {
    /// Reports to `inner` and starts `keyboard` when the shell runs.
    pub(crate) fn new(inner: R, keyboard: Keyboard) -> Self {
        Self { inner, keyboard: Some(keyboard), raw: None }
    }
}

impl<R: Reporter> Reporter for Shell<R> {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match event.kind {
            EventKind::CommandStarted => {
                self.inner.event(event)?;
                let Some(keyboard) = self.keyboard.take() else { return Ok(()) };
                if io::stdin().is_terminal() {
                    crate::say(format_args!("press Ctrl-] three times to leave a shell that hangs"));
                }
                self.raw = RawMode::enter()?;
                keyboard.start(self.raw.is_some());
                Ok(())
            }
            EventKind::Finished(_) => {
                self.raw = None;
                self.inner.event(event)
            }
            _ => self.inner.event(event),
        }
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        self.raw = None;
        self.inner.end(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_leave_also_over_several_reads() {
        let mut watch = EscapeWatch::default();
        assert!(!watch.feed(&[ESCAPE, ESCAPE]));
        assert!(watch.feed(&[ESCAPE]));
    }

    #[test]
    fn anything_between_starts_over() {
        let mut watch = EscapeWatch::default();
        assert!(!watch.feed(&[ESCAPE, ESCAPE, b'x', ESCAPE, ESCAPE]));
    }
}
