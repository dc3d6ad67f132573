//! What is known of the machine: gathered by the caller, because nothing here looks at the disk.

use std::path::PathBuf;

/// Facts from the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Kernels that this machine has, for completion.
    pub kernels: Vec<KernelFact>,
    /// What lies in the directory that [`crate::Analysis::wanted_directory`] asked for.
    pub entries: Vec<DirectoryEntry>,
    /// What the files are that targets of this text name as their kernel, as far as they have been read.
    pub named_kernels: Vec<KernelFact>,
}

/// A kernel file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFact {
    /// Its absolute path.
    pub path: PathBuf,
    /// `uname -r` of it; or why it cannot be booted.
    pub release: Result<String, String>,
    /// What else is known of it, a sentence or a name each: format, where its modules are.
    pub features: Vec<String>,
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// Its name; bytes that are not UTF-8 make it one that cannot be offered.
    pub name: String,
    /// Whether it is a directory, or a link to one.
    pub directory: bool,
}
