//! The loader is total: whatever the text, it answers, and every span lies in its text.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use vmtest_config::{Document, KernelOptions, LineIndex, Problem, Purpose, Source, load_bytes};

use crate::fixtures::files;

/// The same cases each time, on every machine.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn check_spans(file: &str, problems: &[Problem]) {
    let index = LineIndex::new(file);
    for problem in problems {
        let text = match &problem.source {
            Source::File => file,
            Source::Argument { text, .. } => text,
        };
        assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
        if let Some(fix) = &problem.fix {
            assert!(text.get(fix.span.clone()).is_some(), "{problem:?}");
        }
        for (span, _) in &problem.related {
            assert!(file.get(span.clone()).is_some(), "{problem:?}");
            index.line_column(span.start);
        }
        assert!(!problem.message.is_empty() && !problem.message.ends_with('.'), "{problem:?}");
        assert!(problem.help.is_some() || problem.code == "syntax", "{problem:?}");
    }
}

fn check(bytes: &[u8]) {
    let base = Path::new("/p");
    let loaded = load_bytes(bytes, base);
    assert_eq!(loaded, load_bytes(bytes, base), "not deterministic");
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap(),
    };
    match loaded {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|problem| !problem.is_error()));
            check_spans(valid, &loaded.warnings);
        }
        Err(problems) => {
            assert!(problems.iter().any(Problem::is_error));
            check_spans(valid, &problems);
        }
    }
}

/// One change of a text: what a keystroke, a paste or a broken disk does.
#[derive(Debug, Clone)]
enum Change {
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
    Flip(prop::sample::Index, u8),
    Double(prop::sample::Index, usize),
}

const PIECES: &[&str] = &[
    "\"",
    "'",
    "'''",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\r",
    "\r\n",
    "\t",
    " ",
    "#",
    "\\",
    "\0",
    "\u{feff}",
    "ä",
    "🦀",
    "\u{301}",
    "[[target]]\n",
    "[target]\n",
    "[target.vm]\n",
    "[[target.vm]]\n",
    "name = 'x'\n",
    "kernel = 'k'\n",
    "image = ''\n",
    "vm = 1\n",
    "vm.memory = '1'\n",
    "uefi = true\n",
    "true",
    "-1",
    "0x",
    "1e9",
    "1979-05-27",
    "target",
    "vm.mounts.'/' = {}\n",
    "env.'' = ''\n",
    "arch = 'z80'\n",
    "-",
    "*",
    "$(x)",
    "99999999999999999999",
    "timeout = '1s'\n",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "inherit_env = [1]\n",
];

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0..40_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (index(), prop::sample::select(PIECES)).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (index(), any::<u8>()).prop_map(|(at, mask)| Change::Flip(at, mask)),
        (index(), 0..60_usize).prop_map(|(at, length)| Change::Double(at, length)),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = bytes.len();
        match change {
            Change::Cut(at, count) => {
                let at = at.index(length + 1);
                bytes.drain(at..(at + count).min(length));
            }
            Change::Insert(at, piece) => {
                let at = at.index(length + 1);
                bytes.splice(at..at, piece.bytes());
            }
            Change::Flip(at, mask) if length > 0 => bytes[at.index(length)] ^= mask,
            Change::Flip(..) => {}
            Change::Double(at, count) => {
                let at = at.index(length + 1);
                let copy = bytes[at..(at + count).min(length)].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let files = ["valid", "invalid"].into_iter().flat_map(files);
    files.map(|(_, text)| text.into_bytes()).chain([Vec::new()]).collect()
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(seeds()), prop::collection::vec(change(), 0..12))
        .prop_map(|(bytes, changes)| apply(bytes, &changes))
}

#[test]
fn arbitrary_bytes_never_panic() {
    runner(2000)
        .run(&prop::collection::vec(any::<u8>(), 0..300), |bytes| {
            check(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn arbitrary_pieces_of_toml_never_panic() {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..60);
    runner(2000)
        .run(&pieces, |pieces| {
            check(pieces.concat().as_bytes());
            Ok(())
        })
        .unwrap();
}

#[test]
fn mutated_files_never_panic() {
    runner(2000)
        .run(&mutated(), |bytes| {
            check(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn arbitrary_assignments_never_panic() {
    let text = "[[target]]\nname = 't'\nkernel = 'k'\ncommand = 'c'\n";
    let keys = prop::sample::select(vec![
        "name",
        "vm",
        "vm.memory",
        "vm.mounts.'/a'",
        "vm.mounts",
        "env",
        "env.A",
        "inherit_env",
        "timeout",
        "vm.extra_args",
        "",
        "x",
        "vm.num_cpus",
        "uefi",
        "arch",
    ]);
    let value = prop::collection::vec(prop::sample::select(PIECES), 0..6).prop_map(|pieces| pieces.concat());
    let assignment = prop_oneof![
        (keys, value).prop_map(|(key, value)| format!("{key}={value}")),
        prop::collection::vec(prop::sample::select(PIECES), 0..10).prop_map(|pieces| pieces.concat()),
    ];
    runner(3000)
        .run(&prop::collection::vec(assignment, 1..4), |assignments| {
            let mut document = Document::parse(text, Path::new("/p")).unwrap();
            for assignment in &assignments {
                if let Err(problem) = document.set(assignment) {
                    check_spans(text, &[problem]);
                }
            }
            let problems = match document.resolve(Purpose::Run) {
                Ok(loaded) => loaded.warnings,
                Err(problems) => problems,
            };
            check_spans(text, &problems);
            Ok(())
        })
        .unwrap();
}

#[test]
fn arbitrary_options_never_panic() {
    let text =
        || prop::collection::vec(prop::sample::select(PIECES), 0..4).prop_map(|pieces| pieces.concat());
    runner(1000)
        .run(&(text(), text(), text(), text()), |(kernel, args, arch, command)| {
            let options = KernelOptions {
                kernel: &kernel,
                kernel_args: Some(&args),
                rootfs: Some(&args),
                arch: Some(&arch),
                qemu_command: Some(&kernel),
                command: &command,
                ..KernelOptions::default()
            };
            if let Err(problems) = Document::from_options(&options, Path::new("/p")).resolve(Purpose::Run) {
                check_spans("", &problems);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_few_seconds_of_ever_new_mutations_never_panic() {
    let end = Instant::now() + Duration::from_secs(5);
    let mut runner = runner(1);
    let strategy = mutated();
    let mut round = 0_u32;
    while Instant::now() < end {
        let bytes = strategy.new_tree(&mut runner).unwrap().current();
        check(&bytes);
        round += 1;
    }
    assert!(round > 0);
}

// L5
#[test]
fn hostile_files_take_linear_time() {
    // Generous: each is below a second even in a debug build, and would take minutes if it were quadratic.
    for line in ["[[target]]\n", "a=1\n", "[target]\n", "=\n", "[[target]]\nx.y=1\n", "\"\n", "#\n", "]\n"] {
        timed(&line.repeat(200_000 / line.len()), line);
    }
    let numbered = |line: fn(usize) -> String| (0..10_000).map(line).collect::<Vec<_>>().concat();
    timed(&numbered(|at| format!("key{at}=1\n")), "keys");
    timed(&numbered(|at| format!("[[target]]\nname='n'\nkernal{at}=1\n")), "targets");
    timed(&numbered(|at| format!("[t.x{at}]\n")).repeat(2), "headers");
}

fn timed(text: &str, what: &str) {
    let start = Instant::now();
    check(text.as_bytes());
    println!("{what:?}: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60), "{what:?}");
}
