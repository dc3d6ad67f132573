//! Each target's output and console in files: where the user says, else with the last runs under the state directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::{EventKind, RunEvent};
use crate::wording;

/// Runs whose logs are kept when nobody said where.
const KEPT_RUNS: usize = 10;
/// Longest part of a target's name in a file's name.
const NAME: usize = 80;

/// Writes log files.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    /// The same, from before the run: a guest that can write there may put something else in its place.
    opened: Arc<File>,
    /// Digits of the largest index, so that files sort as targets do.
    digits: usize,
    open: BTreeMap<usize, Files>,
}

#[derive(Debug)]
struct Files {
    output: File,
    console: File,
}

impl Logs {
    /// Writes into `folder`, which is made and tried.
    pub fn create(folder: PathBuf, targets: usize) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        tempfile::tempfile_in(&folder)?;
        let opened = Arc::new(File::open(&folder)?);
        Ok(Self { folder, opened, digits: targets.to_string().len().max(2), open: BTreeMap::new() })
    }

    /// Writes into a folder for `run_id` among the last runs, and lets the oldest go.
    pub fn create_default(run_id: &str, targets: usize) -> Option<Self> {
        let runs = runs_folder(std::env::var_os("XDG_STATE_HOME").map(PathBuf::from), std::env::home_dir())?;
        let logs = Self::create(runs.join(run_id), targets).ok()?;
        // A log holds what the guest printed, secrets perhaps.
        let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
        let _ = fs::set_permissions(&logs.folder, private);
        forget_old_runs(&runs, |id| Path::new("/proc").join(id.to_string()).exists());
        Some(logs)
    }

    /// Where the output of a target goes.
    pub fn output_file(&self, index: usize, name: &str) -> PathBuf {
        self.folder.join(format!("{}.log", self.stem(index, name)))
    }

    /// Where files go, for reports that name them.
    pub fn paths(&self) -> LogPaths {
        LogPaths(Some(self.for_another_listener()))
    }

    /// The same files for somebody who hears of other targets of the run.
    #[must_use]
    pub fn for_another_listener(&self) -> Self {
        let (folder, opened) = (self.folder.clone(), self.opened.clone());
        Self { folder, opened, digits: self.digits, open: BTreeMap::new() }
    }

    fn stem(&self, index: usize, name: &str) -> String {
        format!("{:0width$}-{}", index + 1, file_name(name), width = self.digits)
    }

    fn files(&mut self, event: &RunEvent) -> io::Result<&mut Files> {
        if !self.open.contains_key(&event.index) {
            let stem = self.stem(event.index, &event.target);
            let files = Files {
                output: self.create_file(&format!("{stem}.log"))?,
                console: self.create_file(&format!("{stem}.console.log"))?,
            };
            self.open.insert(event.index, files);
        }
        Ok(self.open.get_mut(&event.index).expect("inserted above"))
    }
}

impl Logs {
    /// A new file in place of what is there, be it a link or a pipe.
    fn create_file(&self, name: &str) -> io::Result<File> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.opened.as_raw_fd())).join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => OpenOptions::new().write(true).create_new(true).open(path),
        }
    }
}

/// Names log files for other reports; empty when there are none.
#[derive(Debug, Default)]
pub struct LogPaths(Option<Logs>);

impl LogPaths {
    /// Where the output of a target goes.
    pub fn output_file(&self, index: usize, name: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|logs| logs.output_file(index, name))
    }
}

impl Logs {
    /// Writes what belongs into the files of the event's target.
    pub fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match &event.kind {
            EventKind::Queued => Ok(()),
            EventKind::Output(output) => self.files(event)?.output.write_all(&output.data),
            EventKind::Console { line } => writeln!(self.files(event)?.console, "{line}"),
            EventKind::Notice { message } => writeln!(self.files(event)?.console, "vmtest: {message}"),
            EventKind::Finished(finished) => {
                if let Some(files) = self.open.get_mut(&event.index) {
                    let said = wording::headline(&finished.verdict).unwrap_or_else(|| "passed".to_owned());
                    writeln!(files.console, "vmtest: {said} ({})", wording::phases(&finished.durations))?;
                }
                // A run of a thousand targets holds no thousand files.
                self.open.remove(&event.index);
                Ok(())
            }
            _ => self.files(event).map(drop),
        }
    }
}

/// A target's name as part of a file's name.
fn file_name(name: &str) -> String {
    let safe =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+') { c } else { '_' };
    name.chars().take(NAME).map(safe).collect()
}

fn runs_folder(state_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // The specification says to ignore a relative path.
    let state = state_home
        .filter(|path| path.is_absolute())
        .or_else(|| home.filter(|path| path.is_absolute()).map(|home| home.join(".local").join("state")))?;
    Some(state.join("vmtest").join("runs"))
}

/// Removes all but the last runs; one that still goes on is left alone.
fn forget_old_runs(runs: &Path, is_running: impl Fn(u32) -> bool) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    let mut ids: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| parse_run_id(entry.file_name().to_str()?).map(|key| (key, entry.path())))
        .collect();
    ids.sort();
    let old = ids.len().saturating_sub(KEPT_RUNS);
    for ((_, process, _), path) in ids.into_iter().take(old) {
        if !is_running(process) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Time, process and count of a run id; none for a folder that is somebody else's.
fn parse_run_id(name: &str) -> Option<(u128, u32, u32)> {
    let mut parts = name.split('-');
    let id = (
        u128::from_str_radix(parts.next()?, 16).ok()?,
        u32::from_str_radix(parts.next()?, 16).ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{Output, OutputStream, RunId};
    use crate::verdict::Verdict;

    #[test]
    fn output_and_console_are_in_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::create(folder.path().join("logs"), 2).unwrap();
        let mut say = |index, target: &str, kind| {
            logs.event(&RunEvent { run_id: RunId::new(), target: target.into(), index, seq: 0, kind })
                .unwrap();
        };
        let output = Output { stream: OutputStream::Stdout, data: Bytes::from_static(b"\xffhi\n") };
        say(0, "a/../b c", EventKind::Console { line: "Linux version 6.1".into() });
        say(0, "a/../b c", EventKind::Output(output));
        say(0, "a/../b c", EventKind::Finished(Verdict::Passed.into()));
        say(1, "x", EventKind::Preparing);
        let read = |name: &str| fs::read(folder.path().join("logs").join(name)).unwrap();
        assert_eq!(read("01-a_.._b_c.log"), b"\xffhi\n");
        assert_eq!(
            String::from_utf8(read("01-a_.._b_c.console.log")).unwrap(),
            "Linux version 6.1\nvmtest: passed (boot 0.0 s, set-up 0.0 s, command 0.0 s)\n"
        );
        assert_eq!(read("02-x.log"), b"");
    }

    #[test]
    fn the_last_runs_are_kept_and_what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..13 {
            fs::create_dir(folder.path().join(format!("{n:x}-{n:x}-0"))).unwrap();
        }
        fs::create_dir(folder.path().join("mine")).unwrap();
        forget_old_runs(folder.path(), |process| process == 1);
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        // 0 and 2 are old; 1 is old and still runs.
        assert_eq!(
            left,
            [
                "1-1-0", "3-3-0", "4-4-0", "5-5-0", "6-6-0", "7-7-0", "8-8-0", "9-9-0", "a-a-0", "b-b-0",
                "c-c-0", "mine"
            ]
        );
    }

    #[test]
    fn a_run_id_of_the_runner_is_one() {
        assert!(parse_run_id(&RunId::new().0).is_some());
    }

    #[test]
    fn the_state_directory_is_the_platforms() {
        assert_eq!(runs_folder(Some("/s".into()), None), Some("/s/vmtest/runs".into()));
        assert_eq!(
            runs_folder(Some("s".into()), Some("/h".into())),
            Some("/h/.local/state/vmtest/runs".into())
        );
        assert_eq!(runs_folder(None, None), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Logs::create(file.path().join("logs"), 1).is_err());
    }
}
