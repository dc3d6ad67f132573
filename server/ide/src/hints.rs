//! What holds without being written.

use std::ops::Range;

use vmtest_config::{Default, Key};

use crate::analysis::Analysis;
use crate::hover::markdown::code;
use crate::model::Section;
use crate::surroundings::Surroundings;

/// A few words in the text that are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlayHint {
    /// Where they stand.
    pub offset: usize,
    /// The words.
    pub label: String,
    /// What they mean: Markdown.
    pub tooltip: Option<String>,
}

impl Analysis {
    /// Effective defaults and kernel versions of the targets that `range` touches.
    pub fn inlay_hints(&self, range: Range<usize>, surroundings: &Surroundings) -> Vec<InlayHint> {
        let targets = self.pieces().iter().enumerate().skip(1);
        // Only what is asked for is read: an editor asks for what is on its screen.
        let touched =
            targets.filter(|(_, piece)| piece.range.start <= range.end && range.start <= piece.range.end);
        let sections = touched.map(|(index, _)| self.section(index));
        let hints = sections.flat_map(|section| {
            defaults(self.text(), section).into_iter().chain(self.release(section, surroundings))
        });
        hints.filter(|hint| range.start <= hint.offset && hint.offset <= range.end).collect()
    }

    /// The version of the kernel, behind its path.
    fn release(&self, section: &Section, surroundings: &Surroundings) -> Option<InlayHint> {
        let value = section.value("kernel")?;
        let path = self.absolute(&value.text()?.value);
        let fact = surroundings.named_kernels.iter().find(|fact| fact.path == path)?;
        let label = fact.release.clone().ok()?;
        let features: Vec<String> = fact.features.iter().map(|feature| code(feature)).collect();
        let tooltip = (!features.is_empty()).then(|| features.join(", "));
        Some(InlayHint { offset: value.range.end, label, tooltip })
    }
}

/// What a target has without saying so, behind its header.
fn defaults(text: &str, section: &Section) -> Option<InlayHint> {
    let header = section.header_range();
    if !text[header.clone()].ends_with("]]") {
        return None;
    }
    let given = section.fields();
    let given = |path: &str| given.iter().any(|field| field.row.is_some_and(|row| row.in_target() == path));
    let default = |path: &[&str]| match Key::find(path).map(|row| row.default) {
        Some(Default::Value(value)) => value.trim_matches('"'),
        _ => "",
    };
    let mut words = Vec::new();
    if !given("vm.num_cpus") {
        words.push(format!("{} CPUs", default(&["target", "vm", "num_cpus"])));
    }
    if !given("vm.memory") {
        words.push(default(&["target", "vm", "memory"]).to_owned());
    }
    if !given("timeout") {
        words.push("no timeout".to_owned());
    }
    let tooltip = "Not given in the target: `vm.num_cpus`, `vm.memory` and `timeout` have defaults.";
    (!words.is_empty()).then(|| InlayHint {
        offset: header.end,
        label: words.join(", "),
        tooltip: Some(tooltip.to_owned()),
    })
}
