//! The user's terminal in raw mode, and back.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, TryLockError};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use vmtest_vm::executor::WindowSize;

/// The modes to go back to, while the terminal is raw. Not in the guard, because a panic elsewhere and a second signal
/// end the process without it.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input's terminal is raw as long as this lives.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Passes every key on; none when standard input is not a terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        *lock() = Some(before);
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back if it is raw.
pub(crate) fn restore() {
    if let Some(before) = lock().take() {
        // TCSANOW: a terminal that takes no more output must not hold us.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
}

/// What ends a line now: a raw terminal does not go back to the first column by itself.
pub(crate) fn line_end() -> &'static str {
    if lock().is_some() { "\r\n" } else { "\n" }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    SAVED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Restores the terminal before a panic's message is printed.
pub(crate) fn restore_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A panic with the lock held would be this module's own: then the message is all there is.
        if !matches!(SAVED.try_lock().map(drop), Err(TryLockError::WouldBlock)) {
            restore();
        }
        print(info);
    }));
}

/// The terminal's size, for a shell that talks to it.
pub(crate) fn window_size() -> WindowSize {
    let terminals = [console::Term::stdout(), console::Term::stderr()];
    let size = terminals.iter().find_map(console::Term::size_checked);
    let (rows, cols) = size.unwrap_or((24, 80));
    WindowSize { rows, cols }
}
