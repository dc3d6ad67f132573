//! The bytes of a download that are there, and what is known of the file that they are of.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::private;

/// A file that grows.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    description: PathBuf,
    about: PartAbout,
    len: u64,
}

/// What is known of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartAbout {
    /// What the user calls it.
    name: String,
    /// What tells this version of the file from another: a strong `ETag`, or the time of its last change.
    validator: Option<String>,
    /// How long it is.
    total: Option<u64>,
}

impl Part {
    /// What an earlier attempt left, or nothing.
    pub(super) fn open(path: &Path, description: &Path, name: &str) -> io::Result<Self> {
        let file = private::lock_file(path)?;
        let about = fs::read(description).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let (path, description) = (path.to_owned(), description.to_owned());
        if let Some(about) = about {
            let len = file.metadata()?.len();
            return Ok(Self { file, path, description, about, len });
        }
        let about = PartAbout { name: name.to_owned(), validator: None, total: None };
        let mut part = Self { file, path, description, about, len: 0 };
        part.restart(None, None)?;
        Ok(part)
    }

    /// How many bytes are there.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many bytes there will be.
    pub(super) fn total(&self) -> Option<u64> {
        self.about.total
    }

    /// Whether nothing is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.about.validator.is_some() && self.about.total == Some(self.len) && self.len > 0
    }

    /// What to ask the server for, so that it sends only what is missing.
    pub(super) fn resumable(&self) -> Option<&str> {
        self.about.validator.as_deref().filter(|_| self.len > 0)
    }

    /// Starts over with a file of which this is known.
    pub(super) fn restart(&mut self, validator: Option<String>, total: Option<u64>) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.about = PartAbout { name: self.about.name.clone(), validator, total };
        let text = serde_json::to_vec(&self.about).expect("a description is JSON");
        private::create(&self.description)?.write_all(&text)
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Its bytes, from the first.
    pub(super) fn read(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Gives the bytes to the file at `to`.
    pub(super) fn rename(&self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)
    }

    /// Removes what is of no use.
    pub(super) fn discard(&self) {
        for file in [&self.path, &self.description] {
            let _ = fs::remove_file(file);
        }
    }
}
