//! Kinds of kernels and their modules.

use std::fs;
use std::os::unix::fs::symlink;

use vmtest_tests::{Project, machine, target};
use vmtest_vm::kernel::payload;

#[test]
fn the_stable_kernel_is_the_one_that_runs() {
    let run = Project::one("uname -r").run_json();
    run.expect_status(0).expect_guest_text(&format!("{}\n", machine::kernel("stable").release));
}

#[test]
fn a_newer_kernel_with_compressed_modules_boots_and_loads_them() {
    let script = "uname -r; modprobe dummy && test -d /sys/module/dummy";
    let toml = format!("[[target]]\nname = 't'\nkernel = '{{newer}}'\ncommand = '''{script}'''\n");
    let run = Project::new(&toml).run_json();
    run.expect_status(0).expect_guest_text(&format!("{}\n", machine::kernel("newer").release));
}

#[test]
fn a_vmlinux_boots() {
    let stable = machine::kernel("stable");
    let project = Project::new("");
    let unpacked = project.base().join("unpacked");
    project.make_dir(&unpacked.join("boot"));
    let vmlinux = unpacked.join("boot/vmlinux");
    fs::write(&vmlinux, payload(&fs::read(&stable.image).unwrap()).unwrap()).unwrap();
    symlink(stable.image.parent().unwrap().parent().unwrap().join("lib"), unpacked.join("lib")).unwrap();
    let toml = format!("[[target]]\nname = 't'\nkernel = '{}'\ncommand = 'uname -r'\n", vmlinux.display());
    project.write("vmtest.toml", &toml);
    let run = project.run_json();
    run.expect_status(0).expect_guest_text(&format!("{}\n", stable.release));
}

#[test]
fn modprobe_finds_the_kernels_modules() {
    let script =
        "test ! -d /sys/module/dummy && modprobe dummy && test -d /sys/module/dummy && modinfo -F name dummy";
    Project::one(script).run_json().expect_status(0).expect_guest_text("dummy\n");
}

#[test]
fn the_kernel_itself_loads_the_module_of_a_file_system() {
    let script =
        "grep squashfs /proc/filesystems; mount -t squashfs /dev/null /mnt; grep squashfs /proc/filesystems";
    Project::one(script).run_json().expect_status(0).expect_guest_text("\tsquashfs\n");
}

#[test]
fn kernel_args_reach_the_kernels_command_line_as_they_are() {
    let args = "vmtest.e2e=\"a b\" vmtest.x=,=";
    let run = Project::new(&target("t", &format!("kernel_args = '{args}'"), "cat /proc/cmdline")).run_json();
    run.expect_status(0);
    run.check(run.guest_text().trim_end().ends_with(args), "the arguments are not at the end");
}
