//! The places of a run that are in the workspace, as diagnostics.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use tower_lsp::lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, Position, Range, Uri,
};
use vmtest_config::Target;

use super::locations::{Kind, Place};
use crate::diagnostics::ByFile;
use crate::position::{Encoding, Lines};
use crate::uri::uri_of;

/// Places kept of one target.
const MOST: usize = 200;
/// Paths that are looked for on the disk; a guest may print as many as it likes.
const LOOKUPS: usize = 10_000;
/// Ranges that are looked up in files.
const READS: usize = 2_000;
/// Places that are weighed at all, so that output that names the same ones over and over costs only so much.
const WEIGHED: usize = 500_000;
/// A line beyond this part of a file is not looked at.
const READ: u64 = 4 << 20;
/// Where the guest has the project, whatever its root is.
const GUEST_PROJECT: &str = "/mnt/vmtest";

/// Where paths may lead.
#[derive(Debug)]
pub(crate) struct Folders {
    /// The project first, then the workspace folders: bases of relative paths, and what places must lie in.
    bases: Vec<PathBuf>,
    /// The same with symbolic links resolved.
    real: Vec<PathBuf>,
    /// Directories of the guest and what they are here; the longest first.
    mounts: Vec<(PathBuf, PathBuf)>,
}

impl Folders {
    /// Of a target, in an editor that has these folders open.
    pub(crate) fn new(target: &Target, workspace: &[PathBuf]) -> Self {
        let project = target.project_dir.clone();
        let bases: Vec<_> = std::iter::once(&project).chain(workspace).cloned().collect();
        let real = bases.iter().filter_map(|base| base.canonicalize().ok()).collect();
        let mut mounts: Vec<_> = target
            .vm
            .mounts
            .iter()
            .map(|mount| (mount.guest_path.clone(), mount.host_path.clone()))
            .chain([(PathBuf::from(GUEST_PROJECT), project)])
            .collect();
        mounts.sort_by_key(|(guest, _)| std::cmp::Reverse(guest.as_os_str().len()));
        Self { bases, real, mounts }
    }

    /// The file that a printed path means: a regular one inside the folders, also after its symbolic links.
    fn find(&self, printed: &str) -> Option<Found> {
        let path = Path::new(printed);
        if path.is_absolute() {
            let path = normal(path);
            let mounted =
                self.mounts.iter().find_map(|(guest, host)| Some(host.join(path.strip_prefix(guest).ok()?)));
            return mounted.and_then(|host| self.check(host)).or_else(|| self.check(path));
        }
        self.bases.iter().find_map(|base| self.check(normal(&base.join(path))))
    }

    fn check(&self, path: PathBuf) -> Option<Found> {
        let real = path.canonicalize().ok()?;
        let inside = self.real.iter().any(|folder| real.starts_with(folder));
        if !inside || !real.is_file() {
            return None;
        }
        // The editor knows the file by the name that leads through its folders.
        let shown = if self.bases.iter().any(|base| path.starts_with(base)) { path } else { real.clone() };
        Some(Found { uri: uri_of(&shown)?, real })
    }
}

#[derive(Debug, Clone)]
struct Found {
    uri: Uri,
    real: PathBuf,
}

/// What one target's output said about files.
#[derive(Debug)]
pub(crate) struct Places {
    folders: Folders,
    encoding: Encoding,
    lookups: HashMap<String, Option<Found>>,
    ranges: HashMap<(Uri, u32, Option<u32>), Option<Range>>,
    weighed: usize,
    by_place: BTreeMap<(Uri, u32, u32), (Kind, Diagnostic)>,
    traces: HashSet<u32>,
    /// Said with each: which target printed it.
    printed_by: Option<DiagnosticRelatedInformation>,
}

impl Places {
    /// Nothing yet. `printed_by` is the target's name and header, for clients that show such things.
    pub(crate) fn new(folders: Folders, encoding: Encoding, printed_by: Option<(Location, &str)>) -> Self {
        let printed_by = printed_by.map(|(location, name)| DiagnosticRelatedInformation {
            location,
            message: format!("printed by target `{name}`"),
        });
        Self {
            folders,
            encoding,
            lookups: HashMap::new(),
            ranges: HashMap::new(),
            weighed: 0,
            by_place: BTreeMap::new(),
            traces: HashSet::new(),
            printed_by,
        }
    }

    /// Takes what was found; whether there is something new to show.
    pub(crate) fn add(&mut self, place: &Place) -> bool {
        self.weighed += 1;
        let mut paths = std::iter::once(&place.path).chain(&place.also);
        let Some(found) = paths.find_map(|path| self.look_up(path)) else { return false };
        let Some(range) = self.range(&found, place) else { return false };
        let kind = match place.trace {
            // Of a traceback the innermost place that is the user's own is the one to look at.
            Some(trace) if !self.traces.insert(trace) => Kind::Note,
            _ => place.kind,
        };
        let key = (found.uri, range.start.line, range.start.character);
        let is_known = self.by_place.get(&key).is_some_and(|(known, _)| *known >= kind);
        if is_known || (self.is_full() && !self.by_place.contains_key(&key)) {
            return false;
        }
        let message =
            if place.message.is_empty() { "named in the output".to_owned() } else { place.message.clone() };
        let diagnostic = Diagnostic {
            range,
            severity: Some(severity(kind)),
            source: Some("vmtest".to_owned()),
            message,
            related_information: self.printed_by.clone().map(|by| vec![by]),
            ..Diagnostic::default()
        };
        self.by_place.insert(key, (kind, diagnostic));
        true
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.by_place.len() >= MOST || self.weighed >= WEIGHED
    }

    /// Only what the output itself called an error or a warning: the rest of a target that passed is no news.
    pub(crate) fn keep_complaints(&mut self) {
        self.by_place.retain(|_, (kind, _)| *kind >= Kind::Warning);
    }

    /// All of them.
    pub(crate) fn by_file(&self) -> ByFile {
        let mut by_file = ByFile::new();
        for ((uri, ..), (_, diagnostic)) in &self.by_place {
            by_file.entry(uri.clone()).or_default().push(diagnostic.clone());
        }
        by_file
    }

    /// The first errors, for who wants to go there from the target.
    pub(crate) fn errors(&self, count: usize) -> Vec<(Location, String)> {
        let errors = self.by_place.iter().filter(|(_, (kind, _))| *kind == Kind::Error);
        errors
            .map(|((uri, ..), (_, diagnostic))| {
                (Location::new(uri.clone(), diagnostic.range), diagnostic.message.clone())
            })
            .take(count)
            .collect()
    }

    fn range(&mut self, found: &Found, place: &Place) -> Option<Range> {
        let key = (found.uri.clone(), place.line, place.column);
        if let Some(known) = self.ranges.get(&key) {
            return *known;
        }
        if self.ranges.len() >= READS {
            return None;
        }
        let range = range(&found.real, place, self.encoding);
        self.ranges.insert(key, range);
        range
    }

    fn look_up(&mut self, path: &str) -> Option<Found> {
        if let Some(known) = self.lookups.get(path) {
            return known.clone();
        }
        if self.lookups.len() >= LOOKUPS {
            return None;
        }
        let found = self.folders.find(path);
        self.lookups.insert(path.to_owned(), found.clone());
        found
    }
}

fn severity(kind: Kind) -> DiagnosticSeverity {
    match kind {
        Kind::Error => DiagnosticSeverity::ERROR,
        Kind::Warning => DiagnosticSeverity::WARNING,
        Kind::Note | Kind::Mention => DiagnosticSeverity::INFORMATION,
    }
}

/// Takes `.` and `..` out, as the tools that print them mean them.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// The word at the place, or its whole line; none when the file has no such line.
fn range(file: &Path, place: &Place, encoding: Encoding) -> Option<Range> {
    let text = line_of(file, place.line)?;
    let (start, end) = match place.column {
        Some(column) => {
            let start =
                text.char_indices().nth(column.saturating_sub(1) as usize).map_or(text.len(), |(at, _)| at);
            let word = text[start..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let first = text[start..].chars().next().map_or(0, char::len_utf8);
            (start, start + word.unwrap_or(text.len() - start).max(first))
        }
        None => (text.len() - text.trim_start().len(), text.trim_end().len()),
    };
    let lines = Lines::new(&text, encoding);
    let position = |offset| Position::new(place.line - 1, lines.position(&text, offset).character);
    Some(Range::new(position(start), position(end.max(start))))
}

/// One line of a file, by its number from 1.
fn line_of(file: &Path, number: u32) -> Option<String> {
    let mut bytes = Vec::new();
    open(file).ok()?.take(READ).read_to_end(&mut bytes).ok()?;
    let line = bytes.split(|byte| *byte == b'\n').nth(number as usize - 1)?;
    Some(String::from_utf8_lossy(line).trim_end_matches('\r').to_owned())
}

/// The guest may have put something else there since it was looked at: no link is followed, and no FIFO waited for.
fn open(file: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(file)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::runs::testing::target;

    struct Project(tempfile::TempDir);

    impl Project {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("project/src")).unwrap();
            fs::create_dir_all(folder.path().join("other")).unwrap();
            fs::write(folder.path().join("project/src/main.c"), "int\n\u{e4}\u{1f600} = oops;\n").unwrap();
            fs::write(folder.path().join("other/lib.c"), "1\n2\n").unwrap();
            fs::write(folder.path().join("secret"), "1\n").unwrap();
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn places(&self) -> Places {
            let mut target = target("a");
            target.project_dir = self.path("project");
            let mount = vmtest_config::Mount {
                guest_path: "/mnt/lib".into(),
                host_path: self.path("other"),
                writable: false,
            };
            target.vm.mounts.push(mount);
            let folders = Folders::new(&target, &[self.path("other")]);
            Places::new(folders, Encoding::Utf16, None)
        }

        /// The file that a path leads to, below the temporary folder.
        fn leads_to(&self, path: &str) -> Option<String> {
            let mut places = self.places();
            places.add(&place(path, 1, None)).then(|| {
                let (uri, _) = places.by_file().into_iter().next().unwrap();
                let path = crate::uri::file_of(&uri).unwrap();
                path.strip_prefix(self.0.path()).unwrap().to_str().unwrap().to_owned()
            })
        }
    }

    fn place(path: &str, line: u32, column: Option<u32>) -> Place {
        Place {
            path: path.into(),
            also: vec![],
            line,
            column,
            kind: Kind::Error,
            message: "m".into(),
            trace: None,
        }
    }

    #[test]
    fn paths_of_host_and_guest_lead_into_the_project() {
        let project = Project::new();
        let absolute = project.path("project/src/main.c");
        for path in
            ["src/main.c", "./src/../src/main.c", "/mnt/vmtest/src/main.c", absolute.to_str().unwrap()]
        {
            assert_eq!(project.leads_to(path).as_deref(), Some("project/src/main.c"), "{path}");
        }
    }

    #[test]
    fn workspace_folders_and_mounts_count_too() {
        let project = Project::new();
        for path in ["lib.c", "/mnt/lib/lib.c", "../other/lib.c"] {
            assert_eq!(project.leads_to(path).as_deref(), Some("other/lib.c"), "{path}");
        }
    }

    // F2
    #[test]
    fn nothing_outside_is_named_whatever_leads_there() {
        let project = Project::new();
        symlink(project.path("secret"), project.path("project/link.c")).unwrap();
        symlink(project.path(""), project.path("project/up")).unwrap();
        for path in ["../secret", "link.c", "up/secret", "/etc/passwd", "/mnt/vmtest/../../etc/passwd", "src"]
        {
            assert_eq!(project.leads_to(path), None, "{path}");
        }
    }

    // F2
    #[test]
    fn a_link_or_a_pipe_that_came_since_the_file_was_looked_at_is_not_read() {
        let project = Project::new();
        let (link, pipe) = (project.path("project/link.c"), project.path("project/pipe.c"));
        symlink(project.path("secret"), &link).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(open(&link).is_err() && open(&pipe).is_err());
    }

    #[test]
    fn a_link_within_the_project_keeps_its_own_name() {
        let project = Project::new();
        symlink("src/main.c", project.path("project/alias.c")).unwrap();
        assert_eq!(project.leads_to("alias.c").as_deref(), Some("project/alias.c"));
    }

    #[test]
    fn a_place_is_the_word_at_its_column_in_the_clients_units() {
        let project = Project::new();
        let file = project.path("project/src/main.c");
        let columns = |place: &Place| {
            let range = range(&file, place, Encoding::Utf16).unwrap();
            (range.start.line, range.start.character, range.end.character)
        };
        assert_eq!(columns(&place("", 2, Some(6))), (1, 6, 10));
        assert_eq!(columns(&place("", 2, None)), (1, 0, 11));
        assert_eq!(columns(&place("", 2, Some(999))), (1, 11, 11));
    }

    #[test]
    fn a_line_that_the_file_does_not_have_is_no_place() {
        let project = Project::new();
        assert!(!project.places().add(&place("src/main.c", 99, None)));
    }

    #[test]
    fn a_place_is_named_once_by_the_worst_that_is_said_of_it() {
        let project = Project::new();
        let mut places = project.places();
        let mention = Place { kind: Kind::Mention, ..place("src/main.c", 1, None) };
        assert!(places.add(&mention));
        assert!(places.add(&place("src/main.c", 1, None)));
        assert!(!places.add(&mention));
        let by_file = places.by_file();
        let list: Vec<_> = by_file.values().flatten().map(|diagnostic| diagnostic.severity).collect();
        assert_eq!(list, [Some(DiagnosticSeverity::ERROR)]);
    }

    #[test]
    fn the_first_place_of_a_traceback_that_exists_is_the_error() {
        let project = Project::new();
        let mut places = project.places();
        for (path, line) in [("/usr/lib/gone.c", 1), ("src/main.c", 1), ("src/main.c", 2)] {
            places.add(&Place { trace: Some(7), ..place(path, line, None) });
        }
        let kinds: Vec<_> = places.by_place.values().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Error, Kind::Note]);
    }

    #[test]
    fn places_and_looks_at_the_disk_are_bounded() {
        let project = Project::new();
        fs::write(project.path("project/long.c"), "x\n".repeat(1000)).unwrap();
        let mut places = project.places();
        for line in 1..500 {
            places.add(&place("long.c", line, None));
        }
        assert_eq!(places.by_place.len(), MOST);
        for number in 0..2 * LOOKUPS {
            places.add(&place(&format!("none{number}.c"), 1, None));
        }
        assert_eq!(places.lookups.len(), LOOKUPS);
    }
}
