//! A `JUnit` report: well-formed whatever the guest printed, bounded whatever the guest printed.
//!
//! Reports of several runs can be merged: every target is a suite of its own, whose name has the file in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use vmtest_vm::event::{EventKind, OutputStream, RunEvent};
use vmtest_vm::verdict::Verdict;

use super::github::Place;
use super::{Reporter, Summary, TargetResult};
use crate::spool::HeadTail;
use vmtest_vm::{sanitize, wording};

/// Output kept of one target.
const PER_TARGET: usize = 10 << 20;
/// Output kept of a whole run.
const PER_RUN: usize = 80 << 20;
/// Output that every target may keep, however many there are.
const AT_LEAST: usize = 64 << 10;

/// Collects a run and writes it at its end.
pub(crate) struct JUnit {
    sink: Sink,
    places: Vec<Option<Place>>,
    each: usize,
    cases: BTreeMap<usize, Case>,
    now: fn() -> DateTime<Utc>,
    started: DateTime<Utc>,
}

/// Where a report goes; opened before the run, because a guest may put something else in its place.
enum Sink {
    /// A device or a pipe is written in place: replacing it would be a surprise.
    Special(File),
    /// A file of this name in this folder, in place of what is there.
    File { folder: File, name: OsString },
}

#[derive(Debug)]
struct Case {
    started: DateTime<Utc>,
    out: HeadTail,
    err: HeadTail,
    notes: Vec<String>,
    excerpt: Vec<String>,
}

impl JUnit {
    /// Reports the targets that stand at `places` to `file`; makes sure that it can be written before anything runs.
    pub(crate) fn create(file: &Path, places: Vec<Option<Place>>) -> io::Result<Self> {
        Self::create_at(file, places, Utc::now)
    }

    fn create_at(file: &Path, places: Vec<Option<Place>>, now: fn() -> DateTime<Utc>) -> io::Result<Self> {
        let sink = if is_special(file) {
            Sink::Special(open_special(file)?)
        } else {
            let name = file.file_name().filter(|_| !file.is_dir()).ok_or(io::ErrorKind::IsADirectory)?;
            let folder = folder(file);
            fs::create_dir_all(folder)?;
            let folder = File::open(folder)?;
            // What decides is whether the folder takes the file that will replace the old one.
            temporary(&folder)?.close()?;
            Sink::File { folder, name: name.to_owned() }
        };
        Ok(Self {
            sink,
            each: (PER_RUN / places.len().max(1)).clamp(AT_LEAST, PER_TARGET),
            places,
            cases: BTreeMap::new(),
            now,
            started: now(),
        })
    }

    fn case(&mut self, index: usize) -> &mut Case {
        // One limit for both streams, which are rarely both long.
        let (each, now) = (self.each / 2, self.now);
        self.cases.entry(index).or_insert_with(|| Case {
            started: now(),
            out: HeadTail::new(each),
            err: HeadTail::new(each),
            notes: Vec::new(),
            excerpt: Vec::new(),
        })
    }

    fn report(&mut self, summary: &Summary) -> Report {
        let mut results: Vec<_> = summary.results.iter().collect();
        results.sort_by_key(|result| result.index);
        let mut report = Report::new("vmtest");
        report.set_timestamp(self.started).set_time(summary.elapsed);
        let mut names = BTreeMap::new();
        for result in results {
            let place = self.places.get(result.index).and_then(Option::as_ref);
            let name = suite_name(result, place);
            let same = names.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
            let name = if *same == 1 { name } else { format!("{name} ({same})") };
            let case = self.cases.remove(&result.index);
            report.add_test_suite(suite(name, result, case, place));
        }
        report
    }
}

/// What no target of another name or another file is called, in whichever report it is.
fn suite_name(result: &TargetResult, place: Option<&Place>) -> String {
    let file = place.map_or("vmtest", |place| &place.file);
    sanitize::xml(&format!("{file}: {}", result.name))
}

fn suite(name: String, result: &TargetResult, case: Option<Case>, place: Option<&Place>) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.set_time(result.finished.durations.total);
    if let Some(case) = &case {
        suite.set_timestamp(case.started);
    }
    let mut test_case = test_case(result, case);
    if let Some(Place { file, line }) = place {
        let file = sanitize::xml(file);
        suite.extra.insert("file".into(), file.as_str().into());
        test_case.extra.insert("file".into(), file.as_str().into());
        test_case.extra.insert("line".into(), line.to_string().into());
    }
    suite.add_test_case(test_case);
    suite
}

fn test_case(result: &TargetResult, case: Option<Case>) -> TestCase {
    let verdict = &result.finished.verdict;
    let excerpt = case.as_ref().map(|case| case.excerpt.as_slice()).unwrap_or_default();
    let status = match wording::headline(verdict) {
        None => TestCaseStatus::success(),
        Some(headline) => {
            let kind = match verdict {
                Verdict::BootFailed(_) | Verdict::Lost(_) | Verdict::Cancelled => NonSuccessKind::Error,
                _ => NonSuccessKind::Failure,
            };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(failure_type(verdict)).set_message(sanitize::xml(&headline));
            let details = wording::details(verdict, excerpt);
            if !details.is_empty() {
                status.set_description(sanitize::xml(&details.join("\n")));
            }
            status
        }
    };
    let mut test_case = TestCase::new(sanitize::xml(&result.name), status);
    test_case.set_classname("vmtest").set_time(result.finished.durations.total);
    if let Some(mut case) = case {
        if let Some(note) = wording::lost_writes(&result.finished.lost_writes) {
            case.notes.push(note);
        }
        for note in case.notes {
            test_case.add_property(("vmtest.note", sanitize::xml(&note).as_str()));
        }
        if !case.out.is_empty() {
            test_case.set_system_out(sanitize::xml(&case.out.text()));
        }
        if !case.err.is_empty() {
            test_case.set_system_err(sanitize::xml(&case.err.text()));
        }
    }
    test_case
}

/// The verdict's name on every wire.
fn failure_type(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed { .. } => "failed",
        Verdict::Killed { .. } => "killed",
        Verdict::TimedOut { .. } => "timed_out",
        Verdict::KernelBug { .. } => "kernel_bug",
        Verdict::BootFailed(_) => "boot_failed",
        Verdict::Lost(_) => "lost",
        Verdict::Cancelled => "cancelled",
    }
}

impl Reporter for JUnit {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match &event.kind {
            EventKind::Output(output) => {
                let case = self.case(event.index);
                match output.stream {
                    OutputStream::Stdout => case.out.push(&output.data),
                    OutputStream::Stderr => case.err.push(&output.data),
                }
            }
            EventKind::Notice { message } => {
                let notes = &mut self.case(event.index).notes;
                if notes.len() < 100 {
                    notes.push(message.clone());
                }
            }
            EventKind::KernelBug { excerpt, .. } => {
                let first = &mut self.case(event.index).excerpt;
                if first.is_empty() {
                    first.clone_from(excerpt);
                }
            }
            EventKind::Preparing => {
                self.case(event.index);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let text = self.report(summary).to_string().map_err(io::Error::other)?;
        match &mut self.sink {
            Sink::Special(file) => file.write_all(text.as_bytes()),
            Sink::File { folder, name } => {
                let mut file = temporary(folder)?;
                file.write_all(text.as_bytes())?;
                file.as_file().sync_all()?;
                file.persist(within(folder).join(name)).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }
}

/// Whether it is a device or a pipe by itself, and not only by a link that a guest or a stranger may have left there.
fn is_special(file: &Path) -> bool {
    let data = if is_systems(file) { fs::metadata(file) } else { fs::symlink_metadata(file) };
    data.is_ok_and(|data| !data.is_file() && !data.is_dir() && !data.is_symlink())
}

/// Whether links to it are the system's own, as `/dev/stdout` is one.
fn is_systems(file: &Path) -> bool {
    ["/dev", "/proc"].iter().any(|folder| file.starts_with(folder))
}

/// Opens a device or a pipe. A pipe that nobody reads is not waited for.
fn open_special(file: &Path) -> io::Result<File> {
    let follows = if is_systems(file) { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = follows | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().write(true).custom_flags(flags.bits()).open(file);
    let opened = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::ENXIO as i32 => io::Error::other("nobody reads this pipe"),
        _ => error,
    })?;
    // The report is written as fast as it is read.
    fcntl(&opened, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(opened)
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The path of a folder that is open, whatever it is called by now.
fn within(folder: &File) -> PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

fn temporary(folder: &File) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new()
        .prefix(".vmtest-junit-")
        // The umask takes away what the user does not want; a report is as public as any other file.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(within(folder))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use quick_xml::events::Event;
    use vmtest_vm::verdict::Failure;

    use super::*;
    use crate::reporter::testing::{self, Scripted, passing, scripted, stdout};

    fn written(targets: Vec<Scripted>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out").join("junit.xml");
        let places = vec![Some(Place { file: "ci/vmtest.toml".into(), line: 3 }); 3];
        let now = || DateTime::UNIX_EPOCH;
        testing::report(targets, JUnit::create_at(&file, places, now).unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "nothing but the report is left"
        );
        text
    }

    // F2
    #[test]
    fn a_link_to_a_pipe_is_replaced_and_the_pipe_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, link] = ["pipe", "junit.xml"].map(|name| folder.path().join(name));
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        testing::report(vec![passing("t", b"")], JUnit::create(&link, vec![None]).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    // H6
    #[test]
    fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let refused = JUnit::create(&pipe, vec![None]).err().unwrap();
        assert_eq!(refused.to_string(), "nobody reads this pipe");
    }

    /// Reads every node and every attribute, and gives back the text of `element`.
    fn parse(text: &str, element: &str) -> String {
        let mut reader = quick_xml::Reader::from_str(text);
        let mut inside = false;
        let mut found = String::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => return found,
                Event::Start(start) => {
                    inside = start.name().as_ref() == element.as_bytes();
                    start.attributes().for_each(|attribute| drop(attribute.unwrap()));
                }
                Event::End(_) => inside = false,
                Event::Text(text) if inside => found.push_str(&text.decode().unwrap()),
                Event::GeneralRef(entity) if inside => {
                    let name = String::from_utf8(entity.to_vec()).unwrap();
                    found.push_str(match name.as_str() {
                        "gt" => ">",
                        "lt" => "<",
                        "amp" => "&",
                        "apos" => "'",
                        "quot" => "\"",
                        other => panic!("{other}"),
                    });
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_report_has_a_case_for_each_target() {
        let failure = Failure { reason: "no agent".into(), help: Some("h".into()), ..Failure::default() };
        let targets = vec![
            passing("a", b"hi\n"),
            scripted("b", Vec::new(), Verdict::Failed { exit_code: 3 }),
            scripted("c", Vec::new(), Verdict::Lost(failure)),
        ];
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="vmtest" tests="3" skipped="0" failures="1" errors="1" timestamp="1970-01-01T00:00:00.000+00:00" time="12.340">
                <testsuite name="ci/vmtest.toml: a" tests="1" skipped="0" errors="0" failures="0" timestamp="1970-01-01T00:00:00.000+00:00" time="0.900" file="ci/vmtest.toml">
                    <testcase name="a" classname="vmtest" time="0.900" file="ci/vmtest.toml" line="3">
                        <system-out>hi
            </system-out>
                    </testcase>
                </testsuite>
                <testsuite name="ci/vmtest.toml: b" tests="1" skipped="0" errors="0" failures="1" timestamp="1970-01-01T00:00:00.000+00:00" time="0.900" file="ci/vmtest.toml">
                    <testcase name="b" classname="vmtest" time="0.900" file="ci/vmtest.toml" line="3">
                        <failure message="Command failed with exit code: 3" type="failed"/>
                    </testcase>
                </testsuite>
                <testsuite name="ci/vmtest.toml: c" tests="1" skipped="0" errors="1" failures="0" timestamp="1970-01-01T00:00:00.000+00:00" time="0.900" file="ci/vmtest.toml">
                    <testcase name="c" classname="vmtest" time="0.900" file="ci/vmtest.toml" line="3">
                        <error message="Lost: no agent" type="lost">Help: h</error>
                    </testcase>
                </testsuite>
            </testsuites>
        "#]]
        .assert_eq(&written(targets));
    }

    #[test]
    fn no_two_suites_have_one_name() {
        let text = written(vec![passing("a", b""), passing("a", b""), passing("b", b"")]);
        for name in ["ci/vmtest.toml: a", "ci/vmtest.toml: a (2)", "ci/vmtest.toml: b"] {
            assert_eq!(text.matches(&format!("<testsuite name=\"{name}\"")).count(), 1, "{text}");
        }
    }

    #[test]
    fn hostile_output_and_names_leave_it_well_formed() {
        let hostile =
            b"\0\x01]]>\xff\xfe<a b='&'>\xef\xbf\xbe\xef\xbf\xbf\x1b]0;t\x07\x1b[2J\xc2\x9b31m&amp;\x0b";
        let target = scripted("a\"'<&>\0\u{ffff}\n", vec![stdout(hostile)], Verdict::Killed { signal: 9 });
        let text = written(vec![target]);
        assert!(text.chars().all(
            |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        ));
        let output = parse(&text, "system-out");
        assert!(
            output.contains("]]>") && output.contains("<a b='&'>") && output.contains("&amp;"),
            "{output:?}"
        );
    }

    #[test]
    fn endless_output_is_bounded_and_the_loss_is_said() {
        let piece = stdout(&vec![b'x'; 1 << 20]);
        let text = written(vec![scripted("a", vec![piece; 12], Verdict::Passed)]);
        assert!(text.len() < PER_TARGET, "{}", text.len());
        assert!(text.contains("bytes left out by vmtest"));
    }

    #[test]
    fn a_report_that_cannot_be_written_is_refused_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        assert!(JUnit::create(folder.path(), Vec::new()).is_err());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(JUnit::create(&file.join("junit.xml"), Vec::new()).is_err());
    }

    #[test]
    fn a_full_disk_at_the_end_is_reported() {
        let junit = JUnit::create(Path::new("/dev/full"), Vec::new()).unwrap();
        assert!(testing::report(vec![passing("a", b"")], junit).incomplete);
    }
}
