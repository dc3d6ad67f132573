//! What goes wrong while a guest is kept, and with what was kept: the run goes on without it, and the next is none the worse.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, chown};
use vmtest_tests::{Outcome, Project, Running, machine};

use super::{cold_because, expect_boot_and_recovery, files, kept, start};

/// What a run does to keep a guest, as can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The guest stands still, and its state is on its way.
    Parking,
    /// Its memory is being written to the disk.
    Copying,
    /// All of it is on the disk; it waits for its name.
    Naming,
}

impl Phase {
    fn is_now(self, project: &Project, vmtest: Pid) -> bool {
        match self {
            Self::Parking => !files(project, "socket").is_empty(),
            Self::Copying => {
                let copied = blocks(vmtest, &format!("{}/#", project.snapshots().display()));
                let all = blocks(vmtest, "/memfd:vmtest-guest-memory");
                copied.zip(all).is_some_and(|(copied, all)| 0 < copied && copied < all)
            }
            Self::Naming => blocks(vmtest, &order_lock(project).display().to_string()).is_some(),
        }
    }
}

/// What a file that a process has open takes, by how its name begins.
fn blocks(process: Pid, name: &str) -> Option<u64> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten().map(|file| file.path());
    let is_it =
        |file: &PathBuf| fs::read_link(file).is_ok_and(|path| path.to_string_lossy().starts_with(name));
    Some(fs::metadata(open.into_iter().find(is_it)?).ok()?.blocks())
}

fn order_lock(project: &Project) -> PathBuf {
    project.snapshots().join("order.lock")
}

/// Makes every other process wait before it gives or takes away a name.
fn hold_order(project: &Project) -> File {
    project.make_dir(&project.snapshots());
    fs::set_permissions(project.snapshots(), Permissions::from_mode(0o700)).unwrap();
    let lock = File::open(project.write_bytes(order_lock(project).to_str().unwrap(), b"")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Waits for `done` while the run goes on; whether it came.
fn came(running: &Running, done: impl Fn() -> bool) -> bool {
    loop {
        if done() {
            return true;
        }
        if running.has_ended() {
            return false;
        }
        // A file of somebody else's process gives no event to wait for.
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn stands_still(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads
        .map(|thread| fs::read_to_string(thread.path().join("status")).unwrap_or_default())
        .all(|status| status.contains("\nState:\tT"))
}

/// Runs a project on an empty cache until `phase`, and there sends signals. The run is frozen first, so that it certainly is
/// in that phase when the signal comes; one that was faster than we are is run once more.
#[track_caller]
fn stopped_while(phase: Phase, signals: &[Signal]) -> (Project, Outcome) {
    for _ in 0..5 {
        let project = Project::one("echo fine; test -e again || sleep 1000").without_snapshots();
        let order = (phase == Phase::Naming).then(|| hold_order(&project));
        let mut running = project.vmtest(["--format", "json"]).start();
        let vmtest = running.pid();
        let is_past = || running.has_written("\"event\":\"booted\"") && phase != Phase::Naming;
        if came(&running, || phase.is_now(&project, vmtest) || is_past()) {
            running.signal(Signal::SIGSTOP);
            came(&running, || stands_still(vmtest));
            if phase.is_now(&project, vmtest) {
                for signal in signals {
                    running.signal(*signal);
                }
                running.signal(Signal::SIGCONT);
                let run = running.finish();
                drop(order);
                project.write("again", "");
                return (project, run);
            }
        }
    }
    panic!("no run was caught while it was {phase:?}");
}

/// Nothing is left, and nobody resumes half a guest.
#[track_caller]
fn expect_cancelled_while(phase: Phase, signal: Signal) {
    let (project, run) = stopped_while(phase, &[signal]);
    run.expect_status(128 + signal as i32).expect_verdict("cancelled");
    for extension in ["state", "memory", "socket"] {
        assert_eq!(files(&project, extension), Vec::<PathBuf>::new());
    }
    expect_boot_and_recovery(&project, "there is no snapshot yet");
}

/// Nobody resumes half a guest, and nothing is left when the next one is kept.
#[track_caller]
fn expect_killed_while(phase: Phase) {
    let (project, run) = stopped_while(phase, &[Signal::SIGKILL]);
    run.check(run.signal == Some(9), "it was not killed");
    for extension in ["state", "memory"] {
        assert_eq!(files(&project, extension), Vec::<PathBuf>::new());
    }
    expect_boot_and_recovery(&project, "there is no snapshot yet");
    assert_eq!(files(&project, "socket"), Vec::<PathBuf>::new());
}

// H1
#[test]
fn a_run_that_is_cancelled_while_its_guest_is_parked_leaves_nothing() {
    expect_cancelled_while(Phase::Parking, Signal::SIGTERM);
}

// H1
#[test]
fn a_run_that_is_cancelled_while_its_guest_is_copied_leaves_nothing() {
    expect_cancelled_while(Phase::Copying, Signal::SIGINT);
}

// H1
#[test]
fn a_run_that_is_cancelled_while_its_guest_gets_its_name_leaves_nothing() {
    expect_cancelled_while(Phase::Naming, Signal::SIGHUP);
}

// H1
#[test]
fn two_signals_while_a_guest_is_kept_leave_nothing_that_is_resumed() {
    let (project, run) = stopped_while(Phase::Copying, &[Signal::SIGINT, Signal::SIGTERM]);
    // Which of them is heard first is not said.
    run.check(matches!(run.status, Some(130 | 143)), "it has another exit status");
    for extension in ["state", "memory"] {
        assert_eq!(files(&project, extension), Vec::<PathBuf>::new());
    }
    expect_boot_and_recovery(&project, "there is no snapshot yet");
}

// H2, S4, S1
#[test]
fn a_run_that_is_killed_while_its_guest_is_parked_leaves_nothing_for_the_next() {
    expect_killed_while(Phase::Parking);
}

// H2, S4, S1
#[test]
fn a_run_that_is_killed_while_its_guest_is_copied_leaves_nothing_for_the_next() {
    expect_killed_while(Phase::Copying);
}

// H2, S4, S1
#[test]
fn a_run_that_is_killed_while_its_guest_gets_its_name_leaves_nothing_for_the_next() {
    expect_killed_while(Phase::Naming);
}

/// The run boots once, passes, and says why its guest is not kept.
#[track_caller]
fn expect_not_kept(run: &Outcome, because: &str) {
    run.expect_status(0).expect_guest_text("fine\n");
    let accelerator = &run.events_named("booted")[0]["accelerator"];
    // KVM that does not work is none of this.
    let boots =
        run.events_named("booting").iter().filter(|event| event["accelerator"] == *accelerator).count();
    run.check(boots == 1, "it booted more than once");
    assert_eq!(cold_because(run), "there is no snapshot yet");
    let notices = run.events_named("notice");
    let said = notices.iter().filter_map(|notice| notice["message"].as_str());
    let said = said.filter(|text| text.starts_with("the guest is not kept") && text.contains(because));
    run.check(said.count() == 1, &format!("it does not say `{because}`"));
}

// S4
#[test]
fn a_disk_that_is_full_costs_only_the_kept_guest() {
    if !machine::vmtest_is_root() {
        println!("only root can mount a small disk: this test does nothing as another user");
        return;
    }
    let project = Project::one("echo fine").without_snapshots();
    project.make_dir(&project.snapshots());
    // A mount that only this run sees goes with it.
    let mount = "mount -t tmpfs -o size=32m,mode=0700 small \"$0\" && exec \"$@\"";
    let folder = project.snapshots();
    let words = ["unshare", "--mount", "sh", "-c", mount, folder.to_str().unwrap()];
    let run = project.vmtest(["--format", "json"]).inside_words(words).run();
    expect_not_kept(&run, "No space left on device");
}

// S1
#[test]
fn a_process_that_stands_still_with_the_lock_holds_nobody_up() {
    let project = Project::one("echo fine").without_snapshots();
    let order = hold_order(&project);
    expect_not_kept(&project.run_json(), "another process holds");
    drop(order);
    expect_boot_and_recovery(&project, "there is no snapshot yet");
}

// S3, S8
#[test]
fn a_kept_guest_of_another_user_is_not_used() {
    if !machine::vmtest_is_root() {
        println!("only root can give files away: this test does nothing as another user");
        return;
    }
    let project = kept();
    for extension in ["state", "memory"] {
        chown(&files(&project, extension)[0], Some(Uid::from_raw(65534)), None).unwrap();
        expect_boot_and_recovery(&project, "not this user's alone");
    }
}

// S3, S8
#[test]
fn a_kept_guest_behind_a_symbolic_link_is_not_used_and_the_file_behind_it_stays() {
    let project = kept();
    for extension in ["state", "memory"] {
        let file = files(&project, extension).remove(0);
        let elsewhere = project.base().join("elsewhere").with_extension(extension);
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        let bytes = fs::metadata(&elsewhere).unwrap().blocks();
        expect_boot_and_recovery(&project, "is a symbolic link");
        assert_eq!(fs::metadata(&elsewhere).unwrap().blocks(), bytes);
        assert_eq!(files(&project, extension).len(), 1);
    }
}

// S8
#[test]
fn in_a_folder_that_others_may_write_no_guest_is_used_or_kept() {
    let project = kept();
    let kept = files(&project, "state");
    fs::set_permissions(project.snapshots(), Permissions::from_mode(0o770)).unwrap();
    for _ in 0..2 {
        let run = project.run_json();
        run.expect_status(0).expect_guest_text("fine\n");
        run.check(cold_because(&run).contains("not this user's alone"), "it does not say why");
    }
    assert_eq!(files(&project, "state"), kept);
    fs::set_permissions(project.snapshots(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(start(&project.run_json()), "snapshot");
}

// S1
#[test]
fn a_run_beside_one_that_is_killed_while_it_keeps_a_guest_boots_and_the_next_one_keeps_it() {
    let project = Project::one("echo fine; test -e again || sleep 1000").without_snapshots();
    let mut first = project.vmtest(["--format", "json"]).leaves(["again"]).with_many_machines().start();
    let vmtest = first.pid();
    assert!(came(&first, || Phase::Parking.is_now(&project, vmtest)), "it ended before it kept a guest");
    first.signal(Signal::SIGSTOP);
    assert!(came(&first, || stands_still(vmtest)), "it does not stand still");
    project.write("again", "");
    // The room of both is the first one's.
    let second = project.vmtest(["--format", "json"]).without_machine().run();
    second.expect_status(0).expect_guest_text("fine\n");
    second.check(cold_because(&second).contains("another run is making the snapshot"), "it does not say why");
    first.signal(Signal::SIGKILL);
    first.finish();
    assert_eq!(files(&project, "state"), Vec::<PathBuf>::new());
    expect_boot_and_recovery(&project, "there is no snapshot yet");
    assert_eq!((files(&project, "state").len(), files(&project, "memory").len()), (1, 1));
}
