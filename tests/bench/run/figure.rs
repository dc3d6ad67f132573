//! What was measured: numbers of one thing over several rounds, what they stand beside, and what the design allows.

use serde::{Deserialize, Serialize};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    #[serde(rename = "%")]
    Percent,
}

impl Unit {
    /// A value with its unit, in three digits or so.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.9995 => format!("{} ms", three_digits(value * 1000.0)),
            Self::Seconds => format!("{} s", three_digits(value)),
            Self::Megabytes => format!("{} MB", three_digits(value)),
            Self::MegabytesPerSecond => format!("{} MB/s", three_digits(value)),
            Self::Percent => format!("{} %", three_digits(value)),
        }
    }
}

fn three_digits(value: f64) -> String {
    let digits = match value {
        _ if value < 9.995 => 2,
        _ if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// Another figure of the same section, and how the ratio to it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Beside {
    /// How many times the other's value this one is.
    TimesOf(String),
    /// How many times faster than the other this one is.
    FasterThan(String),
}

impl Beside {
    /// The other figure's name.
    pub(crate) fn name(&self) -> &str {
        let (Self::TimesOf(name) | Self::FasterThan(name)) = self;
        name
    }

    fn ratio(&self, unit: Unit, own: f64, other: f64) -> f64 {
        match (self, unit) {
            (Self::FasterThan(_), Unit::Seconds) => other / own,
            _ => own / other,
        }
    }

    /// The value at which the ratio is this.
    fn value(&self, unit: Unit, ratio: f64, other: f64) -> f64 {
        match (self, unit) {
            (Self::FasterThan(_), Unit::Seconds) => other / ratio,
            _ => other * ratio,
        }
    }

    pub(crate) fn show(&self, ratio: f64) -> String {
        match self {
            Self::TimesOf(name) => format!("{} × {name}", three_digits(ratio)),
            Self::FasterThan(name) if ratio >= 1.0 => {
                format!("{} × faster than {name}", three_digits(ratio))
            }
            Self::FasterThan(name) => format!("{} × slower than {name}", three_digits(1.0 / ratio)),
        }
    }
}

/// What the design allows: of the ratio where there is one, else of the value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    fn is_met(self, number: f64) -> bool {
        match self {
            Self::AtMost(most) => number <= most,
            Self::AtLeast(least) => number >= least,
        }
    }
}

/// The numbers of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What is compared, such as one piece of work; figures of a section stand side by side.
    pub(crate) section: String,
    /// Who did it, or how.
    pub(crate) name: String,
    /// Whether this is vmtest, and not what it is compared with.
    pub(crate) own: bool,
    pub(crate) unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<Budget>,
    /// In the order in which they were taken; never empty.
    pub(crate) samples: Vec<f64>,
}

/// A figure's numbers in short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// To the median of the figure that it stands beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget_met: Option<bool>,
}

impl Figure {
    /// Of vmtest, from its first sample.
    pub(crate) fn new(section: &str, name: impl Into<String>, unit: Unit, sample: f64) -> Self {
        Self {
            section: section.to_owned(),
            name: name.into(),
            own: true,
            unit,
            beside: None,
            budget: None,
            samples: vec![sample],
        }
    }

    /// It is not vmtest's.
    pub(crate) fn of_another(mut self) -> Self {
        self.own = false;
        self
    }

    pub(crate) fn times_of(mut self, name: &str) -> Self {
        self.beside = Some(Beside::TimesOf(name.to_owned()));
        self
    }

    pub(crate) fn faster_than(mut self, name: &str) -> Self {
        self.beside = Some(Beside::FasterThan(name.to_owned()));
        self
    }

    pub(crate) fn within(mut self, budget: impl Into<Option<Budget>>) -> Self {
        self.budget = budget.into();
        self
    }

    /// The numbers in short; `all` are the figures of its group.
    pub(crate) fn summary(&self, all: &[Self]) -> Summary {
        let median = median(&self.samples);
        let ratio = self.other(all).map(|(beside, other)| beside.ratio(self.unit, median, other));
        let judged = if self.beside.is_some() { ratio } else { Some(median) };
        Summary {
            median,
            min: self.samples.iter().copied().fold(f64::INFINITY, f64::min),
            max: self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ratio,
            budget_met: self.budget.and_then(|budget| Some(budget.is_met(judged?))),
        }
    }

    /// The value that just meets the budget of the ratio.
    pub(crate) fn limit(&self, all: &[Self]) -> Option<f64> {
        let (Budget::AtMost(ratio) | Budget::AtLeast(ratio)) = self.budget?;
        self.other(all).map(|(beside, other)| beside.value(self.unit, ratio, other))
    }

    /// What it stands beside, with the median of that.
    fn other(&self, all: &[Self]) -> Option<(&Beside, f64)> {
        let beside = self.beside.as_ref()?;
        let is_other = |figure: &&Self| figure.section == self.section && figure.name == beside.name();
        Some((beside, median(&all.iter().find(is_other)?.samples)))
    }

    /// The budget in the words of the design.
    pub(crate) fn show_budget(&self) -> Option<String> {
        let (sign, number) = match self.budget? {
            Budget::AtMost(most) => ("≤", most),
            Budget::AtLeast(least) => ("≥", least),
        };
        Some(match self.beside {
            Some(_) => format!("{sign} {number} ×"),
            None if self.unit == Unit::Seconds => format!("{sign} {} ms", number * 1000.0),
            None if self.unit == Unit::Percent => format!("{sign} {number} %"),
            None if self.unit == Unit::Megabytes => format!("{sign} {number} MB"),
            None => format!("{sign} {number} MB/s"),
        })
    }
}

/// Adds a sample to the figure that it is of; the first one makes the figure.
pub(crate) fn add(figures: &mut Vec<Figure>, sample: Figure) {
    let same = |figure: &&mut Figure| figure.section == sample.section && figure.name == sample.name;
    match figures.iter_mut().find(same) {
        Some(figure) => figure.samples.extend(sample.samples),
        None => figures.push(sample),
    }
}

/// The sections of some figures, in the order in which each first appears.
pub(crate) fn sections(figures: &[Figure]) -> Vec<(&str, Vec<&Figure>)> {
    let mut sections: Vec<(&str, Vec<&Figure>)> = Vec::new();
    for figure in figures {
        match sections.iter_mut().find(|(section, _)| *section == figure.section) {
            Some((_, members)) => members.push(figure),
            None => sections.push((&figure.section, vec![figure])),
        }
    }
    sections
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, samples: &[f64]) -> Figure {
        Figure { samples: samples.to_vec(), ..Figure::new("s", name, Unit::Seconds, 0.0) }
    }

    #[test]
    fn a_median_does_not_depend_on_the_order_of_samples() {
        let medians = (median(&[3.0]), median(&[9.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 100.0]));
        assert_eq!(medians, (3.0, 2.0, 3.0));
    }

    #[test]
    fn a_budget_is_of_the_ratio_where_there_is_one() {
        let floor = figure("floor", &[2.0, 2.0, 9.0]);
        let run = figure("run", &[3.0]).times_of("floor").within(Budget::AtMost(1.6));
        let summary = run.summary(&[floor.clone(), run.clone()]);
        assert_eq!((summary.ratio, summary.budget_met), (Some(1.5), Some(true)));
        let walk = figure("walk", &[0.5]).faster_than("floor").within(Budget::AtLeast(5.0));
        let summary = walk.summary(&[floor.clone(), walk.clone()]);
        assert_eq!((summary.ratio, summary.budget_met), (Some(4.0), Some(false)));
        assert_eq!(walk.limit(&[floor]), Some(0.4));
    }

    #[test]
    fn a_budget_without_a_ratio_is_of_the_median() {
        let alone = figure("alone", &[0.05, 0.2]).within(Budget::AtMost(0.1));
        let summary = alone.summary(&[]);
        assert_eq!((summary.min, summary.max, summary.budget_met), (0.05, 0.2, Some(false)));
        assert_eq!(alone.show_budget().as_deref(), Some("≤ 100 ms"));
    }

    #[test]
    fn a_figure_whose_peer_is_missing_is_not_judged() {
        let run = figure("run", &[3.0]).times_of("floor").within(Budget::AtMost(1.6));
        assert_eq!(run.summary(&[]).budget_met, None);
    }

    #[test]
    fn what_is_not_faster_is_slower() {
        let beside = Beside::FasterThan("other".to_owned());
        assert_eq!(beside.show(2.0), "2.00 × faster than other");
        assert_eq!(beside.show(0.5), "2.00 × slower than other");
    }

    #[test]
    fn more_throughput_is_faster() {
        let read = |name: &str, rate| Figure { unit: Unit::MegabytesPerSecond, ..figure(name, &[rate]) };
        let own = read("own", 300.0).faster_than("other");
        assert_eq!(own.summary(&[read("other", 100.0)]).ratio, Some(3.0));
    }

    #[test]
    fn samples_of_one_thing_make_one_figure() {
        let mut figures = Vec::new();
        for (name, value) in [("a", 1.0), ("b", 2.0), ("a", 3.0)] {
            add(&mut figures, figure(name, &[value]));
        }
        assert_eq!(figures, [figure("a", &[1.0, 3.0]), figure("b", &[2.0])]);
    }

    #[test]
    fn values_have_about_three_digits() {
        let shown = [0.0123, 0.0999, 0.99949, 0.9999, 12.34, 123.4].map(|value| Unit::Seconds.show(value));
        assert_eq!(shown, ["12.3 ms", "99.9 ms", "999 ms", "1.00 s", "12.3 s", "123 s"]);
    }
}
