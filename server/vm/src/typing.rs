//! What the user types, on its way to the guest.

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use vmtest_guest::wire::{Input, to_bytes};

use crate::executor::{Terminal, TerminalInput, WindowSize};

/// Where what is typed goes, and how.
pub(crate) enum Keyboard {
    /// To our guest init, in messages.
    Init(UnixStream),
    /// To a serial line of the guest; a new size of the window goes elsewhere.
    Line(UnixStream, mpsc::UnboundedSender<WindowSize>),
    /// To a port that a program reads to its end.
    Port(UnixStream),
}

impl Keyboard {
    /// Passes one thing on. An error says that nobody can take it any more.
    async fn pass(&mut self, typed: TerminalInput) -> io::Result<()> {
        match (self, typed) {
            // The wire has a longest message; what is typed or piped is cut well below it.
            (Self::Init(input), TerminalInput::Bytes(bytes)) => {
                for piece in bytes.chunks(4096) {
                    input.write_all(&to_bytes(&Input::Bytes(piece.to_vec()))).await?;
                }
                Ok(())
            }
            (Self::Init(input), TerminalInput::Resize(WindowSize { rows, cols })) => {
                input.write_all(&to_bytes(&Input::Resize { rows, cols })).await
            }
            (Self::Init(input), TerminalInput::End) => input.write_all(&to_bytes(&Input::End)).await,
            (Self::Line(input, _) | Self::Port(input), TerminalInput::Bytes(bytes)) => {
                input.write_all(&bytes).await
            }
            (Self::Line(_, sizes), TerminalInput::Resize(size)) => {
                sizes.send(size).map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
            // As a user would: Ctrl-D.
            (Self::Line(input, _), TerminalInput::End) => input.write_all(b"\x04").await,
            (Self::Port(_), TerminalInput::Resize(_)) => Ok(()),
            // The guest reads the port to its end when this end is closed.
            (Self::Port(input), TerminalInput::End) => input.shutdown().await,
        }
    }
}

/// The task that carries what the user types to the guest; ends with it.
pub(crate) struct Typing(#[expect(dead_code, reason = "its drop is the signal")] oneshot::Sender<()>);

impl Typing {
    pub(crate) fn start(mut terminal: Terminal, mut keyboard: Keyboard) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                let typed = tokio::select! {
                    _ = &mut stopped => return,
                    typed = terminal.input.recv() => typed.unwrap_or(TerminalInput::End),
                };
                let ended = typed == TerminalInput::End;
                if keyboard.pass(typed).await.is_err() {
                    return;
                }
                if ended {
                    // The port must stay open: its end would be the guest's.
                    let _ = stopped.await;
                    return;
                }
            }
        });
        Self(stop)
    }
}
