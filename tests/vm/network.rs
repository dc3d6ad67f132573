//! `vm.network`: the guest reaches what the host reaches.

use vmtest_tests::{Project, machine, target};

#[test]
fn a_name_is_resolved_and_a_file_downloaded_from_a_server_on_the_host() {
    machine::needs("getent", "libc-bin");
    // A network of the test's own, with a name server and a web server: see `net-sandbox`.
    let script = "
        getent ahostsv4 files.vmtest.test | head -n 1 | cut -d' ' -f1
        exec 3<>/dev/tcp/files.vmtest.test/8080
        printf 'GET /hello HTTP/1.0\\r\\n\\r\\n' >&3
        tail -n 1 <&3";
    let project = Project::new(&target("t", "vm.network = true", script));
    let run = project.vmtest(["--format", "json"]).inside(machine::helper("net-sandbox")).run();
    run.expect_status(0).expect_guest_text("10.0.2.2\nhello over http /hello\n");
}

#[test]
fn without_network_there_is_only_lo() {
    Project::one("ls /sys/class/net").run_json().expect_status(0).expect_guest_text("lo\n");
}
