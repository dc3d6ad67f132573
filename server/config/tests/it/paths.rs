//! Looking for the files that a target names.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use vmtest_config::{Document, KernelOptions, Purpose, check_paths};

use crate::render;

/// Checks a target's paths in a fresh directory that holds `file` and `dir/`.
#[track_caller]
fn check(text: &str, expected: &Expect) {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("file"), "").unwrap();
    fs::create_dir(here.path().join("dir")).unwrap();
    let text = format!("[[target]]\nname = 't'\ncommand = 'c'\n{text}");
    let loaded = Document::parse(&text, here.path()).unwrap().resolve(Purpose::Check).unwrap();
    let problems = check_paths(&loaded.targets[0]);
    expected.assert_eq(&render(&text, &problems).replace(here.path().to_str().unwrap(), "$HERE"));
}

#[test]
fn files_that_are_there_are_no_problem() {
    check(
        "kernel = 'file'\nrootfs = 'dir'\nqemu_command = './file'\nvm.mounts.'/a'.host_path = 'dir'\n",
        &expect![[""]],
    );
    check("image = 'file'\nuefi = true\nvm.bios = 'file'\n", &expect![[""]]);
}

#[test]
fn a_kernel_may_be_a_build_tree() {
    check("kernel = 'dir'\n", &expect![[""]]);
}

#[test]
fn every_missing_file_is_said_with_its_place() {
    check(
        "kernel = 'k'\nrootfs = 'r'\nqemu_command = './q'\nvm.mounts.'/a'.host_path = 'h'\nvm.mounts.'b'.host_path = 'i'\n",
        &expect![[r#"
            error[missing_file] 4:10 "'k'" `kernel`: $HERE/k does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
            error[missing_file] 5:10 "'r'" `rootfs`: $HERE/r does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
            error[missing_file] 6:16 "'./q'" `qemu_command`: $HERE/q does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
            error[missing_file] 7:28 "'h'" `host_path`: $HERE/h does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
            error[missing_file] 8:27 "'i'" `host_path`: $HERE/i does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
        "#]],
    );
    check(
        "image = 'i'\nuefi = true\nvm.bios = 'b'\n",
        &expect![[r#"
        error[missing_file] 4:9 "'i'" `image`: $HERE/i does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
        error[missing_file] 6:11 "'b'" `bios`: $HERE/b does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
    "#]],
    );
}

#[test]
fn a_directory_is_no_image() {
    check(
        "image = 'dir'\n",
        &expect![[r#"
        error[missing_file] 4:9 "'dir'" `image`: $HERE/dir is a directory / name a file
    "#]],
    );
}

#[test]
fn a_file_cannot_be_shared() {
    check(
        "kernel = 'file'\nrootfs = 'file'\nvm.mounts.'/a'.host_path = 'file'\n",
        &expect![[r#"
        error[missing_file] 5:10 "'file'" `rootfs`: $HERE/file is not a directory / name a directory: only those can be shared
        error[missing_file] 6:28 "'file'" `host_path`: $HERE/file is not a directory / name a directory: only those can be shared
    "#]],
    );
}

#[test]
fn a_path_through_a_file_is_said() {
    check(
        "kernel = 'file/x'\n",
        &expect![[r#"
            error[missing_file] 4:10 "'file/x'" `kernel`: $HERE/file/x does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
        "#]],
    );
}

#[test]
fn a_program_for_path_is_not_looked_for() {
    check("kernel = 'file'\nqemu_command = 'no-such-program'\n", &expect![[""]]);
}

#[test]
fn urls_and_packages_are_not_looked_for() {
    check("kernel_url = 'file:///no/such/file'\n", &expect![[""]]);
    check("kernel_package = 'no-such-package'\n", &expect![[""]]);
}

#[test]
fn a_missing_file_of_an_argument_is_said_in_the_argument() {
    let text = "[[target]]\nname = 't'\ncommand = 'c'\n";
    let mut document = Document::parse(text, Path::new("/")).unwrap();
    document.set("kernel=no-such-file").unwrap();
    let loaded = document.resolve(Purpose::Run).unwrap();
    expect![[r#"
        error[missing_file] --set "kernel=no-such-file" 1:8 "no-such-file" `kernel`: /no-such-file does not exist / check the path: a relative one starts at the directory of vmtest.toml, and `~` is not expanded
    "#]].assert_eq(&render(text, &check_paths(&loaded.targets[0])));
}

#[test]
fn a_missing_file_of_an_option_is_looked_for_in_the_working_directory() {
    let options = KernelOptions { kernel: "no-such-file", command: "c", ..KernelOptions::default() };
    let loaded = Document::from_options(&options, Path::new("/")).resolve(Purpose::Run).unwrap();
    expect![[r#"
        error[missing_file] --kernel "no-such-file" 1:1 "no-such-file" `kernel`: /no-such-file does not exist / check the path: a relative one starts at the working directory, and `~` is not expanded
    "#]].assert_eq(&render("", &check_paths(&loaded.targets[0])));
}
