//! What a process has open.

use std::collections::BTreeMap;
use std::fs;

/// How many descriptors of each kind a process has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptors(BTreeMap<String, usize>);

impl Descriptors {
    /// Those of a process now.
    pub fn of(pid: i32) -> Self {
        let mut kinds = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            // One that was just closed has no target.
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            // `socket:[123]`; no two have the same number.
            let kind = target.split_once(":[").map_or(target.as_str(), |(kind, number)| {
                if number.starts_with(|c: char| c.is_ascii_digit()) { kind } else { target.as_str() }
            });
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        Self(kinds)
    }

    /// Those that are more than before.
    pub fn more_than(&self, before: &Self) -> Vec<String> {
        let count = |kind| before.0.get(kind).copied().unwrap_or_default();
        let more = self.0.iter().filter(|(kind, now)| **now > count(*kind));
        more.map(|(kind, now)| format!("{kind}: {} before, {now} now", count(kind))).collect()
    }
}
