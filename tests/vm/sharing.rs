//! The ways in which directories of the host reach the guest. The virtiofsd of this machine serves root only, so an ordinary
//! user's runs are told so.

use std::fs;
use std::time::{Duration, Instant};

use vmtest_tests::{Outcome, Project, machine, target};

/// Whether this suite's user can have virtiofs.
fn runs_as_root() -> bool {
    machine::needs("/usr/lib/qemu/virtiofsd", "qemu-system-common");
    if !machine::vmtest_is_root() {
        println!("virtiofsd of QEMU 7.2 serves root only: nothing to see for an ordinary user");
    }
    machine::vmtest_is_root()
}

/// The kinds of sharing that this suite's user can have.
pub(crate) fn kinds() -> &'static [&'static str] {
    if runs_as_root() { &["9p", "mixed", "virtiofs"] } else { &["9p"] }
}

/// The run passed, and its directories were shared this way.
#[track_caller]
pub(crate) fn expect_shared(run: &Outcome, kind: &str) {
    run.expect_status(0);
    assert!(run.events_named("booted").iter().all(|booted| booted["share"] == kind));
}

#[test]
fn a_kernel_without_9p_has_its_directories_over_virtiofs_or_says_what_that_needs() {
    let script = "uname -r; echo here >result; echo lost >/etc/vmtest-e2e && modprobe dummy && grep -o ^dummy /proc/modules";
    let text = format!("[[target]]\nname = 't'\nkernel = '{{cloud}}'\ncommand = '''{script}'''\n");
    let project = Project::new(&text);
    if runs_as_root() {
        let run = project.vmtest(["--format", "json"]).leaves(["result"]).run();
        expect_shared(&run, "virtiofs");
        run.expect_guest_text(&format!("{}\ndummy\n", machine::kernel("cloud").release));
        assert_eq!(project.read("result"), "here\n");
        assert!(!fs::exists("/etc/vmtest-e2e").unwrap(), "a file reached the host");
    } else {
        let run = project.run_json();
        run.expect_status(69).expect_verdict("boot_failed");
        let help = run.finished()["help"].as_str().unwrap_or_default().to_owned();
        run.check(help.contains("virtiofs") && help.contains("serves root only"), &help);
    }
}

/// Waits for a file with this text.
#[track_caller]
fn wait_for_file(project: &Project, name: &str, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read_to_string(project.dir().join(name)).ok().as_deref() != Some(text) {
        assert!(Instant::now() < deadline, "{name} does not say {text:?} on the host");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn host_and_guest_see_what_the_other_writes_to_the_project() {
    // Sizes stay the same where only a new content shows that something was written.
    let script = "
        until [ \"$(cat ping)\" = 1 ]; do :; done; echo 1 >pong
        until [ \"$(cat ping)\" = 2 ]; do :; done; echo 2 >>pong
        until [ \"$(stat -c %s ping)\" = 9 ]; do :; done; tail -c 3 ping >>pong
        while [ -e ping ]; do :; done; mv pong gone
        until [ -e dir/new ]; do :; done; rm -r dir";
    for kind in kinds() {
        let project = Project::new(&target("t", "timeout = '120s'", script));
        project.write("ping", "0\n");
        let running = project
            .vmtest(["--format", "json", "--share", kind])
            .leaves(["ping", "pong", "gone", "dir", "dir/new"])
            .start();
        running.wait_for("command_started");
        project.write("ping", "1\n");
        wait_for_file(&project, "pong", "1\n");
        project.write("ping", "2\n");
        wait_for_file(&project, "pong", "1\n2\n");
        project.write("ping", "2 and 45\n");
        wait_for_file(&project, "pong", "1\n2\n45\n");
        fs::remove_file(project.dir().join("ping")).unwrap();
        wait_for_file(&project, "gone", "1\n2\n45\n");
        project.make_dir(&project.dir().join("dir"));
        project.write("dir/new", "");
        expect_shared(&running.finish(), kind);
        assert!(!project.dir().join("dir").exists(), "{kind}");
    }
}

// F1
#[test]
fn a_share_that_cannot_be_written_cannot_be_mounted_so_that_it_can() {
    if !runs_as_root() {
        return;
    }
    let script = "mkdir /tmp/again && mount -t virtiofs -o rw root /tmp/again
        for file in \"/tmp/again$PWD/../outside/old\" \"/tmp/again$PWD/../outside/new\"; do
            echo changed >\"$file\" || echo refused
        done; cat \"/tmp/again$PWD/../outside/old\"";
    let project = Project::new(&target("t", "", script));
    let outside = project.base().join("outside");
    project.make_dir(&outside);
    fs::write(outside.join("old"), "old\n").unwrap();
    let run = project.vmtest(["--format", "json", "--share", "virtiofs"]).run();
    expect_shared(&run, "virtiofs");
    run.expect_guest_text("refused\nrefused\nold\n");
    assert_eq!(fs::read_to_string(outside.join("old")).unwrap(), "old\n");
    assert!(!outside.join("new").exists());
}

#[test]
fn a_virtiofsd_that_does_not_work_leaves_9p_and_is_told_of_once() {
    if !runs_as_root() {
        return;
    }
    let two = [target("one", "", "true"), target("two", "", "true")].concat();
    let project = Project::new(&two);
    let daemon =
        "#!/bin/sh\n[ \"$1\" = --help ] && exec echo '-o source=PATH'\necho 'no luck today' >&2\nexit 1\n";
    project.write_program("virtiofsd", daemon);
    let path = format!("{}:{}", project.dir().display(), machine::PATH);
    let run = project.vmtest(["--format", "json"]).env("PATH", path).run();
    expect_shared(&run, "9p");
    let told = run.events_named("notice");
    let told: Vec<_> =
        told.iter().filter(|notice| notice["message"].as_str().unwrap().contains("no luck today")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_virtiofsd_that_does_not_say_what_it_can_do_is_not_waited_for() {
    let project = Project::one("true");
    project.write_program("virtiofsd", "#!/bin/sh\nexec sleep 1000\n");
    let path = format!("{}:{}", project.dir().display(), machine::PATH);
    let run = project.vmtest(["--format", "json"]).env("PATH", path).run();
    expect_shared(&run, "9p");
}

#[test]
fn files_of_different_file_systems_in_the_project_are_told_apart() {
    if !runs_as_root() {
        return;
    }
    let mounts = "for dir in a b; do mkdir $dir && mount -t tmpfs tmpfs $dir && echo $dir >$dir/x; done && exec \"$@\"";
    let script = "cp a/x b/y && cmp a/x b/y && cp a/x b/x && cat b/x && find . -name x | wc -l";
    let project = Project::new(&target("t", "", script));
    let run = project
        .vmtest(["--format", "json"])
        .leaves(["a", "b"])
        .inside_words(["unshare", "--mount", "sh", "-c", mounts, "sh"])
        .run();
    run.expect_status(0).expect_guest_text("a\n2\n");
}

#[test]
fn what_is_read_and_written_by_virtiofs_keeps_its_bytes_modes_links_and_attributes() {
    if !runs_as_root() {
        return;
    }
    let script = "head -c 3000000 /dev/urandom >big && cp big copy && cmp big copy && ln -s big link && ln big hard &&
        chmod 4751 copy && stat -c '%a %h %F' copy hard link && readlink link && : >'a,b\\c d' && ls a* &&
        python3 -c 'import os; os.setxattr(\"big\", \"user.vmtest\", b\"kept\"); print(os.getxattr(\"hard\", \"user.vmtest\"))'";
    let project = Project::new(&target("t", "", script));
    let run = project
        .vmtest(["--format", "json", "--share", "mixed"])
        .leaves(["big", "copy", "link", "hard", "a,b\\c d"])
        .run();
    expect_shared(&run, "mixed");
    run.expect_guest_text(
        "4751 1 regular file\n644 2 regular file\n777 1 symbolic link\nbig\na,b\\c d\nb'kept'\n",
    );
    assert_eq!(fs::read(project.dir().join("big")).unwrap(), fs::read(project.dir().join("copy")).unwrap());
}
