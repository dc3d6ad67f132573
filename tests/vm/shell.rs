//! An interactive shell in the guest.

use vmtest_tests::{Project, Pty};

/// Words are typed in two parts, so that what the terminal echoes is not taken for an answer.
fn open(project: &Project) -> Pty {
    let mut shell = project.vmtest(["-k", "{stable}", "-"]).start_on_terminal(33, 101);
    shell.wait_for("===> Running command");
    shell.keys("PS1='rea''dy> '\r");
    shell.wait_for("ready> ");
    shell
}

#[test]
fn a_shell_answers_and_passes_its_status_on() {
    let project = Project::new("");
    let mut shell = open(&project);
    shell.keys("uname -r; tty; echo sum-$((40 + 2))\r");
    shell.wait_for("sum-42");
    shell.keys("exit 7\r");
    let run = shell.finish();
    run.expect_status(7)
        .expect_text(&vmtest_tests::machine::kernel("stable").release)
        .expect_text("/dev/pts/0");
    run.check(!run.text().contains("job control"), "the shell has no job control");
}

#[test]
fn ctrl_c_interrupts_the_command_and_not_the_shell() {
    let project = Project::new("");
    let mut shell = open(&project);
    // The command says it itself: the shell has made it the terminal's foreground job by then.
    shell.keys("bash -c 'echo be\"\"gun; exec sleep 1000'\r");
    shell.wait_for("begun");
    shell.keys("\x03");
    shell.keys("echo status-$?\r");
    shell.wait_for("status-130");
    shell.keys("exit\r");
    shell.finish();
}

#[test]
fn ctrl_z_stops_a_job_and_fg_continues_it() {
    let project = Project::new("");
    let mut shell = open(&project);
    shell.keys("bash -c 'echo be''gun; read -r line; echo got-$line'\r");
    shell.wait_for("begun");
    shell.keys("\x1a");
    shell.wait_for("Stopped");
    shell.keys("fg\r");
    // The command line is shown when it is typed, when it is stopped and when it goes on. What is typed before that is
    // still the shell's.
    shell.wait_for_times("read -r line; echo got", 3);
    shell.keys("it\r");
    shell.wait_for("got-it");
    shell.keys("exit\r");
    shell.finish();
}

#[test]
fn the_shell_has_the_windows_size_and_hears_of_changes() {
    let project = Project::new("");
    let mut shell = open(&project);
    shell.keys("stty size\r");
    shell.wait_for("33 101");
    shell.keys("bash -c 'trap \"stty size; exit\" WINCH; echo wai\"\"ting; while :; do sleep 0.1; done'\r");
    shell.wait_for("waiting");
    shell.resize(44, 122);
    shell.wait_for("44 122");
    shell.keys("exit 0\r");
    shell.finish().expect_status(0);
}

#[test]
fn a_targets_shell_starts_where_its_command_would() {
    let project = Project::new(&vmtest_tests::target("box", "env = { INSIDE = 'yes' }", "false"));
    let mut shell = project.vmtest(["shell", "box"]).start_on_terminal(24, 80);
    shell.wait_for("===> Running command");
    shell.keys("echo \"$INSIDE\"-is-in-; pwd -P\r");
    shell.wait_for("yes-is-in-");
    shell.wait_for(&format!("\n{}", project.dir().display()));
    shell.keys("exit\r");
    shell.finish().expect_status(0);
}

#[test]
fn ctrl_c_on_the_terminal_stops_the_boot() {
    let project = Project::new("");
    let mut shell = project.vmtest(["-k", "{stable}", "-"]).start_on_terminal(24, 80);
    shell.wait_for("===> Booting");
    shell.keys("\x03");
    shell.finish().expect_status(130);
}

#[test]
fn three_times_ctrl_right_bracket_leaves_a_shell_that_hangs() {
    let project = Project::new("");
    let mut shell = open(&project);
    shell.keys("stty -isig; echo be''gun; sleep 1000\r");
    shell.wait_for("begun");
    shell.keys("\x1d\x1d\x1d");
    shell.finish().expect_status(130);
}

#[test]
fn a_shell_reads_commands_from_a_pipe() {
    let project = Project::new("");
    let run = project
        .vmtest(["-k", "{stable}", "-"])
        .stdin("echo piped-$((1 + 1))\nread -r line\ndata\necho $line\nexit 5\n")
        .run();
    run.expect_status(5).expect_line("piped-2").expect_line("data");
}
