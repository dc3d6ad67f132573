//! A text, and what is known about it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use vmtest_config::{Document, MAX_FILE_SIZE, Problem, Purpose, Resolved};

use crate::facts::Facts;
use crate::model::Section;
use crate::scan::{Piece, Scan, scan};

/// A text that is shown in an editor, ready for questions.
///
/// Nothing is read before something asks for it, and nothing twice.
#[derive(Debug)]
pub struct Analysis {
    text: String,
    base: PathBuf,
    scan: OnceLock<Scan>,
    head: OnceLock<Section>,
    targets: OnceLock<Vec<OnceLock<Section>>>,
    /// What is known of the head and of each target.
    facts: OnceLock<Vec<OnceLock<Arc<Facts>>>>,
}

/// One target as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetOutline {
    /// Its name; empty where it has none.
    pub name: String,
    /// Its `[[target]]`.
    pub header: Range<usize>,
    /// From its header to the end of its last key.
    pub range: Range<usize>,
}

impl Analysis {
    /// Takes a text; relative paths in it start at `base`, the directory of the file.
    pub fn new(text: impl Into<String>, base: &Path) -> Self {
        Self {
            text: text.into(),
            base: base.to_owned(),
            scan: OnceLock::new(),
            head: OnceLock::new(),
            targets: OnceLock::new(),
            facts: OnceLock::new(),
        }
    }

    /// The text after an edit: what is known of the targets that did not change is kept.
    #[must_use]
    pub fn edited(&self, text: impl Into<String>) -> Self {
        let edited = Self::new(text, &self.base);
        let Some(known) = self.facts.get() else { return edited };
        let (old, new) = (self.scan(), edited.scan());
        let same = |old: &Piece, new: &Piece| {
            self.text[old.range.clone()] == edited.text[new.range.clone()] && old.same_strings(new)
        };
        let (before, after) = (&old.targets, &new.targets);
        let start = before.iter().zip(after).take_while(|(old, new)| same(old, new)).count();
        let most = before.len().min(after.len()) - start;
        let end =
            before.iter().rev().zip(after.iter().rev()).take(most).take_while(|(old, new)| same(old, new));
        let end = end.count();
        let mut facts: Vec<_> = (0..=after.len()).map(|_| OnceLock::new()).collect();
        if same(&old.head, &new.head) {
            facts[0] = known[0].clone();
        }
        facts[1..=start].clone_from_slice(&known[1..=start]);
        facts[1 + after.len() - end..].clone_from_slice(&known[1 + before.len() - end..]);
        Self { facts: OnceLock::from(facts), ..edited }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The directory that relative paths start at.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Every target in the order of the text, also those that cannot run.
    pub fn targets(&self) -> Vec<TargetOutline> {
        let outline = |(start, facts): (usize, &Facts)| TargetOutline {
            name: facts.name.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
            header: facts.header.start + start..facts.header.end + start,
            range: start..facts.end + start,
        };
        self.facts().skip(1).map(outline).collect()
    }

    /// The targets as they would run; where the file has an error, everything that is wrong with it.
    pub fn resolve(&self) -> Result<Vec<Resolved>, Vec<Problem>> {
        Document::parse(&self.text, &self.base)?.resolve(Purpose::Run).map(|loaded| loaded.targets)
    }

    /// The targets of a file without errors, as [`Analysis::problems`] looks at them: one that is for another machine is no
    /// error here. Empty where there is an error.
    pub fn checked(&self) -> Vec<Resolved> {
        let checked =
            Document::parse(&self.text, &self.base).and_then(|document| document.resolve(Purpose::Check));
        checked.map(|loaded| loaded.targets).unwrap_or_default()
    }

    /// Where the pieces are; nothing of a text that is too large.
    pub(crate) fn scan(&self) -> &Scan {
        let text = if self.text.len() > MAX_FILE_SIZE { "" } else { self.text.as_str() };
        self.scan.get_or_init(|| scan(text))
    }

    /// What stands before the first target.
    pub(crate) fn head(&self) -> &Section {
        self.head.get_or_init(|| Section::read(&self.text, &self.scan().head))
    }

    /// The targets in the order of the text.
    pub(crate) fn sections(&self) -> impl DoubleEndedIterator<Item = &Section> + ExactSizeIterator {
        (0..self.scan().targets.len()).map(|index| self.section(index))
    }

    /// What is known of each piece, the head first, and where the piece starts.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (usize, &Facts)> {
        let scan = self.scan();
        let facts = self.facts.get_or_init(|| (0..=scan.targets.len()).map(|_| OnceLock::new()).collect());
        let pieces = std::iter::once(&scan.head).chain(&scan.targets);
        pieces.zip(facts).enumerate().map(|(index, (piece, facts))| {
            let facts = facts.get_or_init(|| {
                let section = index.checked_sub(1).map_or_else(|| self.head(), |index| self.section(index));
                Arc::new(Facts::new(&self.text, piece, section, &self.base))
            });
            (piece.range.start, facts.as_ref())
        })
    }

    /// The piece of the text that an offset lies in; at the border of two, the one that ends there.
    pub(crate) fn section_at(&self, offset: usize) -> &Section {
        let after = self.scan().targets.partition_point(|piece: &Piece| piece.range.start < offset);
        match after.checked_sub(1) {
            Some(index) => self.section(index),
            None => self.head(),
        }
    }

    fn section(&self, index: usize) -> &Section {
        let pieces = &self.scan().targets;
        let sections = self.targets.get_or_init(|| pieces.iter().map(|_| OnceLock::new()).collect());
        sections[index].get_or_init(|| Section::read(&self.text, &pieces[index]))
    }
}
