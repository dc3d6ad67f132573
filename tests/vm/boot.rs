//! Machines that do not come up, or go away.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use vmtest_tests::{Outcome, Project, machine, target};

/// A refusal is quick and comes before QEMU is started.
#[track_caller]
fn expect_refusal(run: &Outcome) -> String {
    run.expect_status(69).expect_verdict("boot_failed");
    run.check(run.events_named("booting").is_empty(), "QEMU was started");
    // Promised in 2 s; twice that on a machine with other work.
    run.check(run.elapsed < Duration::from_secs(4), "it took too long");
    run.finished()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_kernel_without_9p_is_refused_before_it_boots_with_the_options_it_lacks() {
    let project = Project::new("[[target]]\nname = 't'\nkernel = '{cloud}'\ncommand = 'true'\n");
    let run = project.vmtest(["--format", "json", "--share", "9p"]).run();
    let reason = expect_refusal(&run);
    for option in ["CONFIG_9P_FS", "CONFIG_NET_9P_VIRTIO"] {
        run.check(reason.contains(option), &format!("the reason does not name {option}: {reason}"));
    }
}

#[test]
fn a_kernel_that_does_not_exist_is_an_error_in_the_file() {
    let project = Project::new("[[target]]\nname = 't'\nkernel = './no-such-kernel'\ncommand = 'true'\n");
    let run = project.vmtest::<&str>([]).without_machine().run();
    run.expect_status(78).expect_error_text("vmtest.toml:3:10").expect_error_text("no-such-kernel");
}

#[test]
fn a_text_file_is_no_kernel() {
    let project = Project::new("[[target]]\nname = 't'\nkernel = './notes.txt'\ncommand = 'true'\n");
    project.write("notes.txt", "these are notes\n");
    let reason = expect_refusal(&project.run_json());
    assert!(reason.contains("notes.txt") && reason.contains("kernel"), "{reason}");
}

#[test]
fn a_truncated_kernel_is_refused() {
    let project = Project::new("[[target]]\nname = 't'\nkernel = './half'\ncommand = 'true'\n");
    let whole = fs::read(machine::kernel("stable").image).unwrap();
    project.write_bytes("half", &whole[..whole.len() / 2]);
    let reason = expect_refusal(&project.run_json());
    assert!(reason.contains("half"), "{reason}");
}

/// A guest that goes away in the middle of its command is lost, for this reason, and does not boot again.
#[track_caller]
fn expect_lost(command: &str, reason: &str) {
    let run = Project::one(command).with_probe().run_json();
    run.expect_status(69).expect_verdict("lost");
    let found = run.finished()["reason"].as_str().unwrap().to_owned();
    run.check(found.contains(reason), &found);
    run.check(run.events_named("booted").len() == 1, "it booted again");
}

// G2
#[test]
fn a_guest_that_powers_itself_off_is_lost() {
    expect_lost("./guest-probe poweroff", "powered itself off");
}

// G2
#[test]
fn a_guest_whose_kernel_is_told_to_power_off_is_lost() {
    expect_lost("echo o >/proc/sysrq-trigger; sleep 1000", "powered itself off");
}

// G2
#[test]
fn a_guest_that_reboots_is_lost_and_does_not_boot_again() {
    expect_lost("./guest-probe reboot", "restarted");
}

// G2
#[test]
fn a_guest_whose_kernel_is_told_to_reboot_is_lost_and_does_not_boot_again() {
    expect_lost("echo b >/proc/sysrq-trigger; sleep 1000", "restarted");
}

// G2
#[test]
fn a_guest_that_halts_is_lost_although_its_machine_stays_on() {
    expect_lost("./guest-probe halt", "halted");
}

// G2
#[test]
fn a_line_that_says_that_the_guest_halted_does_not_end_a_guest_that_answers() {
    let command = "printf '<0>reboot: System halted\\n' >/dev/kmsg; sleep 2; exit 3";
    Project::one(command).run_json().expect_status(3).expect_verdict("failed");
}

// G2
#[test]
fn a_guest_that_halts_is_lost_also_after_text_that_looks_like_it() {
    let text = "printf '<0>reboot: System halted\\n' >/dev/kmsg";
    expect_lost(&format!("{text}; sleep 2; {text}; ./guest-probe halt"), "halted");
}

// G2
#[test]
fn signals_to_every_process_end_neither_the_first_one_nor_the_run() {
    // All but the caller: the agent is gone as well.
    let run = Project::one("kill -9 1; kill -SEGV 1; kill -9 -1; echo alone; exit 3").run_json();
    run.expect_status(3).expect_verdict("failed").expect_guest_text("alone\n");
}

#[test]
fn a_qemu_that_is_killed_from_outside_is_lost() {
    let project = Project::new(&target("t", "", "echo begun; sleep 1000"));
    let running = project.vmtest(["--format", "json"]).start();
    running.wait_for("begun\\n");
    kill(running.qemu(), Signal::SIGKILL).unwrap();
    let run = running.finish();
    run.expect_status(69).expect_verdict("lost").expect_guest_text("begun\n");
    let reason = run.finished()["reason"].as_str().unwrap().to_owned();
    run.check(
        reason.contains("SIGKILL") || reason.contains("signal 9") || reason.contains("signal: 9"),
        &reason,
    );
}

#[test]
fn a_kernel_that_finds_no_initramfs_is_told_what_to_change() {
    let keys = "kernel_args = 'rdinit=/no-such-init root=/dev/null'";
    let run = Project::new(&target("t", keys, "true")).run_json();
    run.expect_status(69).expect_verdict("boot_failed");
    let finished = run.finished();
    run.check(
        finished["reason"].as_str().unwrap().contains("Unable to mount root fs"),
        "the panic's title is missing",
    );
    run.check(finished["help"].as_str().unwrap().contains("rdinit="), "the help does not name the cause");
    run.check(!finished["console"].as_array().unwrap().is_empty(), "the console's last lines are missing");
}
