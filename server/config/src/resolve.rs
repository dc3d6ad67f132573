//! From a document to targets that can run: overrides, the key table, the rules between keys, defaults, in this order.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use crate::document::{Document, RawTarget};
use crate::problem::Problem;
use crate::rules::Rules;
use crate::spans::{RawSpans, Spans};
use crate::walk::Walk;
use crate::{KEYS, Target, file};

/// What the targets are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To say what is wrong with the file. A target whose `arch` is unknown is a warning and is left out.
    Check,
    /// To run the selected targets. One of them whose `arch` is unknown is an error.
    Run,
}

/// A configuration without errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The selected targets in the order of the file.
    pub targets: Vec<Resolved>,
    /// What looks wrong, in the order of the text.
    pub warnings: Vec<Problem>,
}

/// A target and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The target as it will run.
    pub target: Target,
    /// Its index among all targets of the file, selected or not.
    pub index: usize,
    /// Its `[[target]]` header in the file; empty where there is no file.
    pub header: Range<usize>,
    /// Where its keys were written.
    pub spans: Spans,
}

impl<'t> Document<'t> {
    /// Applies overrides, defaults and rules.
    ///
    /// Errors of targets that are not selected count too: a target that lost its name must not silently drop out of a
    /// filtered run. Their warnings do not. The error is every problem, warnings included, in the order of the text.
    pub fn resolve(mut self, purpose: Purpose) -> Result<Loaded, Vec<Problem>> {
        let mut problems = std::mem::take(&mut self.problems);
        let mut targets = Vec::new();
        let mut names = HashMap::new();
        for (index, mut raw) in std::mem::take(&mut self.targets).into_iter().enumerate() {
            if raw.selected {
                self.overrides.iter().for_each(|change| raw.apply(change));
            }
            let selected = raw.selected;
            let header = raw.header.clone();
            let mut own = Vec::new();
            let (target, spans) = self.resolve_one(raw, purpose, &mut names, &mut own);
            own.retain(|problem| selected || problem.is_error());
            problems.append(&mut own);
            if let Some(target) = target.filter(|_| selected) {
                let header = if self.texts.is_file(&header) { header } else { 0..0 };
                targets.push(Resolved { target, index, header, spans: spans.place(&self.texts) });
            }
        }
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end, problem.severity));
        // One `--set` with a wrong value is wrong in every target.
        problems.dedup();
        let problems: Vec<Problem> =
            problems.into_iter().map(|problem| self.texts.localize(problem)).collect();
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        Ok(Loaded { targets, warnings: problems })
    }

    fn resolve_one(
        &self,
        raw: RawTarget<'t>,
        purpose: Purpose,
        names: &mut HashMap<String, Range<usize>>,
        problems: &mut Vec<Problem>,
    ) -> (Option<Target>, RawSpans) {
        let RawTarget { header, table, selected } = raw;
        let mut walk = Walk { texts: &self.texts, spans: RawSpans::default(), problems };
        let table = walk.table(&KEYS[0], None, table);
        let spans = walk.spans;
        let value = Spanned::new(header.clone(), DeValue::Table(table));
        let model = match file::Target::deserialize(ValueDeserializer::from(value)) {
            Ok(model) => model,
            Err(error) => {
                let span = error.span().unwrap_or_else(|| header.clone());
                problems.push(Problem::error("wrong_type", span, error.message()));
                return (None, spans);
            }
        };
        let rules = Rules {
            base: &self.base,
            host: self.host,
            run: selected && purpose == Purpose::Run,
            header,
            model: &model,
            spans: &spans,
            problems,
        };
        (rules.apply(names), spans)
    }
}

/// A path as the file means it: relative ones start at `base`; `.` and double slashes go, `..` stays, since what it
/// means depends on symbolic links.
pub(crate) fn absolute(base: &Path, path: &str) -> PathBuf {
    let joined = base.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}
