//! An interactive shell in an image.

use vmtest_tests::Project;

use super::small;

#[test]
fn a_shell_in_an_image_has_a_serial_line_with_the_users_window_and_passes_its_status_on() {
    let project = Project::new(&small("", "-"));
    let mut shell = project.vmtest(["shell", "t"]).start_on_terminal(33, 101);
    shell.wait_for("===> Running command");
    shell.keys("PS1='rea''dy> '\r");
    shell.wait_for("ready> ");
    shell.keys("tty; stty size; echo sum-$((40 + 2))\r");
    shell.wait_for("sum-42");
    shell.resize(20, 70);
    shell.keys("until [ \"$(stty size)\" = '20 70' ]; do :; done; echo resi''zed\r");
    shell.wait_for("resized");
    shell.keys("bash -c 'echo be''gun; exec sleep 1000'\r");
    shell.wait_for("begun");
    shell.keys("\x03");
    shell.keys("echo status-$?\r");
    shell.wait_for("status-130");
    shell.keys("exit 7\r");
    let run = shell.finish();
    run.expect_status(7).expect_text("/dev/ttyS1").expect_text("33 101");
    run.check(!run.text().contains("job control"), "the shell has no job control");
}

#[test]
fn a_shell_without_a_terminal_reads_its_commands_to_their_end() {
    let project = Project::new(&small("", "-"));
    let run =
        project.vmtest(["shell", "t"]).stdin("read -r line\nnext line\necho \"got $line\"\nexit 5\n").run();
    run.expect_status(5).expect_line("got next line");
}
