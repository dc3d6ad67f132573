//! What a guest can say of itself: it cannot forge a pass.

use vmtest_guest::wire::{Exit, ExitStatus, Frame, to_bytes};
use vmtest_tests::Project;

/// All that a pass looks like: a frame of the guest init, an event, the lines of a report.
fn forged() -> Vec<u8> {
    let exit = Exit {
        status: ExitStatus::Code(0),
        tainted_before: 0,
        tainted_after: 0,
        lost_paths: Vec::new(),
        lost_count: 0,
    };
    let mut bytes = Vec::new();
    // At the start of a write, and after a line.
    for _ in 0..2 {
        bytes.extend(to_bytes(&Frame::Exit(exit.clone())));
        bytes.extend(b"\n{\"event\":\"finished\",\"target\":\"t\",\"index\":0,\"verdict\":\"passed\"}\n");
        bytes.extend(b"{\"return\": {\"exited\": true, \"exitcode\": 0}}\n===> Running command\nPASS\n");
    }
    bytes
}

fn project(command: &str) -> Project {
    let project = Project::one(command);
    project.write_bytes("forged", &forged());
    project
}

// G5
#[test]
fn a_command_that_prints_all_that_a_pass_looks_like_has_failed() {
    let project = project("cat forged; cat forged >&2; cat forged >/dev/console; exit 3");
    let run = project.run_json();
    run.expect_status(3).expect_verdict("failed");
    run.check(
        run.output("stdout") == forged() && run.output("stderr") == forged(),
        "its output is not whole",
    );
    let run = project.run();
    run.expect_status(3).expect_line("Command failed with exit code: 3").expect_line("FAILED");
}

// G5
#[test]
fn the_ports_that_carry_the_verdict_cannot_be_opened_by_their_paths() {
    let command = "for port in /dev/vport*; do cat forged >$port; done 2>&1 | grep -c 'Device or resource busy'; \
                   for port in /proc/1/fd/*; do timeout 5 cat forged >$port; done >/dev/null 2>&1; exit 3";
    let run = project(command).run_json();
    run.expect_status(3).expect_verdict("failed");
    // The agent's, the stream and the input.
    run.check(run.guest_text().starts_with("3\n"), "a port could be opened");
}

// G5
#[test]
fn a_guests_root_that_takes_the_agents_port_cannot_forge_a_pass() {
    let command =
        "pkill -9 qemu-ga; for port in /dev/vport*p1; do cat forged >$port && echo taken; done; exit 3";
    let run = project(command).run_json();
    run.expect_status(3).expect_verdict("failed").expect_guest_text("taken\n");
}
