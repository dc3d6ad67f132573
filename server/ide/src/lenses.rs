//! What stands over every target: what can be done with it, or what became of it.

use std::ops::Range;

use crate::analysis::Analysis;

/// A line over a place of the text that can be clicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lens {
    /// What it stands over.
    pub range: Range<usize>,
    /// What it says.
    pub title: String,
    /// What a click does.
    pub action: LensAction,
}

/// What a lens does. It names a target and carries no command: what runs is looked up when it is clicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LensAction {
    /// Runs every target of the file.
    RunAll,
    /// Runs a target.
    Run(TargetRef),
    /// Opens a shell in a target's VM.
    Shell(TargetRef),
    /// Stops the target's run.
    Stop(TargetRef),
    /// Shows what the last run printed.
    Log(TargetRef),
}

/// Says which target is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRef {
    /// Its name.
    pub name: String,
    /// Its place in the file, from 0: names need not be unique.
    pub index: usize,
}

/// What a target's lens must know of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RunState {
    /// It has not run since the file was opened.
    #[default]
    Idle,
    /// It runs, or waits to.
    Active {
        /// What it is doing, such as `booting, 2 s`.
        phase: String,
    },
    /// It has run.
    Ended {
        /// Whether it passed.
        passed: bool,
        /// How it ended, such as `0.9 s` or `exit 3`.
        summary: String,
        /// Whether what it printed can be shown.
        log: bool,
    },
}

impl Analysis {
    /// Every lens, for targets whose runs `state` knows.
    pub fn lenses(&self, state: &dyn Fn(&TargetRef) -> RunState) -> Vec<Lens> {
        let targets = self.targets();
        let mut lenses = Vec::new();
        if let [first, _, ..] = targets.as_slice() {
            lenses.push(lens(&first.header, "▶ Run all", LensAction::RunAll));
        }
        for (index, outline) in targets.iter().enumerate() {
            let (header, target) = (&outline.header, TargetRef { name: outline.name.clone(), index });
            match state(&target) {
                RunState::Idle => {}
                RunState::Active { phase } => {
                    let title = format!("■ Stop ({phase})");
                    lenses.push(lens(header, title, LensAction::Stop(target.clone())));
                    continue;
                }
                RunState::Ended { passed, summary, log } => {
                    let title = if passed { format!("✓ {summary}") } else { format!("✗ {summary}") };
                    let again = LensAction::Run(target.clone());
                    lenses.push(lens(
                        header,
                        title,
                        if log { LensAction::Log(target.clone()) } else { again },
                    ));
                }
            }
            if !outline.interactive {
                lenses.push(lens(header, "▶ Run in VM", LensAction::Run(target.clone())));
            }
            lenses.push(lens(header, "Shell", LensAction::Shell(target)));
        }
        lenses
    }
}

fn lens(range: &Range<usize>, title: impl Into<String>, action: LensAction) -> Lens {
    Lens { range: range.clone(), title: title.into(), action }
}
