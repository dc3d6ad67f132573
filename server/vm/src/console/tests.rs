use vmtest_fuzz::{Fuzzer, Random};

use super::line::LINE_LIMIT;
use super::*;

/// Everything that a console told, in a form that can be compared.
fn read_in_pieces(bytes: &[u8], mut next: impl FnMut(usize) -> usize) -> (Vec<ConsoleEvent>, Console) {
    let mut console = Console::new();
    let mut events = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(next(rest.len()).clamp(1, rest.len()));
        events.extend(console.push(piece));
        rest = after;
    }
    events.extend(console.finish());
    (events, console)
}

fn read(text: &str) -> Console {
    read_in_pieces(text.as_bytes(), |len| len).1
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let (events, _) = read_in_pieces(bytes, |len| len);
    events
        .into_iter()
        .filter_map(|event| match event {
            ConsoleEvent::Line(line) => Some(line),
            ConsoleEvent::Bug(_) => None,
        })
        .collect()
}

fn bugs(text: &str) -> Vec<KernelBug> {
    let (events, _) = read_in_pieces(text.as_bytes(), |len| len);
    events
        .into_iter()
        .filter_map(|event| match event {
            ConsoleEvent::Bug(bug) => Some(bug),
            ConsoleEvent::Line(_) => None,
        })
        .collect()
}

#[track_caller]
fn only_bug(text: &str) -> KernelBug {
    let mut found = bugs(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[track_caller]
fn check_title(line: &str, title: &str, kind: BugKind) {
    let bug = only_bug(line);
    assert_eq!((bug.title.as_str(), bug.kind), (title, kind));
}

const NULL_DEREFERENCE: &str = "\
[    1.000000] Run /init as init process\r
[    2.100000] BUG: kernel NULL pointer dereference, address: 0000000000000010\r
[    2.100001] #PF: supervisor read access in kernel mode\r
[    2.100002] Oops: 0000 [#1] PREEMPT SMP NOPTI\r
[    2.100003] CPU: 0 PID: 77 Comm: insmod Not tainted 6.1.0 #1\r
[    2.100004] RIP: 0010:break_it+0x12/0x20 [broken]\r
[    2.100005] Call Trace:\r
[    2.100006]  <TASK>\r
[    2.100007]  do_one_initcall+0x59/0x220\r
[    2.100008]  </TASK>\r
[    2.100009] CR2: 0000000000000010\r
[    2.100010] ---[ end trace 0000000000000000 ]---\r
[    2.100011] RIP: 0010:break_it+0x12/0x20 [broken]\r
[    2.100012] Kernel panic - not syncing: Fatal exception\r
[    2.100013] ---[ end Kernel panic - not syncing: Fatal exception ]---\r
";

const SYSRQ: &str = "\
[    3.000000] sysrq: Trigger a crash
[    3.000001] Kernel panic - not syncing: sysrq triggered crash
[    3.000002] CPU: 0 PID: 1 Comm: sh Not tainted 6.1.0 #1
[    3.000003] Call Trace:
[    3.000004]  dump_stack_lvl+0x44/0x5c
[    3.000005] Kernel Offset: disabled
[    3.000006] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---
";

const KASAN: &str = "\
[    4.0] ok
[    4.1][   T12] ==================================================================
[    4.1][   T12] BUG: KASAN: slab-out-of-bounds in reader+0x1a/0x30 [broken]
[    4.1][   T12] Read of size 1 at addr ffff888100000000 by task insmod/12
[    4.1][   T12] Call Trace:
[    4.1][   T12]  <TASK>
[    4.1][   T12]  </TASK>
[    4.1][   T12] Memory state around the buggy address:
[    4.1][   T12] ==================================================================
[    4.2] Disabling lock debugging due to kernel taint
";

const LOCKDEP: &str = "\
[    5.0] ======================================================
[    5.0] WARNING: possible circular locking dependency detected
[    5.0] 6.1.0 #1 Not tainted
[    5.0] ------------------------------------------------------
[    5.0] sh/1 is trying to acquire lock:
[    5.0] stack backtrace:
[    5.0] Call Trace:
[    5.0]  <TASK>
[    5.0]  dump_stack_lvl+0x44/0x5c
[    5.0]  </TASK>
[    5.1] life goes on
";

#[test]
fn an_oops_is_told_once_with_its_whole_report() {
    let bug = only_bug(NULL_DEREFERENCE);
    assert_eq!(bug.title, "BUG: kernel NULL pointer dereference, address: 0000000000000010");
    assert_eq!(bug.kind, BugKind::Oops);
    assert!(bug.excerpt.first().unwrap().contains("BUG: kernel NULL pointer"));
    assert!(bug.excerpt.last().unwrap().contains("---[ end trace"));
    assert_eq!(bug.excerpt.len(), 11);
}

#[test]
fn a_crash_by_sysrq_is_named_in_the_panics_own_words() {
    let bug = only_bug(SYSRQ);
    assert_eq!((bug.title.as_str(), bug.kind), ("sysrq triggered crash", BugKind::Panic));
    assert_eq!(bug.excerpt.len(), 6);
    assert!(bug.excerpt[0].contains("Kernel panic - not syncing"));
}

#[test]
fn a_kasan_report_is_told_from_border_to_border() {
    let bug = only_bug(KASAN);
    assert_eq!((bug.title.as_str(), bug.kind), ("KASAN: slab-out-of-bounds in reader", BugKind::Memory));
    assert_eq!(bug.excerpt.len(), 8);
    assert!(bug.excerpt[0].contains("=====") && bug.excerpt[7].contains("====="));
}

#[test]
fn a_lockdep_report_ends_with_its_stack_trace() {
    let bug = only_bug(LOCKDEP);
    assert_eq!(bug.title, "WARNING: possible circular locking dependency detected");
    assert_eq!(bug.kind, BugKind::Locking);
    assert_eq!(bug.excerpt.len(), 10);
}

#[test]
fn a_bug_macro_is_told_from_the_cut_on() {
    let bug = only_bug(
        "[    1.0] list_add corruption. prev->next should be next\n[    1.1] ------------[ cut here ]------------\n\
         [    1.1] kernel BUG at lib/list_debug.c:30!\n[    1.1] invalid opcode: 0000 [#1] PREEMPT SMP\n\
         [    1.1] ---[ end trace 0000000000000000 ]---\n",
    );
    assert_eq!((bug.title.as_str(), bug.kind), ("kernel BUG at lib/list_debug.c:30!", BugKind::Oops));
    assert_eq!(bug.excerpt.len(), 4);
    assert!(bug.excerpt[0].contains("cut here"));
}

#[test]
fn a_warning_alone_is_no_bug() {
    let warning = "[    1.0] ------------[ cut here ]------------\n[    1.0] WARNING: CPU: 0 PID: 1 at net/x.c:12 foo+0x1/0x2\n\
                   [    1.0] Modules linked in:\n[    1.0] ---[ end trace 0000000000000000 ]---\n[    1.1] fine\n";
    assert_eq!(bugs(warning), []);
}

#[test]
fn a_warning_that_the_kernel_panics_over_is_the_bug() {
    let bug = only_bug(
        "[    1.0] ------------[ cut here ]------------\n[    1.0] WARNING: CPU: 0 PID: 1 at net/x.c:12 foo+0x1/0x2\n\
         [    1.0] Modules linked in:\n[    1.0] Kernel panic - not syncing: kernel: panic_on_warn set ...\n\
         [    1.0] ---[ end Kernel panic - not syncing: kernel: panic_on_warn set ... ]---\n",
    );
    assert_eq!((bug.title.as_str(), bug.kind), ("WARNING: net/x.c:12 foo", BugKind::Panic));
    assert!(bug.excerpt[0].contains("cut here"));
}

#[test]
fn a_later_panic_for_another_reason_is_told_as_well() {
    let text = NULL_DEREFERENCE.replace("Fatal exception", "Attempted to kill init! exitcode=0x00000009");
    let titles: Vec<String> = bugs(&text).into_iter().map(|bug| bug.title).collect();
    assert_eq!(titles[1..], ["Attempted to kill init! exitcode=0x00000009"]);
}

#[test]
fn a_fault_of_a_program_is_no_bug() {
    let text = "[    1.0] traps: a.out[12] general protection fault ip:55d0 sp:7ffc error:0 in a.out[55d0+1000]\n\
                [    1.1] a.out[123]: segfault at 0 ip 000055d0 sp 00007ffc error 6 in a.out[55d0+1000]\n\
                [    1.2] traps: a.out[9] trap invalid opcode ip:1 sp:2 error:0\n\
                [    1.3] a.out: BUG: quoted\n[    1.4] [Firmware Bug]: TSC doesn't count\n\
                [    1.5] INFO: lockdep is turned off.\n[    1.6] WARNING: CPU: 0 PID: 1 at a.c:1 b+0x1/0x2\n";
    assert_eq!(bugs(text), []);
}

#[test]
fn every_kind_of_report_has_its_title() {
    for (line, title, kind) in [
        (
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]",
            "BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]",
            BugKind::SoftLockup,
        ),
        (
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "Watchdog detected hard LOCKUP on cpu 1",
            BugKind::Stall,
        ),
        (
            "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1",
            "Watchdog detected hard LOCKUP on cpu 1",
            BugKind::Stall,
        ),
        (
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "INFO: rcu_preempt self-detected stall on CPU",
            BugKind::Stall,
        ),
        (
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "INFO: rcu_sched detected stalls on CPUs/tasks:",
            BugKind::Stall,
        ),
        (
            "INFO: task sh:12 blocked for more than 120 seconds.",
            "INFO: task sh:12 blocked for more than 120 seconds.",
            BugKind::Stall,
        ),
        (
            "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] PREEMPT SMP",
            "general protection fault, probably for non-canonical address 0xdead",
            BugKind::Oops,
        ),
        (
            "Oops: general protection fault, maybe for address 0x1: 0000 [#1] SMP",
            "general protection fault, maybe for address 0x1",
            BugKind::Oops,
        ),
        ("divide error: 0000 [#1] PREEMPT SMP NOPTI", "divide error", BugKind::Oops),
        (
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010",
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010",
            BugKind::Oops,
        ),
        (
            "BUG: unable to handle page fault for address: ffffffffc0000000",
            "BUG: unable to handle page fault for address: ffffffffc0000000",
            BugKind::Oops,
        ),
        (
            "UBSAN: array-index-out-of-bounds in fs/x.c:12:3",
            "UBSAN: array-index-out-of-bounds in fs/x.c:12:3",
            BugKind::Undefined,
        ),
        ("BUG: KCSAN: data-race in one / other", "KCSAN: data-race in one / other", BugKind::Undefined),
        (
            "BUG: KFENCE: use-after-free read in foo+0x1/0x2",
            "KFENCE: use-after-free read in foo",
            BugKind::Memory,
        ),
        ("BUG: KMSAN: uninit-value in foo+0x1/0x2", "KMSAN: uninit-value in foo", BugKind::Memory),
        (
            "BUG: Bad page state in process sh  pfn:00001",
            "BUG: Bad page state in process sh  pfn:00001",
            BugKind::BadPage,
        ),
        (
            "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
            "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
            BugKind::BadPage,
        ),
        (
            "BUG: scheduling while atomic: sh/1/0x00000002",
            "BUG: scheduling while atomic: sh/1/0x00000002",
            BugKind::Atomic,
        ),
        (
            "BUG: sleeping function called from invalid context at mm/x.c:1",
            "BUG: sleeping function called from invalid context at mm/x.c:1",
            BugKind::Atomic,
        ),
        (
            "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
            "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
            BugKind::Locking,
        ),
        ("[ BUG: Invalid wait context ]", "[ BUG: Invalid wait context ]", BugKind::Locking),
        ("BUG: something nobody thought of", "BUG: something nobody thought of", BugKind::Other),
    ] {
        check_title(line, title, kind);
        check_title(&format!("<2>[   12.345678][   C1] {line}\r\n"), title, kind);
        check_title(&format!("\x1B[2J\x1B[0m[    0.000001] {line}\r\n"), title, kind);
    }
}

#[test]
fn a_report_without_an_end_is_cut_and_does_not_hide_the_next() {
    let mut text = "Oops: 0002 [#1]\n".to_owned();
    text.extend((0..200).map(|number| format!("register {number}\n")));
    text.push_str(SYSRQ);
    let found = bugs(&text);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].title.as_str(), found[0].excerpt.len()), ("Oops: 0002", 80));
    assert_eq!(found[1].title, "sysrq triggered crash");
}

#[test]
fn a_joke_before_a_real_bug_does_not_hide_it() {
    let found = bugs(&format!("BUG: this is a joke\n{KASAN}"));
    assert_eq!(found.iter().map(|bug| bug.kind).collect::<Vec<_>>(), [BugKind::Other, BugKind::Memory]);
}

#[test]
fn a_report_that_the_console_ends_in_is_told_at_the_end() {
    let mut console = Console::new();
    let cut = &SYSRQ[..SYSRQ.find("Call Trace").unwrap()];
    assert!(!console.push(cut.as_bytes()).iter().any(|event| matches!(event, ConsoleEvent::Bug(_))));
    assert_eq!(console.bug().unwrap().title, "sysrq triggered crash");
    assert!(console.finish().iter().any(|event| matches!(event, ConsoleEvent::Bug(_))));
}

#[test]
fn a_flood_of_reports_is_told_up_to_a_limit() {
    let flood = "divide error: 0000 [#1] SMP\n---[ end trace 0 ]---\n".repeat(500);
    assert_eq!(bugs(&flood).len(), 20);
}

#[test]
fn taint_tells_a_real_bug_from_a_joke() {
    let oops = only_bug(NULL_DEREFERENCE);
    assert!(oops.confirmed_by(0, 1 << 7));
    assert!(oops.confirmed_by(1 << 7, 1 << 7));
    assert!(!oops.confirmed_by(0, 0));
    assert!(!oops.confirmed_by(1 << 12, 1 << 12 | 1 << 9));
    assert!(only_bug(KASAN).confirmed_by(0, 1 << 5));
    // Nothing to check it by.
    assert!(only_bug(LOCKDEP).confirmed_by(0, 0));
    // After a panic nobody answers.
    assert!(!only_bug(SYSRQ).confirmed_by(0, u64::MAX));
}

#[test]
fn carriage_returns_go_and_bad_utf_8_is_replaced() {
    assert_eq!(lines(b"one\r\r\ntwo\xFF\n\nlast"), ["one", "two\u{FFFD}", "", "last"]);
}

#[test]
fn an_overlong_line_becomes_several_and_no_character_is_split() {
    let long = format!("{}äöü\n", "x".repeat(LINE_LIMIT - 1));
    let found = lines(long.as_bytes());
    assert_eq!(found.len(), 2);
    assert_eq!(found.concat(), long.trim_end());
}

#[test]
fn the_middle_of_an_overlong_line_is_no_start_of_a_line() {
    let text = format!("{}BUG: not a report\n", "x".repeat(LINE_LIMIT));
    assert_eq!(bugs(&text), []);
}

#[test]
fn the_tail_has_the_last_lines() {
    let text = (0..1000).fold(String::new(), |text, number| text + &format!("{number}\n"));
    let tail = read(&text).tail();
    assert_eq!((tail.len(), tail[0].as_str(), tail[199].as_str()), (TAIL_LINES, "800", "999"));
}

#[test]
fn the_guest_inits_last_words_are_kept() {
    let console = read(
        "[    1.0] x\nvmtest-guest: fatal: cannot mount /proc: No such device\r\nvmtest-guest: fatal: 2\n",
    );
    assert_eq!(console.guest_fatal(), Some("cannot mount /proc: No such device"));
    assert_eq!(read("echo vmtest-guest: fatal: quoted\n").guest_fatal(), None);
}

#[test]
fn a_boot_that_fails_has_a_likely_cause_with_a_cure() {
    for (line, cure) in [
        ("[    1.0] Initramfs unpacking failed: write error", "vm.memory"),
        ("[    1.0] VFS: Unable to mount root fs on unknown-block(0,0)", "CONFIG_BLK_DEV_INITRD"),
        (
            "[    1.0] Kernel panic - not syncing: No working init found.  Try passing init= option",
            "CONFIG_BINFMT_ELF",
        ),
        ("[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", "lines before"),
        ("[    1.0] virtio: version magic '6.1.1 SMP' should be '6.1.0 SMP'", "modules"),
        ("SeaBIOS (version 1.16)", "CONFIG_SERIAL_8250_CONSOLE"),
    ] {
        let console = read(line);
        assert!(console.likely_cause().unwrap().contains(cure), "{line}: {:?}", console.likely_cause());
    }
    assert_eq!(read("[    0.000000] Linux version 6.1.0\n").likely_cause(), None);
}

#[test]
fn a_silent_console_has_not_spoken() {
    assert_eq!(Console::new().heard(), Heard::Nothing);
    assert_eq!(read("x").heard(), Heard::Something);
}

// G1: a splat split over two reads
#[test]
fn every_split_of_the_same_bytes_tells_the_same() {
    let text = format!("{NULL_DEREFERENCE}{SYSRQ}{KASAN}{LOCKDEP}{}ä\nlast", "ö".repeat(LINE_LIMIT));
    let (whole, _) = read_in_pieces(text.as_bytes(), |len| len);
    for size in (1..20).chain([100, 1000, LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1]) {
        assert_eq!(read_in_pieces(text.as_bytes(), |_| size).0, whole, "{size}");
    }
    for at in 0..text.len() {
        let mut first = Some(at).filter(|at| *at > 0);
        assert_eq!(read_in_pieces(text.as_bytes(), |len| first.take().unwrap_or(len)).0, whole, "{at}");
    }
}

// G1
#[test]
fn any_bytes_tell_the_same_in_any_split_and_no_more_than_the_limits() {
    let lead = "<2>[    1.0][   T1] x\n\x1B[2J";
    let pieces = super::bug::STARTS.iter().map(|(start, _)| *start);
    Fuzzer::new("console")
        .seed(format!("{lead}{NULL_DEREFERENCE}"))
        .seed(SYSRQ)
        .seed(format!("{KASAN}{}\n", "é".repeat(2100)))
        .seed(LOCKDEP)
        .pieces(pieces)
        .pieces([
            "\n",
            "\r\n",
            "[    1.0] ",
            "[   T1]",
            "<2>",
            "\x1B[",
            "\x1B",
            "é",
            "+0x1/0x2",
            ": 0000 [#1]",
        ])
        .pieces([FATAL_PREFIX, "Call Trace:\n", " </TASK>\n", "---[ end trace 0 ]---\n", "======\n"])
        .pieces([
            "------------[ cut here ]------------\n",
            "Linux version ",
            "WARNING: CPU: 0 PID: 1 at a.c:1 b+0x1/0x2\n",
        ])
        .run(|bytes| {
            let (whole, console) = read_in_pieces(bytes, |len| len);
            let mut random = Random::of(bytes);
            let widest = 1 + random.below(200);
            assert_eq!(read_in_pieces(bytes, |_| 1 + random.below(widest)).0, whole);
            assert!(console.tail().len() <= TAIL_LINES);
            let mut bugs = 0;
            for event in whole {
                match event {
                    ConsoleEvent::Line(line) => assert!(line.chars().count() <= LINE_LIMIT),
                    ConsoleEvent::Bug(bug) => {
                        bugs += 1;
                        assert!(bug.excerpt.len() <= 80 + 8 && bug.title.chars().count() <= 201, "{bug:?}");
                    }
                }
            }
            assert!(bugs <= 20 && console.bugs().count() == bugs);
        });
}

#[test]
fn an_image_whose_firmware_finds_nothing_is_told_so_but_not_by_a_program() {
    let read = |text: &str| {
        let mut console = Console::of_image();
        console.push(text.as_bytes());
        console
    };
    let firmware = read("SeaBIOS (version 1.16.2)\r\nNo bootable device.\r\n");
    assert!(firmware.nothing_boots());
    assert!(firmware.likely_cause().unwrap().contains("uefi = true"));
    assert!(!read("[    0.000000] Linux version 6.1\nNo bootable device.\n").nothing_boots());
}

#[test]
fn an_image_that_does_not_answer_is_asked_for_its_agent() {
    let mut console = Console::of_image();
    assert!(console.likely_cause().unwrap().contains("console=ttyS0"));
    console.push(b"debian login: \n");
    assert!(console.likely_cause().unwrap().contains("qemu-guest-agent"));
}
