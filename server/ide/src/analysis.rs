//! A text, and what is known about it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use vmtest_config::{Document, Loaded, MAX_FILE_SIZE, Problem, Purpose, Resolved};

use crate::facts::Facts;
use crate::model::Section;
use crate::scan::{Piece, scan};

/// A text that is shown in an editor, ready for questions.
///
/// Nothing is read before something asks for it, and nothing twice.
#[derive(Debug)]
pub struct Analysis {
    text: String,
    base: PathBuf,
    /// What stands before the first target, then the targets. What follows here has one entry for each.
    pieces: OnceLock<Vec<Piece>>,
    sections: OnceLock<Vec<OnceLock<Section>>>,
    facts: OnceLock<Vec<OnceLock<Arc<Facts>>>>,
}

/// One target as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetOutline {
    /// Its name; empty where it has none.
    pub name: String,
    /// Whether its command is an interactive shell, which needs a terminal.
    pub interactive: bool,
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
            pieces: OnceLock::new(),
            sections: OnceLock::new(),
            facts: OnceLock::new(),
        }
    }

    /// The text after an edit: what is known of the targets that did not change is kept.
    #[must_use]
    pub fn edited(&self, text: impl Into<String>) -> Self {
        let edited = Self::new(text, &self.base);
        let Some(known) = self.facts.get() else { return edited };
        let (before, after) = (self.pieces(), edited.pieces());
        let same = |old: &Piece, new: &Piece| {
            self.text[old.range.clone()] == edited.text[new.range.clone()] && old.same_strings(new)
        };
        let start = before.iter().zip(after).take_while(|(old, new)| same(old, new)).count();
        let most = before.len().min(after.len()) - start;
        let end =
            before.iter().rev().zip(after.iter().rev()).take(most).take_while(|(old, new)| same(old, new));
        let end = end.count();
        let mut facts = vec![OnceLock::new(); after.len()];
        facts[..start].clone_from_slice(&known[..start]);
        facts[after.len() - end..].clone_from_slice(&known[before.len() - end..]);
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
            interactive: facts.interactive,
            header: facts.header.start + start..facts.header.end + start,
            range: start..facts.end + start,
        };
        self.facts().skip(1).map(outline).collect()
    }

    /// The targets as they would run; where the file has an error, everything that is wrong with it.
    pub fn resolve(&self) -> Result<Vec<Resolved>, Vec<Problem>> {
        self.load(Purpose::Run).map(|loaded| loaded.targets)
    }

    /// The targets of a file without errors, as [`Analysis::problems`] looks at them: one that is for another machine is no
    /// error here. Empty where there is an error.
    pub fn checked(&self) -> Vec<Resolved> {
        self.load(Purpose::Check).map(|loaded| loaded.targets).unwrap_or_default()
    }

    /// What the loader makes of the whole text.
    pub(crate) fn load(&self, purpose: Purpose) -> Result<Loaded, Vec<Problem>> {
        Document::parse(&self.text, &self.base)?.resolve(purpose)
    }

    /// Where the pieces are, at least one; all of them empty in a text that is too large.
    pub(crate) fn pieces(&self) -> &[Piece] {
        let text = if self.text.len() > MAX_FILE_SIZE { "" } else { self.text.as_str() };
        self.pieces.get_or_init(|| scan(text))
    }

    /// What stands before the first target, then the targets in the order of the text.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &Section> {
        (0..self.pieces().len()).map(|index| self.section(index))
    }

    /// The targets in the order of the text.
    pub(crate) fn target_sections(&self) -> impl Iterator<Item = &Section> {
        self.sections().skip(1)
    }

    /// What is known of each piece, and where the piece starts.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (usize, &Facts)> {
        let pieces = self.pieces();
        let facts = self.facts.get_or_init(|| vec![OnceLock::new(); pieces.len()]);
        pieces.iter().zip(facts).enumerate().map(|(index, (piece, facts))| {
            let facts = facts
                .get_or_init(|| Arc::new(Facts::new(&self.text, piece, self.section(index), &self.base)));
            (piece.range.start, facts.as_ref())
        })
    }

    /// The number of the piece that an offset lies in; at the border of two, of the one that ends there.
    pub(crate) fn piece_at(&self, offset: usize) -> usize {
        self.pieces()[1..].partition_point(|piece| piece.range.start < offset)
    }

    /// The piece of the text that an offset lies in, as [`Analysis::piece_at`].
    pub(crate) fn section_at(&self, offset: usize) -> &Section {
        self.section(self.piece_at(offset))
    }

    /// What a piece says.
    pub(crate) fn section(&self, index: usize) -> &Section {
        let pieces = self.pieces();
        let sections = self.sections.get_or_init(|| pieces.iter().map(|_| OnceLock::new()).collect());
        sections[index].get_or_init(|| Section::read(&self.text, &pieces[index]))
    }
}
