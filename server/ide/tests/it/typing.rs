//! Every feature at every moment of a text's life: while it is typed, and whatever it is.

use std::ops::Range;

use vmtest_fuzz::{Fuzzer, Random};
use vmtest_ide::{Analysis, CompletionKind, Surroundings, Symbol};

use crate::fixtures::{PIECES, files};
use crate::support::{analysis, apply, expand, slice, with_entries};

const EXAMPLE: &str = include_str!("../../../../examples/vmtest.toml");
const RICH: &str = include_str!("rich.toml");

/// Asks for everything that does not need a place, and holds the answers to what every client relies on.
#[track_caller]
fn whole(analysis: &Analysis, machine: &Surroundings) {
    let text = analysis.text();
    symbols(text, &(0..text.len()), &analysis.symbols());
    let mut end = 0;
    for token in analysis.semantic_tokens() {
        assert!(token.range.start >= end, "tokens overlap: {token:?}");
        let piece = slice(text, &token.range);
        assert!(!piece.is_empty() && !piece.contains('\n'), "{token:?} is {piece:?}");
        end = token.range.end;
    }
    let mut start = 0;
    for fold in analysis.folds() {
        assert!(slice(text, &fold.range).contains('\n'), "{fold:?} is of one line");
        assert!(fold.range.start >= start, "folds are not in order");
        start = fold.range.start;
    }
    for link in analysis.links() {
        let piece = slice(text, &link.range);
        assert!(!piece.is_empty() && !piece.contains('\n'), "{link:?} is {piece:?}");
    }
    for hint in analysis.inlay_hints(0..text.len(), machine) {
        slice(text, &(hint.offset..text.len()));
        assert!(!hint.label.is_empty() && !hint.label.contains('\n'), "{hint:?}");
    }
    for target in analysis.targets() {
        slice(text, &target.range);
        assert!(
            target.range.start <= target.header.start && target.header.end <= target.range.end,
            "{target:?}"
        );
    }
}

/// Every symbol lies in its parent, is named, and comes after the one before it.
#[track_caller]
fn symbols(text: &str, parent: &Range<usize>, all: &[Symbol]) {
    let mut end = parent.start;
    for symbol in all {
        assert!(!symbol.name.trim().is_empty(), "{symbol:?}");
        assert!(!symbol.name.contains(char::is_control), "{symbol:?}");
        slice(text, &symbol.range);
        slice(text, &symbol.selection);
        assert!(
            end <= symbol.range.start && symbol.range.end <= parent.end,
            "{symbol:?} is not in {parent:?}"
        );
        assert!(
            symbol.range.start <= symbol.selection.start && symbol.selection.end <= symbol.range.end,
            "{symbol:?}"
        );
        symbols(text, &symbol.range, &symbol.children);
        end = symbol.range.end;
    }
}

/// Asks for everything at a place.
#[track_caller]
fn place(analysis: &Analysis, offset: usize, machine: &Surroundings) {
    let text = analysis.text();
    if let Some(hover) = analysis.hover(offset, machine) {
        slice(text, &hover.range);
        assert!(!hover.markdown.is_empty());
    }
    analysis.wanted_directory(offset);
    for item in analysis.completions(offset, machine) {
        let range = &item.edit.range;
        assert!(range.start <= offset && offset <= range.end, "{item:?} is not at {offset}");
        assert!(!slice(text, range).contains('\n'), "{item:?} is not on one line");
        assert!(!item.label.is_empty() && !item.filter.is_empty() && !item.sort.is_empty(), "{item:?}");
        let mut edit = item.edit.clone();
        if item.snippet {
            edit.text = expand(&edit.text);
        }
        if item.kind == CompletionKind::Value {
            assert!(!edit.text.contains('\n'), "{item:?}");
        }
        apply(text, &[edit]);
    }
}

fn machine() -> Surroundings {
    with_entries(&["bzImage", "linux/", ".hidden", "a\"b", "a'b", "${x}\\", "\u{fffd}", "x\ny"])
}

/// Types `text`, asks at the cursor each time, and now and then everywhere.
#[track_caller]
fn type_out(text: &str) {
    let machine = machine();
    let ends = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    for (count, end) in ends.enumerate() {
        let analysis = analysis(&text[..end]);
        place(&analysis, end, &machine);
        if count % 7 == 0 {
            whole(&analysis, &machine);
        }
        if count % 97 == 0 {
            let lines = text[..end].match_indices('\n').map(|(newline, _)| newline + 1);
            lines.for_each(|line| place(&analysis, line, &machine));
        }
    }
}

#[test]
fn the_example_can_be_typed() {
    type_out(EXAMPLE);
}

#[test]
fn a_file_with_every_key_can_be_typed() {
    type_out(RICH);
}

#[test]
fn a_file_with_every_key_can_be_typed_with_carriage_returns() {
    type_out(&RICH.replace('\n', "\r\n"));
}

#[test]
fn a_file_can_be_typed_above_another_target() {
    let machine = machine();
    let below = "\n[[target]]\nname = \"below\"\nkernel = \"./bzImage\"\ncommand = \"true\"\n";
    for end in (0..=RICH.len()).filter(|end| RICH.is_char_boundary(*end)) {
        let analysis = analysis(&format!("{}{below}", &RICH[..end]));
        place(&analysis, end, &machine);
        if end % 7 == 0 {
            whole(&analysis, &machine);
        }
    }
}

#[test]
fn every_place_of_a_whole_file_can_be_asked() {
    let machine = machine();
    let analysis = analysis(RICH);
    whole(&analysis, &machine);
    (0..=RICH.len() + 2).for_each(|offset| {
        analysis.hover(offset, &machine);
        analysis.wanted_directory(offset);
    });
    (0..=RICH.len()).filter(|at| RICH.is_char_boundary(*at)).for_each(|at| place(&analysis, at, &machine));
}

/// What is offered can be taken: the file is no worse for it.
#[test]
fn every_completion_on_a_line_of_its_own_leaves_a_file_that_can_be_read() {
    let broken = ["syntax", "duplicate_key", "unknown_key", "misplaced_key", "several_systems", "wrong_type"];
    let lines: Vec<usize> =
        std::iter::once(0).chain(RICH.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut taken = 0;
    for line in lines {
        let text = format!("{}\n{}", &RICH[..line], &RICH[line..]);
        let analysis = analysis(&text);
        for item in analysis.completions(line, &machine()) {
            let mut edit = item.edit.clone();
            if item.snippet {
                edit.text = expand(&edit.text);
            }
            let after = crate::support::analysis(&apply(&text, &[edit]));
            let problems = after.problems();
            let worse = problems.iter().find(|problem| broken.contains(&problem.code));
            assert!(worse.is_none(), "{} at {line}: {worse:?}\n{}", item.label, after.text());
            taken += 1;
        }
    }
    assert!(taken > 100, "{taken}");
}

// L4, L5
#[test]
fn any_text_can_be_asked_anywhere_and_is_formatted_to_what_it_says() {
    let fixtures = files("valid").into_iter().chain(files("invalid"));
    let fuzzer = fixtures.fold(Fuzzer::new("analysis"), |fuzzer, (_, text)| fuzzer.seed(text));
    let machine = machine();
    // A file has at most 1 MiB; what is more than linear shows in far less.
    fuzzer.seed(RICH).seed(EXAMPLE).pieces(PIECES).longest(8 << 10).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let analysis = analysis(&text);
        whole(&analysis, &machine);
        analysis.problems();
        let mut random = Random::of(bytes);
        for _ in 0..4 {
            // Inside a character and past the end, too: nothing may panic there.
            let offset = random.below(text.len() + 2);
            analysis.hover(offset, &machine);
            analysis.wanted_directory(offset);
            analysis.completions(offset, &machine);
            if text.is_char_boundary(offset) {
                place(&analysis, offset, &machine);
            }
        }
        if let Some(after) = analysis.format() {
            let targets = |text: &str| {
                let loaded = vmtest_config::load(text, "/p".as_ref()).ok()?;
                Some(loaded.targets.into_iter().map(|resolved| resolved.target).collect::<Vec<_>>())
            };
            assert_eq!(targets(&text), targets(&after), "{after}");
            assert_eq!(crate::support::analysis(&after).format(), None, "{after}");
        }
    });
}

/// Parsers recurse, and a stack that overflows takes the server with it.
// L5
#[test]
fn nothing_is_long_enough_to_overflow_the_stack() {
    let machine = Surroundings::default();
    for length in [3_000, 30_000, 300_000] {
        for (start, piece, end) in [
            ("x = ", "1", ""),
            ("x = 1.", "1", ""),
            ("x = 1e", "1", ""),
            ("x = 0x", "f", ""),
            ("x = 1", "_1", ""),
            ("x = 2020-01-01T00:00:00.", "1", ""),
            ("", "a", " = 1"),
            ("x = ", "a", ""),
            ("x = \"", "a", ""),
            ("x = \"", "a", "\""),
            ("x = '", "a", "'"),
            ("x = \"\"\"", "a\n", "\"\"\""),
            ("x = \"", "\\n", "\""),
            ("", "\"", ""),
            ("x = ", "'", ""),
            ("#", "ü", ""),
            ("x =", " ", "1"),
            ("", "\n", ""),
        ] {
            let text = format!("[[target]]\n{start}{}{end}\n", piece.repeat(length / piece.len()));
            let analysis = analysis(&text);
            whole(&analysis, &machine);
            analysis.format();
        }
    }
}
