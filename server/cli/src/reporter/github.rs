//! GitHub Actions: groups in the log, annotations at the target's line, a table in the job's summary.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::{Reporter, Summary};
use vmtest_vm::event::{Accelerator, EventKind, RunEvent, Start};
use vmtest_vm::{sanitize, wording};

/// Where a target stands in its file, for annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Relative to the workspace where that is possible.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
}

/// The workflow commands around one target's block.
#[derive(Debug)]
pub(crate) struct Commands {
    places: Vec<Option<Place>>,
    token: String,
}

impl Commands {
    /// For targets that stand at `places`, in the order of the run.
    pub(crate) fn new(places: Vec<Option<Place>>) -> Self {
        // Two keyed hashes of the standard library's random seed: the guest cannot guess what ends the silence.
        let word = || RandomState::new().build_hasher().finish();
        Self::with_token(places, format!("vmtest-{:016x}{:016x}", word(), word()))
    }

    fn with_token(places: Vec<Option<Place>>, token: String) -> Self {
        Self { places, token }
    }

    /// Opens the block; commands in what follows have no effect. A target of the command line has no group, because what
    /// reads its output looks for no lines around it.
    pub(crate) fn open(&self, name: &str, group: bool) -> String {
        let group = if group { format!("::group::{}\n", data(name)) } else { String::new() };
        format!("{group}::stop-commands::{}\n", self.token)
    }

    /// Closes the block.
    pub(crate) fn close(&self, group: bool) -> String {
        format!("::{}::\n{}", self.token, if group { "::endgroup::\n" } else { "" })
    }

    /// An annotation on a target that did not pass.
    pub(crate) fn annotation(&self, index: usize, name: &str, message: &str) -> String {
        let place = match self.places.get(index) {
            Some(Some(Place { file, line })) => format!("file={},line={line},", property(file)),
            _ => String::new(),
        };
        format!("::error {place}title={}::{}\n", property(&format!("vmtest: {name}")), data(message))
    }
}

/// Escapes the text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Appends a table to the job's summary.
#[derive(Debug)]
pub(crate) struct JobSummary {
    file: PathBuf,
    guests: Guests,
}

/// What ran each target's guest, and how that came to life.
type Guests = BTreeMap<usize, (Accelerator, Start)>;

impl JobSummary {
    /// Appends to `file`.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, guests: Guests::new() }
    }
}

impl Reporter for JobSummary {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        if let EventKind::Booted { accelerator, start, .. } = event.kind {
            self.guests.insert(event.index, (accelerator, start));
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let table = table(summary, &self.guests);
        OpenOptions::new().append(true).create(true).open(&self.file)?.write_all(table.as_bytes())
    }
}

fn table(summary: &Summary, guests: &Guests) -> String {
    use std::fmt::Write as _;
    let mut results: Vec<_> = summary.results.iter().collect();
    results.sort_by_key(|result| result.index);
    let mut text = format!(
        "### vmtest: {}\n\n| | target | result | guest | boot | command | all |\n|---|---|---|---|--:|--:|--:|\n",
        wording::summary(summary.verdicts(), summary.elapsed)
    );
    for result in results {
        let verdict = &result.finished.verdict;
        let mark = if verdict.passed() { "✅" } else { "❌" };
        let said = wording::headline(verdict).unwrap_or_else(|| "passed".to_owned());
        let guest = match guests.get(&result.index) {
            Some((Accelerator::Kvm, Start::Cold)) => "KVM",
            Some((Accelerator::Kvm, Start::Snapshot)) => "KVM, resumed",
            Some((Accelerator::Tcg, Start::Cold)) => "emulated",
            Some((Accelerator::Tcg, Start::Snapshot)) => "emulated, resumed",
            None => "none",
        };
        let durations = &result.finished.durations;
        let [boot, command, all] = [durations.boot, durations.command, durations.total].map(wording::seconds);
        let _ = writeln!(
            text,
            "| {mark} | {} | {} | {guest} | {boot} | {command} | {all} |",
            cell(&result.name),
            cell(&said)
        );
    }
    text.push('\n');
    text
}

/// Text of a table's cell: no markup, no line break, no new cell.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in sanitize::line(text.replace('\n', " ").as_bytes()).chars() {
        match c {
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' | '@' => {
                use std::fmt::Write as _;
                let _ = write!(cell, "&#{};", c as u32);
            }
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;
    use vmtest_vm::verdict::Verdict;

    use super::*;
    use crate::reporter::TargetResult;
    use crate::reporter::testing;

    pub(super) fn commands() -> Commands {
        Commands::with_token(vec![Some(Place { file: "ci/vm,test.toml".into(), line: 7 })], "TOKEN".into())
    }

    #[test]
    fn an_annotation_is_escaped() {
        expect![[r"
            ::error file=ci/vm%2Ctest.toml,line=7,title=vmtest%3A a%3Ab%0Ac::50%25 of%0Ait: failed
        "]]
        .assert_eq(&commands().annotation(0, "a:b\nc", "50% of\nit: failed"));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(Commands::new(Vec::new()).token, Commands::new(Vec::new()).token);
    }

    #[test]
    fn the_table_is_in_file_order_and_escaped() {
        let result = |index, name: &str, verdict| TargetResult {
            index,
            name: name.into(),
            finished: testing::finished(verdict),
        };
        let summary = Summary {
            results: vec![
                result(1, "b|<img>\n@all", Verdict::Failed { exit_code: 3 }),
                result(0, "a", Verdict::Passed),
            ],
            elapsed: Duration::from_secs(2),
        };
        expect![[r"
            ### vmtest: 1 passed, 1 failed in 2.0 s

            | | target | result | guest | boot | command | all |
            |---|---|---|---|--:|--:|--:|
            | ✅ | a | passed | emulated, resumed | 0.7 s | 0.1 s | 0.9 s |
            | ❌ | b&#124;&lt;img> &#64;all | Command failed with exit code: 3 | none | 0.7 s | 0.1 s | 0.9 s |

        "]]
        .assert_eq(&table(&summary, &Guests::from([(0, (Accelerator::Tcg, Start::Snapshot))])));
    }
}
