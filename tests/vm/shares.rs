//! What a guest's root can do to the host's directories: whatever it does to a share that it must not write, and what it plants in
//! one that it may.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use vmtest_tests::{Outcome, Project, machine, target};

use crate::sharing::{expect_shared, kinds};

/// Reaches what the guest init has below its overlays, makes it writable as far as the guest can, and tries all ways to change it.
/// Arguments: the share's tag, its place there, a directory in it.
const WRITE: &str = r#"
import ctypes, errno, os, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
tag, lower, folder = sys.argv[1:]
libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0x20000)
# A directory that the init holds open leads out of the root that it has moved onto /.
uppers = [fd for fd in os.listdir("/proc/1/fd") if os.readlink(f"/proc/1/fd/{fd}").endswith(f"/{tag}/upper")]
raw = os.path.join(f"/proc/1/fd/{uppers[0]}", "../../..", lower)
assert libc.mount(b"none", raw.encode(), None, 32, None) == 0, os.strerror(ctypes.get_errno())
assert not os.statvfs(raw).f_flag & os.ST_RDONLY
os.chdir(raw + folder)
assert open("old").read() == "old\n"
for name, change in {
    "write": lambda: os.open("old", os.O_WRONLY),
    "truncate": lambda: os.truncate("old", 0),
    "create": lambda: os.open("new", os.O_WRONLY | os.O_CREAT),
    "mkdir": lambda: os.mkdir("new"),
    "rmdir": lambda: os.rmdir("empty"),
    "chmod": lambda: os.chmod("old", 0o4777),
    "chown": lambda: os.chown("old", 1, 1),
    "touch": lambda: os.utime("old", (1, 1)),
    "mkfifo": lambda: os.mknod("new", stat.S_IFIFO | 0o666),
    "mknod": lambda: os.mknod("new", stat.S_IFBLK | 0o666, os.makedev(8, 0)),
    "rename": lambda: os.rename("old", "new"),
    "unlink": lambda: os.unlink("old"),
    "link": lambda: os.link("old", "new"),
    "symlink": lambda: os.symlink("old", "new"),
    "setxattr": lambda: os.setxattr("old", "user.vmtest", b"x"),
}.items():
    try:
        change()
        print(name, "was done")
    except OSError as error:
        if error.errno != errno.EROFS:
            print(name, errno.errorcode[error.errno])
"#;

/// Everything below a directory: kind and mode, owner, links, size, time of change, and what it holds.
fn tree(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        let data = fs::symlink_metadata(&next).unwrap();
        let holds = match fs::read_link(&next) {
            Ok(link) => link.into_os_string().into_encoded_bytes(),
            Err(_) if data.is_dir() => Vec::new(),
            Err(_) => fs::read(&next).unwrap(),
        };
        let kind = (data.mode(), data.uid(), data.gid(), data.nlink(), data.len());
        let changed = (data.ctime(), data.ctime_nsec(), data.mtime(), data.mtime_nsec());
        if data.is_dir() {
            dirs.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(next, format!("{kind:?} {changed:?} {}", String::from_utf8_lossy(&holds)));
    }
    found
}

/// A directory with a few things in it.
fn furnish(project: &Project, dir: &Path) {
    project.make_dir(dir);
    project.make_dir(&dir.join("empty"));
    fs::write(dir.join("old"), "old\n").unwrap();
    machine::give(&dir.join("old"));
    symlink("old", dir.join("link")).unwrap();
}

// F1
#[test]
fn the_host_refuses_every_change_of_the_root_whatever_the_guest_does_to_its_mounts() {
    for kind in kinds() {
        let project = Project::new("");
        let outside = project.base().join("outside");
        furnish(&project, &outside);
        project.write("write.py", WRITE);
        let script = format!("python3 write.py root lower {}", outside.display());
        project.write("vmtest.toml", &target("t", "", &script));
        let before = tree(&outside);
        let run = project.vmtest(["--format", "json", "--share", kind]).run();
        expect_shared(&run, kind);
        run.expect_guest_text("");
        assert_eq!(tree(&outside), before, "{kind}");
    }
}

// F1
#[test]
fn the_host_refuses_every_change_of_an_untrusted_project_whatever_the_guest_does_to_its_mounts() {
    for kind in kinds() {
        let project = Project::new("");
        furnish(&project, &project.dir().join("inside"));
        project.write("write.py", WRITE);
        project
            .write("vmtest.toml", &target("t", "", "python3 write.py project lower-shares/project /inside"));
        let before = tree(project.dir());
        let run = project.vmtest(["--format", "json", "--untrusted", "--share", kind]).run();
        run.expect_status(0).expect_guest_text("");
        assert_eq!(tree(project.dir()), before, "{kind}");
    }
}

/// Runs a script in the project, by each way to share it, and holds a directory beside it to what it was.
#[track_caller]
fn leaves_outside_alone(keys: &str, script: &str, look: impl Fn(&Project, &Outcome, &str)) {
    for kind in kinds() {
        let project = Project::new("");
        let outside = project.base().join("outside");
        furnish(&project, &outside);
        let name = |text: &str| text.replace("{outside}", &outside.display().to_string());
        let name = |text: &str| name(text).replace("{project}", &project.dir().display().to_string());
        project.write("vmtest.toml", &target("t", &name(keys), &name(script)));
        let before = tree(&outside);
        let run = project.vmtest(["--format", "json", "--share", kind]).leaves(["planted"]).run();
        run.expect_status(0);
        look(&project, &run, kind);
        assert_eq!(tree(&outside), before, "{kind}");
    }
}

// F2
#[test]
fn a_link_out_of_the_project_leads_the_guest_to_its_own_files_and_never_to_the_hosts() {
    let script = "mkdir planted && cd planted && ln -s {outside} absolute && ln -s ../../outside up &&
        for way in absolute up; do
            echo new >$way/$way && echo changed >$way/old && rm $way/empty -r; mkdir -p $way/empty
            chmod 777 $way/old && mv $way/link $way/moved && mv $way/moved $way/link
        done
        cat {outside}/old && ls {outside}";
    leaves_outside_alone("", script, |_, run, _| {
        run.expect_guest_text("changed\nabsolute\nempty\nlink\nold\nup\n");
    });
}

// F2
#[test]
fn a_directory_that_becomes_a_link_while_the_guest_is_in_it_leads_no_server_out_of_the_share() {
    // Two servers of one directory: one does not hear of what is done by the other.
    let keys = "[target.vm.mounts.'/mnt/again']\nhost_path = '{project}'\nwritable = true";
    let script = "mkdir -p planted/a && cd planted/a && exec 3>file &&
        mv /mnt/again/planted/a /mnt/again/planted/b && ln -s {outside} /mnt/again/planted/a
        echo x >new; echo changed >old; rm -f link; mkdir dir; chmod 777 old; echo still there >&3; true";
    leaves_outside_alone(keys, script, |_, _, _| {});
}

// F2
#[test]
fn odd_names_and_deep_folders_of_the_guest_are_on_the_host_under_their_names() {
    let long = "n".repeat(255);
    let script = format!(
        "mkdir planted && cd planted && : >'{long}' && : >$'a\\nb' && : >' -rf ..' && {{ mkfifo pipe || true; }} &&
        python3 -c 'import os
for _ in range(40): os.mkdir(\"d\" * 200); os.chdir(\"d\" * 200)
open(\"end\", \"w\").close()'"
    );
    leaves_outside_alone("", &script, |project, _, kind| {
        let mut names: Vec<_> = fs::read_dir(project.dir().join("planted"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        // QEMU's server makes a pipe and says that it failed.
        names.retain(|name| name != "pipe");
        names.sort();
        assert_eq!(names, [" -rf ..", "a\nb", &"d".repeat(200), long.as_str()], "{kind}");
        assert_eq!(depth(&project.dir().join("planted")), 40, "{kind}");
    });
}

/// How deep the folders go; the path is longer than any that the kernel takes.
fn depth(dir: &Path) -> usize {
    let script = "import os, sys\nos.chdir(sys.argv[1])\nn = 0\nwhile os.path.isdir('d' * 200): os.chdir('d' * 200); n += 1\nprint(n)";
    let output = std::process::Command::new("python3").args(["-c", script]).arg(dir).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

// F2
#[test]
fn a_device_of_the_guest_is_none_on_the_host() {
    let script = "mkdir planted && cd planted
        mknod null c 1 3 || echo refused; mknod disk b 8 0 || echo refused; ls";
    leaves_outside_alone("", script, |project, run, kind| {
        run.expect_guest_text("refused\nrefused\n");
        assert_eq!(fs::read_dir(project.dir().join("planted")).unwrap().count(), 0, "{kind}");
    });
}

// F2
#[test]
fn a_report_and_logs_are_not_written_through_what_the_guest_has_put_there() {
    let first = "for name in report.xml logs/02-second.log; do ln -sf $PWD/../outside/old out/$name; done
        ln -sf $PWD/../outside/new out/logs/02-second.console.log";
    let all = target("first", "", first) + &target("second", "", "echo second");
    let project = Project::new(&all);
    let outside = project.base().join("outside");
    furnish(&project, &outside);
    let before = tree(&outside);
    let args = ["--junit", "out/report.xml", "--log-dir", "out/logs"];
    let run = project.vmtest(args).leaves(["out"]).run();
    run.expect_status(0);
    assert_eq!(tree(&outside), before);
    assert!(project.read("out/report.xml").contains("<testsuites"), "{run}");
    assert_eq!(project.read("out/logs/02-second.log"), "second\n");
    for name in ["report.xml", "logs/02-second.log", "logs/02-second.console.log"] {
        assert!(project.dir().join("out").join(name).symlink_metadata().unwrap().is_file(), "{name}");
    }
}

// F2
#[test]
fn folders_of_a_report_and_of_logs_are_those_that_were_there_before_the_guest() {
    let first = "mv logs logs-of-before && mv reports reports-of-before && ln -s $PWD/../outside logs && ln -s $PWD/../outside reports";
    let all = target("first", "", first) + &target("second", "", "echo second");
    let project = Project::new(&all);
    let outside = project.base().join("outside");
    furnish(&project, &outside);
    let before = tree(&outside);
    let args = ["--junit", "reports/report.xml", "--log-dir", "logs"];
    let leaves = ["logs", "reports", "logs-of-before", "reports-of-before"];
    project.vmtest(args).leaves(leaves).run().expect_status(0);
    assert_eq!(tree(&outside), before);
    assert_eq!(project.read("logs-of-before/02-second.log"), "second\n");
    assert!(project.read("reports-of-before/report.xml").contains("<testsuites"));
}

// F2
#[test]
fn a_link_in_place_of_a_share_does_not_lead_the_next_guest_out_of_the_project() {
    let first = "rmdir data && ln -s $PWD/../outside data";
    let keys = "[target.vm.mounts.'/mnt/data']\nhost_path = './data'\nwritable = true";
    let all = target("first", "", first) + &target("second", keys, "echo new >/mnt/data/new");
    let project = Project::new(&all);
    let outside = project.base().join("outside");
    furnish(&project, &outside);
    project.make_dir(&project.dir().join("data"));
    let before = tree(&outside);
    let run = project.vmtest(["--format", "json"]).leaves(["data"]).run();
    run.expect_status(1);
    let second = run.finished_of("second");
    run.check(second["verdict"] == "boot_failed", "it ran");
    run.check(second["reason"].as_str().unwrap().contains("data leads out of "), "it does not say why");
    assert_eq!(tree(&outside), before);
}

// F2
#[test]
fn a_link_within_the_project_leads_to_a_share() {
    let keys = "[target.vm.mounts.'/mnt/data']\nhost_path = './data'\nwritable = true";
    let project = Project::new(&target("t", keys, "echo new >/mnt/data/new"));
    project.make_dir(&project.dir().join("really"));
    symlink("really", project.dir().join("data")).unwrap();
    project.vmtest::<&str>([]).leaves(["data", "really"]).run().expect_status(0);
    assert_eq!(project.read("really/new"), "new\n");
}

// F2
#[test]
fn a_setuid_file_of_the_guest_is_its_makers_on_the_host() {
    let script = "mkdir planted && cp /bin/true planted/as-who && chmod 4755 planted/as-who";
    leaves_outside_alone("", script, |project, _, kind| {
        let file = fs::metadata(project.dir().join("planted/as-who")).unwrap();
        let maker = fs::metadata(project.dir()).unwrap().uid();
        assert_eq!((file.uid(), file.mode() & 0o7777), (maker, 0o4755), "{kind}");
    });
}

// F2
#[test]
fn pipes_in_place_of_a_log_and_of_vmtest_toml_are_not_waited_for() {
    if !machine::vmtest_is_root() {
        println!("an ordinary user's project comes by 9p, where QEMU makes no pipes: nothing to see");
        return;
    }
    let first = "rm vmtest.toml; for pipe in vmtest.toml logs/02-second.log logs/02-second.console.log; do mkfifo $pipe || true; done";
    let all = target("first", "", first) + &target("second", "", "echo second");
    let project = Project::new(&all);
    let run = project.vmtest(["--log-dir", "logs"]).leaves(["logs"]).run();
    run.expect_status(0);
    assert_eq!(project.read("logs/02-second.log"), "second\n");
    let run = project.vmtest::<&str>([]).without_machine().run();
    run.expect_status(78).expect_error_text("vmtest.toml: it is not a file");
}
