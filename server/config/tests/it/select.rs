//! Choosing targets by name.

use std::path::Path;

use expect_test::{Expect, expect};
use vmtest_config::{Arch, Document, Purpose};

use crate::render;

const FILE: &str = "
[[target]]
name = 'linux 5.15'
kernel = 'a'
command = 'c'
[[target]]
name = 'linux 6.1'
kernel = 'b'
command = 'c'
timout = '1s'
[[target]]
name = 'fedora (x86)'
image = 'i'
command = 'c'
";

fn document(text: &str) -> Document<'_> {
    Document::parse(text, Path::new("/p")).unwrap().with_host(Arch::X86_64)
}

#[track_caller]
fn selected(pattern: &str, names: &[&str]) {
    let mut document = document(FILE);
    document.select(pattern).unwrap();
    assert_eq!(document.selected_names().collect::<Vec<_>>(), names);
    let loaded = document.resolve(Purpose::Run).unwrap();
    let resolved: Vec<_> = loaded.targets.iter().map(|resolved| resolved.target.name.as_str()).collect();
    assert_eq!(resolved, names);
}

#[track_caller]
fn refused(pattern: &str, expected: &Expect) {
    let problem = document(FILE).select(pattern).unwrap_err();
    expected.assert_eq(&render(FILE, &[problem]));
}

#[test]
fn every_target_is_selected_at_first() {
    let document = document(FILE);
    assert_eq!(document.names().collect::<Vec<_>>(), document.selected_names().collect::<Vec<_>>());
    assert_eq!(document.resolve(Purpose::Run).unwrap().targets.len(), 3);
}

#[test]
fn a_filter_matches_anywhere_in_a_name() {
    selected("6", &["linux 6.1", "fedora (x86)"]);
}

#[test]
fn a_filter_can_be_anchored() {
    selected("^linux 6\\.1$", &["linux 6.1"]);
}

#[test]
fn an_empty_filter_matches_all() {
    selected("", &["linux 5.15", "linux 6.1", "fedora (x86)"]);
}

#[test]
fn two_filters_must_both_match() {
    let mut document = document(FILE);
    document.select("linux").unwrap();
    document.select("6").unwrap();
    assert_eq!(document.selected_names().collect::<Vec<_>>(), ["linux 6.1"]);
}

#[test]
fn a_filter_without_a_match_lists_the_names() {
    refused(
        "debian",
        &expect![[r#"
            error[no_match] --filter "debian" 1:1 "debian" no target's name matches the filter "debian" / the targets are: "linux 5.15", "linux 6.1", "fedora (x86)"
        "#]],
    );
}

#[test]
fn a_failed_filter_leaves_the_selection_alone() {
    let mut document = document(FILE);
    document.select("linux").unwrap();
    document.select("debian").unwrap_err();
    assert_eq!(document.selected_names().count(), 2);
}

#[test]
fn a_filter_that_is_no_regular_expression_says_why() {
    refused(
        "fedora (x86",
        &expect![[r#"
            error[invalid_filter] --filter "fedora (x86" 1:1 "fedora (x86" the filter is not a regular expression: unclosed group / escape characters that have a meaning of their own with a backslash
        "#]],
    );
}

// U2
#[test]
fn a_filter_of_absurd_size_is_refused() {
    document(FILE).select(&"(a{1000}){1000}".repeat(10)).unwrap_err();
}

#[test]
fn long_lists_of_names_are_cut() {
    let target = |at: usize| format!("[[target]]\nname = 'n{at}'\nkernel = 'k'\ncommand = 'c'\n");
    let file = (0..25).map(target).collect::<Vec<_>>().concat();
    let help = document(&file).select("x").unwrap_err().help.unwrap();
    assert!(help.ends_with("\"n19\" and 5 more"), "{help}");
}

#[test]
fn a_resolved_target_knows_its_index_in_the_file() {
    let mut document = document(FILE);
    document.select("fedora").unwrap();
    let loaded = document.resolve(Purpose::Run).unwrap();
    assert_eq!(loaded.targets[0].index, 2);
    assert_eq!(&FILE[loaded.targets[0].header.clone()], "[[target]]");
}

#[test]
fn targets_can_be_picked_by_index() {
    let mut document = document(FILE);
    document.retain(|index, name| index == 1 || name.starts_with("fedora"));
    assert_eq!(document.selected_names().collect::<Vec<_>>(), ["linux 6.1", "fedora (x86)"]);
}

#[test]
fn warnings_of_other_targets_are_left_out() {
    let mut document = document(FILE);
    document.select("5.15").unwrap();
    assert_eq!(document.resolve(Purpose::Run).unwrap().warnings, []);
}

#[test]
fn errors_of_other_targets_count() {
    let text = format!("{FILE}[[target]]\nkernel = 'k'\ncommand = 'c'\n");
    let mut document = document(&text);
    document.select("5.15").unwrap();
    let problems = document.resolve(Purpose::Run).unwrap_err();
    assert_eq!(problems[0].code, "missing_key");
}

#[test]
fn an_unknown_arch_matters_only_to_a_run_of_that_target() {
    let text = format!("{FILE}[[target]]\nname = 'old'\nkernel = 'k'\ncommand = 'c'\narch = 'm68k'\n");
    let checked = document(&text).resolve(Purpose::Check).unwrap();
    assert_eq!(checked.targets.len(), 3);
    assert!(checked.warnings.iter().any(|problem| problem.code == "unknown_arch"));

    let mut other = document(&text);
    other.select("5.15").unwrap();
    assert_eq!(other.resolve(Purpose::Run).unwrap().targets.len(), 1);

    let mut same = document(&text);
    same.select("old").unwrap();
    expect![[r#"
        error[unknown_arch] 19:8 "'m68k'" unknown architecture "m68k" / write `x86_64`, `aarch64`, `riscv64` or `s390x`; vmtest cannot boot another
    "#]].assert_eq(&render(&text, &same.resolve(Purpose::Run).unwrap_err()));
}
