//! What QEMU and virtiofsd can reach: nothing that they are not given.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use vmtest_tests::{Project, Running};

/// What a descriptor leads to, such as `/dev/null` or `socket:[4711]`.
fn descriptors(pid: i32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// The sockets of a process's network that are not of this machine alone, by their numbers.
fn network_sockets(pid: i32) -> BTreeSet<String> {
    let kinds = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"];
    let lists = kinds.map(|kind| fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default());
    // The tenth word of a line is the number.
    let number = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
    lists.iter().flat_map(|list| list.lines().skip(1)).filter_map(number).collect()
}

/// How each thread is restricted, as /proc says it.
fn seccomp(pid: i32) -> BTreeSet<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let value = |status: String| {
        Some(status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().to_owned())
    };
    status.filter_map(value).collect()
}

/// A run whose command goes on. vmtest has inherited a file, a folder and a connection.
fn start(project: &Project, listener: &TcpListener, args: &[&str]) -> Running {
    let address = listener.local_addr().unwrap();
    let (file, folder) = (project.base().join("inherited"), project.base());
    fs::write(&file, "").unwrap();
    let script = format!(
        "exec 17<'{}' 18<'{}' 19<>/dev/tcp/{}/{}; exec \"$0\" \"$@\"",
        file.display(),
        folder.display(),
        address.ip(),
        address.port()
    );
    let vmtest = project.vmtest(["--format", "json"].iter().chain(args));
    let running = vmtest.inside_words(["bash", "-c", &script]).start();
    running.wait_for("begun\\n");
    let inherited = descriptors(running.pid().as_raw());
    assert!(inherited.contains(&file.display().to_string()), "vmtest did not inherit it: {inherited:?}");
    running
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

/// Nothing that vmtest inherited, and no way to another machine.
#[track_caller]
fn expect_confined(project: &Project, pid: i32, name: &str) {
    let open = descriptors(pid);
    let reachable: BTreeSet<String> =
        [pid, std::process::id() as i32].into_iter().flat_map(network_sockets).collect();
    for file in &open {
        let number = file.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        let is_remote = number.is_some_and(|number| reachable.contains(number));
        let is_inherited = *file == project.base().join("inherited").display().to_string()
            || *file == project.base().display().to_string();
        assert!(!is_remote && !is_inherited, "{name} has {file} among {open:?}");
    }
}

/// QEMU has the ends that its arguments name, one pipe for its words, and what its own work needs.
#[track_caller]
fn expect_no_more_than_given(pid: i32) {
    let open = descriptors(pid);
    let count = |kind: &str| open.iter().filter(|file| file.starts_with(kind)).count();
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let connections = arguments.split('\0').filter(|word| word.starts_with("socket,")).count();
    // It closes its end of one that we have closed.
    assert!(count("socket:") <= connections, "{open:?}");
    assert_eq!(count("pipe:"), 1, "{open:?}");
    let device = |file: &&String| file.starts_with("/dev/");
    let devices: BTreeSet<_> = open.iter().filter(device).map(String::as_str).collect();
    assert!(devices.is_subset(&BTreeSet::from(["/dev/null", "/dev/kvm"])), "{open:?}");
}

#[track_caller]
fn expect_sandbox(args: &[&str], start_kind: &str) {
    let project = Project::one("test -e again || { echo begun; exec sleep 1000; }");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut running = start(&project, &listener, args);
    assert!(running.has_written(&format!("\"start\":\"{start_kind}\"")), "it is another start");
    let qemu = running.qemu().as_raw();
    expect_no_more_than_given(qemu);
    let all = running.processes();
    for process in &all {
        expect_confined(&project, process.pid, &process.name);
    }
    assert_eq!(seccomp(qemu), BTreeSet::from(["2".to_owned()]), "QEMU has a thread without seccomp");
    // A virtiofsd does its work in a child; the parent only waits for that.
    let servers: Vec<i32> = all
        .iter()
        .filter(|process| process.name.starts_with("virtiofsd"))
        .map(|process| process.pid)
        .collect();
    assert_eq!(servers.is_empty(), running.has_written("\"share\":\"9p\""), "{all:?}");
    for server in servers.iter().filter(|server| servers.contains(&parent(**server))) {
        // It is its own business which of its threads it confines.
        assert!(seccomp(*server).contains("2"), "virtiofsd has no thread with seccomp");
    }
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.finish().expect_status(130);
}

// Q5
#[test]
fn every_process_of_a_guest_that_boots_is_confined_and_has_only_what_it_is_given() {
    expect_sandbox(&["--cold"], "cold");
}

// Q5
#[test]
fn every_process_of_a_guest_that_is_resumed_is_confined_and_has_only_what_it_is_given() {
    Project::one("true").run_json().expect_status(0);
    expect_sandbox(&[], "snapshot");
}
