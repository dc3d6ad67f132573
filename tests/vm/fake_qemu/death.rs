//! QEMU dies: by itself, by a signal, as the kernel does it when memory is short.

use nix::sys::signal::{Signal, kill};
use vmtest_tests::{Outcome, Project};

use super::{reason, run};

const SIGNALS: [Signal; 3] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGKILL];

/// Every way to die, in the words of the fake and as vmtest says it.
fn ways() -> impl Iterator<Item = (String, String)> {
    let signal = |signal: Signal| (signal.to_string(), format!("signal: {}", signal as i32));
    SIGNALS.into_iter().map(signal).chain([("1".to_owned(), "exit status: 1".to_owned())])
}

#[track_caller]
fn expect_death(run: &Outcome, verdict: &str, how: &str) {
    run.expect_status(69).expect_verdict(verdict);
    run.check(reason(run).contains("QEMU ended"), "the reason is another");
    run.check(reason(run).contains(how), &format!("the reason does not say `{how}`"));
}

#[track_caller]
fn expect_deaths(at: &str, verdict: &str, console: &[&str]) {
    for (how, said) in ways() {
        let run = run(&format!("dies {at} {how}"));
        expect_death(&run, verdict, &said);
        let finished = run.finished();
        run.check(
            finished["qemu_stderr"][0] == "fake-qemu: these are the last words",
            "its own words are missing",
        );
        let lines: Vec<_> =
            finished["console"].as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
        run.check(lines == console, &format!("the console's last lines are {lines:?}"));
    }
}

const CONSOLE: [&str; 2] = ["[    0.000000] Linux version 6.0.0-fake", "[    0.100000] it boots"];

// Q1
#[test]
fn a_qemu_that_dies_at_once_is_a_failed_boot_with_its_own_words() {
    expect_deaths("start", "boot_failed", &[]);
}

// Q1
#[test]
fn a_qemu_that_dies_while_it_boots_is_a_failed_boot_with_its_words_and_the_consoles() {
    expect_deaths("boot", "boot_failed", &CONSOLE);
}

// Q1
#[test]
fn a_qemu_that_dies_while_the_guest_is_set_up_is_lost_with_its_words_and_the_consoles() {
    expect_deaths("set-up", "lost", &CONSOLE);
}

// Q1
#[test]
fn a_qemu_that_dies_under_the_command_is_lost_with_its_words_and_the_consoles() {
    expect_deaths("command", "lost", &CONSOLE);
}

/// The real one, killed where `mark` was written.
#[track_caller]
fn expect_real_deaths(args: &[&str], mark: &str, verdict: &str) {
    for signal in SIGNALS {
        let project = Project::one("echo begun; sleep 1000");
        let running = project.vmtest(["--format", "json"].iter().chain(args)).start();
        running.wait_for(mark);
        kill(running.qemu(), signal).unwrap();
        let run = running.finish();
        expect_death(&run, verdict, &format!("signal: {}", signal as i32));
        let console = run.finished()["console"].as_array().unwrap().len();
        // A guest that was resumed may have had nothing to say.
        run.check(console > 0 || args.is_empty(), "the console's last lines are missing");
    }
}

// Q1
#[test]
fn the_real_qemu_killed_while_it_boots_is_a_failed_boot() {
    expect_real_deaths(&["--cold"], "\"event\":\"console\"", "boot_failed");
}

// Q1
#[test]
fn the_real_qemu_killed_under_the_command_is_lost() {
    expect_real_deaths(&[], "begun\\n", "lost");
}
