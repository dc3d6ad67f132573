//! Kernels that are fetched: of a web server, and of the distribution.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use vmtest_tests::{Outcome, Project, machine};

#[path = "../../server/vm/src/download/tests/server.rs"]
mod server;
use server::{Reply, Server};

/// Enough for a connection to break in the middle.
static NO_KERNEL: [u8; 100_000] = [b'x'; 100_000];

fn target(keys: &str, command: &str) -> String {
    format!("[[target]]\nname = 't'\ncommand = '''{command}'''\n{keys}\n")
}

fn at(server: &Server, path: &str) -> String {
    format!("kernel_url = '{}'", server.url(path))
}

/// How far the download was each time that the run said so.
#[track_caller]
fn received(run: &Outcome) -> Vec<u64> {
    run.events_named("downloading").iter().map(|event| event["received"].as_u64().unwrap()).collect()
}

/// A root for guests of the stable kernel: a kernel that is fetched alone has no modules beside it.
fn rootfs_with_modules(project: &Project) -> String {
    let rootfs = project.make_rootfs();
    let stable = machine::kernel("stable").image;
    let modules = stable.parent().and_then(Path::parent).unwrap().join("lib/modules");
    let copied = Command::new("cp").arg("-a").arg(modules).arg(rootfs.join("lib/modules")).status().unwrap();
    assert!(copied.success());
    format!("rootfs = '{}'", rootfs.display())
}

#[test]
fn a_packed_kernel_of_a_web_server_is_fetched_once_and_runs_without_the_server() {
    let packed = zstd::encode_all(&fs::read(machine::kernel("stable").image).unwrap()[..], 1).unwrap();
    let server = Server::start([
        Reply::file(&packed).cut(packed.len() / 2),
        Reply::rest(&packed, packed.len().div_ceil(2)),
    ]);
    let project = Project::new("").without_snapshots();
    let keys = format!("{}\n{}", at(&server, "/bzImage.zst"), rootfs_with_modules(&project));
    project.write("vmtest.toml", &target(&keys, "read version </proc/sys/kernel/osrelease; echo $version"));
    let release = format!("{}\n", machine::kernel("stable").release);

    let first = project.run_json();
    first.expect_status(0).expect_guest_text(&release);
    first.check(received(&first).last() == Some(&(packed.len() as u64)), "it was not told how far it was");
    assert_eq!(server.asked().len(), 2, "it broke off, and was gone on with");

    let second = project.run_json();
    second.expect_status(0).expect_guest_text(&release);
    second.check(received(&second).is_empty(), "it was fetched again");
    assert_eq!(server.asked().len(), 2, "the server was asked again");
}

#[test]
fn a_kernel_package_is_fetched_without_root_and_runs_with_its_modules() {
    machine::needs("apt-get", "apt");
    let project = Project::new("").without_snapshots();
    let script = "uname -r; modprobe dummy && grep -o ^dummy /proc/modules";
    project.write("vmtest.toml", &target("kernel_package = 'linux-image-amd64'", script));
    let run = project.run_json();
    run.expect_status(0);
    run.check(run.guest_text().ends_with("-amd64\ndummy\n"), "another kernel ran, or without its modules");
    run.check(received(&run).len() > 1, "it was not told how far it was");

    let kernels = list(&project);
    let fetched = &kernels["fetched"][0];
    assert_eq!(fetched["package"], "linux-image-amd64");
    let release = run.guest_text().lines().next().unwrap().to_owned();
    assert!(
        fetched["versions"].as_str().unwrap().starts_with(&format!("linux-image-{release} ")),
        "{fetched}"
    );
    let image = fetched["path"].as_str().unwrap();
    assert!(
        Path::new(image).starts_with(project.cache()) && image.ends_with(&format!("/boot/vmlinuz-{release}"))
    );
    // Without apt it is still there.
    let path = format!("{}:{}", project.dir().display(), machine::PATH);
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        project.write_program(program, "#!/bin/sh\necho 'not now' >&2\nexit 1\n");
    }
    let again = project.vmtest(["--format", "json"]).env("PATH", path).run();
    again.expect_status(0).expect_guest_text(&run.guest_text());
    again.check(received(&again).is_empty(), "it was fetched again");

    let cleared = project.vmtest(["cache", "clear"]).without_machine().run();
    cleared.expect_status(0).expect_text("removed ");
    assert_eq!(list(&project)["fetched"].as_array().map(Vec::len), Some(0));
}

/// What `vmtest kernels` says.
#[track_caller]
fn list(project: &Project) -> Value {
    // As one word: what is written is no run.
    let run = project.vmtest(["kernels", "--format=json"]).without_machine().run();
    run.expect_status(0);
    serde_json::from_str(&run.text()).unwrap()
}

#[test]
fn kernels_of_the_distribution_are_listed_with_their_versions() {
    machine::needs("apt-get", "apt");
    let kernels = list(&Project::new(""));
    let offered = kernels["offered"].as_array().unwrap();
    let generic = offered.iter().find(|package| package["package"] == "linux-image-amd64");
    let generic = generic.unwrap_or_else(|| panic!("run `apt-get update`: {kernels}"));
    assert!(generic["version"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{generic}");
    assert!(!offered.iter().any(|package| package["package"].as_str().unwrap().ends_with("-dbg")));
}

#[test]
fn a_package_that_is_not_offered_or_has_no_kernel_is_said_with_what_to_do() {
    machine::needs("apt-get", "apt");
    let project = Project::new("").with_own_cache();
    for (package, why) in [("linux-image-none", "apt offers no package"), ("base-files", "has no kernel")] {
        project.write("vmtest.toml", &target(&format!("kernel_package = '{package}'"), "true"));
        let run = project.vmtest(["--format", "json"]).without_machine().run();
        run.expect_status(69).expect_verdict("boot_failed");
        let finished = run.finished();
        run.check(finished["reason"].as_str().unwrap().contains(why), why);
        run.check(finished["help"].as_str().unwrap().contains("`vmtest kernels`"), "it does not help");
    }
}

// H2, N3, S1
#[test]
fn a_run_that_is_killed_while_it_downloads_leaves_what_the_next_one_goes_on_with() {
    let half = NO_KERNEL.len() / 2;
    let server = Server::start([Reply::file(&NO_KERNEL).cut(half).and_hang(), Reply::rest(&NO_KERNEL, half)]);
    let project = Project::new(&target(&at(&server, "/k"), "true")).with_own_cache();
    let mut running = project.vmtest(["--format", "json"]).without_machine().start();
    running.wait_for(&format!("\"received\":{half}"));
    running.signal(Signal::SIGKILL);
    running.finish();

    let run = project.vmtest(["--format", "json"]).without_machine().run();
    // It got the file, which is none that can be started.
    run.expect_status(69);
    run.check(run.finished()["reason"].as_str().unwrap().contains("as a kernel"), "it is another failure");
    run.check(run.finished()["help"].as_str().unwrap().contains(&server.url("/k")), "the URL is not named");
    let asked = server.asked();
    assert!(asked[1].contains(&format!("range: bytes={half}-")), "{asked:?}");
}

// H1
#[test]
fn each_signal_cancels_a_run_that_downloads() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let server = Server::start([Reply::file(&NO_KERNEL).cut(1).and_hang()]);
        let project = Project::new(&target(&at(&server, "/k"), "true")).with_own_cache();
        let mut running = project.vmtest(["--format", "json"]).without_machine().start();
        server.wait();
        running.signal(signal);
        running.finish().expect_status(128 + signal as i32).expect_verdict("cancelled");
    }
}

#[test]
fn a_download_goes_through_the_proxy_that_the_environment_names() {
    let proxy = Server::start([Reply::new("404 Not Found", "content-length: 0\n", b"")]);
    let project = Project::new(&target("kernel_url = 'http://kernels.invalid/k'", "true")).with_own_cache();
    let run = project
        .vmtest::<&str>([])
        .without_machine()
        .env("http_proxy", proxy.url(""))
        .env("no_proxy", "")
        .run();
    run.expect_status(69).expect_line("===> Downloading http://kernels.invalid/k");
    run.expect_text("kernels.invalid answered 404 Not Found");
    assert!(proxy.asked()[0].starts_with("GET http://kernels.invalid/k "), "{:?}", proxy.asked());
}

// N3
#[test]
fn without_a_network_a_run_ends_within_a_second_with_one_clear_error() {
    for url in ["http://kernels.invalid/k", "https://192.0.2.1/k"] {
        let project = Project::new(&target(&format!("kernel_url = '{url}'"), "true")).with_own_cache();
        let run = offline(&project);
        run.expect_status(69).expect_verdict("boot_failed");
        let reason = run.finished()["reason"].as_str().unwrap().to_owned();
        run.check(reason.starts_with(&format!("cannot download {url}: ")), "it does not name the URL");
        run.check(run.finished()["help"].as_str().unwrap().contains("check the network"), "it does not help");
        run.check(run.events_named("notice").is_empty(), "it says more");
        // The rest is for a machine with other work.
        run.check(run.elapsed < Duration::from_secs(4), "it took too long");
    }
}

// N3
#[test]
fn without_a_network_what_was_fetched_is_used() {
    let server = Server::start([Reply::file(&NO_KERNEL)]);
    let project = Project::new(&target(&at(&server, "/k"), "true")).with_own_cache();
    // It is none that can be started, which is only seen when it is there.
    project.vmtest(["--format", "json"]).without_machine().run().expect_status(69);
    let run = offline(&project);
    run.check(run.finished()["reason"].as_str().unwrap().contains("as a kernel"), "it is another failure");
    run.check(received(&run).is_empty(), "it was fetched again");
}

/// A run in a network of its own in which nothing answers.
fn offline(project: &Project) -> Outcome {
    let words = ["unshare", "--map-root-user", "--net", "--"];
    project.vmtest(["--format", "json"]).without_machine().inside_words(words).run()
}

// S1, N3
#[test]
fn who_waits_for_a_run_that_is_killed_goes_on_with_what_it_had_fetched() {
    let half = NO_KERNEL.len() / 2;
    let server = Server::start([Reply::file(&NO_KERNEL).cut(half).and_hang(), Reply::rest(&NO_KERNEL, half)]);
    let project = Project::new(&target(&at(&server, "/k"), "true")).with_own_cache();
    let start = || project.vmtest(["--format", "json"]).without_machine().start();
    let mut first = start();
    first.wait_for(&format!("\"received\":{half}"));
    let second = start();
    // It tells how far the other one is.
    second.wait_for("\"event\":\"downloading\"");
    assert_eq!(server.asked().len(), 1, "it was asked twice");
    first.signal(Signal::SIGKILL);
    first.finish();
    let run = second.finish();
    run.expect_status(69);
    run.check(run.finished()["reason"].as_str().unwrap().contains("as a kernel"), "it is another failure");
    let asked = server.asked();
    assert!(asked.len() == 2 && asked[1].contains(&format!("range: bytes={half}-")), "{asked:?}");
}
