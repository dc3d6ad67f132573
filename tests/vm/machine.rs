//! The virtual machine's own keys.

use vmtest_tests::{Project, target};

#[test]
fn num_cpus_is_the_number_of_processors() {
    Project::new(&target("t", "vm.num_cpus = 3", "nproc"))
        .run_json()
        .expect_status(0)
        .expect_guest_text("3\n");
}

#[test]
fn memory_is_the_guests_memory() {
    let run = Project::new(&target("t", "vm.memory = '600M'", "grep MemTotal /proc/meminfo")).run_json();
    let text = run.expect_status(0).guest_text();
    let kib: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    // The kernel keeps some for itself.
    run.check((450..=600).contains(&(kib >> 10)), "the guest has another size");
}

#[test]
fn extra_args_reach_qemu() {
    let keys = "vm.extra_args = ['-smbios', 'type=1,product=vmtest e2e']";
    let run = Project::new(&target("t", keys, "cat /sys/class/dmi/id/product_name")).run_json();
    run.expect_status(0).expect_guest_text("vmtest e2e\n");
}

#[test]
fn qemu_command_is_started_instead_of_qemu() {
    let project = Project::new("");
    let script = "#!/bin/sh\necho \"$0\" >\"$PWD/wrapped\"\nexec qemu-system-x86_64 \"$@\"\n";
    let wrapper = project.write_program("wrapper.sh", script);
    let keys = format!("qemu_command = '{}'", wrapper.display());
    project.write("vmtest.toml", &target("t", &keys, "echo hi"));
    let run = project.vmtest(["--format", "json"]).leaves(["wrapped"]).run();
    run.expect_status(0).expect_guest_text("hi\n");
    assert_eq!(project.read("wrapped"), format!("{}\n", wrapper.display()));
}

#[test]
fn a_wrapper_that_stays_beside_its_qemu_is_ended_with_it() {
    let project = Project::new("");
    let script = "#!/bin/sh\nsleep 1000 &\nqemu-system-x86_64 \"$@\"\nsleep 1000\n";
    let wrapper = project.write_program("wrapper.sh", script);
    let keys = format!("qemu_command = '{}'", wrapper.display());
    project.write("vmtest.toml", &target("t", &keys, "exit 3"));
    project.run_json().expect_status(3).expect_verdict("failed");
}
