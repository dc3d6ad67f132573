//! The page of documentation: what is between its markers is made from the results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::group::Group;
use crate::results::Results;
use crate::{Result, Saying as _, chart, table};

const BEGIN: &str = "<!-- begin: made by `make bench-docs` -->";
const END: &str = "<!-- end -->";

/// Writes `performance.md` and its chart in a folder.
pub(crate) fn write(folder: &Path, results: &Results) -> Result<()> {
    let page = folder.join("performance.md");
    let text = fs::read_to_string(&page).saying(page.display())?;
    let text = replace(&text, &body(results))
        .ok_or_else(|| format!("{} lacks a marker: `{BEGIN}` … `{END}`", page.display()))?;
    fs::write(&page, text).saying(page.display())?;
    let picture = folder.join("performance.svg");
    fs::write(&picture, chart::draw(results)).saying(picture.display())
}

/// `page` with other text between its markers.
fn replace(page: &str, body: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{body}\n{END}{after}"))
}

fn body(results: &Results) -> String {
    let machine = &results.machine;
    let accelerator = if machine.has_kvm() { "KVM" } else { "TCG, which is emulation" };
    let mut text = format!(
        "Taken with {accelerator}, QEMU {}, {} processors; under Linux {} where no other kernel is named.\n",
        machine.qemu, machine.processors, machine.kernel_release
    );
    for measured in &results.groups {
        let title = Group::title_of(&measured.name);
        let rounds = measured.rounds;
        let s = if rounds == 1 { "" } else { "s" };
        let quick = if measured.quick { ", with less to do (`--quick`)" } else { "" };
        let table = table::markdown(&measured.figures);
        let _ = write!(text, "\n### {title}\n\n{rounds} round{s}{quick}.\n\n{table}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::results;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nmore\n");
        let once = replace(&page, "new\n").unwrap();
        assert_eq!(once, format!("# Title\n{BEGIN}\n\nnew\n\n{END}\nmore\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_markers_is_not_touched() {
        for page in ["", BEGIN, END, &format!("{END}{BEGIN}")] {
            assert_eq!(replace(page, "new"), None);
        }
    }

    #[test]
    fn the_page_says_how_figures_were_taken() {
        let mut results = results();
        results.groups[0].quick = true;
        let body = body(&results);
        assert!(body.starts_with("Taken with KVM, QEMU 7.2.22, 2 processors; under Linux 6.1.0 "), "{body}");
        assert!(
            body.contains("### A run of `uname -r`\n\n1 round, with less to do (`--quick`).\n"),
            "{body}"
        );
    }
}
