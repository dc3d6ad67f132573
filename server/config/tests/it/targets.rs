//! What a right target resolves to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vmtest_config::{
    Arch, Command, Download, Firmware, ImageSource, InheritEnv, KernelSource, KernelSystem, Purpose,
    QemuCommand, RootAccess, System, Target,
};

use crate::load;

/// The only target of a text that has no problem at all.
#[track_caller]
fn target(body: &str) -> Target {
    let text = format!("[[target]]\nname = 't'\ncommand = 'c'\n{body}");
    let loaded = load(&text, Purpose::Run).unwrap();
    assert_eq!(loaded.warnings, []);
    loaded.targets[0].target.clone()
}

#[track_caller]
fn kernel(body: &str) -> KernelSystem {
    match target(body).system {
        System::Kernel(kernel) => kernel,
        System::Image(_) => panic!("an image"),
    }
}

#[track_caller]
fn image(body: &str) -> (ImageSource, Firmware) {
    match target(body).system {
        System::Image(image) => (image.source, image.firmware),
        System::Kernel(_) => panic!("a kernel"),
    }
}

#[test]
fn a_kernel_target_has_its_defaults() {
    let target = target("kernel = 'k'\n");
    assert_eq!(target.command, Command::Shell("c".into()));
    assert_eq!(target.arch, Arch::X86_64);
    assert_eq!(target.kvm_cpu_args, "host");
    assert_eq!(target.qemu_command, QemuCommand::Default);
    assert_eq!((target.timeout, target.boot_timeout), (None, None));
    assert!(target.env.is_empty());
    assert_eq!(target.inherit_env, InheritEnv::All);
    assert!(target.fail_on_kernel_bug);
    assert_eq!(target.project_dir, Path::new("/p"));
    assert_eq!(target.vm.num_cpus.get(), 2);
    assert_eq!(target.vm.memory.bytes, 4 << 30);
    assert!(target.vm.mounts.is_empty());
    assert!(target.vm.extra_args.is_empty());
    assert!(!target.vm.network);
    let System::Kernel(kernel) = target.system else { panic!() };
    assert_eq!(kernel.args, "");
    assert_eq!(kernel.rootfs, Path::new("/"));
    assert_eq!(kernel.root_access, RootAccess::Overlay);
}

#[test]
fn an_image_target_inherits_no_environment() {
    assert_eq!(target("image = 'i'\n").inherit_env, InheritEnv::None);
    assert_eq!(target("image = 'i'\ninherit_env = true\n").inherit_env, InheritEnv::All);
}

#[test]
fn inherit_env_may_name_variables() {
    let wanted = InheritEnv::Only(vec!["A".into(), "B".into()]);
    assert_eq!(target("kernel = 'k'\ninherit_env = ['A', 'B']\n").inherit_env, wanted);
    assert_eq!(target("kernel = 'k'\ninherit_env = []\n").inherit_env, InheritEnv::Only(vec![]));
}

#[test]
fn relative_paths_start_at_the_files_directory() {
    assert_eq!(kernel("kernel = './a/b'\n").source, KernelSource::Path("/p/a/b".into()));
    assert_eq!(kernel("kernel = '../b'\n").source, KernelSource::Path("/p/../b".into()));
    assert_eq!(kernel("kernel = 'k'\nrootfs = 'r'\n").rootfs, Path::new("/p/r"));
    assert_eq!(image("image = 'i'\n").0, ImageSource::Path("/p/i".into()));
    let firmware = image("image = 'i'\nuefi = true\nvm.bios = 'b'\n").1;
    assert_eq!(firmware, Firmware::Uefi { file: Some("/p/b".into()) });
}

#[test]
fn absolute_paths_stay() {
    assert_eq!(kernel("kernel = '/boot/k'\n").source, KernelSource::Path("/boot/k".into()));
    assert_eq!(kernel("kernel = 'k'\nrootfs = '/r'\n").rootfs, Path::new("/r"));
}

#[test]
fn a_tilde_is_not_expanded() {
    assert_eq!(kernel("kernel = '~/k'\n").source, KernelSource::Path("/p/~/k".into()));
}

#[test]
fn a_path_keeps_commas_blanks_and_equals_signs() {
    assert_eq!(
        kernel("kernel = '/a,b =c\n'\n".replace("\n'", "'").as_str()).source,
        KernelSource::Path("/a,b =c".into())
    );
}

#[test]
fn a_qemu_command_with_a_slash_is_a_path_and_without_one_a_name() {
    let qemu = |text: &str| target(&format!("kernel = 'k'\nqemu_command = '{text}'\n")).qemu_command;
    assert_eq!(qemu("qemu-kvm"), QemuCommand::Custom("qemu-kvm".into()));
    assert_eq!(qemu("./qemu"), QemuCommand::Custom("/p/qemu".into()));
    assert_eq!(qemu("bin/qemu"), QemuCommand::Custom("/p/bin/qemu".into()));
    assert_eq!(qemu("/bin/qemu"), QemuCommand::Custom("/bin/qemu".into()));
}

#[test]
fn downloads_keep_their_url_and_checksum_in_lower_case() {
    let url = "https://a/b".to_owned();
    let text = format!("kernel_url = '{url}'\nkernel_sha256 = '{}'\n", "AB".repeat(32));
    let wanted = Download { url: url.clone(), sha256: Some("ab".repeat(32)) };
    assert_eq!(kernel(&text).source, KernelSource::Url(wanted));
    let wanted = Download { url: url.clone(), sha256: None };
    assert_eq!(image(&format!("image_url = '{url}'\n")).0, ImageSource::Url(wanted));
}

#[test]
fn a_package_keeps_its_name() {
    let wanted = KernelSource::Package("linux-image-amd64".into());
    assert_eq!(kernel("kernel_package = 'linux-image-amd64'\n").source, wanted);
}

#[test]
fn ro_and_rw_in_kernel_args_choose_root_access() {
    let access = |args: &str| kernel(&format!("kernel = 'k'\nkernel_args = '{args}'\n")).root_access;
    assert_eq!(access("quiet"), RootAccess::Overlay);
    assert_eq!(access("quiet ro"), RootAccess::ReadOnly);
    assert_eq!(access("rw quiet"), RootAccess::Writable);
    assert_eq!(access("ro rw"), RootAccess::Writable);
    assert_eq!(access("rootflags=rw"), RootAccess::Overlay);
}

#[test]
fn kernel_args_are_verbatim_but_for_line_breaks_around_them() {
    assert_eq!(kernel("kernel = 'k'\nkernel_args = ' a  b=\"c d\" '\n").args, " a  b=\"c d\" ");
    assert_eq!(kernel("kernel = 'k'\nkernel_args = '''\na b\n'''\n").args, "a b");
}

#[test]
fn uefi_chooses_the_firmware() {
    assert_eq!(image("image = 'i'\n").1, Firmware::Bios);
    assert_eq!(image("image = 'i'\nuefi = false\n").1, Firmware::Bios);
    assert_eq!(image("image = 'i'\nuefi = true\n").1, Firmware::Uefi { file: None });
}

#[test]
fn a_dash_is_an_interactive_shell_and_nothing_else_is() {
    let command = |text: &str| {
        let text = format!("[[target]]\nname = 't'\nkernel = 'k'\ncommand = '{text}'\n");
        load(&text, Purpose::Run).unwrap().targets[0].target.command.clone()
    };
    assert_eq!(command("-"), Command::Interactive);
    assert_eq!(command(" -"), Command::Shell(" -".into()));
    assert_eq!(command("--"), Command::Shell("--".into()));
}

#[test]
fn times_are_read() {
    let target = target("kernel = 'k'\ntimeout = '1h30m'\nboot_timeout = '1.5s'\n");
    assert_eq!(target.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(target.boot_timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn memory_is_read() {
    let memory = |text: &str| target(&format!("kernel = 'k'\nvm.memory = '{text}'\n")).vm.memory.bytes;
    assert_eq!(memory("256"), 256 << 20);
    assert_eq!(memory("1.5G"), 3 << 29);
}

#[test]
fn mounts_are_sorted_so_that_a_parent_comes_first() {
    let target = target(
        "kernel = 'k'\n[target.vm.mounts]\n'/data/b' = { host_path = 'b' }\n'/data/../data' = { host_path = '/a', writable = true }\n'/data-x' = { host_path = 'x' }\n",
    );
    let mounts: Vec<_> =
        target.vm.mounts.iter().map(|mount| (mount.guest_path.as_path(), mount.writable)).collect();
    assert_eq!(
        mounts,
        [(Path::new("/data"), true), (Path::new("/data/b"), false), (Path::new("/data-x"), false)]
    );
    assert_eq!(target.vm.mounts[0].host_path, PathBuf::from("/a"));
    assert_eq!(target.vm.mounts[1].host_path, PathBuf::from("/p/b"));
}

#[test]
fn the_environment_is_read() {
    let target = target("kernel = 'k'\n[target.env]\nB = '2'\nA = ''\n");
    let env: Vec<_> = target.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", ""), ("B", "2")]);
}

#[test]
fn dotted_keys_inline_tables_and_headers_mean_the_same() {
    let dotted = target("kernel = 'k'\nvm.num_cpus = 3\nvm.mounts.'/a'.host_path = 'b'\n");
    let inline = target("kernel = 'k'\nvm = { num_cpus = 3, mounts = { '/a' = { host_path = 'b' } } }\n");
    let header =
        target("kernel = 'k'\n[target.vm]\nnum_cpus = 3\n[target.vm.mounts.'/a']\nhost_path = 'b'\n");
    assert_eq!(dotted, inline);
    assert_eq!(dotted, header);
}

#[test]
fn a_relative_base_becomes_absolute() {
    for base in ["", ".", "some/dir"] {
        let text = "[[target]]\nname = 't'\ncommand = 'c'\nkernel = 'k'\n";
        let loaded = vmtest_config::load(text, Path::new(base)).unwrap();
        assert!(loaded.targets[0].target.project_dir.is_absolute(), "{base}");
        let System::Kernel(kernel) = &loaded.targets[0].target.system else { panic!() };
        let KernelSource::Path(path) = &kernel.source else { panic!() };
        assert_eq!(*path, loaded.targets[0].target.project_dir.join("k"));
    }
}

#[test]
fn places_of_keys_can_be_asked_for() {
    let text =
        "[[target]]\nname = 't'\ncommand = 'c'\nkernel = 'k'\n[target.vm.mounts.'/a']\nhost_path = 'b'\n";
    let loaded = load(text, Purpose::Run).unwrap();
    let spans = &loaded.targets[0].spans;
    let place = spans.of("kernel").unwrap();
    assert_eq!((&text[place.key.clone()], &text[place.value.clone()]), ("kernel", "'k'"));
    let place = spans.of_entry("vm.mounts.*.host_path", "/a").unwrap();
    assert_eq!((&text[place.key.clone()], &text[place.value.clone()]), ("host_path", "'b'"));
    let place = spans.of_entry("vm.mounts.*", "/a").unwrap();
    assert_eq!((&text[place.key.clone()], &text[place.value.clone()]), ("'/a'", "[target.vm.mounts.'/a']"));
    assert_eq!(spans.of("rootfs"), None);
    assert_eq!(spans.of_entry("vm.mounts.*.host_path", "/c"), None);
}
