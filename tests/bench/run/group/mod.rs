//! Groups of measurements, and the rounds in which they are taken.

mod cost;
mod files;
mod output;
mod parallel;
mod start;

use clap::ValueEnum;

use crate::Result;
use crate::bench::Bench;
use crate::figure::{self, Figure};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Start,
    Files,
    Parallel,
    Output,
    Cost,
}

impl Group {
    /// The title of the group of a name; the name where there is none.
    pub(crate) fn title_of(name: &str) -> &str {
        let group = Self::value_variants().iter().find(|group| group.name() == name);
        group.map_or(name, |group| group.title())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Parallel => "parallel",
            Self::Output => "output",
            Self::Cost => "cost",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Start => "A run of `uname -r`",
            Self::Files => "Files of the host",
            Self::Parallel => "Several targets at once",
            Self::Output => "Output",
            Self::Cost => "vmtest's own cost",
        }
    }

    /// Makes ready what is measured.
    pub(crate) fn subjects(self, bench: &Bench) -> Result<Vec<Subject<'_>>> {
        match self {
            Self::Start => start::subjects(bench),
            Self::Files => files::subjects(bench),
            Self::Parallel => parallel::subjects(bench),
            Self::Output => Ok(output::subjects(bench)),
            Self::Cost => Ok(cost::subjects(bench)),
        }
    }
}

/// What is measured once in every round, and gives one sample of each of its figures.
pub(crate) struct Subject<'b>(Box<dyn FnMut() -> Result<Vec<Figure>> + 'b>);

impl<'b> Subject<'b> {
    pub(crate) fn new(measure: impl FnMut() -> Result<Vec<Figure>> + 'b) -> Self {
        Self(Box::new(measure))
    }
}

/// Takes the rounds: in each, every subject has its turn, so that a machine that drifts drifts for all.
pub(crate) fn take(
    rounds: usize,
    subjects: &mut [Subject<'_>],
    mut taken: impl FnMut(usize, &Figure),
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for round in 1..=rounds {
        for Subject(measure) in &mut *subjects {
            for sample in measure()? {
                taken(round, &sample);
                figure::add(&mut figures, sample);
            }
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::figure::Unit;

    #[test]
    fn every_subject_has_its_turn_in_every_round() {
        let clock = Cell::new(0.0);
        let subject = |name: &'static str| {
            let clock = &clock;
            Subject::new(move || {
                clock.set(clock.get() + 1.0);
                Ok(vec![Figure::new("s", name, Unit::Seconds, clock.get())])
            })
        };
        let mut turns = Vec::new();
        let figures = take(3, &mut [subject("a"), subject("b")], |round, _| turns.push(round)).unwrap();
        assert_eq!(figures[0].samples, [1.0, 3.0, 5.0]);
        assert_eq!(figures[1].samples, [2.0, 4.0, 6.0]);
        assert_eq!(turns, [1, 1, 2, 2, 3, 3]);
    }
}
