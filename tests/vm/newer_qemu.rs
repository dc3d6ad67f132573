//! A newer QEMU than the machine's own, with a newer virtiofsd.

use nix::sys::signal::Signal;
use vmtest_tests::{Invocation, Outcome, Project, machine};

/// The version that `qemu-system-x86_64` on the `PATH` of [`with_newer_qemu`] is at least.
const NEWER: u32 = 8;

fn with_newer_qemu(invocation: Invocation<'_>) -> Invocation<'_> {
    let path = format!("{}:{}", machine::newer_qemu().display(), machine::PATH);
    invocation.env("PATH", path)
}

fn run(project: &Project, share: &str) -> Outcome {
    let run = project.vmtest(["--format", "json", "--share", share]).leaves(["result"]);
    with_newer_qemu(run).run()
}

#[test]
fn the_newer_qemu_is_newer() {
    let qemu = machine::newer_qemu().join("qemu-system-x86_64");
    let said = std::process::Command::new(qemu).arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let version = said.split("version ").nth(1).and_then(|rest| rest.split('.').next()).unwrap();
    assert!(version.parse::<u32>().unwrap() >= NEWER, "{said}");
}

/// By each way to share directories that its virtiofsd gives every user.
#[test]
fn a_guest_of_a_newer_qemu_is_kept_and_resumed_with_random_numbers_of_its_own() {
    let draw = "head -c16 /dev/urandom | base64; cat /proc/sys/kernel/random/boot_id; nproc; uname -r
        echo fine >result; dmesg | grep -c 'Linux version'";
    for share in ["9p", "virtiofs"] {
        let project = Project::one(draw).without_snapshots();
        let runs: Vec<_> = (0..3).map(|_| run(&project, share)).collect();
        let starts = runs.iter().map(|run| run.expect_status(0).events_named("booted")[0]["start"].clone());
        assert_eq!(starts.collect::<Vec<_>>(), ["cold", "snapshot", "snapshot"], "by {share}:\n{}", runs[1]);
        let texts: Vec<_> = runs.iter().map(Outcome::guest_text).collect();
        let lines: Vec<Vec<_>> = texts.iter().map(|text| text.lines().collect()).collect();
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            assert!(lines[a][0] != lines[b][0] && lines[a][1] != lines[b][1], "by {share}: {texts:?}");
            assert_eq!(lines[a][2..], lines[b][2..], "by {share}");
        }
        assert_eq!(project.read("result"), "fine\n");
    }
}

#[test]
fn a_run_under_a_newer_qemu_ends_with_the_commands_status_or_when_it_is_told_to() {
    let project = Project::one("echo begun; [ ! -e wait ] || sleep 1000; kill -SEGV $$");
    run(&project, "9p").expect_status(139).expect_verdict("killed");
    project.write("wait", "");
    let mut running = with_newer_qemu(project.vmtest(["--format", "json"])).start();
    running.wait_for("begun\\n");
    running.signal(Signal::SIGINT);
    running.finish().expect_status(130).expect_verdict("cancelled");
}

#[test]
fn a_kernel_without_9p_runs_for_every_user_where_virtiofsd_serves_everybody() {
    let script = "uname -r; echo here >result; mkdir /mnt/again && mount -t virtiofs root /mnt/again
        touch /mnt/again/tmp/vmtest-e2e 2>&1 | grep -o 'Read-only file system'";
    let text = format!("[[target]]\nname = 't'\nkernel = '{{cloud}}'\ncommand = '''{script}'''\n");
    let project = Project::new(&text);
    let run = with_newer_qemu(project.vmtest(["--format", "json"]).leaves(["result"])).run();
    run.expect_status(0);
    run.expect_guest_text(&format!("{}\nRead-only file system\n", machine::kernel("cloud").release));
    run.check(run.events_named("booted")[0]["share"] == "virtiofs", "it was not shared by virtiofs");
    assert_eq!(project.read("result"), "here\n");
}
