//! A panic on purpose, for the tests of what one leaves behind. A release has none of this.

use std::io;

use vmtest_vm::event::RunEvent;

use super::{Listener, OnFailure, Reporter, Summary};

/// Panics at the first event of this name.
struct Fault {
    at: String,
}

/// The one that `VMTEST_PANIC_AT` asks for.
pub(crate) fn listener() -> Option<Listener> {
    let at = std::env::var("VMTEST_PANIC_AT").ok()?;
    Some(Listener {
        reporter: Box::new(Fault { at }),
        writes: "nothing".to_owned(),
        on_failure: OnFailure::Ignore,
    })
}

impl Reporter for Fault {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        assert!(serde_json::to_value(event)?["event"] != self.at, "a panic on purpose at `{}`", self.at);
        Ok(())
    }

    fn end(&mut self, _: &Summary) -> io::Result<()> {
        Ok(())
    }
}
