//! Where a dynamic loader looks for libraries: ld.so(8) for glibc, `ldso/dynlink.c` for musl.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::elf::Binary;
use super::{AgentError, read};

/// Directories that one glibc or another has built in, in their order.
const BUILT_IN: [&str; 12] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/riscv64-linux-gnu",
    "/usr/lib/riscv64-linux-gnu",
    "/lib/s390x-linux-gnu",
    "/usr/lib/s390x-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Names that musl answers itself (`load_library`: "c", "pthread", "rt", "m", "dl", "util", "xnet").
const MUSL_OWN: [&str; 7] = ["libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet."];

/// One program's loader.
#[derive(Debug)]
pub(super) struct Loader {
    root: PathBuf,
    machine: u16,
    musl: bool,
    name: String,
    /// Directories that only this machine's configuration tells the loader; the guest has no such configuration.
    configured: Vec<PathBuf>,
    /// Directories that are part of the loader itself; never empty.
    built_in: Vec<PathBuf>,
}

impl Loader {
    /// Knows the loader from its path and bytes.
    pub(super) fn new(root: &Path, interpreter: &Path, image: &[u8], machine: u16) -> Self {
        let name =
            interpreter.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let musl = name.starts_with("ld-musl");
        let mut configured = Vec::new();
        let built_in = if musl {
            let config = below(root, Path::new("/etc"))
                .join(format!("{}.path", name.split(".so").next().unwrap_or("")));
            let text = fs::read_to_string(config).unwrap_or_default();
            configured.extend(text.split([':', '\n']).filter(|dir| dir.starts_with('/')).map(PathBuf::from));
            ["/lib", "/usr/local/lib", "/usr/lib"].map(PathBuf::from).to_vec()
        } else {
            read_config(root, Path::new("/etc/ld.so.conf"), &mut BTreeSet::new(), &mut configured);
            built_into(image)
        };
        Self { root: root.to_owned(), machine, musl, name, configured, built_in }
    }

    /// Whether the loader itself is that library.
    pub(super) fn provides(&self, library: &str) -> bool {
        library == self.name || (self.musl && MUSL_OWN.iter().any(|own| library.starts_with(own)))
    }

    /// Finds a library: its path in the guest, its path on the host, and what it asks for in turn. `first` are the
    /// directories that the program itself names.
    pub(super) fn find(
        &self,
        library: &str,
        first: &[PathBuf],
    ) -> Result<Option<(PathBuf, PathBuf, Binary)>, AgentError> {
        if library.contains('/') {
            // Such a name is a path already.
            return self.open(Path::new(library), Path::new(library));
        }
        for dir in first {
            let place = dir.join(library);
            if let Some(found) = self.open(&place, &place)? {
                return Ok(Some(found));
            }
        }
        for dir in self.configured.iter().chain(&self.built_in) {
            let place = dir.join(library);
            // In the guest only the built-in directories count.
            let guest =
                if self.built_in.contains(dir) { place.clone() } else { self.built_in[0].join(library) };
            if let Some(found) = self.open(&place, &guest)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The library at that place, if there is one for this machine: the loader passes over others.
    fn open(&self, place: &Path, guest: &Path) -> Result<Option<(PathBuf, PathBuf, Binary)>, AgentError> {
        let host = below(&self.root, place);
        if !host.is_file() {
            return Ok(None);
        }
        let binary = read(&host)?.filter(|binary| binary.machine == self.machine);
        Ok(binary.map(|binary| (guest.to_owned(), host, binary)))
    }
}

/// A directory of an RPATH or RUNPATH; `None` when only a running system could tell which it is.
pub(super) fn expand(dir: &str, origin: &Path) -> Option<PathBuf> {
    let dir = dir.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &origin.to_string_lossy());
    (dir.starts_with('/') && !dir.contains('$')).then(|| normalized(Path::new(&dir)))
}

/// The directories that a glibc loader has built in: they stand in its bytes, each with a `/` and a NUL at its end.
fn built_into(image: &[u8]) -> Vec<PathBuf> {
    let present = |dir: &&&str| {
        let text = format!("{dir}/\0");
        // `/lib` is also the end of `/usr/lib`.
        memmem::find_iter(image, text.as_bytes()).any(|at| !image[..at].ends_with(b"/usr"))
    };
    let found: Vec<PathBuf> = BUILT_IN.iter().filter(|dir| present(dir)).map(PathBuf::from).collect();
    if found.is_empty() { BUILT_IN.iter().map(PathBuf::from).collect() } else { found }
}

/// Reads ld.so.conf: a directory or `include PATTERN` on each line (ldconfig(8)); each file once.
fn read_config(root: &Path, file: &Path, seen: &mut BTreeSet<PathBuf>, dirs: &mut Vec<PathBuf>) {
    if !seen.insert(file.to_owned()) {
        return;
    }
    let Ok(text) = fs::read_to_string(below(root, file)) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let patterns = line.strip_prefix("include").filter(|rest| rest.starts_with(char::is_whitespace));
        for pattern in patterns.into_iter().flat_map(str::split_whitespace) {
            let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
            for file in included(root, &pattern) {
                read_config(root, &file, seen, dirs);
            }
        }
        let dir = Path::new(line);
        if dir.is_absolute() && !dirs.iter().any(|known| known == dir) {
            dirs.push(dir.to_owned());
        }
    }
}

/// The files that a pattern names, in the order of names; a `*` is understood in the last part of the path.
fn included(root: &Path, pattern: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Some((start, end)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let entries = below(root, dir).read_dir();
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        })
        .filter(|name| !name.starts_with('.'))
        .map(|name| dir.join(name))
        .collect();
    found.sort();
    found
}

/// A path of the system whose root directory is `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Without `.` and `..`, by the text alone: `$ORIGIN/../lib`.
fn normalized(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}
