//! The host's files in the guest: what can be written, and what of it stays.

use std::fs;

use vmtest_tests::{Project, target};

// F1
#[test]
fn host_files_outside_the_project_stay_as_they_are_and_what_was_lost_is_named() {
    let project = Project::new("");
    let outside = project.base().join("outside");
    project.make_dir(&outside);
    fs::write(outside.join("old"), "old\n").unwrap();
    let script =
        "cd ../outside && echo changed >old && echo new >new && cat old new && echo x >/etc/vmtest-e2e";
    project.write("vmtest.toml", &target("t", "", script));
    let run = project.run_json();
    run.expect_status(0).expect_guest_text("changed\nnew\n");
    assert_eq!(fs::read_to_string(outside.join("old")).unwrap(), "old\n");
    assert!(!outside.join("new").exists(), "a file reached the host");
    assert!(!fs::exists("/etc/vmtest-e2e").unwrap(), "a file reached the host");
    let lost = &run.finished()["lost_writes"];
    run.check(lost["paths"].as_array().unwrap().contains(&"/etc/vmtest-e2e".into()), &format!("{lost}"));
}

#[test]
fn with_ro_the_root_cannot_be_written() {
    let script = "echo x >/etc/vmtest-e2e || echo refused; grep -c ' / .*\\bro\\b' /proc/self/mounts; echo here >result";
    let project = Project::new(&target("t", "kernel_args = 'ro'", script));
    let run = project.vmtest(["--format", "json"]).leaves(["result"]).run();
    run.expect_status(0).expect_guest_text("refused\n1\n");
    run.check(
        String::from_utf8_lossy(&run.output("stderr")).contains("Read-only file system"),
        "it says why",
    );
    assert_eq!(project.read("result"), "here\n");
}

#[test]
fn with_rw_the_hosts_root_can_be_written() {
    let project = Project::new("");
    let outside = project.base().join("outside");
    project.make_dir(&outside);
    project.write("vmtest.toml", &target("t", "kernel_args = 'rw'", "echo written >../outside/new"));
    let run = project.run_json();
    run.expect_status(0);
    assert_eq!(fs::read_to_string(outside.join("new")).unwrap(), "written\n");
}

#[test]
fn a_mount_can_be_read_and_not_written() {
    let project = Project::new("");
    let data = project.base().join("data");
    project.make_dir(&data);
    fs::write(data.join("file"), "from the host\n").unwrap();
    let keys = format!("[target.vm.mounts.'/mnt/data']\nhost_path = '{}'", data.display());
    let script =
        "cat /mnt/data/file; echo x >/mnt/data/new || echo refused; echo x >/mnt/data/file || echo refused";
    project.write("vmtest.toml", &target("t", &keys, script));
    let run = project.run_json();
    run.expect_status(0).expect_guest_text("from the host\nrefused\nrefused\n");
    run.check(
        String::from_utf8_lossy(&run.output("stderr")).contains("Read-only file system"),
        "it says why",
    );
    assert!(!data.join("new").exists());
}

#[test]
fn what_is_written_to_a_writable_mount_is_on_the_host() {
    let project = Project::new("");
    let data = project.base().join("data");
    project.make_dir(&data);
    // Below a directory that the host does not have.
    let keys =
        format!("[target.vm.mounts.'/a/new/point']\nhost_path = '{}'\nwritable = true", data.display());
    project.write(
        "vmtest.toml",
        &target("t", &keys, "mkdir /a/new/point/dir && echo hi >/a/new/point/dir/file"),
    );
    let run = project.run_json();
    run.expect_status(0);
    assert_eq!(fs::read_to_string(data.join("dir/file")).unwrap(), "hi\n");
    run.check(run.finished()["lost_writes"]["count"] == 0, "nothing was lost");
}

#[test]
fn another_rootfs_is_the_guests_root() {
    let project = Project::new("");
    let rootfs = project.make_rootfs();
    fs::write(rootfs.join("etc/mine"), "mine\n").unwrap();
    let keys = format!("rootfs = '{}'", rootfs.display());
    let script = "pwd; read line </etc/mine; echo $line; echo result >/mnt/vmtest/result; type ls >/dev/null 2>&1 || echo small";
    project.write("vmtest.toml", &target("t", &keys, script));
    let run = project.vmtest(["--format", "json"]).leaves(["result"]).run();
    run.expect_status(0).expect_guest_text("/\nmine\nsmall\n");
    assert_eq!(project.read("result"), "result\n");
}
