//! Guests that live from one kept guest at the same time, and what becomes of them when it goes.

use std::collections::HashSet;
use std::fs;
use std::time::UNIX_EPOCH;

use vmtest_tests::{Outcome, Project, target};

use super::{files, start};

/// Waits for the other guest, says what must not repeat, and then what the clocks show.
const LOOK: &str = r"
touch up-$ME
until [ -e up-a ] && [ -e up-b ]; do sleep 0.05; done
head -c16 /dev/urandom | base64
cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid
cat /sys/class/net/e*/address
mktemp -u
echo ---
touch before-$ME; date +%s.%N; touch after-$ME
dmesg | tail -n 1 | sed 's/^\[ *\([0-9.]*\)\].*/\1/'
for look in $(seq 200); do read up idle </proc/uptime; echo $up; done
echo changed >/dev/shm/mark; echo 7 >/proc/sys/vm/swappiness
";

// S6
#[test]
fn guests_resumed_from_one_at_once_share_no_random_number_and_no_address_and_leave_it_as_it_was() {
    let keys = |me: &str| format!("env = {{ ME = '{me}' }}\n[target.vm]\nmemory = '512M'\nnetwork = true");
    let project = Project::new(&(target("a", &keys("a"), LOOK) + &target("b", &keys("b"), LOOK)));
    let project = project.without_snapshots();
    let one = |name: &str| {
        let leaves = ["up-a", "up-b", "before-a", "before-b", "after-a", "after-b"];
        project.vmtest(["--format", "json", "--filter", name]).leaves(leaves)
    };
    // It keeps the guest, and need not wait.
    project.write("up-b", "");
    one("a").run().expect_status(0);
    for name in ["up-a", "up-b"] {
        fs::remove_file(project.dir().join(name)).unwrap();
    }
    let bytes = || ["state", "memory"].map(|extension| fs::read(&files(&project, extension)[0]).unwrap());
    let before = bytes();

    // The first has the room of both.
    let first = one("a").with_many_machines().start();
    let second = one("b").without_machine().run();
    let first = first.finish();

    let mut different = HashSet::new();
    for (run, me) in [(&first, "a"), (&second, "b")] {
        run.expect_status(0);
        run.check(start(run) == "snapshot", "it was not resumed");
        let text = run.guest_text();
        let (drawn, clocks) = text.split_once("---\n").unwrap();
        run.check(drawn.lines().count() == 5, "something is missing");
        for line in drawn.lines() {
            run.check(different.insert(line.to_owned()), &format!("`{line}` came twice"));
        }
        let clocks: Vec<f64> = clocks.lines().map(|line| line.parse().unwrap()).collect();
        // The host's own clock, at both ends.
        let host = ["before", "after"].map(|when| {
            let file = fs::metadata(project.dir().join(format!("{when}-{me}"))).unwrap();
            file.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
        });
        run.check(
            host[0] - 1.0 < clocks[0] && clocks[0] < host[1] + 1.0,
            &format!("its clock shows {}, the host's {host:?}", clocks[0]),
        );
        // The time since the boot goes on from where the guest was kept.
        run.check(clocks[1..].is_sorted(), "its monotonic clock went back");
    }
    assert!(before == bytes(), "the kept guest is not what it was");
}

/// Nothing that was said before the guest was kept is said again.
#[track_caller]
fn expect_says_nothing_of_its_boot(run: &Outcome) {
    let console = run.events_named("console");
    let of_boot = console.iter().find(|event| event["line"].as_str().unwrap().contains("Linux version"));
    run.check(of_boot.is_none(), "the console of the boot came again");
}

// S6, S7
#[test]
fn a_resumed_guest_lives_on_when_the_one_that_was_kept_is_removed() {
    let command =
        "echo begun; until [ -e go ]; do sleep 0.1; done; cat /proc/kallsyms >/dev/null; dmesg >/dev/null
        head -c 64M /dev/zero >/dev/shm/much && ls -l /usr/bin >/dev/null && echo fine";
    let project = Project::one(command).without_snapshots();
    // By virtiofs a guest would have a copy of the memory that was kept.
    let run = || project.vmtest(["--format", "json", "--share", "9p"]).leaves(["go"]);
    project.write("go", "");
    run().run().expect_status(0);
    for is_by_hand in [false, true] {
        fs::remove_file(project.dir().join("go")).unwrap();
        let running = run().start();
        running.wait_for("begun\\n");
        if is_by_hand {
            fs::remove_dir_all(project.cache().join("vmtest")).unwrap();
        } else {
            project.vmtest(["cache", "clear"]).without_machine().run().expect_status(0);
        }
        assert_eq!(files(&project, "memory").len(), 0);
        project.write("go", "");
        let ended = running.finish();
        ended.expect_status(0).expect_guest_text("begun\nfine\n");
        // The first time it was resumed from the disk; after that there is none, and it was kept anew.
        expect_says_nothing_of_its_boot(&ended);
        run().run().expect_status(0);
    }
}
