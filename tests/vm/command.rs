//! What the command finds around it.

use vmtest_tests::{Project, target};

#[test]
fn the_hosts_environment_is_inherited() {
    let project = Project::one("printf '%s|' \"$GREETING\" \"$HOME\" \"$LANG\"");
    let run = project.vmtest(["--format", "json"]).env("GREETING", "hello, wörld \"x\"").run();
    let home = project.base().join("home");
    run.expect_status(0).expect_guest_text(&format!("hello, wörld \"x\"|{}|C.UTF-8|", home.display()));
}

#[test]
fn env_is_added_to_what_is_inherited_and_wins() {
    let keys = "env = { GREETING = 'from the file', MORE = '1' }";
    let project = Project::new(&target("t", keys, "echo \"$GREETING,$MORE,$OTHER\""));
    let run = project.vmtest(["--format", "json"]).env("GREETING", "from the host").env("OTHER", "2").run();
    run.expect_status(0).expect_guest_text("from the file,1,2\n");
}

#[test]
fn without_inherit_env_the_hosts_environment_stays_out() {
    let keys = "inherit_env = false\nenv = { MORE = '1' }";
    let project =
        Project::new(&target("t", keys, "echo \"${GREETING-unset},$MORE,$HOME\"; type ls >/dev/null"));
    let run = project.vmtest(["--format", "json"]).env("GREETING", "from the host").run();
    run.expect_status(0).expect_guest_text("unset,1,/root\n");
}

#[test]
fn inherit_env_takes_a_list_of_names() {
    let project = Project::new(&target("t", "inherit_env = ['ONE']", "echo \"${ONE-unset},${TWO-unset}\""));
    let run = project.vmtest(["--format", "json"]).env("ONE", "1").env("TWO", "2").run();
    run.expect_status(0).expect_guest_text("1,unset\n");
}

#[test]
fn the_command_starts_in_the_project_and_its_files_are_there_on_the_host() {
    let project = Project::one("pwd; mkdir made; echo done >./result; echo also >/mnt/vmtest/made/other");
    let run = project.vmtest(["--format", "json"]).leaves(["result", "made"]).run();
    run.expect_status(0).expect_guest_text(&format!("{}\n", project.dir().display()));
    assert_eq!(project.read("result"), "done\n");
    assert_eq!(project.read("made/other"), "also\n");
    run.check(run.finished()["lost_writes"]["count"] == 0, "nothing was lost");
}

#[test]
fn process_substitution_works() {
    Project::one("cat <(echo hi)").run_json().expect_status(0).expect_guest_text("hi\n");
}

#[test]
fn a_user_namespace_can_be_made() {
    Project::one("unshare -Ur true").run_json().expect_status(0);
}

#[test]
fn a_bpf_program_can_be_loaded() {
    let run = Project::one("./guest-probe bpf").with_probe().run_json();
    run.expect_status(0);
    run.check(run.guest_text().contains("processed 2 insns"), "the verifier's verdict is missing");
}

#[test]
fn the_usual_file_systems_limits_and_interfaces_are_there() {
    let script = "
        for dir in /proc /sys /dev /dev/pts /dev/shm /run /sys/fs/cgroup /sys/kernel/debug /sys/kernel/tracing /sys/fs/bpf
        do mountpoint -q $dir || echo $dir is missing; done
        [ $(ulimit -l) = unlimited ] || echo locked memory is limited
        grep -q 1 /sys/class/net/lo/carrier || echo lo is down
        test -c /dev/null -a -d /dev/fd || echo /dev is incomplete
        test $(cat /sys/fs/cgroup/cgroup.controllers | wc -w) -gt 0 || echo no controllers";
    Project::one(script).run_json().expect_status(0).expect_guest_text("");
}

#[test]
fn the_clock_is_the_hosts() {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let run = Project::one("date +%s").run_json();
    let guest: u64 = run.expect_status(0).guest_text().trim().parse().unwrap();
    run.check((before..=now()).contains(&guest), "the guest's clock is wrong");
}

// U1
#[test]
fn a_variable_is_what_the_file_says_whatever_is_in_it() {
    let keys = "env = { 'A,B=' = 'never' }";
    let refused = Project::new(&target("t", keys, "true")).vmtest::<&str>([]).without_machine().run();
    refused.expect_status(78).expect_error_text("vmtest.toml:5:9");

    let keys = r#"env = { ODD = "a,b=c\n$(touch mark) `touch mark` 'x' \"y\" \\ ü \u0001" }"#;
    let run = Project::new(&target("t", keys, r#"printf '%s|' "$ODD""#)).run_json();
    run.expect_status(0).expect_guest_text("a,b=c\n$(touch mark) `touch mark` 'x' \"y\" \\ ü \u{1}|");
}

/// Linux starts no program with a variable of more than 128 KiB.
// U1
#[test]
fn a_variable_of_a_megabyte_is_told_with_what_linux_says() {
    let keys = format!("env = {{ LARGE = '{}' }}", "x".repeat(1_000_000));
    let run = Project::new(&target("t", &keys, "echo no")).run_json();
    run.check(run.status != Some(0) && run.guest_text().is_empty(), "the command ran");
    let reason = run.finished()["reason"].as_str().unwrap_or_default().to_owned();
    run.check(reason.contains("too long"), &format!("it does not say why: {reason}"));
}
