use std::fmt::Write as _;

use expect_test::{Expect, expect};
use vmtest_fuzz::{Fuzzer, Random};

use super::*;

fn places(text: &str) -> Vec<Place> {
    let mut found = Vec::new();
    let mut scanner = Scanner::default();
    scanner.push(text.as_bytes(), &mut |place| found.push(place));
    scanner.finish(&mut |place| found.push(place));
    found
}

/// One line for each place: where, how bad, what; other paths that it may mean.
#[expect(clippy::needless_pass_by_value, reason = "so that a table reads well")]
fn check(text: &str, expected: Expect) {
    let mut shown = String::new();
    for place in places(text) {
        let Place { path, also, line, column, kind, message, trace } = place;
        let column = column.map(|column| format!(":{column}")).unwrap_or_default();
        let trace = trace.map(|trace| format!(" #{trace}")).unwrap_or_default();
        writeln!(shown, "{path}:{line}{column} {kind:?}{trace} {}", message.replace('\n', " / ")).unwrap();
        for other in also {
            writeln!(shown, "  or {other}").unwrap();
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn gcc_and_clang() {
    check(
        "In file included from src/a.c:1:\n\
         src/a.h:3:10: fatal error: nope.h: No such file or directory\n\
         \x20   3 | #include <nope.h>\n\
         compilation terminated.\n\
         main.c: In function 'main':\n\
         main.c:4:9: error: 'x' undeclared (first use in this function)\n\
         main.c:4:9: note: each undeclared identifier is reported only once\n\
         main.c:7:5: warning: unused variable 'y' [-Wunused-variable]\n\
         make: *** [Makefile:12: all] Error 1\n",
        expect![[r"
            src/a.c:1 Mention In file included from src/a.c:1:
            src/a.h:3:10 Error nope.h: No such file or directory
            main.c:4:9 Error 'x' undeclared (first use in this function)
            main.c:4:9 Note each undeclared identifier is reported only once
            main.c:7:5 Warning unused variable 'y' [-Wunused-variable]
            Makefile:12 Mention all] Error 1
        "]],
    );
}

#[test]
fn gcc_in_colour_and_with_blanks_in_the_name() {
    check(
        "\x1b[01m\x1b[Kmy file.c:4:9:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kexpected ';'\n",
        expect![[r"
            file.c:4:9 Error expected ';'
              or my file.c
        "]],
    );
}

#[test]
fn linkers() {
    check(
        "/usr/bin/ld: /tmp/ccX.o: in function `main':\n\
         /usr/bin/ld: /home/u/p/main.c:12: undefined reference to `frob'\n\
         collect2: error: ld returned 1 exit status\n",
        expect![[r"
            /home/u/p/main.c:12 Error undefined reference to `frob'
              or /usr/bin/ld: /home/u/p/main.c
        "]],
    );
}

#[test]
fn rustc_takes_the_message_from_the_line_before() {
    check(
        "error[E0308]: mismatched types\n\
         \x20 --> src/main.rs:3:5\n\
         \x20  |\n\
         3  |     \"x\"\n\
         \x20  |     ^^^ expected `i32`, found `&str`\n\
         note: function defined here\n\
         \x20 --> src/lib.rs:9:8\n\
         \n\
         warning: unused import: `std::fmt`\n\
         \x1b[0m \x1b[0m\x1b[0m\x1b[1m\x1b[38;5;12m--> \x1b[0m\x1b[0msrc/main.rs:1:5\x1b[0m\n",
        expect![[r"
            src/main.rs:3:5 Error mismatched types
            src/lib.rs:9:8 Note function defined here
            src/main.rs:1:5 Warning unused import: `std::fmt`
        "]],
    );
}

#[test]
fn rust_panics_and_failed_tests() {
    check(
        "---- tests::adds stdout ----\n\
         \n\
         thread 'tests::adds' panicked at src/lib.rs:10:9:\n\
         assertion `left == right` failed: sum\n\
         \x20 left: 1\n\
         \x20right: 2\n\
         note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\
         thread 'main' (4242) panicked at src/main.rs:2:5:\n\
         boom\n\
         thread 'main' panicked at 'old boom', src/main.rs:3:5\n",
        expect![[r"
            src/lib.rs:10:9 Error assertion `left == right` failed: sum / left: 1 / right: 2
            src/main.rs:2:5 Error boom
            src/main.rs:3:5 Error old boom
        "]],
    );
}

#[test]
fn a_panic_at_the_very_end_is_not_lost() {
    check(
        "thread 'main' panicked at src/main.rs:2:5:",
        expect![[r"
            src/main.rs:2:5 Error 
        "]],
    );
}

#[test]
fn pytest() {
    check(
        "    def test_x():\n\
         >       assert 1 == 2\n\
         E       assert 1 == 2\n\
         E        +  where 1 = f()\n\
         \n\
         tests/test_x.py:12: AssertionError\n\
         tests/test_y.py:4: in test_y\n\
         \x20   f()\n\
         lib.py:9: ValueError\n\
         =========== warnings summary ===========\n\
         \x20 /mnt/vmtest/tests/test_x.py:3: DeprecationWarning: do not\n\
         FAILED tests/test_x.py::test_x - assert 1 == 2\n",
        expect![[r"
            tests/test_x.py:12 Error assert 1 == 2
            tests/test_y.py:4 Mention in test_y
            lib.py:9 Error ValueError
            /mnt/vmtest/tests/test_x.py:3 Warning DeprecationWarning: do not
        "]],
    );
}

#[test]
fn a_python_traceback_is_told_by_its_last_line_innermost_frame_first() {
    check(
        "Traceback (most recent call last):\n\
         \x20 File \"/home/u/p/run.py\", line 3, in <module>\n\
         \x20   main()\n\
         \x20 File \"lib.py\", line 9, in main\n\
         \x20   raise ValueError('bad')\n\
         \x20   ^^^^^^^^^^^^^^^^^^^^^^^\n\
         ValueError: bad\n\
         \x20 File \"broken.py\", line 2\n\
         \x20   def f(\n\
         \x20        ^\n\
         SyntaxError: '(' was never closed\n",
        expect![[r"
            lib.py:9 Error #1 ValueError: bad
            /home/u/p/run.py:3 Error #1 ValueError: bad
            broken.py:2 Error #2 SyntaxError: '(' was never closed
        "]],
    );
}

#[test]
fn go() {
    check(
        "# example.com/repo/pkg/foo\n\
         pkg/foo/foo.go:7:2: undefined: frob\n\
         vet: ./x.go:3:2: unreachable code\n\
         --- FAIL: TestX (0.00s)\n\
         \x20   foo_test.go:12: got 1, want 2\n\
         FAIL\n\
         FAIL\texample.com/repo/pkg/foo\t0.003s\n\
         panic: runtime error: index out of range\n\
         \t/home/u/p/main.go:12 +0x1d\n",
        expect![[r"
            pkg/foo/foo.go:7:2 Error undefined: frob
            ./x.go:3:2 Error unreachable code
              or vet: ./x.go
            foo_test.go:12 Error got 1, want 2
            foo_test.go:12 Error got 1, want 2
              or repo/pkg/foo/foo_test.go
              or pkg/foo/foo_test.go
              or foo/foo_test.go
            /home/u/p/main.go:12 Mention /home/u/p/main.go:12 +0x1d
        "]],
    );
}

#[test]
fn shells_and_perl() {
    check(
        "./t.sh: line 3: frob: command not found\n\
         t.sh: 4: frob: not found\n\
         bash: line 1: frob: command not found\n\
         #   at t/basic.t line 12.\n\
         died at lib/x.pm line 3, <STDIN> line 1.\n",
        expect![[r"
            ./t.sh:3 Error frob: command not found
            t.sh:4 Error frob: not found
            t/basic.t:12 Mention 
            lib/x.pm:3 Mention died
        "]],
    );
}

#[test]
fn assertions_in_c_and_kselftest() {
    check(
        "prog: src/file.c:12: main: Assertion `x == 1' failed.\n\
         # foo_test.c:123:name:Expected 1 (1) == 0 (0)\n\
         foo_test.cc:9: Failure\n\
         ok 1 foo # SKIP\n",
        expect![[r"
            src/file.c:12 Error main: Assertion `x == 1' failed.
              or prog: src/file.c
            foo_test.c:123 Error name:Expected 1 (1) == 0 (0)
              or # foo_test.c
            foo_test.cc:9 Error Failure
        "]],
    );
}

#[test]
fn node_and_java_stacks() {
    check(
        "TypeError: x is not a function\n\
         \x20   at f (/home/u/p/a.js:1:2)\n\
         \x20   at async file:///home/u/p/b.mjs:3:4\n\
         \x20   at node:internal/main/run_main_module:23:47\n\
         java.lang.IllegalStateException: bad\n\
         \tat com.foo.Bar.baz(Bar.java:12)\n",
        expect![[r"
            /home/u/p/a.js:1:2 Error #1 TypeError: x is not a function
            /home/u/p/b.mjs:3:4 Error #1 TypeError: x is not a function
            node:internal/main/run_main_module:23:47 Error #1 TypeError: x is not a function
            Bar.java:12 Error #2 java.lang.IllegalStateException: bad
              or src/test/java/com/foo/Bar.java
              or src/main/java/com/foo/Bar.java
              or src/test/kotlin/com/foo/Bar.java
              or src/main/kotlin/com/foo/Bar.java
              or src/com/foo/Bar.java
              or ./com/foo/Bar.java
        "]],
    );
}

#[test]
fn kernels_and_the_bpf_verifier() {
    check(
        "[    1.234567] kernel BUG at mm/slub.c:123!\n\
         [    1.234567] WARNING: CPU: 0 PID: 1 at kernel/fork.c:99 copy_process+0x1/0x2\n\
         [    1.234567]  foo (fs/open.c:12)\n\
         ; if (x > 3) @ prog.bpf.c:12\n",
        expect![[r"
            mm/slub.c:123 Error [    1.234567] kernel BUG at mm/slub.c:123!
            kernel/fork.c:99 Warning [    1.234567] WARNING: CPU: 0 PID: 1 at kernel/fork.c:99 copy_process+0x1/0x2
            fs/open.c:12 Mention [    1.234567]  foo (fs/open.c:12)
            prog.bpf.c:12 Mention ; if (x > 3) @ prog.bpf.c:12
        "]],
    );
}

#[test]
fn any_other_tool() {
    check(
        "src/a.ts:3:5 - error TS2304: no\nREADME.md:12: bad heading\nsee docs/x.md:9.\nx.py:1: error: no [mypy]\n",
        expect![[r"
            src/a.ts:3:5 Mention src/a.ts:3:5 - error TS2304: no
            README.md:12 Mention bad heading
            docs/x.md:9 Mention see docs/x.md:9.
            x.py:1 Error no [mypy]
        "]],
    );
}

#[test]
fn what_only_looks_similar_is_no_place() {
    let nothing = [
        "12:34:56 up 3 days",
        "2024-01-02T12:34:56.789Z",
        "http://h.example:80/x.c",
        "https://h:8080",
        "file://server/x.c:12",
        "localhost:8080",
        "listening on [::1]:80 and fe80::1:80",
        "std::vector:12 ns::x.y::z:3",
        "ffffffff81000000:12",
        "RIP: 0010:foo+0x1/0x2 0033:0x7f00",
        "00:1f.2: 8086:1234",
        "c0:ff:ee:12:34:56",
        "ratio 1.5:2.5",
        "a.b:0 a.b:99999999",
        "x.c:12px",
        ":12 .:12 /:12",
        "...:12",
    ];
    for text in nothing {
        assert_eq!(places(text), [], "{text}");
    }
}

#[test]
fn a_line_in_pieces_is_one_line() {
    let text = "x\nerror: bad\n --> src/main.rs:3:5\nthread 'm' panicked at a.rs:1:1:\nboom\n";
    let mut found = Vec::new();
    let mut scanner = Scanner::default();
    for byte in text.as_bytes() {
        scanner.push(&[*byte], &mut |place| found.push(place));
    }
    scanner.finish(&mut |place| found.push(place));
    assert_eq!(found, places(text));
    assert_eq!(found.len(), 2);
}

#[test]
fn a_line_without_end_is_cut_and_the_next_is_read() {
    let mut found = Vec::new();
    let mut scanner = Scanner::default();
    for _ in 0..1000 {
        scanner.push(&vec![b':'; 100_000], &mut |place| found.push(place));
    }
    assert!(scanner.partial.capacity() <= 2 * LONGEST);
    scanner.push(b"x.c:1\nx.c:2\n", &mut |place| found.push(place));
    assert_eq!(found.iter().map(|place| place.line).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_traceback_without_end_is_bounded() {
    let mut scanner = Scanner::default();
    for _ in 0..10_000 {
        scanner.push(b"  File \"x.py\", line 3, in f\n", &mut |_| ());
    }
    assert_eq!(scanner.context.frames.len(), FRAMES);
}

// G6
#[test]
fn any_output_names_the_same_places_in_any_split_and_each_is_one() {
    let fuzzer = Fuzzer::new("locations")
        .pieces([
            ":",
            "\n",
            "\r",
            "\r\n",
            "ä.c:1:2: error: x",
            " --> é/x.rs:1:2",
            "panicked at 'ü', ",
            "panicked at x.rs:1:",
        ])
        .pieces([
            "Traceback (most recent call last):\n",
            "  File \"é.py\", line 3, in f\n",
            "ValueError: no\n",
            "at f (",
        ])
        .pieces([
            "--- FAIL: x\n    a_test.go:1: ",
            "FAIL\ta/b/c\n",
            "ok \t",
            "E   ",
            "Error",
            "Exception",
            "line 1",
            "//",
        ])
        .pieces([
            "file:///",
            "file:///%zz",
            "12",
            "99999999999",
            "\x1b[31m",
            "error[E1]: m\n",
            "warning: ",
            "note: ",
            "(",
            ")",
        ])
        .pieces([
            "In file included from ",
            "/mnt/vmtest/",
            "[    1.0] ",
            "WARNING: CPU: 0 PID: 1 at a.c:1 b+0x1/0x2",
        ]);
    fuzzer
        .seed("src/a.h:3:10: fatal error: nope.h: No such file or directory\n    3 | #include <nope.h>\n")
        .seed("error[E0308]: mismatched types\n --> src/main.rs:2:18\n  |\nthread 'main' panicked at src/a.rs:1:2:\nwhy\n")
        .seed("Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nValueError: x\n")
        .seed("--- FAIL: TestX (0.00s)\n    x_test.go:7: got 1\nFAIL\texample.org/a\t0.1s\n")
        .run(|bytes| {
            let scan = |next: &mut dyn FnMut() -> usize| {
                let (mut found, mut scanner, mut rest) = (Vec::new(), Scanner::default(), bytes);
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(next().clamp(1, rest.len()));
                    scanner.push(piece, &mut |place| found.push(place));
                    assert!(scanner.partial.len() <= LONGEST && scanner.context.frames.len() <= FRAMES);
                    rest = after;
                }
                scanner.finish(&mut |place| found.push(place));
                found
            };
            let whole = scan(&mut || bytes.len());
            let mut random = Random::of(bytes);
            let widest = 1 + random.below(100);
            assert_eq!(scan(&mut || 1 + random.below(widest)), whole);
            for place in whole {
                assert!(place.line > 0 && !place.path.is_empty(), "{place:?}");
                assert!(place.message.chars().count() <= MESSAGE, "{place:?}");
                let steers = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
                assert!(!steers(&place.path) && !steers(&place.message), "{place:?}");
            }
        });
}
