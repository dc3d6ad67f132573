//! Figures as a picture: bars side by side, in SVG that looks right on a light page and on a dark one.

use std::fmt::{self, Write as _};

use crate::figure::{self, Figure, Unit};
use crate::group::Group;
use crate::results::Results;

const WIDTH: usize = 860;
/// Sections stand in so many columns.
const COLUMNS: usize = 2;
const COLUMN: usize = 440;
/// Within a column: where bars begin, and how long the longest is.
const BARS: usize = 160;
const LONGEST: f64 = 180.0;
/// Heights.
const HEADING: usize = 44;
const TITLE: usize = 24;
const BAR: usize = 20;
const GAP: usize = 14;

/// Colours are those of GitHub's own pages; text stays text, in a font that the reader has.
const STYLE: &str = "
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.heading { font-size: 16px; font-weight: 600 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
.own { fill: #0969da }
.other { fill: #afb8c1 }
.limit { stroke: #bc4c00; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .own { fill: #4493f8 }
  .other { fill: #656c76 }
  .limit { stroke: #f0883e }
}
";

/// Draws every section in which something is compared.
pub(crate) fn draw(results: &Results) -> String {
    let mut body = String::new();
    let mut top = legend(&mut body);
    for measured in &results.groups {
        let compared =
            |section: &&(&str, Vec<&Figure>)| section.1.iter().any(|figure| figure.beside.is_some());
        let sections = figure::sections(&measured.figures);
        let sections: Vec<_> = sections.iter().filter(compared).collect();
        if sections.is_empty() {
            continue;
        }
        let heading = Group::title_of(&measured.name).replace('`', "");
        text(&mut body, (0, top + 28), "heading", &heading);
        top += HEADING;
        for row in sections.chunks(COLUMNS) {
            for (column, (title, members)) in row.iter().enumerate() {
                section(&mut body, (column * COLUMN, top), title, members, &measured.figures);
            }
            let bars = row.iter().map(|(_, members)| members.len()).max().unwrap_or_default();
            top += TITLE + bars * BAR + GAP;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\">\n\
         <title>How fast vmtest is</title>\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// Says what the colours mean; gives its height.
fn legend(body: &mut String) -> usize {
    for (left, class, meaning) in [(0, "own", "vmtest"), (90, "other", "what it stands beside")] {
        let _ = writeln!(body, r#"<rect class="{class}" x="{left}" y="4" width="14" height="12" rx="2"/>"#);
        text(body, (left + 20, 14), "quiet", meaning);
    }
    let _ = writeln!(body, r#"<path class="limit" d="M262 3V17"/>"#);
    text(body, (272, 14), "quiet", "budget");
    TITLE
}

/// One section: its bars are to the scale of its longest.
fn section(body: &mut String, (left, top): (usize, usize), title: &str, members: &[&Figure], all: &[Figure]) {
    let is_rate = members.iter().any(|figure| figure.unit == Unit::MegabytesPerSecond);
    let title = if is_rate { format!("{title} (longer is better)") } else { title.to_owned() };
    text(body, (left, top + 14), "title", &title);
    let medians: Vec<_> = members.iter().map(|figure| figure.summary(all).median).collect();
    let longest = medians.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    for (row, (figure, median)) in members.iter().zip(medians).enumerate() {
        let y = top + TITLE + row * BAR;
        let length = (median / longest * LONGEST).max(1.0);
        let class = if figure.own { "own" } else { "other" };
        let x = left + BARS;
        text(body, (left, y + 12), "quiet", &figure.name);
        let _ = writeln!(
            body,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{length:.1}" height="15" rx="2"/>"#
        );
        let mut end = length;
        let limit = figure.limit(all).map(|limit| limit / longest * LONGEST);
        if let Some(limit) = limit.filter(|limit| figure.own && *limit <= LONGEST) {
            let _ = writeln!(body, r#"<path class="limit" d="M{:.1} {y}v15"/>"#, x as f64 + limit);
            end = end.max(limit);
        }
        text(body, (x + end.ceil() as usize + 7, y + 12), "", &figure.unit.show(median));
    }
}

fn text(body: &mut String, (x, y): (usize, usize), class: &str, words: &str) {
    let _ = writeln!(body, r#"<text x="{x}" y="{y}" class="{class}">{}</text>"#, Escaped(words));
}

/// Text that means itself in XML.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            letter => f.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests {
    use quick_xml::events::Event;

    use super::*;
    use crate::results::tests::results;

    /// Names of elements with an attribute of each.
    fn elements(svg: &str, attribute: &str) -> Vec<(String, Option<f64>)> {
        let mut reader = quick_xml::Reader::from_str(svg);
        let mut elements = Vec::new();
        loop {
            match reader.read_event().expect("it is XML") {
                Event::Start(start) | Event::Empty(start) => {
                    let value = start.try_get_attribute(attribute).unwrap();
                    let value = value.map(|value| String::from_utf8_lossy(&value.value).parse().unwrap());
                    elements.push((String::from_utf8_lossy(start.name().as_ref()).into_owned(), value));
                }
                Event::Eof => return elements,
                _ => {}
            }
        }
    }

    #[test]
    fn a_chart_is_xml_whatever_a_name_holds() {
        let svg = draw(&results());
        assert!(svg.contains("kept &lt;guest&gt;"), "{svg}");
        assert!(elements(&svg, "x").len() > 10);
    }

    #[test]
    fn bars_have_the_lengths_of_their_medians() {
        let lengths: Vec<_> = elements(&draw(&results()), "width")
            .into_iter()
            .filter_map(|(name, width)| width.filter(|_| name == "rect"))
            .skip(2)
            .collect();
        assert_eq!(lengths, [120.0, 180.0, 30.0]);
    }

    #[test]
    fn everything_is_within_the_picture() {
        let mut results = results();
        let one = results.groups[0].figures.clone();
        for section in ["a", "b"] {
            let more = one.iter().cloned().map(|figure| Figure { section: section.to_owned(), ..figure });
            results.groups[0].figures.extend(more);
        }
        let svg = draw(&results);
        let height = elements(&svg, "height")[0].1.unwrap();
        for (_, y) in elements(&svg, "y") {
            assert!(y.unwrap_or_default() + 15.0 <= height, "{y:?} of {height}");
        }
    }

    #[test]
    fn what_stands_alone_is_not_drawn() {
        let mut results = results();
        results.groups[0].figures.truncate(1);
        assert!(!draw(&results).contains("floor"));
    }
}
