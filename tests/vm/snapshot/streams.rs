//! Guests whose memory is kept as a part of their state, because it cannot be a file that resumed guests map.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use vmtest_tests::{Outcome, Project, machine, target};

use super::{cold_because, files, start};

/// What must not repeat, what must be right, and what a share brings.
const LOOK: &str = "head -c16 /dev/urandom | base64; cat /proc/sys/kernel/random/boot_id
    ls /proc/self/fd | wc -l; nproc; cat seen; echo written > result";

/// Two runs: the first keeps its guest, the second resumes it.
#[track_caller]
fn expect_stream(project: &Project, run: impl Fn() -> Outcome) {
    project.write("seen", "of the host\n");
    let runs = [run(), run()];
    for run in &runs {
        run.expect_status(0).expect_text("of the host");
    }
    assert_eq!(cold_because(&runs[0]), "there is no snapshot yet");
    runs[1].check(start(&runs[1]) == "snapshot", "it was not resumed");
    assert_eq!((files(project, "state").len(), files(project, "memory").len()), (1, 0));
    let lines = |run: &Outcome| run.guest_text().lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (lines(&runs[0]), lines(&runs[1]));
    assert!(first[0] != second[0] && first[1] != second[1], "{first:?} {second:?}");
    assert_eq!(first[2..], second[2..]);
    assert_eq!(project.read("result"), "written\n");
}

#[test]
fn where_files_may_not_be_as_large_as_its_memory_a_guest_is_kept_as_a_stream() {
    let project = Project::new(&target("t", "[target.vm]\nmemory = '2G'", LOOK)).without_snapshots();
    let limited = || {
        let run = project.vmtest(["--format", "json"]).leaves(["seen", "result"]);
        run.inside_words(["prlimit", "--fsize=1073741824", "--"]).run()
    };
    expect_stream(&project, limited);
}

/// A QEMU of a test's own, in `folder`: this machine's, with its bytes changed.
pub(super) fn own_qemu(folder: &Path, change: impl FnOnce(&[u8]) -> Vec<u8>) -> PathBuf {
    let qemu = machine::PATH.split(':').map(|folder| Path::new(folder).join("qemu-system-x86_64"));
    let qemu = qemu.into_iter().find(|file| file.exists()).expect("QEMU is installed");
    fs::create_dir_all(folder.join("bin")).unwrap();
    let program = folder.join("bin/qemu-system-x86_64");
    fs::write(&program, change(&fs::read(qemu).unwrap())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // Its firmware and its modules are looked for beside it.
    for name in ["share", "lib"] {
        symlink(Path::new("/usr").join(name), folder.join(name)).unwrap();
    }
    program
}

/// One that knows no memory that stays where it is: it has another name for that.
fn forgetful(qemu: &[u8]) -> Vec<u8> {
    const CAPABILITY: &[u8] = b"x-ignore-shared";
    let mut bytes = qemu.to_vec();
    let places: Vec<_> = memchr::memmem::find_iter(qemu, CAPABILITY).collect();
    assert!(!places.is_empty(), "this QEMU has the capability under another name");
    for at in places {
        bytes[at] = b'y';
    }
    bytes
}

#[test]
fn where_qemu_does_not_leave_memory_in_its_file_a_guest_is_kept_as_a_stream() {
    let project = Project::one(LOOK).without_snapshots();
    let folder = project.base().join("forgetful");
    own_qemu(&folder, forgetful);
    let path = format!("{}:{}", folder.join("bin").display(), machine::PATH);
    expect_stream(&project, || {
        project.vmtest(["--format", "json"]).leaves(["seen", "result"]).env("PATH", &path).run()
    });
}
