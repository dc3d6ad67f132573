//! Images that do not boot, guests that go away, and runs that are stopped.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vmtest_tests::{Outcome, Project, machine};

use super::{lacking, small};

fn one(image: &str) -> Project {
    Project::new(&format!(
        "[[target]]\nname = 't'\nimage = '{image}'\ncommand = 'true'\n[target.vm]\nmemory = '256M'\n"
    ))
}

fn reason(run: &Outcome) -> String {
    run.finished()["reason"].as_str().unwrap().to_owned()
}

// U2
#[test]
fn what_is_no_disk_is_refused_before_it_boots() {
    let backed = {
        let mut header = vec![0; 512];
        header[..4].copy_from_slice(b"QFI\xfb");
        header[7] = 3;
        header[8..16].copy_from_slice(&200_u64.to_be_bytes());
        header[19] = 11;
        header[100..104].copy_from_slice(&104_u32.to_be_bytes());
        header[200..211].copy_from_slice(b"/etc/shadow");
        header
    };
    let cases: [(&[u8], &str); 3] = [
        (b"", "is empty"),
        (&[7; 4096], "its first sector does not end with 55 AA"),
        (&backed, "/etc/shadow"),
    ];
    for (bytes, expected) in cases {
        let project = one("./disk");
        project.write_bytes("disk", bytes);
        let run = project.vmtest(["--format", "json"]).without_machine().run();
        run.expect_status(69).expect_verdict("boot_failed");
        run.check(reason(&run).contains(expected), "the reason is another");
        run.check(run.events_named("booting").is_empty(), "QEMU was started");
    }
}

#[test]
fn a_directory_is_no_image() {
    let run = one(".").vmtest::<&str>([]).without_machine().run();
    run.expect_status(78).expect_error_text("vmtest.toml:3:9").expect_error_text("is a directory");
}

#[test]
fn a_disk_with_nothing_to_boot_fails_at_once_with_what_the_firmware_says() {
    let project = one("./disk");
    let mut sector = vec![0; 1 << 20];
    sector[510..512].copy_from_slice(&[0x55, 0xAA]);
    // A boot sector that gives back to the BIOS: int 18h.
    sector[..2].copy_from_slice(&[0xCD, 0x18]);
    project.write_bytes("disk", &sector);
    let run = project.run_json();
    run.expect_status(69).expect_verdict("boot_failed");
    run.check(reason(&run).contains("nothing to start"), "the reason is another");
    run.check(run.finished()["help"].as_str().unwrap().contains("uefi"), "the help is another");
    let console = run.finished()["console"].to_string();
    run.check(console.contains("No bootable device"), "the firmware's words are missing");
}

#[test]
fn an_image_without_an_agent_is_told_what_it_lacks() {
    let run = lacking("no-agent", "boot_timeout = '30s'", "true").run_json();
    run.expect_status(69).expect_verdict("boot_failed");
    run.check(reason(&run).contains("30 s"), "the limit is not named");
    run.check(run.finished()["help"].as_str().unwrap().contains("qemu-guest-agent"), "the help is another");
    run.check(
        !run.finished()["console"].as_array().unwrap().is_empty(),
        "the console's last lines are missing",
    );
}

#[test]
fn an_agent_that_may_not_run_programs_is_told_so() {
    let run = lacking("no-exec", "", "true").run_json();
    run.expect_status(69).expect_verdict("boot_failed");
    run.check(reason(&run).contains("guest-exec"), "the reason is another");
}

#[test]
fn a_panic_in_an_image_is_a_kernel_bug_although_the_guest_only_hangs() {
    let run =
        Project::new(&small("", "echo begun; sleep 1; echo c >/proc/sysrq-trigger; echo no")).run_json();
    run.expect_status(70).expect_verdict("kernel_bug").expect_guest_text("begun\n");
}

#[test]
fn an_image_that_restarts_under_the_command_is_lost() {
    let run = Project::new(&small("", "reboot -f; sleep 1000")).run_json();
    run.expect_status(69).expect_verdict("lost");
    run.check(reason(&run).contains("restarted"), "the reason is another");
    run.check(run.events_named("booted").len() == 1, "it booted again");
}

#[test]
fn a_disk_that_is_full_ends_the_run_with_what_to_do_about_it() {
    if !machine::vmtest_is_root() {
        println!("only root can mount a small file system: nothing to see for an ordinary user");
        return;
    }
    let project = Project::new(&small("", "dd if=/dev/urandom of=/dev/vda bs=1M count=40; sync; echo no"));
    let place = project.base().join("small");
    project.make_dir(&place);
    let mount = "mount -t tmpfs -o size=16m,mode=0700 small \"$0\" && exec \"$@\"";
    let words = ["unshare", "--mount", "sh", "-c", mount, place.to_str().unwrap()];
    let run = project.vmtest(["--format", "json"]).env("TMPDIR", &place).inside_words(words).run();
    run.expect_status(69).expect_verdict("lost");
    run.check(reason(&run).contains("No space left"), "the reason is another");
    run.check(run.finished()["help"].as_str().unwrap().contains("TMPDIR"), "the help is another");
}

/// Longest time from the signal to the end. QEMU follows at once; the rest is for a machine with other work.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn sigint_cancels_a_run_that_boots_or_runs_a_command_in_an_image() {
    for phase in ["\"event\":\"console\"", "begun\\n"] {
        let project = Project::new(&small("", "echo begun; sleep 1000"));
        let mut running = project.vmtest(["--format", "json"]).start();
        running.wait_for(phase);
        running.qemu();
        let sent = Instant::now();
        running.signal(Signal::SIGINT);
        let run = running.finish();
        run.check(sent.elapsed() < SOON, &format!("it took {:?}", sent.elapsed()));
        run.expect_status(130).expect_verdict("cancelled");
    }
}
