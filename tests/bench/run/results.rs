//! The file of results.
//!
//! One JSON object: `machine` says what they were taken on, and `groups` lists what was measured. A group has its `name`,
//! the number of `rounds`, whether it was `quick` (with less to do), and its `figures`. A figure has the `section` within
//! which it is compared, its `name`, whether it is vmtest's `own`, its `unit`, all its `samples`, the `median`, `min` and
//! `max` of them; and, where there are such, what it stands `beside` with the `ratio` to that, and the `budget` with
//! `budget_met`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::figure::Figure;
use crate::{Result, Saying as _, process};

/// What decides how fast a machine is, as far as it may be told to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `kvm` or `tcg`; known from the first run.
    pub(crate) accelerator: String,
    pub(crate) qemu: String,
    /// Of the stock kernel; known from its first run.
    pub(crate) kernel_release: String,
    pub(crate) processors: usize,
}

impl Machine {
    /// This one, but for what is known later.
    pub(crate) fn of_host() -> Result<Self> {
        let (_, text) = process::output(Command::new("qemu-system-x86_64").arg("--version"))
            .map_err(|error| format!("{error}\nQEMU is missing: scripts/setup.sh demo"))?;
        let text = String::from_utf8_lossy(&text);
        let qemu = text.split_whitespace().skip_while(|word| *word != "version").nth(1).unwrap_or("?");
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            accelerator: String::new(),
            qemu: qemu.to_owned(),
            kernel_release: String::new(),
            processors,
        })
    }

    pub(crate) fn has_kvm(&self) -> bool {
        self.accelerator == "kvm"
    }
}

/// A group that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) figures: Vec<Figure>,
}

/// Everything that was measured on a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) groups: Vec<Measured>,
}

impl Results {
    /// What a file holds.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).saying(path.display())?;
        serde_json::from_slice(&text).saying(path.display())
    }

    /// What a file holds of this machine, to be added to.
    pub(crate) fn read_of(machine: &Machine, path: &Path) -> Self {
        match Self::read(path) {
            Ok(results) if results.machine == *machine => results,
            _ => Self { machine: machine.clone(), groups: Vec::new() },
        }
    }

    /// Adds a group, in the place of what was measured of it before.
    pub(crate) fn set(&mut self, group: Measured) {
        match self.groups.iter_mut().find(|other| other.name == group.name) {
            Some(other) => *other = group,
            None => self.groups.push(group),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).saying(folder.display())?;
        }
        let text = serde_json::to_string_pretty(&self.to_json()).saying("the results are no JSON")?;
        fs::write(path, text + "\n").saying(path.display())
    }

    /// With what follows from the samples.
    fn to_json(&self) -> Value {
        let mut json = serde_json::json!(self);
        for (group, measured) in self.groups.iter().enumerate() {
            for (at, figure) in measured.figures.iter().enumerate() {
                let summary = serde_json::json!(figure.summary(&measured.figures));
                if let (Value::Object(figure), Value::Object(summary)) =
                    (&mut json["groups"][group]["figures"][at], summary)
                {
                    figure.extend(summary);
                }
            }
        }
        json
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::figure::{Budget, Unit};

    pub(crate) fn results() -> Results {
        let figures = vec![
            Figure::new("Linux 6.1", "floor", Unit::Seconds, 2.0).of_another(),
            Figure::new("Linux 6.1", "cold run", Unit::Seconds, 3.0)
                .times_of("floor")
                .within(Budget::AtMost(1.6)),
            Figure::new("Linux 6.1", "kept <guest>", Unit::Seconds, 0.5)
                .times_of("floor")
                .within(Budget::AtMost(0.15)),
        ];
        Results {
            machine: Machine {
                accelerator: "kvm".to_owned(),
                qemu: "7.2.22".to_owned(),
                kernel_release: "6.1.0".to_owned(),
                processors: 2,
            },
            groups: vec![Measured { name: "start".to_owned(), rounds: 1, quick: false, figures }],
        }
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results.json");
        results().write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results());
        assert_eq!(Results::read_of(&results().machine, &path), results());
        let other = Machine { processors: 3, ..results().machine };
        assert_eq!(Results::read_of(&other, &path).groups, []);
    }

    #[test]
    fn the_file_says_what_follows_from_the_samples() {
        let json = results().to_json();
        let figure = &json["groups"][0]["figures"][1];
        assert_eq!(
            (&figure["median"], &figure["ratio"], &figure["budget_met"]),
            (&3.0.into(), &1.5.into(), &true.into())
        );
    }

    #[test]
    fn a_group_that_is_measured_again_replaces_the_old_one() {
        let mut results = results();
        let again = Measured { rounds: 9, ..results.groups[0].clone() };
        results.set(again.clone());
        results.set(Measured { name: "files".to_owned(), ..again.clone() });
        let names: Vec<_> = results.groups.iter().map(|group| (&*group.name, group.rounds)).collect();
        assert_eq!(names, [("start", 9), ("files", 9)]);
    }
}
