//! What a target of an untrusted project is refused, and what it gets in place of what it asks for.

use std::path::Path;

use expect_test::{Expect, expect};
use vmtest_config::{
    Document, InheritEnv, KernelOptions, Purpose, QemuCommand, Resolved, RootAccess, System, confine,
};

use crate::{load, render};

/// One target with these keys, before it is confined.
fn target(body: &str) -> (String, Resolved) {
    let text = format!("[[target]]\nname = 't'\ncommand = 'c'\n{body}");
    let loaded = load(&text, Purpose::Run).unwrap_or_else(|problems| panic!("{}", render(&text, &problems)));
    (text, loaded.targets.into_iter().next().unwrap())
}

/// The target as it will run, and what is said.
#[track_caller]
fn confined(body: &str, expected: &Expect) -> Resolved {
    let (text, mut resolved) = target(body);
    let problems = confine(&mut resolved);
    expected.assert_eq(&render(&text, &problems));
    assert!(resolved.target.discards_writes);
    resolved
}

#[test]
fn what_runs_or_opens_something_on_the_host_is_refused() {
    confined(
        "kernel = 'k'\nqemu_command = './evil'\n",
        &expect![[r#"
            error[untrusted] 5:1 "qemu_command" `qemu_command` would start /p/evil on this machine, outside of any guest / `--set qemu_command=qemu-system-x86_64` starts the installed QEMU
        "#]],
    );
    confined(
        "kernel = 'k'\nqemu_command = 'evil'\n",
        &expect![[r#"
        error[untrusted] 5:1 "qemu_command" `qemu_command` would start evil on this machine, outside of any guest / `--set qemu_command=qemu-system-x86_64` starts the installed QEMU
    "#]],
    );
    confined(
        "image = 'i'\nvm.extra_args = ['-chardev', 'file,id=x,path=/etc/passwd']\n",
        &expect![[r#"
            error[untrusted] 5:4 "extra_args" `vm.extra_args` can make QEMU open any file of this machine, and take away its sandbox / `--set 'vm.extra_args=[]'` runs it without them
        "#]],
    );
}

#[test]
fn what_lets_out_what_the_guest_reads_or_asks_servers_is_refused() {
    confined(
        "kernel = 'k'\nvm.network = true\n",
        &expect![[r#"
            error[untrusted] 5:4 "network" with `vm.network` the guest, which can read all files that you can, could send them away / `--set vm.network=false` runs it without a network
        "#]],
    );
    confined(
        "kernel_url = 'http://192.0.2.1/k'\n",
        &expect![[r#"
            error[untrusted] 4:1 "kernel_url" `kernel_url` makes this machine ask any server, also one that only your network reaches / download it yourself, and name the file in a vmtest.toml of your own
        "#]],
    );
    confined(
        "image_url = 'file:///i'\n",
        &expect![[r#"
            error[untrusted] 4:1 "image_url" `image_url` makes this machine ask any server, also one that only your network reaches / download it yourself, and name the file in a vmtest.toml of your own
        "#]],
    );
}

#[test]
fn the_cure_that_is_named_cures() {
    let text = "[[target]]\nname = 't'\ncommand = 'c'\nkernel = 'k'\nqemu_command = './evil'\nvm.extra_args = ['-s']\nvm.network = true\n";
    let mut document = Document::parse(text, Path::new("/p")).unwrap();
    let host = vmtest_config::Arch::host();
    let qemu = format!("qemu_command=qemu-system-{host}");
    for setting in [qemu.as_str(), "vm.extra_args=[]", "vm.network=false"] {
        document.set(setting).unwrap();
    }
    let mut resolved = document.resolve(Purpose::Run).unwrap().targets.remove(0);
    assert_eq!(confine(&mut resolved), []);
    // Any other than the default would run without QEMU's sandbox.
    assert_eq!(resolved.target.qemu_command, QemuCommand::Default);
}

#[test]
fn the_root_is_never_writable() {
    let resolved = confined(
        "kernel = 'k'\nkernel_args = 'quiet rw'\n",
        &expect![[r#"
            warning[untrusted] 5:1 "kernel_args" `rw` does not make the root writable: what the guest writes is thrown away / run it without --untrusted, if you trust it with your files
        "#]],
    );
    let System::Kernel(system) = resolved.target.system else { panic!("a kernel target") };
    assert_eq!((system.root_access, system.args.as_str()), (RootAccess::Overlay, "quiet rw"));
    let resolved = confined("kernel = 'k'\nkernel_args = 'ro'\n", &expect![[""]]);
    let System::Kernel(system) = resolved.target.system else { panic!("a kernel target") };
    assert_eq!(system.root_access, RootAccess::ReadOnly);
}

#[test]
fn writes_to_mounts_are_said_to_be_lost_each_at_its_place() {
    confined(
        "kernel = 'k'\nvm.mounts.'/a' = { host_path = 'a', writable = true }\nvm.mounts.'/b' = { host_path = 'b' }\nvm.mounts.'c' = { host_path = 'c', writable = true }\n",
        &expect![[r#"
            warning[untrusted] 5:37 "writable" what the guest writes to /a is thrown away / run it without --untrusted, if you trust it with your files
            warning[untrusted] 7:36 "writable" what the guest writes to /c is thrown away / run it without --untrusted, if you trust it with your files
        "#]],
    );
}

#[test]
fn only_variables_without_secrets_are_inherited() {
    let inherited = |resolved: Resolved| match resolved.target.inherit_env {
        InheritEnv::Only(names) => names,
        other => panic!("{other:?}"),
    };
    let all = inherited(confined("kernel = 'k'\ninherit_env = true\n", &expect![[""]]));
    assert!(all.contains(&"TERM".to_owned()) && all.contains(&"LC_ALL".to_owned()), "{all:?}");
    assert!(all.iter().all(|name| !name.contains("TOKEN") && !name.starts_with("SSH")), "{all:?}");
    let named = inherited(confined(
        "kernel = 'k'\ninherit_env = ['GITHUB_TOKEN', 'TZ', 'SSH_AUTH_SOCK']\n",
        &expect![[r#"
            warning[untrusted] 5:1 "inherit_env" the guest does not get GITHUB_TOKEN, SSH_AUTH_SOCK from your environment / give it what it needs with `env`
        "#]],
    ));
    assert_eq!(named, ["TZ"]);
    let none = confined("image = 'i'\n", &expect![[""]]);
    assert_eq!(none.target.inherit_env, InheritEnv::None);
}

#[test]
fn what_the_command_line_names_is_refused_at_its_option() {
    let options =
        KernelOptions { kernel: "k", command: "c", qemu_command: Some("./evil"), ..KernelOptions::default() };
    let mut resolved =
        Document::from_options(&options, Path::new("/p")).resolve(Purpose::Run).unwrap().targets.remove(0);
    let problems = confine(&mut resolved);
    assert!(
        render("", &problems).starts_with("error[untrusted] --qemu-command"),
        "{}",
        render("", &problems)
    );
}
