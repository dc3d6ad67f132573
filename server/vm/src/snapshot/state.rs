//! The file that makes a kept guest one: a line that describes it, then its state.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// Begins the file, and says which version of it this is.
const MAGIC: &str = "vmtest-snapshot-1 ";

/// What is known of a kept guest before anything of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// What it depends on: [`super::Key`], in words.
    pub(crate) key: String,
    /// The kernel's release, for people.
    pub(crate) kernel: String,
    /// Where its memory is; none where that is part of its state.
    pub(crate) memory: Option<MemoryFile>,
    /// How many bytes of state follow, and their hash.
    pub(crate) state_len: usize,
    pub(crate) state_hash: String,
}

/// A file with a guest's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryFile {
    /// In the same folder.
    pub(crate) name: String,
    /// As it was left.
    pub(crate) identity: Identity,
}

/// Tells a file from another, and from itself after it was written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Set by the kernel alone: who writes and puts the other time back is seen by this one.
    changed: (i64, i64),
    device: u64,
}

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::of_metadata(&file.metadata()?))
    }

    pub(crate) fn of_metadata(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            device: file.dev(),
        }
    }
}

/// The hash of a state, in words.
pub(crate) fn hash(state: &[u8]) -> String {
    blake3::hash(state).to_hex().to_string()
}

/// The whole file.
pub(crate) fn to_bytes(header: &Header, state: &[u8]) -> Vec<u8> {
    let line = serde_json::to_string(header).expect("a header is JSON");
    [MAGIC.as_bytes(), line.as_bytes(), b"\n", state].concat()
}

/// Reads the file; the error is a sentence.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<(Header, &[u8]), String> {
    let rest = bytes
        .strip_prefix(MAGIC.as_bytes())
        .ok_or_else(|| "it is no snapshot of this version of vmtest".to_owned())?;
    let end = memchr::memchr(b'\n', rest).ok_or_else(|| "its header has no end".to_owned())?;
    let header: Header = serde_json::from_slice(&rest[..end])
        .map_err(|error| format!("its header makes no sense: {error}"))?;
    let state = &rest[end + 1..];
    if state.len() != header.state_len {
        return Err(format!("it has {} bytes of state instead of {}", state.len(), header.state_len));
    }
    if hash(state) != header.state_hash {
        return Err("its state is damaged".to_owned());
    }
    Ok((header, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let memory = tempfile::tempfile().unwrap();
        let state = b"state of devices\nwith\nlines";
        let header = Header {
            key: "0".repeat(32),
            kernel: "6.1.0".into(),
            memory: Some(MemoryFile { name: "x.memory".into(), identity: Identity::of(&memory).unwrap() }),
            state_len: state.len(),
            state_hash: hash(state),
        };
        to_bytes(&header, state)
    }

    #[test]
    fn what_was_written_is_read() {
        let file = file();
        let (header, state) = from_bytes(&file).unwrap();
        assert_eq!(header.kernel, "6.1.0");
        assert_eq!(state, b"state of devices\nwith\nlines");
    }

    // S2
    #[test]
    fn no_damage_goes_unseen() {
        let whole = file();
        let (header, _) = from_bytes(&whole).unwrap();
        for length in 0..whole.len() {
            assert!(from_bytes(&whole[..length]).is_err(), "cut to {length} bytes");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                // A flipped bit of the header may still be JSON; then the header says something else.
                let same = from_bytes(&damaged).is_ok_and(|(read, _)| read == header);
                assert!(!same, "bit {bit} of byte {at}");
            }
        }
    }
}
