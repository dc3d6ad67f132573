//! Output that is made to steer a terminal, a parser or a CI service: each sees what is good for it, and no more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use quick_xml::events::Event;
use vmtest_tests::{LIMIT, Project, Running, clean, target};

/// Bytes that are no UTF-8, that XML forbids, that terminals obey (also those that stand for themselves in eight bits), that
/// hide or reorder text, and that a CI service takes for commands; the last line has no end.
const HOSTILE: &[&[u8]] = &[
    b"begin \xff\xfe bad\xc3( half\xe2\x82\n",
    b"nul \0 vt \x0b end ]]> <tag a='&'> &amp; \xef\xbf\xbe\xef\xbf\xbf\n",
    b"\x1b[2J\x1b[H\x1b[31mred\x1b[?1049h\x1b[8;1;1t\x1bc\n",
    b"\x1b[917A\x1b[917mhidden\x1b[917K\x1b[917J\n",
    b"\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1b]52;c;ZXZpbA==\x07\x1bP1$r\x1b\\\n",
    b"raw \x9b2J\x9d0;title\x9c utf \xc2\x9b2J\xc2\x9d0;title\xc2\x9c\n",
    b"progress 10%\rprogress 99%\roverwritten\r\n",
    b"\xe2\x80\xaereversed\xe2\x80\xac \xe2\x81\xa6isolated\n",
    b"::error file=x,line=1::forged\n::stop-commands::forged\n##[error]forged\n::add-mask::a\n",
    b"\x1b]0;never closed\n",
    b"PASS\nno end",
];

fn hostile() -> Project {
    let project = Project::one("cat hostile; exit 3");
    project.write_bytes("hostile", &HOSTILE.concat());
    project
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

/// Reads all of a report; the text of its `system-out`.
#[track_caller]
fn parse(report: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(report.chars().all(allowed), "a character that XML forbids");
    let mut reader = quick_xml::Reader::from_str(report);
    let (mut inside, mut text) = (false, String::new());
    loop {
        match reader.read_event().expect("the report is well-formed") {
            Event::Eof => return text,
            Event::Start(start) => {
                start.attributes().for_each(|attribute| drop(attribute.expect("it is well-formed")));
                inside = start.name().as_ref() == b"system-out";
            }
            Event::End(_) => inside = false,
            Event::Text(part) if inside => text.push_str(&part.decode().expect("it is text")),
            Event::GeneralRef(entity) if inside => {
                text.extend(["&", &entity.decode().unwrap(), ";"]);
            }
            _ => {}
        }
    }
}

// G6
#[test]
fn hostile_output_reaches_a_pipe_and_a_log_as_it_is_and_a_junit_report_well_formed() {
    let project = hostile();
    let args = ["--junit", "junit.xml", "--log-dir", "logs"];
    let run = project.vmtest(args).leaves(["junit.xml", "logs"]).run();
    run.expect_status(3);
    run.check(has(&run.stdout, &HOSTILE.concat()), "the bytes are not those of the guest");
    assert!(fs::read(project.dir().join("logs/01-t.log")).unwrap() == HOSTILE.concat());
    let text = parse(&project.read("junit.xml"));
    for part in ["]]&gt; &lt;tag a=", "&amp;amp;", "red", "::error file=x,line=1::forged", "no end"] {
        assert!(text.contains(part), "the report has no `{part}`: {text:?}");
    }
}

// G6
#[test]
fn hostile_output_is_lossless_in_json() {
    let run = hostile().run_json();
    run.expect_status(3);
    assert!(run.output("stdout") == HOSTILE.concat(), "the bytes differ");
}

/// The number in each of the guest's sequences of the kinds that vmtest draws with, and in none of vmtest's own.
const GUESTS: &str = "917";

/// Of what steers a terminal only what vmtest itself draws with: colours, and going back over its own lines.
#[track_caller]
fn expect_tame(shown: &[u8]) {
    let text = String::from_utf8_lossy(shown);
    let mut pieces = text.split('\u{1b}');
    let plain = |text: &str| text.chars().all(|c| matches!(c, '\r' | '\n') || !c.is_control());
    assert!(plain(pieces.next().unwrap()));
    for piece in pieces {
        let sequence = piece.strip_prefix('[').unwrap_or_else(|| panic!("ESC {piece:?}"));
        let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';').expect("it has an end");
        let (parameters, rest) = sequence.split_at(end);
        let ours = match &rest[..1] {
            "m" | "A" | "K" => parameters != GUESTS,
            "J" => matches!(parameters, "" | "0"),
            _ => false,
        };
        assert!(ours && plain(rest), "ESC [{sequence:?}");
    }
    let hidden = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(hidden), "text is reordered");
}

// G6
#[test]
fn hostile_output_steers_no_terminal() {
    let run = hostile().vmtest::<&str>([]).start_on_terminal(50, 100).finish();
    run.expect_status(3).expect_text("overwritten").expect_text("no end");
    expect_tame(&run.stdout);
}

// G6
#[test]
fn hostile_output_of_the_command_lines_command_steers_no_terminal() {
    let project = hostile();
    let run = project.vmtest(["-k", "{stable}", "cat hostile; exit 3"]).start_on_terminal(50, 100).finish();
    run.expect_status(3).expect_text("overwritten").expect_text("no end");
    expect_tame(&run.stdout);
}

// G6
#[test]
fn hostile_output_forges_no_annotation() {
    let project = hostile();
    let summary = project.base().join("summary.md");
    let run =
        project.vmtest::<&str>([]).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).run();
    run.expect_status(3);
    run.check(has(&run.stdout, &HOSTILE.concat()), "the bytes are not those of the guest");
    let text = run.text();
    // The service obeys what begins a line, but between these two.
    let (before, rest) = text.split_once("::stop-commands::").unwrap();
    let (token, rest) = rest.split_once('\n').unwrap();
    let (_, after) = rest.split_once(&format!("\n::{token}::\n")).unwrap();
    let commands: Vec<_> = before.lines().chain(after.lines()).filter(|line| line.contains("::")).collect();
    run.check(
        matches!(commands[..], ["::group::t", annotation, "::endgroup::"]
            if annotation.starts_with("::error ") && annotation.ends_with("exit code: 3"))
            || matches!(commands[..], ["::group::t", "::endgroup::", annotation]
            if annotation.starts_with("::error ") && annotation.ends_with("exit code: 3")),
        &format!("{commands:?}"),
    );
}

/// A hundred megabytes of one line; the command ends when its memory was looked at.
fn one_line() -> Project {
    let wait = "./guest-probe line 100; touch over; until test -e go; do sleep 0.1; done; exit 3";
    Project::new(&target("t", "", wait)).with_probe()
}

/// Waits until all of the line was taken, and looks at what that took.
#[track_caller]
fn expect_bounded(project: &Project, running: &Running) {
    let begun = Instant::now();
    while !Path::new(&project.dir().join("over")).exists() {
        assert!(begun.elapsed() < LIMIT && !running.has_ended(), "the line is not taken");
        // It comes over a share, which tells of nothing.
        std::thread::sleep(Duration::from_millis(50));
    }
    let peak = clean::peak_memory(running.pid());
    assert!(peak < 192 << 20, "vmtest took {peak} bytes of memory");
    project.write("go", "");
}

const FILES: [&str; 3] = ["over", "go", "junit.xml"];

// G6
#[test]
fn a_line_of_a_hundred_megabytes_is_whole_in_a_pipe_and_cut_in_a_junit_report() {
    let project = one_line();
    let running = project.vmtest(["--junit", "junit.xml"]).leaves(FILES).start();
    expect_bounded(&project, &running);
    let run = running.finish();
    run.expect_status(3);
    let line = run.stdout.split(|byte| *byte == b'\n').find(|line| line.len() > 1000).unwrap();
    assert_eq!(line.len(), 100 << 20);
    let text = parse(&project.read("junit.xml"));
    assert!(text.len() < 12 << 20 && text.contains("bytes left out by vmtest"), "{}", text.len());
}

// G6
#[test]
fn a_line_of_a_hundred_megabytes_is_whole_in_json() {
    let project = one_line();
    let running = project.vmtest(["--format", "json"]).leaves(FILES).start();
    expect_bounded(&project, &running);
    let run = running.finish();
    run.expect_status(3);
    assert_eq!(run.output("stdout").len(), 100 << 20);
}

// G6
#[test]
fn a_line_of_a_hundred_megabytes_is_cut_on_a_terminal() {
    let project = one_line();
    let shown = project.vmtest::<&str>([]).leaves(FILES).start_on_terminal(24, 80);
    expect_bounded(&project, &shown);
    let run = shown.finish();
    run.expect_status(3);
    run.check(run.stdout.len() < 8 << 20, &format!("{} bytes were drawn", run.stdout.len()));
    expect_tame(&run.stdout);
}
