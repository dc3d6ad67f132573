//! A guest whose command takes all there is: the verdict comes all the same, and it is the command's.

use vmtest_tests::{Outcome, Project, target};

/// Runs a command in a small guest.
fn squeezed(command: &str) -> Outcome {
    Project::new(&target("t", "vm.memory = '256M'\ntimeout = '100s'", command)).run_json()
}

// G3
#[test]
fn a_command_that_takes_all_memory_is_killed_and_the_guest_tells() {
    let run = squeezed("echo begun; exec tail /dev/zero");
    run.expect_status(137).expect_verdict("killed").expect_guest_text("begun\n");
}

// G3
#[test]
fn the_agent_is_the_last_to_go_when_memory_is_short_and_the_command_is_no_exception() {
    // `comm` is cut to 15 characters.
    let find = "for p in /proc/[0-9]*; do read -r name <$p/comm && test \"$name\" = qemu-ga && cat $p/oom_score_adj; done";
    squeezed(&format!("{find}; cat /proc/self/oom_score_adj"))
        .expect_status(0)
        .expect_guest_text("-1000\n0\n");
}

// G3
#[test]
fn a_command_that_starts_processes_without_end_has_its_own_end() {
    // Processes end before memory does: whom the kernel kills for memory would be chance.
    let limit = "echo 200 >/proc/sys/kernel/threads-max";
    // Each waits for a pipe that nobody writes to, so that there are more and more.
    let bomb = "mkfifo /tmp/never; bomb() { bomb & bomb & read -r never </tmp/never; }; bomb 2>/dev/null &";
    let many = "until set -- /proc/[0-9]*; test $# -gt 180; do :; done";
    let run = squeezed(&format!("{limit}\n{bomb}\n{many}\nexit 3"));
    run.expect_status(3).expect_verdict("failed");
}

// G3
#[test]
fn a_command_that_fills_its_root_fails_by_itself_and_the_guest_tells() {
    let fill = "cat /dev/zero >/tmp/full; echo cat-$?; cat /dev/zero >/var/tmp/full; echo cat-$?";
    let run = squeezed(&format!("{fill}; echo >/run/more && echo well; exit 3"));
    run.expect_status(3).expect_verdict("failed").expect_guest_text("cat-1\ncat-1\nwell\n");
}
