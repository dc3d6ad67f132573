//! Links within the repository.

use vmtest_tests::machine::repository;

use crate::page::{Page, documents};

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for document in documents() {
        let path = repository().join(&document);
        for link in Page::read(&path).links {
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with("command:") {
                continue;
            }
            looked_at += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let goal = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = goal.exists() && (anchor.is_empty() || Page::read(&goal).anchors.contains(anchor));
            if !is_there {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} links were found");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}
