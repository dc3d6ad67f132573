use std::time::Duration;

use vmtest_guest::wire::{Exit, ExitStatus};

use super::*;
use crate::console::{BugKind, Heard};
use crate::event::Accelerator;
use crate::verdict::Verdict;
use crate::wording;

fn bug(kind: BugKind) -> KernelBug {
    KernelBug { title: "BUG: something".to_owned(), excerpt: Vec::new(), kind }
}

fn ended(status: ExitStatus, tainted_after: u64) -> RunEnd {
    RunEnd::Ended(Exit { status, tainted_before: 0, tainted_after, lost_paths: Vec::new(), lost_count: 0 })
}

#[test]
fn a_resumed_guest_boots_instead_only_before_its_command_could_run_and_never_when_the_user_stops_it() {
    let in_vain: Vec<_> =
        ends().into_iter().filter(|end| was_resumed_in_vain(end, false)).map(|end| end.to_string()).collect();
    assert_eq!(in_vain, ["QEMU ended (signal: 9)", "it took longer than 3 s", "gone"]);
    assert!(ends().iter().all(|end| !was_resumed_in_vain(end, true)));
}

#[test]
fn a_guest_whose_kernel_reported_a_bug_of_whatever_kind_is_not_kept() {
    assert_eq!(may_be_kept(&Report::default()), Ok(()));
    for kind in [BugKind::Other, BugKind::Panic] {
        let report = Report { bugs: vec![bug(kind)], ..Report::default() };
        assert!(may_be_kept(&report).unwrap_err().contains("BUG: something"));
    }
}

fn ends() -> Vec<RunEnd> {
    vec![
        ended(ExitStatus::Code(0), 0),
        ended(ExitStatus::Code(7), 0),
        ended(ExitStatus::Signal(11), 0),
        RunEnd::SetupFailed("no root".to_owned()),
        RunEnd::Died("signal: 9".to_owned()),
        RunEnd::TimedOut(Duration::from_secs(3)),
        RunEnd::SetupTimedOut(Duration::from_secs(3)),
        RunEnd::Unreachable("gone".to_owned()),
        RunEnd::Restarted,
        RunEnd::Panicked,
        RunEnd::Halted,
        RunEnd::DiskFailed("no space".to_owned()),
        RunEnd::Cancelled,
    ]
}

const OOPS: u64 = 1 << 7;

#[test]
fn only_an_exit_with_status_0_passes() {
    let statuses: Vec<u8> =
        ends().iter().map(|end| verdict(end, &Report::default(), true).exit_status()).collect();
    assert_eq!(statuses, [0, 7, 139, 69, 69, 124, 69, 69, 69, 69, 69, 69, 130]);
}

// G2
#[test]
fn what_the_guest_did_to_its_machine_is_the_reason_also_where_qemu_takes_its_time_to_end() {
    for (shutdown, words) in [("guest-reset", "restarted"), ("guest-shutdown", "powered itself off")] {
        let report = Report { shutdown: Some(shutdown.to_owned()), ..Report::default() };
        for end in [RunEnd::Died("exit status: 0".to_owned()), RunEnd::Unreachable("gone".to_owned())] {
            let Verdict::Lost(failure) = verdict(&end, &report, true) else { panic!("{end:?}") };
            assert!(failure.reason.contains(words), "{failure:?}");
        }
    }
}

#[test]
fn a_kernel_bug_overrules_the_command_in_every_end_but_a_cancel() {
    let report = Report { bugs: vec![bug(BugKind::Locking)], ..Report::default() };
    for end in ends() {
        let expected = if end == RunEnd::Cancelled { 130 } else { 70 };
        assert_eq!(verdict(&end, &report, true).exit_status(), expected, "{end:?}");
    }
}

#[test]
fn a_kernel_bug_is_ignored_where_the_target_says_so() {
    let report = Report { bugs: vec![bug(BugKind::Oops)], ..Report::default() };
    assert_eq!(verdict(&ended(ExitStatus::Code(0), OOPS), &report, false), Verdict::Passed);
}

#[test]
fn text_that_looks_like_an_oops_fails_no_command_when_the_kernel_is_not_tainted() {
    let report = Report { bugs: vec![bug(BugKind::Oops)], ..Report::default() };
    assert_eq!(verdict(&ended(ExitStatus::Code(0), 0), &report, true), Verdict::Passed);
    assert_eq!(verdict(&ended(ExitStatus::Code(0), OOPS), &report, true).exit_status(), 70);
}

#[test]
fn a_joke_before_a_real_bug_does_not_hide_it() {
    let report = Report { bugs: vec![bug(BugKind::Panic), bug(BugKind::Oops)], ..Report::default() };
    assert_eq!(verdict(&ended(ExitStatus::Code(0), OOPS), &report, true).exit_status(), 70);
}

#[test]
fn a_flag_that_only_a_bug_sets_tells_of_one_whatever_the_console_shows() {
    let joke = Report { bugs: vec![bug(BugKind::Panic)], ..Report::default() };
    for report in [Report::default(), joke] {
        for (flag, status) in [(OOPS, 70), (1 << 5, 70), (1 << 14, 70), (1 << 9, 0), (1 << 13, 0)] {
            let end = ended(ExitStatus::Code(0), flag);
            assert_eq!(verdict(&end, &report, true).exit_status(), status, "{flag}");
            assert_eq!(verdict(&end, &report, false).exit_status(), 0, "{flag}");
        }
    }
}

#[test]
fn a_flag_from_before_the_command_is_none_of_its() {
    let RunEnd::Ended(exit) = ended(ExitStatus::Code(0), OOPS) else { unreachable!("as it is made") };
    let end = RunEnd::Ended(Exit { tainted_before: OOPS, ..exit });
    assert_eq!(verdict(&end, &Report::default(), true), Verdict::Passed);
}

#[test]
fn kvm_that_dies_hangs_or_reports_an_error_falls_back() {
    let broken = [
        BootEnd::Died("signal: 6".to_owned()),
        BootEnd::AcceleratorFailed,
        BootEnd::Silent(Duration::from_secs(5)),
    ];
    for end in broken {
        let next = after_boot(&end, Accelerator::Kvm, false, &Report::default());
        assert!(matches!(next, Next::FallBack(_)), "{end:?}: {next:?}");
    }
}

// Q3
#[test]
fn a_qemu_that_blames_kvm_and_does_not_answer_falls_back_and_any_other_does_not() {
    let end = BootEnd::Unreachable("no answer".to_owned());
    let after = |words: &str| {
        let report = Report { qemu_stderr: vec![words.to_owned()], ..Report::default() };
        after_boot(&end, Accelerator::Kvm, false, &report)
    };
    assert!(matches!(after("kvm.c:3183: kvm_buf_set_msrs: Assertion failed"), Next::FallBack(_)));
    assert!(matches!(after("cannot set up guest memory"), Next::GiveUp(_)));
}

#[test]
fn a_guest_that_says_why_it_gave_up_is_believed_under_kvm_and_tcg() {
    let report = Report { fatal: Some("no virtio".to_owned()), ..Report::default() };
    for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
        let next = after_boot(&BootEnd::Died("exit status: 0".to_owned()), accelerator, false, &report);
        let Next::GiveUp(Verdict::BootFailed(failure)) = next else { panic!("{next:?}") };
        assert_eq!(failure.reason, "no virtio");
    }
}

#[test]
fn an_emulated_boot_that_stalls_or_oopses_is_retried_exactly_once() {
    let report = Report { bugs: vec![bug(BugKind::Oops)], console_seen: true, ..Report::default() };
    let silent = Report { cause: Some("the kernel printed nothing".to_owned()), ..Report::default() };
    let ends = [
        (BootEnd::Stalled(Duration::from_secs(60)), Report::default()),
        (BootEnd::Stalled(Duration::from_secs(60)), silent),
        (BootEnd::KernelBug, report.clone()),
        (BootEnd::Died("exit status: 0".to_owned()), report),
    ];
    for (end, report) in ends {
        assert!(matches!(after_boot(&end, Accelerator::Tcg, false, &report), Next::Retry(_)), "{end:?}");
        assert!(matches!(after_boot(&end, Accelerator::Tcg, true, &report), Next::GiveUp(_)), "{end:?}");
    }
}

#[test]
fn a_cancelled_boot_is_neither_retried_nor_blamed_on_kvm() {
    for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
        let next = after_boot(&BootEnd::Cancelled, accelerator, false, &Report::default());
        assert_eq!(next, Next::GiveUp(Verdict::Cancelled));
    }
}

#[test]
fn qemu_that_dies_under_tcg_fails_the_boot_with_its_own_words() {
    let report = Report {
        qemu_stderr: vec!["invalid option".to_owned()],
        cause: Some("the kernel printed nothing".to_owned()),
        ..Report::default()
    };
    let next = after_boot(&BootEnd::Died("exit status: 1".to_owned()), Accelerator::Tcg, false, &report);
    let Next::GiveUp(Verdict::BootFailed(failure)) = next else { panic!("{next:?}") };
    assert!(failure.reason.contains("exit status: 1"));
    assert_eq!(failure.qemu_stderr, ["invalid option"]);
    assert_eq!(failure.help, None, "the kernel is not to blame for QEMU's end");
}

#[test]
fn a_boot_that_took_too_long_says_so_also_when_a_cause_is_guessed() {
    let report = Report { cause: Some("no console".to_owned()), ..Report::default() };
    let end = BootEnd::TimedOut(Duration::from_secs(4));
    let Next::GiveUp(Verdict::BootFailed(failure)) = after_boot(&end, Accelerator::Tcg, false, &report)
    else {
        panic!("a boot over its limit is not tried again")
    };
    assert!(failure.reason.contains("4 s"), "{}", failure.reason);
    assert_eq!(failure.help.as_deref(), Some("no console"));
}

const SECOND: Duration = Duration::from_secs(1);

/// Each limit has a length of its own.
const LIMITS: Limits = Limits {
    boot: SECOND,
    silence: Duration::from_secs(2),
    stall: Duration::from_secs(3),
    resume: Duration::from_secs(4),
    setup: Duration::from_secs(5),
    resumed_setup: Duration::from_secs(6),
    command: Some(Duration::from_secs(7)),
};

fn alarms(alarm: impl FnOnce(&mut Alarms)) -> Sign {
    let mut alarms = Alarms { heard: Heard::Kernel, ..Alarms::default() };
    alarm(&mut alarms);
    Sign::Console(alarms)
}

fn exited(status: ExitStatus) -> Sign {
    let RunEnd::Ended(exit) = ended(status, 0) else { unreachable!("it is one") };
    Sign::Command(Control::Ended(exit))
}

/// Every sign, and what it means: in a boot, in the set-up, and while the command runs.
fn every_sign() -> Vec<(Sign, [&'static str; 3])> {
    let text = || "so".to_owned();
    let monitor = Sign::Monitor;
    vec![
        (Sign::Stop, ["cancelled 130", "cancelled 130", "cancelled 130"]),
        (Sign::LimitOver, ["boot failed 69", "boot failed 69", "timed out 124"]),
        (Sign::Stalled, ["boot failed 69", "go on", "go on"]),
        (Sign::Silent, ["boot failed 69", "go on", "go on"]),
        (Sign::QemuEnded(text()), ["boot failed 69", "lost 69", "lost 69"]),
        (Sign::Unreachable(text()), ["boot failed 69", "lost 69", "lost 69"]),
        (monitor(MonitorEvent::Stopped), ["ask", "go on", "go on"]),
        (monitor(MonitorEvent::Restarted), ["go on", "lost 69", "lost 69"]),
        (monitor(MonitorEvent::DiskFailed(text())), ["boot failed 69", "lost 69", "lost 69"]),
        (monitor(MonitorEvent::Shutdown(text())), ["go on", "go on", "go on"]),
        (monitor(MonitorEvent::Migrated(true)), ["go on", "go on", "go on"]),
        (monitor(MonitorEvent::Migrated(false)), ["go on", "go on", "go on"]),
        (Sign::AcceleratorFailed, ["boot failed 69", "go on", "go on"]),
        (alarms(|_| {}), ["go on", "go on", "go on"]),
        (alarms(|alarms| alarms.bug = true), ["boot failed 69", "go on", "go on"]),
        (alarms(|alarms| (alarms.bug, alarms.panics) = (true, 1)), ["boot failed 69", "ask", "ask"]),
        (alarms(|alarms| alarms.nothing_boots = true), ["boot failed 69", "go on", "go on"]),
        (Sign::Answered, ["next", "go on", "go on"]),
        (alarms(|alarms| alarms.halts = 1), ["go on", "ask", "ask"]),
        (Sign::Dead(Alarms { panics: 1, ..Alarms::default() }), ["go on", "lost 69", "lost 69"]),
        (Sign::Dead(Alarms { halts: 1, ..Alarms::default() }), ["go on", "lost 69", "lost 69"]),
        (Sign::NotStarted(text()), ["go on", "boot failed 69", "boot failed 69"]),
        (Sign::Command(Control::Failed(text())), ["go on", "boot failed 69", "boot failed 69"]),
        (Sign::Command(Control::Starting), ["go on", "go on", "go on"]),
        (Sign::Command(Control::Started), ["go on", "next", "next"]),
        (exited(ExitStatus::Code(0)), ["go on", "passed 0", "passed 0"]),
        (exited(ExitStatus::Code(9)), ["go on", "failed 9", "failed 9"]),
        (exited(ExitStatus::Signal(11)), ["go on", "killed 139", "killed 139"]),
    ]
}

fn step<End>(step: Step<End>, verdict: impl FnOnce(End) -> Verdict) -> String {
    let verdict = match step {
        Step::GoOn => return "go on".to_owned(),
        Step::Ask => return "ask".to_owned(),
        Step::Next => return "next".to_owned(),
        Step::End(end) => verdict(end),
    };
    format!("{} {}", wording::kind(&verdict), verdict.exit_status())
}

/// What a sign of a second boot under TCG comes to, after which there is no third.
fn in_a_boot(sign: Sign) -> String {
    let watched = Watched { accelerator: Accelerator::Tcg, is_image: false, limits: LIMITS };
    step(while_booting(sign, &watched), |end| {
        match after_boot(&end, Accelerator::Tcg, true, &Report::default()) {
            Next::GiveUp(verdict) => verdict,
            other => panic!("{other:?} after {end:?}"),
        }
    })
}

fn with_a_guest(sign: Sign, limit_over: RunEnd) -> String {
    step(while_running(sign, limit_over), |end| verdict(&end, &Report::default(), true))
}

// H1, Q1, G2: whatever comes, in whichever phase.
#[test]
fn every_sign_has_its_meaning_in_every_phase() {
    for (sign, expected) in every_sign() {
        let found = [
            in_a_boot(sign.clone()),
            with_a_guest(sign.clone(), RunEnd::SetupTimedOut(LIMITS.setup)),
            with_a_guest(sign.clone(), RunEnd::TimedOut(SECOND)),
        ];
        assert_eq!(found, expected, "{sign:?}");
    }
}

#[test]
fn nothing_but_the_commands_own_exit_with_0_is_a_pass() {
    let passing = exited(ExitStatus::Code(0));
    for (sign, meanings) in every_sign() {
        let passes = meanings.iter().any(|meaning| meaning.starts_with("passed"));
        assert_eq!(passes, sign == passing, "{sign:?}");
    }
}

#[test]
fn each_limit_is_told_with_its_own_length() {
    let watched = Watched { accelerator: Accelerator::Kvm, is_image: false, limits: LIMITS };
    for (sign, expected) in [
        (Sign::LimitOver, BootEnd::TimedOut(LIMITS.boot)),
        (Sign::Silent, BootEnd::Silent(LIMITS.silence)),
        (Sign::Stalled, BootEnd::Stalled(LIMITS.stall)),
    ] {
        assert_eq!(while_booting(sign, &watched), Step::End(expected));
    }
}

#[test]
fn silence_tells_something_under_kvm_until_the_kernel_speaks_and_a_pause_only_where_our_init_boots() {
    let watched = |accelerator, is_image| Watched { accelerator, is_image, limits: LIMITS };
    for heard in [Heard::Nothing, Heard::Something] {
        assert!(watched(Accelerator::Kvm, false).minds_silence(heard));
        assert!(!watched(Accelerator::Tcg, false).minds_silence(heard));
    }
    assert!(!watched(Accelerator::Kvm, false).minds_silence(Heard::Kernel));
    assert!(watched(Accelerator::Tcg, false).minds_stalls());
    assert!(!watched(Accelerator::Tcg, true).minds_stalls());
}

fn target(keys: &str) -> vmtest_config::Target {
    let text = format!("[[target]]\nname = 't'\ncommand = 'c'\n{keys}\n");
    let loaded = vmtest_config::load(&text, std::path::Path::new("/")).expect("it is a good file");
    loaded.targets.into_iter().next().expect("there is one").target
}

#[test]
fn every_phase_has_a_limit_by_what_boots_and_how() {
    let seconds = |keys: &str, accelerator| {
        let limits = Limits::of(&target(keys), accelerator);
        [limits.boot, limits.silence, limits.resume, limits.setup, limits.resumed_setup]
            .map(|limit| limit.as_secs())
    };
    let (kernel, image) = ("kernel = 'k'", "image = 'i'");
    assert_eq!(seconds(kernel, Accelerator::Kvm), [60, 5, 20, 300, 60]);
    assert_eq!(seconds(kernel, Accelerator::Tcg), [300, 5, 20, 300, 60]);
    assert_eq!(seconds(image, Accelerator::Kvm), [300, 45, 20, 1200, 60]);
    assert_eq!(seconds(image, Accelerator::Tcg), [1200, 45, 20, 1200, 60]);
    // What the user says counts everywhere; a kept guest that is waited for longer than a boot takes is of no use.
    let asked = "kernel = 'k'\nboot_timeout = '90s'";
    assert_eq!(seconds(asked, Accelerator::Kvm), [90, 5, 20, 90, 90]);
    // KVM that hangs is noticed before that is over.
    let asked = "kernel = 'k'\nboot_timeout = '4s'";
    assert_eq!(seconds(asked, Accelerator::Kvm), [4, 2, 4, 4, 4]);
}

#[test]
fn only_the_command_has_a_limit_that_the_user_alone_sets() {
    let command = |keys: &str| Limits::of(&target(keys), Accelerator::Tcg).command;
    assert_eq!(command("kernel = 'k'"), None);
    assert_eq!(command("kernel = 'k'\ntimeout = '5m'"), Some(Duration::from_secs(300)));
}

#[test]
fn who_lets_all_others_go_first_may_take_ten_times_as_long() {
    let patient = LIMITS.of_who_goes_last();
    let both = |limits: Limits| [limits.boot, limits.silence, limits.stall, limits.resume, limits.setup];
    assert_eq!(both(patient), both(LIMITS).map(|limit| limit * 10));
    assert_eq!(patient.command, LIMITS.command);
}
