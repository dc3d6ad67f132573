//! Figures as tables: for a terminal, and for a page of documentation.

use std::fmt::Write as _;

use crate::figure::{self, Figure};

/// The cells of one figure, without its section.
fn cells(figure: &Figure, all: &[Figure]) -> [String; 5] {
    let summary = figure.summary(all);
    let [median, min, max] = [summary.median, summary.min, summary.max].map(|value| figure.unit.show(value));
    let spread = if figure.samples.len() > 1 { format!("{min} to {max}") } else { String::new() };
    let ratio = figure.beside.as_ref().zip(summary.ratio);
    let budget = match (figure.show_budget(), summary.budget_met) {
        (Some(budget), Some(true)) => format!("{budget}: met"),
        (Some(budget), Some(false)) => format!("{budget}: missed"),
        (Some(budget), None) => budget,
        (None, _) => String::new(),
    };
    let ratio = ratio.map_or_else(String::new, |(beside, ratio)| beside.show(ratio));
    [figure.name.clone(), median, spread, ratio, budget]
}

/// Lines with columns under each other, each section under its name.
pub(crate) fn plain(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures.iter().map(|figure| cells(figure, figures)).collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (section, members) in figure::sections(figures) {
        let _ = writeln!(text, "{section}");
        for member in members {
            let [name, median, spread, ratio, budget] = cells(member, figures);
            let [a, b, c, d, _] = widths;
            let line = format!("  {name:a$}  {median:>b$}  {spread:c$}  {ratio:d$}  {budget}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// A table of Markdown.
pub(crate) fn markdown(figures: &[Figure]) -> String {
    let mut text = "| | | median | least to most | beside | budget |\n|---|---|--:|---|---|---|\n".to_owned();
    for (section, members) in figure::sections(figures) {
        let mut section = section;
        for member in members {
            let [name, median, spread, ratio, budget] = cells(member, figures).map(|cell| escape(&cell));
            let budget = budget.replace("missed", "**missed**");
            let _ =
                writeln!(text, "| {} | {name} | {median} | {spread} | {ratio} | {budget} |", escape(section));
            // It is said once.
            section = "";
        }
    }
    text
}

/// Text that a table shows as it is.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::results::tests::results;

    #[test]
    fn a_terminal_gets_columns() {
        expect![[r"
              Linux 6.1
                floor         2.00 s
                cold run      3.00 s    1.50 × floor  ≤ 1.6 ×: met
                kept <guest>  500 ms    0.25 × floor  ≤ 0.15 ×: missed
        "]]
        .assert_eq(&plain(&results().groups[0].figures));
    }

    #[test]
    fn a_page_gets_a_table_and_the_section_once() {
        let mut figures = results().groups.remove(0).figures;
        figures[0].samples.push(3.0);
        expect![[r"
            | | | median | least to most | beside | budget |
            |---|---|--:|---|---|---|
            | Linux 6.1 | floor | 2.50 s | 2.00 s to 3.00 s |  |  |
            |  | cold run | 3.00 s |  | 1.20 × floor | ≤ 1.6 ×: met |
            |  | kept &lt;guest> | 500 ms |  | 0.20 × floor | ≤ 0.15 ×: **missed** |
        "]]
        .assert_eq(&markdown(&figures));
    }
}
