use vmtest_config::{KernelOptions, Mount, Purpose, System};

use super::*;
use crate::modules::{ModuleTree, Origin, index};

fn target() -> (Target, KernelSystem) {
    let options = KernelOptions { kernel: "bzImage", command: "true", ..KernelOptions::default() };
    let loaded = vmtest_config::Document::from_options(&options, Path::new("/home/u/project"))
        .resolve(Purpose::Run)
        .expect("the options are good");
    let target = loaded.targets[0].target.clone();
    let System::Kernel(system) = target.system.clone() else { panic!("a kernel target") };
    (target, system)
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn value<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a str> {
    env.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.to_str())
}

fn points(shares: &Shares) -> Vec<(&str, &str)> {
    shares.binds.iter().map(|bind| (bind.tag.as_str(), bind.point.to_str().unwrap_or(""))).collect()
}

#[test]
fn the_project_appears_at_its_own_path_and_at_the_fixed_one() {
    let (target, system) = target();
    let shares = Shares::new(&target, &system, Path::new("/home/u/project"), None, ShareKind::NineP);
    assert_eq!(points(&shares), [("project", "/home/u/project"), ("project", "/mnt/vmtest")]);
}

#[test]
fn another_rootfs_has_the_project_at_the_fixed_path_only() {
    let (target, mut system) = target();
    system.rootfs = "/srv/root".into();
    let shares = Shares::new(&target, &system, Path::new("/home/u/project"), None, ShareKind::NineP);
    assert_eq!(points(&shares), [("project", "/mnt/vmtest")]);
    assert_eq!(shares.devices[0].path, Path::new("/srv/root"));
}

#[test]
fn a_project_that_is_the_root_does_not_cover_the_root() {
    let (target, system) = target();
    let shares = Shares::new(&target, &system, Path::new("/"), None, ShareKind::NineP);
    assert_eq!(points(&shares), [("project", "/mnt/vmtest")]);
}

#[test]
fn a_project_that_is_the_root_is_writable_only_where_the_root_is() {
    let (target, mut system) = target();
    let project = |system: &KernelSystem| {
        let shares = Shares::new(&target, system, Path::new("/"), None, ShareKind::NineP);
        shares.devices.iter().any(|device| device.tag == "project" && device.writable())
    };
    assert!(!project(&system));
    system.root_access = RootAccess::Writable;
    assert!(project(&system));
}

// F1
#[test]
fn only_the_project_and_writable_mounts_are_exported_writable() {
    let (mut target, mut system) = target();
    let mount =
        |guest: &str, writable| Mount { guest_path: guest.into(), host_path: "/data".into(), writable };
    target.vm.mounts = vec![mount("/a", false), mount("/b", true)];
    let writable = |system: &KernelSystem| {
        let shares = Shares::new(&target, system, Path::new("/p"), None, ShareKind::NineP);
        shares
            .devices
            .iter()
            .filter(|device| device.writable())
            .map(|device| device.tag.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(writable(&system), ["project", "mount1"]);
    system.root_access = RootAccess::Writable;
    assert_eq!(writable(&system), ["root", "project", "mount1"]);
}

// F1
#[test]
fn where_writes_are_discarded_nothing_is_exported_writable() {
    let (mut target, system) = target();
    target.discards_writes = true;
    let mount =
        |guest: &str, writable| Mount { guest_path: guest.into(), host_path: "/data".into(), writable };
    target.vm.mounts = vec![mount("/a", false), mount("/b", true)];
    for kind in [ShareKind::NineP, ShareKind::Mixed, ShareKind::Virtiofs] {
        let shares = Shares::new(&target, &system, Path::new("/p"), None, kind);
        assert!(!shares.devices.iter().any(ShareDevice::writable), "{kind:?}");
        let covered = shares.devices.iter().filter(|device| device.access == Access::Overlay);
        assert_eq!(
            covered.map(|device| device.tag.as_str()).collect::<Vec<_>>(),
            ["root", "project", "mount1"]
        );
    }
    let of_image = Shares::of_image(&target, Path::new("/p"), &[FileSystem::NineP, FileSystem::Virtiofs]);
    assert!(!of_image.devices.iter().any(ShareDevice::writable));
}

#[test]
fn a_mount_that_holds_the_project_is_mounted_before_it() {
    let (mut target, system) = target();
    let mount = |guest: &str| Mount { guest_path: guest.into(), host_path: "/data".into(), writable: false };
    target.vm.mounts = vec![mount("/home/u/project/deep"), mount("/home")];
    let shares = Shares::new(&target, &system, Path::new("/home/u/project"), None, ShareKind::NineP);
    let places: Vec<_> = points(&shares).into_iter().map(|(_, point)| point).collect();
    assert_eq!(places, ["/home", "/home/u/project", "/home/u/project/deep", "/mnt/vmtest"]);
}

#[test]
fn modules_that_are_in_the_root_already_are_not_shared_again() {
    let (target, system) = target();
    let there = Index::AsIs { dir: "/lib/modules/6.1.0".into() };
    let shares = Shares::new(&target, &system, Path::new("/p"), Some(("6.1.0", &there)), ShareKind::NineP);
    assert!(shares.devices.iter().all(|device| device.tag != "modules"));
}

#[test]
fn made_indexes_bring_the_files_that_their_links_lead_to() {
    let (target, system) = target();
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("lib/modules/6.1.0");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("dummy.ko"), b"").unwrap();
    let tree = ModuleTree::open(Origin::BesideKernel, &dir).unwrap();
    let built = index(&tree, "6.1.0", scratch.path());
    let dir = dir.canonicalize().unwrap();
    let shares = Shares::new(&target, &system, Path::new("/p"), Some(("6.1.0", &built)), ShareKind::NineP);
    let points = points(&shares);
    assert!(points.contains(&("root", dir.to_str().unwrap())), "{points:?}");
    assert!(points.contains(&("root", "/lib/modules/6.1.0")), "{points:?}");
}

#[test]
fn what_the_root_share_has_and_the_guest_cannot_write_needs_no_device_of_its_own() {
    let (mut target, mut system) = target();
    let scratch = tempfile::tempdir().unwrap();
    let real = scratch.path().canonicalize().unwrap().join("real");
    let link = scratch.path().join("link");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    target.vm.mounts = vec![Mount { guest_path: "/a".into(), host_path: link, writable: false }];
    let mount = |system: &KernelSystem| {
        let shares = Shares::new(&target, system, Path::new("/p"), None, ShareKind::NineP);
        let bind = shares.binds.iter().find(|bind| bind.point == "/a").unwrap().clone();
        (bind.tag, PathBuf::from("/").join(bind.inside))
    };
    assert_eq!(mount(&system), ("root".to_owned(), real));
    // By a root that can be written, so could this.
    system.root_access = RootAccess::Writable;
    assert_eq!(mount(&system), ("mount0".to_owned(), PathBuf::from("/")));
    (system.root_access, system.rootfs) = (RootAccess::Overlay, "/srv/root".into());
    assert_eq!(mount(&system), ("mount0".to_owned(), PathBuf::from("/")));
}

#[test]
fn a_mount_point_below_a_directory_is_found_whatever_its_name() {
    let mounts = b"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:2 / /p/with\\040space/in\\134side rw - tmpfs t rw\n3 1 8:3 / /q rw\n";
    let below = |path: &str| has_mount_below(mounts, Path::new(path));
    assert!(below("/") && below("/p") && below("/p/with space"));
    assert!(!below("/p/with") && !below("/q") && !below("/p/with space/in\\side"));
}

#[test]
fn more_writable_mounts_than_daemons_have_places_for_are_shared_by_9p() {
    let (mut target, system) = target();
    let mount = |number| Mount {
        guest_path: format!("/m/{number}").into(),
        host_path: "/data".into(),
        writable: true,
    };
    target.vm.mounts = (0..60).map(mount).collect();
    let shares = Shares::new(&target, &system, Path::new("/p"), None, ShareKind::Mixed);
    assert_eq!(shares.served(), SERVED_AT_MOST);
    assert_eq!(shares.devices.len(), 62);
}

#[test]
fn the_guests_root_finds_system_programs_after_the_users_own() {
    let (target, _) = target();
    let env = environment(&target, variables(&[("PATH", "/opt/bin:/usr/bin")]), OsStr::new("/"));
    assert_eq!(
        value(&env, "PATH"),
        Some(
            "/opt/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin:/run/wrappers/bin:/run/current-system/sw/bin"
        )
    );
}

#[test]
fn env_of_the_target_wins_over_everything() {
    let (mut target, _) = target();
    target.env =
        [("PATH", "/only"), ("HOME", "/h")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let env = environment(&target, variables(&[("HOME", "/home/u")]), OsStr::new("/"));
    assert_eq!((value(&env, "PATH"), value(&env, "HOME")), (Some("/only"), Some("/h")));
}

#[test]
fn only_the_named_variables_are_inherited() {
    let (mut target, _) = target();
    let host = variables(&[("A", "1"), ("B", "2")]);
    let seen = |target: &Target| {
        let env = environment(target, host.clone(), OsStr::new("/"));
        (value(&env, "A").map(str::to_owned), value(&env, "B").map(str::to_owned))
    };
    assert_eq!(seen(&target), (Some("1".to_owned()), Some("2".to_owned())));
    target.inherit_env = InheritEnv::Only(vec!["B".to_owned()]);
    assert_eq!(seen(&target), (None, Some("2".to_owned())));
    target.inherit_env = InheritEnv::None;
    assert_eq!(seen(&target), (None, None));
}

#[test]
fn git_is_told_that_the_project_is_safe_beside_what_the_user_tells_it() {
    let (target, _) = target();
    let host = variables(&[
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "user.name"),
        ("GIT_CONFIG_VALUE_0", "me"),
    ]);
    let env = environment(&target, host, OsStr::new("/"));
    assert_eq!(value(&env, "GIT_CONFIG_COUNT"), Some("2"));
    assert_eq!(value(&env, "GIT_CONFIG_KEY_0"), Some("user.name"));
    assert_eq!(value(&env, "GIT_CONFIG_KEY_1"), Some("safe.directory"));
}

#[test]
fn pwd_keeps_the_symbolic_link_that_the_user_came_by() {
    let (target, _) = target();
    let scratch = tempfile::tempdir().unwrap();
    let real = scratch.path().canonicalize().unwrap().join("real");
    let link = scratch.path().join("link");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let pwd = |pwd: &Path| {
        let env = environment(&target, vec![("PWD".into(), pwd.into())], real.as_os_str());
        PathBuf::from(value(&env, "PWD").unwrap())
    };
    assert_eq!(pwd(&link), link);
    assert_eq!(pwd(Path::new("/elsewhere")), real);
}
