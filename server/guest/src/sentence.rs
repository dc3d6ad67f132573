//! Errors of the guest are sentences: all that can be done with one is to show it to the user.

use std::fmt::Display;

/// What went wrong and, where that is known, what to do about it.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Says what was tried.
pub(crate) trait Saying<T> {
    /// Turns an error into `<what>: <error>`.
    fn saying(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Saying<T> for std::result::Result<T, E> {
    fn saying(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}
