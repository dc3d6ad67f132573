//! The host's `qemu-ga` and everything that its dynamic loader will open: the agent runs from the initramfs, where
//! nothing else of the host is.
//!
//! Nothing is executed to find that out (`ldd` would run the program's own loader): ld.so(8) is followed by reading.

mod elf;
mod loader;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use self::elf::Binary;
use self::loader::Loader;

/// Where distributions put the agent; daemons' directories are often not in a user's `PATH`.
const PLACES: [&str; 8] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/run/current-system/sw/bin",
    "/usr/libexec",
    "/usr/lib/qemu",
    "/usr/libexec/qemu",
];

/// An agent that runs from an initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The program's path in the guest.
    pub program: PathBuf,
    /// Every file that it needs, itself first: path in the guest, path on the host. No guest path comes twice, and all
    /// are absolute. Host paths may be symbolic links; their content goes to the guest path.
    pub files: Vec<(PathBuf, PathBuf)>,
}

/// Why there is no agent to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It is not installed.
    #[error(
        "cannot find `qemu-ga`, the guest agent that runs in every virtual machine: install it with `apt install \
         qemu-guest-agent`, `dnf install qemu-guest-agent`, `pacman -S qemu-guest-agent` or `zypper install \
         qemu-guest-agent`"
    )]
    NotFound,
    /// A file is there and cannot be read.
    #[error("cannot read `{path}`, a part of the guest agent: {source}; install qemu-guest-agent again")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A script, or a program for another system.
    #[error(
        "cannot use `{path}` as the guest agent: it is no 64-bit Linux program; install qemu-guest-agent from your \
         distribution"
    )]
    NotAProgram {
        /// The file.
        path: PathBuf,
    },
    /// A shared library is nowhere to be found.
    #[error(
        "cannot take the guest agent into the virtual machine: `{needed_by}` needs the library `{library}`, which is \
         in none of the loader's directories; install it, or install qemu-guest-agent again"
    )]
    MissingLibrary {
        /// As it is named by the program.
        library: String,
        /// Who names it.
        needed_by: PathBuf,
    },
}

impl Agent {
    /// Finds this machine's agent and its libraries.
    pub fn find() -> Result<Self, AgentError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .filter(|dir| dir.is_absolute())
            .chain(PLACES.map(PathBuf::from))
            .map(|dir| dir.join("qemu-ga"))
            .find(|file| file.is_file())
            .ok_or(AgentError::NotFound)?;
        Self::open(&program)
    }

    /// Takes the agent at this path, and its libraries.
    pub fn open(program: &Path) -> Result<Self, AgentError> {
        Self::open_in(Path::new("/"), program)
    }

    /// As [`Agent::open`], for a program below another root directory.
    fn open_in(root: &Path, program: &Path) -> Result<Self, AgentError> {
        let host = loader::below(root, program);
        // The loader takes $ORIGIN from where the program really is.
        let real =
            host.canonicalize().map_err(|source| AgentError::Unreadable { path: host.clone(), source })?;
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let guest =
            real.strip_prefix(&root).map_or_else(|_| real.clone(), |inside| Path::new("/").join(inside));
        let binary = read(&real)?.ok_or_else(|| AgentError::NotAProgram { path: real.clone() })?;

        let mut files = vec![(guest.clone(), real)];
        let Some(interpreter) = binary.interpreter.as_deref().map(PathBuf::from) else {
            return Ok(Self { program: guest, files });
        };
        let interpreter_on_host = loader::below(&root, &interpreter);
        let image = std::fs::read(&interpreter_on_host)
            .map_err(|source| AgentError::Unreadable { path: interpreter_on_host.clone(), source })?;
        files.push((interpreter.clone(), interpreter_on_host));
        let loader = Loader::new(&root, &interpreter, &image, binary.machine);
        collect(&loader, &guest, binary, &mut files)?;
        Ok(Self { program: guest, files })
    }
}

/// Adds the libraries, in the loader's own order: breadth first, each name once.
fn collect(
    loader: &Loader,
    program: &Path,
    binary: Binary,
    files: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<(), AgentError> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    // Each with the RPATHs of those that led to it, nearest first.
    let mut queue = VecDeque::from([(program.to_owned(), binary, Vec::<PathBuf>::new())]);
    while let Some((path, binary, inherited)) = queue.pop_front() {
        let origin = path.parent().unwrap_or(Path::new("/"));
        let expand = |dirs: &[String]| -> Vec<PathBuf> {
            dirs.iter().filter_map(|dir| loader::expand(dir, origin)).collect()
        };
        // An RPATH counts only without a RUNPATH, and then also for the libraries of libraries.
        let (named, handed_down) = if binary.runpath.is_empty() {
            let rpath: Vec<PathBuf> = expand(&binary.rpath).into_iter().chain(inherited).collect();
            (rpath.clone(), rpath)
        } else {
            (expand(&binary.runpath), inherited)
        };
        for name in &binary.needed {
            if loader.provides(name) || !known.insert(name.clone()) {
                continue;
            }
            let Some((guest, host, library)) = loader.find(name, &named)? else {
                return Err(AgentError::MissingLibrary { library: name.clone(), needed_by: path.clone() });
            };
            if !files.iter().any(|(known, _)| *known == guest) {
                files.push((guest.clone(), host));
                queue.push_back((guest, library, handed_down.clone()));
            }
        }
    }
    Ok(())
}

/// Reads an ELF file; `None` when it is none, or not a whole one.
fn read(path: &Path) -> Result<Option<Binary>, AgentError> {
    let image =
        std::fs::read(path).map_err(|source| AgentError::Unreadable { path: path.to_owned(), source })?;
    Ok(Binary::parse(&image))
}

#[cfg(test)]
#[path = "agent/tests.rs"]
mod tests;
