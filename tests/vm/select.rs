//! Which targets run, and how the command line changes them.

use vmtest_tests::{Project, target};

#[test]
fn a_filter_runs_only_what_it_matches() {
    let all =
        target("alpha", "", "false") + &target("beta-1", "", "echo one") + &target("gamma", "", "false");
    let run = Project::new(&all).vmtest(["--format", "json", "-f", "^beta-[0-9]"]).run();
    run.expect_status(0).expect_guest_text("one\n");
    run.check(run.finished()["target"] == "beta-1", "another target ran");
}

#[test]
fn eight_targets_at_four_a_time_never_mix_their_output() {
    let script =
        |n| format!("for line in 1 2 3 4 5 6 7 8 9; do echo {n} $line; done; exit {}", u8::from(n == 3));
    let all: String = (0..8)
        .map(|n| target(&n.to_string(), "vm = { memory = '512M', num_cpus = 1 }", &script(n)))
        .collect();
    let run = Project::new(&all).vmtest(["-j", "4"]).with_many_machines().run();
    // One of several did not pass.
    run.expect_status(1);
    let text = run.text();
    let blocks: Vec<&str> =
        text.split("=> ").filter(|block| block.starts_with(|c: char| c.is_ascii_digit())).collect();
    run.check(blocks.len() == 8, "there are not eight blocks");
    let mut lines = text.lines().peekable();
    for _ in 0..8 {
        let name = lines.next().and_then(|line| line.strip_prefix("=> ")).expect("a block begins").to_owned();
        let mut wanted =
            vec!["===> Booting".to_owned(), "===> Setting up VM".into(), "===> Running command".into()];
        wanted.extend((1..=9).map(|line| format!("{name} {line}")));
        wanted.extend((name == "3").then(|| "Command failed with exit code: 1".into()));
        wanted.push(if name == "3" { "FAILED" } else { "PASS" }.into());
        let found: Vec<_> = lines.by_ref().take(wanted.len()).collect();
        run.check(found == wanted, &format!("the block of {name} is {found:?}"));
    }
}

#[test]
fn the_file_can_come_from_standard_input() {
    let project = Project::new("");
    // Paths in it start where vmtest does.
    std::fs::remove_file(project.dir().join("vmtest.toml")).unwrap();
    let run = project.vmtest(["--format", "json", "-c", "-"]).stdin(with_kernel("pwd")).run();
    run.expect_status(0).expect_guest_text(&format!("{}\n", project.dir().display()));
}

fn with_kernel(command: &str) -> String {
    let image = vmtest_tests::machine::kernel("stable").image;
    target("t", "", command).replace("{stable}", &image.display().to_string())
}

#[test]
fn set_replaces_keys_of_every_target_that_runs() {
    let all = target("a", "", "nproc") + &target("b", "vm.num_cpus = 4", "nproc");
    let run = Project::new(&all).vmtest(["--set", "vm.num_cpus=3", "--set", "env.X=y"]).run();
    run.expect_status(0);
    let count = run.text().lines().filter(|line| *line == "3").count();
    run.check(count == 2, "not every target has three processors");
}

#[test]
fn a_timeout_on_the_command_line_is_for_every_target() {
    let run = Project::one("sleep 1000").vmtest(["--format", "json", "--timeout", "2s"]).run();
    run.expect_status(124).expect_verdict("timed_out");
}

#[test]
fn an_error_in_the_file_names_its_place_and_nothing_runs() {
    let project = Project::new(&target("t", "vm.memory = 'lots'", "true"));
    let run = project.vmtest::<&str>([]).without_machine().run();
    run.expect_status(78).expect_error_text("vmtest.toml:5:13").expect_error_text("memory");
    run.check(run.stdout.is_empty(), "something ran");
}

#[test]
fn with_fail_fast_nothing_runs_after_a_failure() {
    let all = target("a", "", "exit 3") + &target("b", "", "echo ran");
    let run = Project::new(&all).vmtest(["--format", "json", "--fail-fast"]).run();
    run.check(run.finished_of("b")["verdict"] == "cancelled", "the second target ran");
    run.expect_status(2);
}
