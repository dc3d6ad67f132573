//! Faults that the real QEMU cannot be made to have. `tests/src/bin/fake-qemu.rs` has them instead.

mod agent;
mod death;
mod ending;
mod monitor;

use std::fs;
use std::time::Duration;

use vmtest_tests::{Invocation, Outcome, Project, Running, machine, target};

/// One target whose QEMU is the fake one; it passes when nothing goes wrong.
pub(crate) fn project() -> Project {
    project_with("[target.vm]\nextra_args = ['-accel', 'tcg']")
}

/// The same with the accelerator left to vmtest, or other keys.
pub(crate) fn project_with(keys: &str) -> Project {
    let qemu = machine::helper("fake-qemu");
    Project::new(&target("t", &format!("qemu_command = '{}'\n{keys}", qemu.display()), "the-command"))
}

/// vmtest with a QEMU that fails like this.
pub(crate) fn failing<'p>(project: &'p Project, fault: &str) -> Invocation<'p> {
    project.vmtest(["--format", "json"]).env("VMTEST_FAKE_QEMU", fault).without_machine()
}

#[track_caller]
fn run(fault: &str) -> Outcome {
    failing(&project(), fault).run()
}

fn reason(run: &Outcome) -> String {
    run.finished()["reason"].as_str().unwrap_or_default().to_owned()
}

/// Fails the test unless there is no guest, for a reason with these words.
#[track_caller]
fn expect_boot_failed(run: &Outcome, because: &str) {
    run.expect_status(69).expect_verdict("boot_failed");
    run.check(reason(run).contains(because), &format!("the reason is not `{because}`"));
}

/// The most memory that `vmtest` has taken, in MiB, when it has ended.
fn most_memory(running: &Running) -> u64 {
    let status = format!("/proc/{}/status", running.pid());
    let mut most = 0;
    while !running.has_ended() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        most = most.max(number.unwrap_or_default() / 1024);
        // A process of somebody else gives no event to wait for; the number only grows.
        std::thread::sleep(Duration::from_millis(2));
    }
    most
}

#[test]
fn a_fake_that_does_nothing_wrong_passes() {
    run("").expect_status(0).expect_guest_text("begun\n");
}
