//! Where directories may be mounted in the guest.

use expect_test::expect;

use crate::check_body;

#[test]
fn a_mount_needs_a_host_path() {
    check_body(
        "[target.vm.mounts.'/data']
writable = true
",
        &expect![[r#"
            error[missing_key] 5:19 "'/data'" the mount on /data has no `host_path` / add host_path = "./data", the directory of the host
        "#]],
    );
}

#[test]
fn an_empty_mount_table_needs_a_host_path() {
    check_body(
        "vm.mounts.'/data' = {}\n",
        &expect![[r#"
        error[missing_key] 5:11 "'/data'" the mount on /data has no `host_path` / add host_path = "./data", the directory of the host
    "#]],
    );
}

#[test]
fn an_empty_host_path_is_refused() {
    check_body(
        "vm.mounts.'/data'.host_path = ''\n",
        &expect![[r#"
            error[empty_value] 5:31 "''" `vm.mounts."/data".host_path` is empty / write for example host_path = "./data"
        "#]],
    );
}

#[test]
fn an_empty_guest_path_is_refused() {
    check_body(
        "vm.mounts.''.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "''" a mount has no place in the guest / write an absolute path, such as "/mnt/data"
    "#]],
    );
}

#[test]
fn a_relative_guest_path_is_a_warning() {
    check_body(
        "vm.mounts.data.host_path = '/d'\n",
        &expect![[r#"
        warning[relative_mount] 5:11 "data" "data" is relative; in the guest it is mounted on /data / write "/data"
            fix: Write `"/data"`: "data" -> "\"/data\""
    "#]],
    );
}

#[test]
fn a_mount_on_the_root_is_refused() {
    check_body(
        "vm.mounts.'/'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/'" nothing can be mounted on /: it is the guest's root, which `rootfs` names / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_that_normalizes_to_the_root_is_refused() {
    check_body(
        "vm.mounts.'/a/..'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/a/..'" nothing can be mounted on /: it is the guest's root, which `rootfs` names / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_on_the_project_is_refused() {
    check_body(
        "vm.mounts.'/mnt/vmtest'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/mnt/vmtest'" nothing can be mounted on /mnt/vmtest: the project's directory is there / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_on_the_project_is_refused_in_any_spelling() {
    check_body(
        "vm.mounts.'/mnt//./vmtest/'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/mnt//./vmtest/'" nothing can be mounted on /mnt/vmtest: the project's directory is there / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_over_the_project_is_refused() {
    check_body(
        "vm.mounts.'/mnt'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/mnt'" nothing can be mounted on /mnt: it would hide the project's directory on /mnt/vmtest / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_below_the_project_is_fine() {
    check_body("vm.mounts.'/mnt/vmtest/data'.host_path = '/d'\n", &expect![[""]]);
}

#[test]
fn a_mount_beside_the_project_is_fine() {
    check_body("vm.mounts.'/mnt/vmtest2'.host_path = '/d'\n", &expect![[""]]);
}

#[test]
fn a_mount_in_proc_is_refused() {
    check_body(
        "vm.mounts.'/proc/x'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/proc/x'" nothing can be mounted on /proc/x: /proc belongs to the guest's kernel / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_on_sys_is_refused() {
    check_body(
        "vm.mounts.'/sys'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/sys'" nothing can be mounted on /sys: /sys belongs to the guest's kernel / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_in_dev_is_refused() {
    check_body(
        "vm.mounts.'/dev/shm'.host_path = '/d'\n",
        &expect![[r#"
        error[invalid_mount] 5:11 "'/dev/shm'" nothing can be mounted on /dev/shm: /dev belongs to the guest's kernel / mount it elsewhere, such as on /mnt/data
    "#]],
    );
}

#[test]
fn a_mount_beside_dev_is_fine() {
    check_body("vm.mounts.'/devel'.host_path = '/d'\n", &expect![[""]]);
}

#[test]
fn two_mounts_on_one_place_are_refused() {
    check_body(
        "vm.mounts.'/data'.host_path = '/a'
vm.mounts.'/data/'.host_path = '/b'
",
        &expect![[r#"
            error[duplicate_mount] 6:11 "'/data/'" something else is mounted on /data too / give each mount a place of its own
                5:11 "'/data'" the other one
        "#]],
    );
}

#[test]
fn a_relative_and_an_absolute_mount_can_be_one_place() {
    check_body(
        "vm.mounts.'/data'.host_path = '/a'
vm.mounts.'data'.host_path = '/b'
",
        &expect![[r#"
            error[duplicate_mount] 6:11 "'data'" something else is mounted on /data too / give each mount a place of its own
                5:11 "'/data'" the other one
            warning[relative_mount] 6:11 "'data'" "data" is relative; in the guest it is mounted on /data / write "/data"
                fix: Write `"/data"`: "'data'" -> "\"/data\""
        "#]],
    );
}

#[test]
fn a_mount_in_a_mount_is_fine() {
    check_body(
        "vm.mounts.'/data'.host_path = '/a'
vm.mounts.'/data/b'.host_path = '/b'
",
        &expect![[""]],
    );
}
