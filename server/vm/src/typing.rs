//! What the user types, on its way to the guest.

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use vmtest_guest::wire::{Input, to_bytes};

use crate::executor::{Terminal, TerminalInput};

/// The task that carries what the user types to the guest; ends with it.
pub(crate) struct Typing(#[expect(dead_code, reason = "its drop is the signal")] oneshot::Sender<()>);

impl Typing {
    pub(crate) fn start(mut terminal: Terminal, mut input: UnixStream) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                let typed = tokio::select! {
                    _ = &mut stopped => return,
                    typed = terminal.input.recv() => typed,
                };
                // The wire has a longest message; what is typed or piped is cut well below it.
                let messages: Vec<Input> = match typed {
                    Some(TerminalInput::Bytes(bytes)) => {
                        bytes.chunks(4096).map(|piece| Input::Bytes(piece.to_vec())).collect()
                    }
                    Some(TerminalInput::Resize(size)) => {
                        vec![Input::Resize { rows: size.rows, cols: size.cols }]
                    }
                    Some(TerminalInput::End) | None => vec![Input::End],
                };
                let ended = messages == [Input::End];
                for message in messages {
                    if input.write_all(&to_bytes(&message)).await.is_err() {
                        return;
                    }
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
