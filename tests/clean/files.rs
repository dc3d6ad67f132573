//! Files and sockets that are left.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;
use vmtest_tests::Project;

use crate::{alone, complaint, expect_complaint, script};

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_temporary_file_is_found() {
    let _alone = alone();
    let text = "echo >\"$TMPDIR/left\"; mkdir \"$XDG_RUNTIME_DIR/left\"; echo >~/.left";
    let said = complaint(|| script(&Project::new(""), &[], text).run());
    for words in ["files in tmp: [\"left\"]", "files in run: [\"left\"]", "files in home: [\".left\"]"] {
        assert!(said.contains(words), "the complaint is not `{words}`, but {said}");
    }
}

#[test]
fn a_temporary_file_where_nobody_asked_for_it_is_found() {
    let _alone = alone();
    for dir in ["/tmp", "/var/tmp", "/dev/shm"] {
        let path = Path::new(dir).join(format!("vmtest-{:06}", std::process::id() % 1_000_000));
        expect_complaint(&format!("echo >{}", path.display()), "a temporary file: ");
        // It is of no run that comes later.
        script(&Project::new(""), &[], "true").run();
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_beside_vmtest_toml_is_found() {
    let _alone = alone();
    expect_complaint("echo >left", "files beside vmtest.toml");
}

#[test]
fn a_socket_is_found() {
    let _alone = alone();
    for dir in ["tmp", "state"] {
        let project = Project::new("");
        let mut bound = None;
        let said = complaint(|| {
            let running = script(&project, &[], "true").start();
            bound = Some(UnixListener::bind(project.base().join(dir).join("left")).unwrap());
            running.finish()
        });
        assert!(said.contains("sockets: {"), "{said}");
    }
}

#[test]
fn a_socket_whose_file_is_gone_is_found_while_somebody_has_it() {
    let _alone = alone();
    let project = Project::new("");
    let mut bound = None;
    let said = complaint(|| {
        let running = script(&project, &[], "true").start();
        let path = project.base().join("tmp/left");
        bound = Some(UnixListener::bind(&path).unwrap());
        fs::remove_file(path).unwrap();
        running.finish()
    });
    assert!(said.contains("sockets: {"), "{said}");
}

/// What a run that ends too early may leave in the cache, and no other.
const HALF_WRITTEN: [&str; 9] = [
    "snapshots/1/KEY.socket",
    "snapshots/1/KEY-0123456789abcdef.memory",
    "downloads/1/KEY.new",
    "downloads/1/KEY.json.new",
    "downloads/1/KEY",
    "packages/1/KEY.new",
    "packages/1/KEY.json",
    "modules/.new-abcdef",
    "kvm-broken/.new-abcdef",
];

fn make(names: &[&str]) -> String {
    let make = |name: &&str| {
        let path = format!("\"$XDG_CACHE_HOME/vmtest/{}\"", name.replace("KEY", KEY));
        format!("mkdir -p $(dirname {path}); echo '\"{KEY}-0123456789abcdef.memory\"' >{path}; ")
    };
    names.iter().map(make).collect()
}

#[test]
fn a_half_written_entry_of_the_cache_is_found() {
    let _alone = alone();
    let project = Project::new("").with_own_cache();
    let said = complaint(|| script(&project, &[], &make(&HALF_WRITTEN)).run());
    for name in HALF_WRITTEN {
        let line = format!("/cache/vmtest/{}\n", name.replace("KEY", KEY));
        assert!(said.contains(&line), "{name} is not found: {said}");
    }
}

#[test]
fn whole_entries_locks_and_what_there_is_of_a_download_may_stay() {
    let _alone = alone();
    let kept = ["snapshots/1/order.lock", "snapshots/1/KEY.lock", "snapshots/1/KEY.state"];
    let memory = ["snapshots/1/KEY-0123456789abcdef.memory"];
    let fetched = ["downloads/1/KEY", "downloads/1/KEY.json", "downloads/1/KEY.lock"];
    let part = ["packages/1/KEY.part", "packages/1/KEY.part.json", "packages/1/KEY.lock"];
    let others = ["modules/0123456789abcdef-0123456789abcdef", "kvm-broken/0123456789abcdef"];
    let all = [&kept[..], &memory, &fetched, &part, &others].concat();
    let project = Project::new("").with_own_cache();
    script(&project, &[], &make(&all)).run();
}

#[test]
fn what_a_killed_run_left_half_written_is_the_next_ones_to_tidy() {
    let _alone = alone();
    let project = Project::new("").with_own_cache();
    let mut running =
        script(&project, &[], &format!("{}echo begun; exec sleep 1000", make(&HALF_WRITTEN))).start();
    running.wait_for("begun");
    running.signal(Signal::SIGKILL);
    running.finish();
    let said = complaint(|| script(&project, &[], "true").run());
    assert_eq!(said.matches("a half-written entry of the cache").count(), HALF_WRITTEN.len(), "{said}");
}

#[test]
fn what_a_killed_run_left_half_written_in_a_cache_of_many_is_no_fault_of_the_others() {
    let _alone = alone();
    let (first, second) = (Project::new(""), Project::new(""));
    let beside = script(&first, &[], "until test -e go; do sleep 0.05; done").leaves(["go"]).start();
    let staging = first.cache().join("vmtest/modules/.new-abcdef");
    let mut running =
        script(&second, &[], &format!("{}echo begun; exec sleep 1000", make(&["modules/.new-abcdef"])))
            .start();
    running.wait_for("begun");
    running.signal(Signal::SIGKILL);
    running.finish();
    first.write("go", "");
    beside.finish();
    fs::remove_file(staging).unwrap();
}
