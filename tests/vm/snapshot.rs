//! Guests that are kept after their kernel's boot, and resumed by later runs.

mod damage;
mod faults;
mod resumed;
mod streams;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use vmtest_tests::{Outcome, Project, target};

/// What a command can see of its machine that must not depend on how the machine came to life.
const ALIKE: &str = r"
uname -a; nproc; cat /proc/cmdline; id; pwd; umask; ulimit -a
env | sort | grep -v VMTEST_E2E_RUN
# A tmpfs of devices is half of the memory that this boot had to give.
cut -d' ' -f2- /proc/mounts | sed 's/size=.*k,nr_inodes=[0-9]*//'
ls -l /dev | awk '{print $1, $3, $4, $NF}' | grep -v '^total' | sort
ls /proc/self/fd | wc -l; cat /proc/sys/kernel/tainted; cat /sys/devices/system/cpu/online
lsmod 2>/dev/null | awk '{print $1}' | sort
hostname; cat /proc/sys/kernel/osrelease
";

/// How the only target's guest came to life.
#[track_caller]
fn start(run: &Outcome) -> String {
    let booted = run.events_named("booted");
    run.check(booted.len() == 1, "it did not come up once");
    booted[0]["start"].as_str().expect("a word").to_owned()
}

/// Why the only target's guest had to boot.
#[track_caller]
fn cold_because(run: &Outcome) -> String {
    run.check(start(run) == "cold", "it did not boot");
    run.events_named("booted")[0]["cold_because"].as_str().unwrap_or_default().to_owned()
}

/// The tests' shared cache has a guest. Who comes while another run keeps it boots.
static SHARED: LazyLock<()> = LazyLock::new(|| {
    let is_resumed = || start(Project::one("true").run_json().expect_status(0)) == "snapshot";
    assert!((0..4).any(|_| is_resumed()), "no guest is kept");
});

/// Runs a project's command in a guest that was kept.
#[track_caller]
fn resumed_in(project: &Project) -> Outcome {
    LazyLock::force(&SHARED);
    let run = project.vmtest(["--format", "json"]).leaves(["before", "after"]).run();
    run.expect_status(0);
    run.check(start(&run) == "snapshot", "it was not resumed");
    run
}

#[track_caller]
fn resumed(command: &str) -> Outcome {
    resumed_in(&Project::one(command))
}

/// A project of its own whose guest has been kept.
fn kept() -> Project {
    let project = Project::one("echo fine").without_snapshots();
    project.run_json().expect_status(0);
    project
}

fn files(project: &Project, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(project.snapshots()).into_iter().flatten().flatten().map(|file| file.path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// The run boots, says this, and the next one resumes what it has kept.
#[track_caller]
fn expect_boot_and_recovery(project: &Project, because: &str) {
    let run = project.run_json();
    run.expect_status(0).expect_guest_text("fine\n");
    run.check(cold_because(&run).contains(because), &format!("it does not say `{because}`"));
    let next = project.run_json();
    next.check(start(&next) == "snapshot", &format!("it was not resumed; the one before it was\n{run}"));
}

#[test]
fn the_first_run_boots_and_says_why() {
    let first = Project::one("true").without_snapshots().run_json();
    first.expect_status(0);
    assert_eq!(cold_because(&first), "there is no snapshot yet");
}

#[test]
fn a_resumed_guest_and_one_that_booted_are_alike_to_the_command() {
    let project = Project::one(ALIKE);
    let warm = resumed_in(&project);
    let cold = project.vmtest(["--cold", "--format", "json"]).run();
    assert_eq!(cold_because(&cold), "snapshots are switched off for this run");
    let lines = |run: &Outcome| run.guest_text().lines().map(str::to_owned).collect::<HashSet<_>>();
    let (warm, cold) = (lines(&warm), lines(&cold));
    let different: Vec<_> = warm.symmetric_difference(&cold).collect();
    assert!(warm.len() > 100 && different.is_empty(), "{different:?}");
}

#[test]
fn the_memory_and_the_kernels_log_of_a_resumed_guest_are_those_of_its_boot() {
    let run =
        resumed("dmesg | grep -c 'Linux version'; awk '/MemTotal/ {print ($2 > 3500000)}' /proc/meminfo");
    run.expect_guest_text("1\n1\n");
}

// S6
#[test]
fn the_clock_of_a_resumed_guest_is_the_hosts() {
    let project = Project::one("touch before; date +%s.%N; touch after");
    let run = resumed_in(&project);
    // The host's own clock, at both ends.
    let modified = |name: &str| {
        let time = fs::metadata(project.dir().join(name)).unwrap().modified().unwrap();
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
    };
    let guest: f64 = run.guest_text().trim().parse().unwrap();
    let (before, after) = (modified("before"), modified("after"));
    run.check(
        before - 0.1 <= guest && guest <= after + 0.1,
        &format!("{guest} is not between {before} and {after}"),
    );
}

// S6
#[test]
fn resumed_guests_have_random_numbers_of_their_own() {
    let draw =
        "head -c16 /dev/urandom | base64; cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid
        bash -c 'echo $RANDOM$RANDOM$RANDOM'; mktemp -u";
    let drawn: Vec<_> = (0..3).map(|_| resumed(draw).guest_text()).collect();
    let lines: Vec<&str> = drawn.iter().flat_map(|text| text.lines()).collect();
    let different: HashSet<_> = lines.iter().collect();
    assert_eq!(different.len(), lines.len(), "{drawn:?}");
}

#[test]
fn timers_of_a_resumed_guest_run() {
    resumed("sleep 0.3; timeout 0.3 sleep 100; echo $?").expect_guest_text("124\n");
}

// S6
#[test]
fn what_a_resumed_guest_did_is_gone_with_it() {
    resumed("touch /tmp/mark /run/mark; echo 7 > /proc/sys/vm/swappiness; sync");
    resumed(
        "ls /tmp/mark /run/mark 2>/dev/null; grep -vx 7 /proc/sys/vm/swappiness >/dev/null && echo clean",
    )
    .expect_guest_text("clean\n");
}

/// A shell that has its input from the start.
fn shell(project: &Project, typed: &str) -> Outcome {
    let shell = project.vmtest(["--log-dir", "logs", "-k", "{stable}", "-"]).leaves(["logs"]);
    shell.stdin(typed).run()
}

/// The same in a guest that was kept.
#[track_caller]
fn resumed_shell(project: &Project, typed: &str) -> Outcome {
    let run = shell(project, typed);
    let console = project.read("logs/01-vmlinuz.console.log");
    run.check(!console.contains("Linux version"), "it was not resumed");
    run
}

/// What was in a port when the guest was parked would come out of it here, before what was typed.
// S6
#[test]
fn a_shell_in_a_resumed_guest_reads_what_was_typed_and_nothing_before_it() {
    LazyLock::force(&SHARED);
    resumed_shell(&Project::new(""), "echo first\nexit 5\n").expect_status(5).expect_line("first");
}

/// The run that keeps the guest has its input while the ports are there and the guest is not yet kept.
// S6
#[test]
fn what_was_typed_before_a_guest_was_kept_is_not_what_the_next_one_reads() {
    let project = Project::new("").without_snapshots();
    shell(&project, "echo first\nexit 4\n").expect_status(4).expect_line("first");
    let next = resumed_shell(&project, "exit 5\n");
    next.expect_status(5);
    next.check(!next.text().contains("first"), "it has what the other run typed");
}

// S1
#[test]
fn several_runs_at_once_on_an_empty_cache_all_pass_and_keep_one_guest() {
    let project = Project::one("echo fine").without_snapshots();
    // Each has its turn for a machine; two of the three are there at once.
    let runs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| project.run_json())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for run in &runs {
        run.expect_status(0).expect_guest_text("fine\n");
    }
    assert_eq!((files(&project, "state").len(), files(&project, "memory").len()), (1, 1));
    let next = project.run_json();
    next.check(start(&next) == "snapshot", "the next run was not resumed");
}

/// The state of another machine under this one's name, with a header that says it is right: only QEMU itself can tell.
// S5
#[test]
fn a_state_that_qemu_refuses_is_said_and_the_kernel_boots_instead() {
    let project = kept();
    let two = files(&project, "state").remove(0);
    let one = {
        project.vmtest(["--set", "vm.num_cpus=1", "--format", "json"]).run().expect_status(0);
        files(&project, "state").into_iter().find(|file| *file != two).unwrap()
    };
    let key = |file: &Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let forged = fs::read(&two).unwrap();
    let header = forged.iter().position(|byte| *byte == b'\n').unwrap();
    let line = String::from_utf8(forged[..header].to_vec()).unwrap();
    let renamed = line.replace(&key(&two), &key(&one));
    assert_ne!(renamed, line);
    let other_machine = || {
        let run = project.vmtest(["--set", "vm.num_cpus=1", "--format", "json"]).run();
        run.expect_status(0).expect_guest_text("fine\n");
        run
    };

    // Without the header, we can tell, too.
    fs::write(&one, &forged).unwrap();
    let run = other_machine();
    run.check(cold_because(&run).contains("it is another guest's"), "it does not say so");

    // The state that is replaced is the only one that knows its memory.
    let (mut memory, replaced): (Vec<_>, Vec<_>) =
        files(&project, "memory").into_iter().partition(|file| key(file).starts_with(&key(&two)));
    let memory = memory.remove(0);
    for file in replaced {
        fs::remove_file(file).unwrap();
    }
    fs::hard_link(&memory, memory.with_file_name(key(&memory).replace(&key(&two), &key(&one)) + ".memory"))
        .unwrap();
    // The second name has changed the file, and the forger knows it.
    let (magic, words) = renamed.split_once(' ').unwrap();
    let mut words: serde_json::Value = serde_json::from_str(words).unwrap();
    let data = fs::metadata(&memory).unwrap();
    words["memory"]["identity"]["changed"] = serde_json::json!([data.ctime(), data.ctime_nsec()]);
    fs::write(&one, [format!("{magic} {words}").as_bytes(), &forged[header..]].concat()).unwrap();

    let run = other_machine();
    run.check(cold_because(&run).contains("the snapshot could not be used"), "it does not say so");
    run.check(!one.exists(), "it is still there");
}

#[test]
fn a_cold_run_keeps_nothing() {
    let project = Project::one("true").without_snapshots();
    let run = project.vmtest(["--cold", "--format", "json"]).run();
    assert_eq!(cold_because(&run), "snapshots are switched off for this run");
    assert!(!project.snapshots().exists());
}

// S5
#[test]
fn a_machine_with_arguments_of_the_users_own_is_never_resumed() {
    let project =
        Project::new(&target("t", "[target.vm]\nextra_args = ['-name', 'x']", "true")).without_snapshots();
    let run = project.run_json();
    run.expect_status(0);
    run.check(cold_because(&run).contains("`vm.extra_args`"), "it does not say why");
    assert!(files(&project, "state").is_empty());
}

// S4
#[test]
fn a_run_that_is_killed_while_it_boots_leaves_no_guest_and_no_socket() {
    let project = Project::one("echo fine").without_snapshots();
    let mut running = project.vmtest(["--format", "json"]).start();
    running.wait_for("\"event\":\"console\"");
    running.signal(Signal::SIGKILL);
    running.finish();
    for extension in ["state", "memory", "socket"] {
        assert_eq!(files(&project, extension), Vec::<PathBuf>::new());
    }
    expect_boot_and_recovery(&project, "there is no snapshot yet");
}

#[test]
fn the_cache_is_listed_and_cleared() {
    let project = kept();
    let cache = |words: &[&str]| project.vmtest(words).without_machine().run();
    let release = vmtest_tests::machine::kernel("stable").release;
    let listed = cache(&["cache"]);
    listed.expect_status(0).expect_text(&release).expect_text("1 guest, ");
    cache(&["cache", "clear"]).expect_status(0).expect_text("removed ");
    cache(&["cache", "list"]).expect_status(0).expect_text("no guest is kept");
    let run = project.run_json();
    run.expect_status(0);
    assert_eq!(cold_because(&run), "there is no snapshot yet");
}

#[test]
fn a_resumed_guest_is_stopped_like_any_other() {
    LazyLock::force(&SHARED);
    let project = Project::one("echo begun; sleep 1000");
    let mut running = project.vmtest(["--format", "json"]).start();
    running.wait_for("begun\\n");
    running.signal(Signal::SIGINT);
    let run = running.finish();
    run.expect_status(130).expect_verdict("cancelled");
    run.check(start(&run) == "snapshot", "it was not resumed");
    run.check(run.elapsed < Duration::from_secs(60), "it took too long");
}

// G2
#[test]
fn a_command_that_takes_its_resumed_guest_down_at_once_does_not_run_again() {
    let project = kept();
    project.write("down.toml", &target("t", "", "echo ran >>runs; echo b >/proc/sysrq-trigger; sleep 1000"));
    let run = project.vmtest(["-c", "down.toml", "--format", "json"]).leaves(["runs"]).run();
    run.expect_status(69).expect_verdict("lost");
    run.check(start(&run) == "snapshot", "it was not resumed");
    assert_eq!(project.read("runs"), "ran\n");
}

#[test]
fn a_resumed_guest_whose_set_up_fails_says_why_and_leaves_the_kept_one_alone() {
    let project = kept();
    project.make_dir(&project.base().join("empty"));
    let rootfs = format!("rootfs = '{}'", project.base().join("empty").display());
    project.write("empty.toml", &target("t", &rootfs, "true"));
    let runs: Vec<_> =
        (0..2).map(|_| project.vmtest(["-c", "empty.toml", "--format", "json"]).run()).collect();
    for run in &runs {
        run.expect_status(69).expect_verdict("boot_failed");
        run.check(run.events_named("booted").len() == 1, "it booted twice for the same answer");
    }
    assert_eq!(start(&runs[1]), "snapshot");
}
