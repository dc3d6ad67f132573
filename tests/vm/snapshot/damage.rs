//! What is left of a kept guest is never half of one: its files are damaged in every way that a disk or a person can, and the
//! run boots, says why, and keeps another.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use vmtest_tests::{Project, machine};

use super::{cold_because, files, kept, start};

/// Something that happens to a file.
struct Damage {
    what: &'static str,
    /// A part of what the run says of it.
    because: &'static str,
    done: fn(&Path),
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

fn resize(file: &Path, length: u64) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}

/// Flips one bit of a byte.
fn flip(file: &Path, at: u64, bit: u8) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
}

/// Where the state begins, behind the line that describes it.
fn state_start(file: &Path) -> u64 {
    fs::read(file).unwrap().iter().position(|byte| *byte == b'\n').unwrap() as u64 + 1
}

const OF_THE_STATE: &[Damage] = &[
    Damage { what: "empty", because: "no snapshot of this version", done: |file| resize(file, 0) },
    Damage {
        what: "cut in its first line",
        because: "its header has no end",
        done: |file| resize(file, state_start(file) / 2),
    },
    Damage {
        what: "cut in the middle",
        because: "bytes of state instead of",
        done: |file| resize(file, length(file) / 2),
    },
    // QEMU resumes such a state without a word.
    Damage {
        what: "cut by its last 200 bytes",
        because: "bytes of state instead of",
        done: |file| resize(file, length(file) - 200),
    },
    Damage {
        what: "first bit flipped",
        because: "no snapshot of this version",
        done: |file| flip(file, 0, 0),
    },
    Damage {
        what: "first bit of the state flipped",
        because: "its state is damaged",
        done: |file| flip(file, state_start(file), 0),
    },
    Damage {
        what: "bit in the middle flipped",
        because: "its state is damaged",
        done: |file| flip(file, u64::midpoint(state_start(file), length(file)), 4),
    },
    Damage {
        what: "last bit flipped",
        because: "its state is damaged",
        done: |file| flip(file, length(file) - 1, 7),
    },
];

const OF_THE_MEMORY: &[Damage] = &[
    Damage {
        what: "missing",
        because: "its memory cannot be read",
        done: |file| fs::remove_file(file).unwrap(),
    },
    Damage { what: "empty", because: "its memory was changed", done: |file| resize(file, 0) },
    Damage {
        what: "a page too short",
        because: "its memory was changed",
        done: |file| resize(file, length(file) - 4096),
    },
    Damage {
        what: "a page too long",
        because: "its memory was changed",
        done: |file| resize(file, length(file) + 4096),
    },
    Damage {
        what: "bit flipped",
        because: "its memory was changed",
        done: |file| flip(file, length(file) / 2, 3),
    },
];

/// After each of them the run boots once, says why and keeps a guest anew, which is what the next damage is done to.
#[track_caller]
fn expect_each_is_said_and_replaced(extension: &str, damages: &[Damage]) {
    let project = kept();
    let the_one = |extension: &str| -> PathBuf {
        let mut all = files(&project, extension);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    };
    for Damage { what, because, done } in damages {
        let state = fs::metadata(the_one("state")).unwrap().ino();
        let memory = the_one("memory");
        done(&the_one(extension));
        let run = project.run_json();
        run.expect_status(0).expect_guest_text("fine\n");
        let said = cold_because(&run);
        run.check(said.contains(because), &format!("{what}: it says `{said}`"));
        // QEMU was not asked for its opinion first.
        let notices = run.events_named("notice");
        let asked =
            notices.iter().any(|event| event["message"].as_str().unwrap().contains("booting instead"));
        run.check(!asked, &format!("{what}: QEMU has seen it"));
        run.check(
            fs::metadata(the_one("state")).unwrap().ino() != state,
            &format!("{what}: it is still there"),
        );
        run.check(!memory.is_file(), &format!("{what}: its memory is still there, or was made again"));
    }
    let run = project.run_json();
    run.check(start(&run) == "snapshot", "what was kept last is not resumed");
}

// S2
#[test]
fn a_state_that_is_cut_or_flipped_anywhere_is_never_resumed_and_is_replaced() {
    expect_each_is_said_and_replaced("state", OF_THE_STATE);
}

// S3
#[test]
fn a_memory_that_is_missing_cut_or_changed_is_never_resumed_and_is_replaced() {
    expect_each_is_said_and_replaced("memory", OF_THE_MEMORY);
}

// S5
#[test]
fn a_guest_of_a_qemu_that_was_replaced_is_not_resumed() {
    let project = Project::one("echo fine").without_snapshots();
    let folder = project.base().join("own");
    let qemu = super::streams::own_qemu(&folder, <[u8]>::to_vec);
    let path = format!("{}:{}", folder.join("bin").display(), machine::PATH);
    let run = || project.vmtest(["--format", "json"]).env("PATH", &path).run();
    run().expect_status(0);
    // As a package manager does: another file under the same name.
    let upgraded = qemu.with_extension("new");
    fs::copy(&qemu, &upgraded).unwrap();
    fs::rename(&upgraded, &qemu).unwrap();
    let after = run();
    after.expect_status(0).expect_guest_text("fine\n");
    assert_eq!(cold_because(&after), "there is no snapshot yet");
    assert_eq!(start(&run()), "snapshot");
}
