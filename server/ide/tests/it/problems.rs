//! What is wrong with a text, also while it is broken somewhere.

use std::fmt::Write as _;
use std::path::Path;

use expect_test::{Expect, expect};
use vmtest_config::load;
use vmtest_fuzz::{Fuzzer, Random};
use vmtest_ide::{Analysis, Problem, Severity};

use crate::fixtures::{PIECES, files};
use crate::support::{BASE, analysis, slice};

/// A line for each problem: what it is called, the text that it is about, what it says.
fn check(text: &str, expected: Expect) {
    let analysis = analysis(text);
    let mut shown = String::new();
    for problem in analysis.problems() {
        let about = slice(text, &problem.span).lines().next().unwrap_or_default();
        let sign = if problem.severity == Severity::Error { "E" } else { "W" };
        writeln!(shown, "{sign} {} `{about}`: {}", problem.code, problem.message).unwrap();
    }
    expected.assert_eq(&shown);
}

const GOOD: &str = "[[target]]\nname = \"good\"\nkernel = \"k\"\ncommand = \"c\"\n";

#[test]
fn a_right_file_has_none() {
    check(GOOD, expect![""]);
}

#[test]
fn an_empty_file_has_no_target() {
    check(
        "",
        expect![[r"
        E no_targets ``: there is no target
    "]],
    );
}

#[test]
fn a_slip_in_one_target_does_not_hide_what_another_has_wrong() {
    check(
        &format!(
            "{GOOD}kernal = 1\n[[target]]\nname = \"open\ncommand = \"c\"\n[[target]]\nname = 3\nkernel = \"k\"\ncommand = \"c\"\n"
        ),
        expect![[r#"
            W unknown_key `kernal`: unknown key `kernal` in `[[target]]`; it has no effect
            E syntax `name = "open`: a string without its closing quote
            E wrong_type `3`: `name` must be a string, not an integer
        "#]],
    );
}

#[test]
fn a_broken_target_is_not_told_what_it_lacks() {
    check(
        "[[target]]\nname = \"a\"\nker\n",
        expect![[r#"
            E syntax `ker`: a key without a value
        "#]],
    );
}

#[test]
fn a_broken_target_is_told_what_its_other_lines_have_wrong() {
    check(
        "[[target]]\nname = 3\nkernel =\ncommand = \"c\"\n",
        expect![[r#"
            E wrong_type `3`: `name` must be a string, not an integer
            E syntax `kernel =`: a key without a value
        "#]],
    );
}

#[test]
fn text_without_its_closing_quotes_ends_with_its_target() {
    check(
        &format!("[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = '''\nmake\n{GOOD}x = 1\n"),
        expect![[r#"
            E syntax `command = '''`: text of several lines without its closing quotes
            W unknown_key `x`: unknown key `x` in `[[target]]`; it has no effect
        "#]],
    );
}

#[test]
fn a_list_without_its_end_ends_with_its_target() {
    check(
        &format!(
            "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\nvm.extra_args = [\"-x\",\n{GOOD}x = 1\n"
        ),
        expect![[r#"
            E syntax `vm.extra_args = ["-x",`: a list without its closing `]`
            W unknown_key `x`: unknown key `x` in `[[target]]`; it has no effect
        "#]],
    );
}

#[test]
fn a_key_given_twice_does_not_hide_the_rest() {
    check(
        &format!("{GOOD}name = \"b\"\n{GOOD}vm.memory = \"4X\"\n"),
        expect![[r#"
            E duplicate_key `name`: `name` is given a second time
            W duplicate_name `"good"`: another target is called "good" too
            E invalid_memory `"4X"`: `vm.memory` is not a memory size: "4X"
        "#]],
    );
}

#[test]
fn what_only_the_whole_file_has_wrong_is_said() {
    check(
        "[target]\nname = \"a\"\n[[target]]\nname = \"b\"\nkernel = \"k\"\ncommand = \"c\"\n",
        expect![[r#"
            E target_not_array `[target]`: `target` is a single table, but it must be a list of them
        "#]],
    );
}

#[test]
fn a_file_beyond_the_limits_says_that_alone() {
    check(
        &"#".repeat((1 << 20) + 1),
        expect![[r"
        E file_too_large ``: the file has 1048577 bytes, more than 1 MiB
    "]],
    );
    let codes = |text: &str| analysis(text).problems().iter().map(|problem| problem.code).collect::<Vec<_>>();
    assert_eq!(codes(&format!("x = {}", "[".repeat(10_000))), ["too_deep"]);
    assert_eq!(codes(&"x = [\n".repeat(10_000)), ["too_deep"]);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_change_nothing() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    check(&text, expect![""]);
    check(
        &format!("{text}x\r\n"),
        expect![[r#"
            E syntax `x`: a key without a value
        "#]],
    );
}

#[test]
fn blanks_in_a_header_change_nothing() {
    for header in ["[[ target]]", "[[\ttarget ]]", "  [[  target]] # one", "[[ 'target' ]]"] {
        let text = GOOD.replacen("[[target]]", header, 1);
        assert_eq!(analysis(&text).problems(), [], "{header}");
        let names = |text: &str| analysis(text).targets().into_iter().map(|target| target.name);
        assert!(names(&text).eq(names(GOOD)), "{header}");
    }
}

#[test]
fn an_unknown_key_on_the_first_line_is_said_as_on_any_other() {
    check(
        &format!("one = 1\ntwo = 2\n{GOOD}"),
        expect![[r#"
            W unknown_key `one`: unknown key `one` outside every target; it has no effect
            W unknown_key `two`: unknown key `two` outside every target; it has no effect
        "#]],
    );
}

#[test]
fn mistakes_of_commands_are_said_at_their_place() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = '''\n./a.sh\n./b.sh\n'''\n",
        expect![[r"
            W lost_exit_status `./a.sh`: a failure of `./a.sh` is not noticed: the last command alone decides whether the target passes
        "]],
    );
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"cat <<EOF\\nhello\\n\"\n",
        expect![[r"
            W unclosed_here_document `cat <<EOF\nhello\n`: the here-document has no end: no line is `EOF`, so everything that follows is its text
        "]],
    );
}

/// Whether the tolerant reader finds an error where the strict one does, and the targets that it does.
fn agree(text: &str, name: &str) {
    let loaded = load(text, Path::new(BASE));
    let analysis = Analysis::new(text, Path::new(BASE));
    let problems = analysis.problems();
    assert_eq!(problems.iter().any(Problem::is_error), loaded.is_err(), "{name}: {problems:?}");
    // A target with a longer word than this is not read by the tolerant reader, whose parser recurses over it.
    let is_read = text.split([' ', '\t', '\r', '\n', '"', '\'']).all(|word| word.len() <= 2 << 10);
    if let (Ok(loaded), true) = (loaded, is_read) {
        let strict: Vec<_> = loaded.targets.iter().map(|resolved| resolved.target.name.as_str()).collect();
        let tolerant = analysis.targets();
        let mut tolerant: Vec<_> = tolerant.iter().map(|target| target.name.as_str()).collect();
        // A target for a machine that is unknown is shown, and is none that can run.
        if problems.iter().any(|problem| problem.code == "unknown_arch") {
            tolerant.retain(|name| strict.contains(name));
        }
        assert_eq!(tolerant, strict, "{name}");
        let mut warnings = problems;
        warnings.retain(|problem| !OF_COMMANDS.contains(&problem.code));
        assert_eq!(warnings, loaded.warnings, "{name}");
    }
}

/// What the loader does not look for.
const OF_COMMANDS: [&str; 3] = ["lost_exit_status", "unclosed_here_document", "expanded_too_early"];

/// Whether an analysis that was edited knows what a new one does.
fn edited_is_new(before: &Analysis, text: &str) -> Analysis {
    let edited = before.edited(text);
    let new = analysis(text);
    assert_eq!(edited.problems(), new.problems(), "{text}");
    assert_eq!(edited.targets(), new.targets(), "{text}");
    edited
}

#[test]
fn what_is_kept_over_an_edit_is_right_at_every_keystroke() {
    for (_, text) in files("valid").into_iter().chain(files("invalid")) {
        let mut typed = analysis("");
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            // Typed above what is there already, so that pieces before and after stay.
            typed = edited_is_new(&typed, &format!("{GOOD}{}\n{GOOD}# end\n{text}", &text[..end]));
        }
    }
}

// L4
#[test]
fn any_edits_keep_only_what_is_right_and_the_strict_loader_agrees() {
    let fixtures = files("valid").into_iter().chain(files("invalid"));
    let fuzzer = fixtures.fold(Fuzzer::new("edits"), |fuzzer, (_, text)| fuzzer.seed(text));
    // The input is a text, and decides what is typed, pasted and deleted after it.
    fuzzer.pieces(PIECES).longest(4 << 10).run(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mut random = Random::of(bytes);
        let mut known = analysis("");
        known.problems();
        let mut now = text.clone();
        for _ in 0..4 {
            known = edited_is_new(&known, &now);
            let start = boundary(&now, random.below(now.len() + 1));
            let end = boundary(&now, start + random.below(60)).max(start);
            let new = if random.below(3) == 0 { "" } else { *random.of_all(&PIECES) };
            now.replace_range(start..end, new);
        }
        edited_is_new(&known, &text);
        agree(&text, "what was made up");
    });
}

/// The nearest place before, or at, that one where a character starts.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[test]
fn the_strict_loader_and_the_tolerant_reader_agree_on_every_fixture() {
    for (path, text) in files("valid").into_iter().chain(files("invalid")) {
        agree(&text, &path.display().to_string());
    }
}

#[test]
fn the_two_agree_at_every_keystroke() {
    for (path, text) in files("valid") {
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            agree(&text[..end], &format!("{} up to {end}", path.display()));
        }
    }
}

#[test]
fn a_header_that_lost_a_bracket_is_the_only_mistake() {
    for header in ["[[target]", "[[target", "[[target] ]"] {
        let text = format!("{header}\nname = 'a'\nkernel = 'k'\ncommand = 'c'\n[target.vm]\nmemory = '1G'\n");
        let problems = analysis(&text).problems();
        let found: Vec<_> = problems.iter().map(|problem| (problem.code, problem.span.start)).collect();
        assert_eq!(found, [("syntax", 0)], "{header}");
    }
}

// L5
#[test]
fn many_errors_take_linear_time() {
    // Each of these would take minutes if it were not.
    for unit in
        ["[[target]]\nname = \"\n", "x = '''\n", "\"\\", "x = \"\n", "[[target]]\n[target.vm]\n", "ä'"]
    {
        let problems = analysis(&unit.repeat(100_000 / unit.len())).problems();
        assert!(problems.iter().any(Problem::is_error) && problems.len() <= 1000, "{unit:?}");
    }
}
