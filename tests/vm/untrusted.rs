//! `--untrusted`: nothing that the guest writes stays, and nothing of the host's is run or sent for the project.

use std::fs;
use std::path::Path;

use vmtest_tests::{Outcome, Project, target};

use crate::sharing::kinds;

#[track_caller]
fn notices(run: &Outcome) -> Vec<String> {
    let told = run.events_named("notice");
    told.iter().map(|notice| notice["message"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn start(run: &Outcome) -> String {
    run.events_named("booted")[0]["start"].as_str().unwrap().to_owned()
}

/// A project with a file and a folder.
fn project(keys: &str, script: &str) -> Project {
    let project = Project::new("");
    project.write(
        "vmtest.toml",
        &target("t", &keys.replace("{dir}", &project.base().display().to_string()), script),
    );
    project.write("old", "old\n");
    project.make_dir(&project.base().join("data"));
    project
}

#[test]
fn what_the_guest_writes_to_the_project_is_seen_at_both_its_places_and_then_gone_and_named() {
    let script = "mkdir dir && echo one >dir/new && cat /mnt/vmtest/dir/new && echo changed >/mnt/vmtest/old && cat old &&
        rm vmtest.toml && test ! -e /mnt/vmtest/vmtest.toml && echo all";
    for kind in kinds() {
        let project = project("", script);
        let run = project.vmtest(["--format", "json", "--untrusted", "--share", kind]).run();
        run.expect_status(0).expect_guest_text("one\nchanged\nall\n");
        assert_eq!(project.read("old"), "old\n");
        assert!(project.dir().join("vmtest.toml").exists());
        let lost = run.finished()["lost_writes"]["paths"].clone();
        for name in ["dir/new", "old"] {
            let path = project.dir().join(name).display().to_string();
            run.check(lost.as_array().unwrap().contains(&path.into()), &format!("{name} is not named"));
        }
    }
}

#[test]
fn a_guest_that_was_kept_serves_an_untrusted_project() {
    let project = project("", "echo new >new && cat old new").with_own_cache();
    let run = || project.vmtest(["--format", "json", "--untrusted"]).run();
    let (first, second) = (run(), run());
    for run in [&first, &second] {
        run.expect_status(0).expect_guest_text("old\nnew\n");
    }
    assert_eq!((start(&first), start(&second)), ("cold".to_owned(), "snapshot".to_owned()));
}

#[test]
fn mounts_and_a_root_that_would_be_writable_are_not_and_that_is_said() {
    let keys =
        "kernel_args = 'rw'\n[target.vm.mounts.'/mnt/data']\nhost_path = '{dir}/data'\nwritable = true";
    let script = "echo x >/mnt/data/new && cat /mnt/data/new && echo x >../new && cat ../new";
    let project = project(keys, script);
    let run = project.vmtest(["--format", "json", "--untrusted"]).run();
    run.expect_status(0).expect_guest_text("x\nx\n");
    run.expect_error_text("what the guest writes to /mnt/data is thrown away");
    run.expect_error_text("`rw` does not make the root writable");
    assert!(!project.base().join("data/new").exists() && !project.base().join("new").exists());
}

#[test]
fn the_guest_gets_nothing_of_the_environment_in_which_a_secret_could_be() {
    let project = project("", "env; echo $TERM");
    let run = project
        .vmtest(["--format", "json", "--untrusted"])
        .env("MY_TOKEN", "in the environment")
        .env("TERM", "vt100")
        .run();
    run.expect_status(0);
    let text = run.guest_text();
    run.check(!text.contains("MY_TOKEN") && !text.contains("in the environment"), "a secret got in");
    run.check(text.ends_with("vt100\n"), "a terminal needs its name");
}

#[test]
fn without_overlayfs_the_project_is_read_only_and_that_is_said_once() {
    let script = "echo x >new || echo refused; cat old; echo x >/tmp/new && echo done";
    let project = project("kernel_args = 'module_blacklist=overlay'", script);
    let run = project.vmtest(["--format", "json", "--untrusted"]).run();
    run.expect_status(0).expect_guest_text("refused\nold\ndone\n");
    let told: Vec<_> = notices(&run).into_iter().filter(|notice| notice.contains("overlayfs")).collect();
    run.check(
        told.len() == 1 && told[0].contains("the project and its mounts are read-only, too"),
        "it is not said",
    );
}

#[test]
fn another_rootfs_and_a_command_line_have_the_project_read_only_too() {
    let project = project("", "true");
    let rootfs = project.make_rootfs();
    let args = ["--format", "json", "--untrusted", "-k", "{stable}", "-r", rootfs.to_str().unwrap()];
    let script = "echo x >/mnt/vmtest/new; read line </mnt/vmtest/new; echo $line; echo x >/etc/new";
    let run = project.vmtest(args.into_iter().chain([script])).run();
    run.expect_status(0).expect_guest_text("x\n");
    assert!(!rootfs.join("etc/new").exists());
    let lost = run.finished()["lost_writes"]["paths"].clone();
    run.check(lost == serde_json::json!(["/mnt/vmtest/new", "/etc/new"]), "it is not named");
}

#[test]
fn an_images_guest_writes_to_the_project_in_vain_too() {
    let text = "[[target]]\nname = 't'\nimage = '{small.qcow2}'\n\
        command = 'echo x >/mnt/vmtest/new && cat /mnt/vmtest/new /mnt/vmtest/old || echo x >/mnt/vmtest/new || echo refused'\n\
        [target.vm]\nmemory = '512M'\n";
    let project = Project::new(text);
    project.write("old", "old\n");
    let run = project.vmtest(["--format", "json", "--untrusted"]).run();
    run.expect_status(0);
    let has_overlay = !notices(&run).iter().any(|notice| notice.contains("has no overlayfs"));
    run.expect_guest_text(if has_overlay { "x\nold\n" } else { "refused\n" });
    run.check(notices(&run).iter().any(|notice| notice.contains("thrown away")), "it is not said");
    assert!(!project.dir().join("new").exists());
}

/// Refused before anything started.
#[track_caller]
fn refused(keys: &str, args: &[&str], message: &str) {
    let project = Project::new(&target("t", keys, "true"));
    project.write_program("evil", "#!/bin/sh\ntouch \"$(dirname \"$0\")/started\"\n");
    let args = ["--untrusted"].iter().chain(args);
    let run = project.vmtest(args).without_machine().run();
    run.expect_status(78).expect_error_text(message);
    assert!(!fs::exists(project.dir().join("started")).unwrap(), "it was started");
}

// E2
#[test]
fn what_would_run_on_the_host_or_reach_beyond_it_is_refused_before_anything_starts() {
    refused("qemu_command = './evil'", &[], "`qemu_command` would start");
    refused("vm.extra_args = ['-snapshot']", &[], "`vm.extra_args` can make QEMU open any file");
    refused("vm.network = true", &[], "could send them away");
    refused("", &["--set", "qemu_command=./evil"], "`qemu_command` would start");
    refused("", &["-k", "{stable}", "-q", "./evil", "true"], "`qemu_command` would start");
}

// E2
#[test]
fn what_was_refused_runs_without_it() {
    let project = project("vm.network = true", "echo here; test ! -e /sys/class/net/eth0");
    let run = project.vmtest(["--format", "json", "--untrusted", "--set", "vm.network=false"]).run();
    run.expect_status(0).expect_guest_text("here\n");
    assert!(Path::new(project.dir()).join("old").exists());
}
