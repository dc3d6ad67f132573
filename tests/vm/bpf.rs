//! The example that shows what vmtest is for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use vmtest_tests::{Project, machine};

/// The example's directory.
fn example() -> PathBuf {
    machine::repository().join("examples/bpf")
}

/// The example in a directory of its own, with the kernels of the tests, and built.
fn built() -> Project {
    machine::needs("clang", "clang");
    let mut toml = fs::read_to_string(example().join("vmtest.toml")).unwrap();
    for name in ["newer", "stable"] {
        toml = toml.replace(&format!("../../target/kernels/{name}/boot/vmlinuz"), &format!("{{{name}}}"));
    }
    let project = Project::new(&toml);
    for name in ["Makefile", "bits.h", "bits.c", "bits.bpf.c"] {
        project.write(name, &fs::read_to_string(example().join(name)).unwrap());
    }
    let make =
        Command::new("make").arg("-C").arg(project.dir()).arg("CFLAGS=-O2 -Wall -Wextra -Werror").output();
    let make = make.unwrap();
    assert!(
        make.status.success(),
        "this test needs clang and libbpf: sudo apt-get install clang libbpf-dev\n{}",
        String::from_utf8_lossy(&make.stderr)
    );
    project
}

#[test]
fn a_bpf_program_passes_where_the_kernel_has_what_it_calls_and_fails_with_the_loaders_reason_elsewhere() {
    let run = built().run_json();
    run.expect_status(1);
    let (has, lacks) = (run.finished_of("linux 6.12"), run.finished_of("linux 6.1 (fails as intended)"));
    run.check(has["verdict"] == "passed", "the kernel that has it does not pass");
    run.check(
        lacks["verdict"] == "failed" && lacks["exit_code"] == 1,
        "the kernel that lacks it does not fail",
    );
    run.expect_guest_text("4 bits of 0xa5 are set: 0 2 5 7\n");
    let said = String::from_utf8_lossy(&run.output("stderr")).into_owned();
    run.check(said.contains("(func ksym) 'bpf_iter_bits_"), "the loader does not name what the kernel lacks");
    run.check(said.contains("not found in kernel or module BTFs"), "the loader gives no reason");
}
