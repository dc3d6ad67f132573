//! What holds without being written.

use expect_test::{Expect, expect};

use crate::support::{analysis, machine};

/// The text with every hint in `⟨⟩`.
fn hinted(text: &str) -> String {
    let mut hints = analysis(text).inlay_hints(0..text.len(), &machine());
    hints.sort_by_key(|hint| hint.offset);
    let mut hinted = text.to_owned();
    for hint in hints.iter().rev() {
        hinted.insert_str(hint.offset, &format!("⟨{}⟩", hint.label));
    }
    hinted
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&hinted(text));
}

#[test]
fn defaults_stand_behind_the_header_and_the_version_behind_the_kernel() {
    check(
        "[[target]] # first\nname = \"a\"\nkernel = \"./bzImage\" # k\n",
        expect![[r#"
            [[target]]⟨2 CPUs, 4G, no timeout⟩ # first
            name = "a"
            kernel = "./bzImage"⟨6.1.0-44-amd64⟩ # k
        "#]],
    );
}

#[test]
fn what_is_given_has_no_default() {
    for (given, hint) in [
        ("vm.memory = \"1G\"", "⟨2 CPUs, no timeout⟩"),
        ("[target.vm]\nmemory = \"1G\"", "⟨2 CPUs, no timeout⟩"),
        ("vm = { memory = \"1G\", num_cpus = 1 }", "⟨no timeout⟩"),
        ("vm = { memory = \"1G\", num_cpus = 1 }\ntimeout = \"1m\"", ""),
        ("timeout = \"1m\"", "⟨2 CPUs, 4G⟩"),
        ("timeout = ", "⟨2 CPUs, 4G⟩"),
        ("memory = \"1G\"", "⟨2 CPUs, 4G, no timeout⟩"),
    ] {
        assert_eq!(hinted(&format!("[[target]]\n{given}\n")), format!("[[target]]{hint}\n{given}\n"));
    }
}

#[test]
fn a_header_that_is_being_typed_has_no_hint() {
    for text in ["[[target", "[[target]", "[[target\n", "", "# x\n", "name = 1\n", "[[targets]]\n"] {
        assert_eq!(hinted(text), text);
    }
}

#[test]
fn a_kernel_without_a_version_has_no_hint() {
    for path in ["broken", "unknown", ""] {
        let hinted = hinted(&format!("[[target]]\nkernel = \"{path}\""));
        assert!(hinted.ends_with(&format!("\"{path}\"")), "{hinted}");
    }
}

#[test]
fn only_what_is_asked_for_is_answered() {
    let target = "[[target]]\nkernel = \"./bzImage\"\n";
    let text = target.repeat(3);
    let analysis = analysis(&text);
    let offsets = |range| {
        let hints = analysis.inlay_hints(range, &machine());
        hints.iter().map(|hint| hint.offset).collect::<Vec<_>>()
    };
    let one = target.len();
    let header = "[[target]]".len();
    let kernel = one - 1;
    assert_eq!(offsets(0..0), Vec::<usize>::new());
    assert_eq!(offsets(0..header), [header]);
    assert_eq!(offsets(header + 1..kernel), [kernel]);
    assert_eq!(offsets(one..2 * one), [one + header, one + kernel]);
    assert_eq!(offsets(0..text.len()).len(), 6);
    assert_eq!(offsets(text.len() + 10..text.len() + 20), Vec::<usize>::new());
}

#[test]
fn a_version_tells_more_to_the_pointer() {
    let text = "[[target]]\nkernel = \"./bzImage\"";
    let hints = analysis(text).inlay_hints(0..text.len(), &machine());
    assert_eq!(hints[1].tooltip.as_deref(), Some("`bzImage`, `modules in /lib/modules/6.1.0-44-amd64`"));
}
