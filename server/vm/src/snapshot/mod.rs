//! Guests that were kept: booted once, parked, and resumed by every later run of the same kernel in the same machine.
//!
//! A kept guest is a *template*: its memory is a sparse file that any number of resumed guests map privately, and the
//! state of its devices, half a megabyte, is sent to QEMU over a socket. Where the memory cannot be a file of its own
//! (a limit on the size of files, a QEMU that does not leave memory in its file), it is a *stream*: all of it is sent. QEMU checks next to nothing of what it loads,
//! so everything is checked here before: what the guest depends on is in the key, and the files are described by
//! the header of the state file, which is written last. A kept guest is code that runs: the folder is the user's
//! alone, and nothing in it is ever fetched from elsewhere.

mod key;
mod state;
mod store;

pub(crate) use key::Key;
pub(crate) use state::Identity;
pub(crate) use store::{Claim, FileId, SavedState, Strike, Template};
pub use store::{Entry, Snapshots};
