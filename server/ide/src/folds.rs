//! What can be folded away.

use std::ops::Range;

use crate::analysis::Analysis;
use crate::model::{Section, Value, ValueKind};

/// Lines that fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// From the line that stays to the last that goes.
    pub range: Range<usize>,
    /// Whether they are comments.
    pub comment: bool,
}

impl Analysis {
    /// Every target, table, list and text of several lines, and every block of comments.
    pub fn folds(&self) -> Vec<Fold> {
        let mut folds = Vec::new();
        for section in self.sections() {
            let own = folds.len();
            self.fold_section(section, &mut folds);
            folds[own..].sort_by_key(|fold| (fold.range.start, std::cmp::Reverse(fold.range.end)));
        }
        folds
    }

    fn fold_section(&self, section: &Section, folds: &mut Vec<Fold>) {
        for (at, table) in section.tables.iter().enumerate() {
            if let Some(header) = &table.header {
                // The first table of a target is the target, with all its tables.
                let is_target = at == 0 && header.array;
                let end = if is_target { section.end() } else { table.end() };
                self.fold(header.range.start..end, folds);
            }
            for entry in &table.entries {
                if let Some(value) = &entry.value {
                    self.fold_value(value, folds);
                }
            }
        }
        let mut block: Option<Range<usize>> = None;
        for comment in section.comments.iter().filter(|comment| self.is_alone(comment)) {
            block = match block {
                Some(block)
                    if self.text()[block.end..comment.start].trim_matches([' ', '\t', '\r']) == "\n" =>
                {
                    Some(block.start..comment.end)
                }
                before => {
                    self.fold_comments(before, folds);
                    Some(comment.clone())
                }
            };
        }
        self.fold_comments(block, folds);
    }

    fn fold_value(&self, value: &Value, folds: &mut Vec<Fold>) {
        self.fold(value.range.clone(), folds);
        match &value.kind {
            ValueKind::Array(values) => values.iter().for_each(|value| self.fold_value(value, folds)),
            ValueKind::Table(entries) => {
                for value in entries.iter().filter_map(|entry| entry.value.as_ref()) {
                    self.fold_value(value, folds);
                }
            }
            _ => {}
        }
    }

    /// Folds a range, where it is of several lines.
    fn fold(&self, range: Range<usize>, folds: &mut Vec<Fold>) {
        if self.text()[range.clone()].contains('\n') {
            folds.push(Fold { range, comment: false });
        }
    }

    fn fold_comments(&self, block: Option<Range<usize>>, folds: &mut Vec<Fold>) {
        if let Some(range) = block
            && self.text()[range.clone()].contains('\n')
        {
            folds.push(Fold { range, comment: true });
        }
    }

    /// Whether a comment has its line to itself.
    fn is_alone(&self, comment: &Range<usize>) -> bool {
        self.text()[self.line_start(comment.start)..comment.start].trim().is_empty()
    }
}
