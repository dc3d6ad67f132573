//! The loader is total: whatever the text, it answers, and every span lies in its text.

use std::path::Path;
use std::time::{Duration, Instant};

use vmtest_config::{Document, KernelOptions, LineIndex, Problem, Purpose, Source, load_bytes};
use vmtest_fuzz::{Choices, Fuzzer};

use crate::fixtures::files;

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

/// Every fixture is a seed.
fn fuzzer(name: &'static str) -> Fuzzer {
    let fixtures = ["valid", "invalid"].into_iter().flat_map(files);
    fixtures.fold(Fuzzer::new(name).pieces(PIECES), |fuzzer, (_, text)| fuzzer.seed(text))
}

// U2
#[test]
fn any_bytes_are_loaded_or_refused_with_places_that_are_theirs() {
    fuzzer("loader").run(check);
}

const KEYS: [&str; 16] = [
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
    "kernel_args",
    "",
    "x",
    "vm.num_cpus",
    "uefi",
    "arch",
];

#[test]
fn any_settings_and_options_are_taken_or_refused_with_places_that_are_theirs() {
    let text = "[[target]]\nname = 't'\nkernel = 'k'\ncommand = 'c'\n";
    let anything = |choices: &mut Choices<'_>| {
        let length = choices.below(40);
        String::from_utf8_lossy(choices.bytes(length)).into_owned()
    };
    Fuzzer::new("settings").pieces(PIECES).run(|input| {
        let mut choices = Choices::new(input);
        let count = 1 + choices.below(4);
        let assignments: Vec<_> =
            (0..count).map(|_| format!("{}={}", choices.of_all(&KEYS), anything(&mut choices))).collect();
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
        let [kernel, args, arch, command] = [0; 4].map(|_| anything(&mut choices));
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
    });
}

// U2, L5
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
