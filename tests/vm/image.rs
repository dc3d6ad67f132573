//! Targets that boot a disk image. A word in the machine's serial number makes the small image lack something.

mod faults;
mod shell;

use std::fs;
use std::process::Command;

use vmtest_tests::{Outcome, Project, machine};

/// One target under the small image; `keys` are whole lines, the last table in them stays open.
fn small(keys: &str, command: &str) -> String {
    target("small.qcow2", keys, command)
}

fn target(image: &str, keys: &str, command: &str) -> String {
    format!(
        "[[target]]\nname = 't'\nimage = '{{{image}}}'\ncommand = '''{command}'''\n{keys}\n[target.vm]\nmemory = '512M'\n"
    )
}

/// The small image without something.
fn lacking(words: &str, keys: &str, command: &str) -> Project {
    let args = format!("extra_args = ['-smbios', 'type=1,serial={words}']\n");
    Project::new(&(small(keys, command) + &args))
}

/// What a file holds, in a few characters.
fn checksum(image: &str) -> String {
    let output = Command::new("sha256sum").arg(machine::image(image)).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn expect_notice(run: &Outcome, text: &str) {
    let told =
        run.events_named("notice").iter().any(|notice| notice["message"].as_str().unwrap().contains(text));
    run.check(told, &format!("no notice says `{text}`"));
}

#[test]
fn a_qcow2_image_boots_by_bios_and_stays_as_it_was() {
    let script = "dd if=/dev/zero of=/dev/vda bs=1M count=20 2>/dev/null && sync && \
                  dd if=/dev/vda bs=1M count=20 2>/dev/null | md5sum";
    let before = checksum("small.qcow2");
    let run = Project::new(&small("", script)).run_json();
    run.expect_status(0).expect_guest_text("8f4e33f3dc3e414ff94e5fb6905cba8c  -\n");
    assert_eq!(checksum("small.qcow2"), before);
    let booted = &run.events_named("booted")[0];
    run.check(booted["cold_because"] == "an image's guest always boots", "it does not say why it booted");
}

#[test]
fn a_raw_image_boots_by_uefi_and_a_signal_that_ends_the_command_is_told() {
    let before = checksum("small.raw");
    let project = Project::new(&target("small.raw", "uefi = true", "ls -d /sys/firmware/efi; kill -SEGV $$"));
    let run = project.run_json();
    run.expect_status(139).expect_verdict("killed").expect_guest_text("/sys/firmware/efi\n");
    assert_eq!(run.finished()["signal"], 11);
    assert_eq!(checksum("small.raw"), before);
}

#[test]
fn a_command_in_an_image_has_its_variables_its_shares_and_both_outputs_and_passes_its_status_on() {
    let script = "echo out-$KEY-$HOSTS; echo err >/dev/stderr; [ -n \"$BASH_VERSION\" ] && echo bash; pwd
        cat '/read only/old' && ! echo changed 2>/dev/null >'/read only/old' && echo new >/mnt/write/new
        cat /mnt/vmtest/given && echo made >/mnt/vmtest/result; exit 7";
    let keys = "env = { KEY = 'a b' }";
    let mounts = "[target.vm.mounts]\n'/read only' = { host_path = '../one' }\n'/mnt/write' = { host_path = '../two', writable = true }\n";
    let project = Project::new(&(small(keys, script) + mounts));
    project.write("given", "given\n");
    for name in ["one", "two"] {
        project.make_dir(&project.base().join(name));
    }
    fs::write(project.base().join("one/old"), "old\n").unwrap();
    let run = project.vmtest(["--format", "json"]).env("HOSTS", "secret").leaves(["result"]).run();
    run.expect_status(7).expect_guest_text("out-a b-\nbash\n/\nold\ngiven\n");
    run.check(run.output("stderr") == b"err\n", "standard error is not its own");
    run.check(run.events_named("booted")[0]["share"] == "9p", "it is not shared by 9p");
    assert_eq!(project.read("result"), "made\n");
    assert_eq!(fs::read_to_string(project.base().join("two/new")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(project.base().join("one/old")).unwrap(), "old\n");
}

#[test]
fn an_image_that_restarts_while_it_boots_is_waited_for_and_what_a_command_leaves_running_is_not() {
    let run = lacking("reboot-once", "", "sleep 100000 & cat /dev/vda3 | head -c 9").run_json();
    run.expect_status(0).expect_guest_text("been-here");
}

#[test]
fn an_image_without_9p_has_its_directories_over_virtiofs_or_says_what_that_needs() {
    // Whose arguments it is not: the daemon must know the machine.
    let script = "echo here >/mnt/vmtest/result; grep -o virtiofs /proc/mounts";
    let project = Project::new(&small("", script));
    let run = project.vmtest(["--format", "json", "--share", "virtiofs"]).leaves(["result"]).run();
    if machine::vmtest_is_root() {
        run.expect_status(0).expect_guest_text("virtiofs\n");
        run.check(run.events_named("booted")[0]["share"] == "virtiofs", "it is not shared by virtiofs");
        assert_eq!(project.read("result"), "here\n");
    } else {
        run.expect_status(69).expect_verdict("boot_failed");
        let reason = run.finished()["reason"].as_str().unwrap().to_owned();
        run.check(reason.contains("virtiofs") && reason.contains("serves root only"), &reason);
    }
}

#[test]
fn output_that_cannot_be_streamed_comes_when_the_command_has_ended() {
    let run = lacking("no-ports no-bash", "", "echo out; echo err >&2; echo ${BASH_VERSION-none}; exit 3")
        .run_json();
    run.expect_status(3).expect_guest_text("out\nnone\n");
    run.check(run.output("stderr") == b"err\n", "standard error is not its own");
    expect_notice(&run, "no virtio-serial ports");
}

#[test]
fn a_distribution_with_systemd_and_a_root_that_cannot_be_written_runs_its_command() {
    let script = "systemctl is-active qemu-guest-agent; cat /proc/1/comm; cd /mnt/vmtest && echo made >result && exit 3";
    let project = Project::new(&target("systemd.qcow2", "", script));
    let run = project.vmtest(["--format", "json"]).leaves(["result"]).run();
    run.expect_status(3).expect_guest_text("active\nsystemd\n");
    assert_eq!(project.read("result"), "made\n");
}
