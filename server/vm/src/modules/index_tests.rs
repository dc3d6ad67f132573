use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::super::tests::module;
use super::*;

const RELEASE: &str = "6.1.0-test";

fn depmod() -> PathBuf {
    find_depmod(std::env::var_os("PATH")).expect("this test needs depmod: apt-get install kmod")
}

/// A tree of two modules, installed or as a build leaves it, and a cache.
fn tree(origin: Origin) -> (TempDir, ModuleTree, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (place, inside) = match origin {
        Origin::BuildTree => ("linux".to_owned(), "fs"),
        _ => (format!("lib/modules/{RELEASE}"), "kernel/fs"),
    };
    let root = dir.path().join(place);
    fs::create_dir_all(root.join(inside)).unwrap();
    fs::write(root.join(inside).join("one.ko"), module(&["name=one", "depends=", "alias=fs-one"])).unwrap();
    fs::write(root.join(inside).join("two.ko"), module(&["name=two", "depends=one"])).unwrap();
    fs::write(root.join("modules.builtin"), "kernel/fs/three.ko\n").unwrap();
    let tree = ModuleTree::open(origin, &root).unwrap();
    let cache = dir.path().join("cache");
    (dir, tree, cache)
}

fn links(depmod: &Path, tree: &ModuleTree, cache: &Path) -> Links {
    Links::place(depmod.to_owned(), tree, RELEASE, cache).unwrap()
}

fn built(depmod: &Path, tree: &ModuleTree, cache: &Path) -> PathBuf {
    let links = links(depmod, tree, cache);
    links.make(|mut depmod| depmod.output()).unwrap();
    links.share.join(links.inside)
}

#[test]
fn a_tree_without_indexes_gets_both_kinds_and_its_modules() {
    for origin in [Origin::BesideKernel, Origin::BuildTree] {
        let (_dir, tree, cache) = tree(origin);
        let dir = built(&depmod(), &tree, &cache);
        assert!(dir.ends_with(RELEASE));
        assert!(dir.join("modules.dep.bin").is_file());
        let text = fs::read_to_string(dir.join("modules.dep")).unwrap();
        assert!(text.contains("kernel/fs/one.ko:"), "{text}");
        assert!(fs::read_to_string(dir.join("modules.alias")).unwrap().contains("fs-one"));
        assert_eq!(
            fs::read(dir.join("kernel/fs/two.ko")).unwrap(),
            fs::read(tree.file("two").unwrap()).unwrap()
        );
        // Nothing is left beside it, and the tree is as it was.
        assert_eq!(cache.join("modules").read_dir().unwrap().count(), 1);
        assert!(!tree.dir.join("modules.dep").exists());
    }
}

#[test]
fn an_indexed_tree_serves_as_it_is() {
    let (_dir, tree, cache) = tree(Origin::Host);
    fs::write(tree.dir.join("modules.dep.bin"), b"").unwrap();
    assert_eq!(index(&tree, RELEASE, &cache), Index::AsIs { dir: tree.dir.clone() });
    assert!(!cache.exists());
}

#[test]
fn indexes_are_made_once_and_again_when_a_module_changes() {
    let (_dir, tree, cache) = tree(Origin::BesideKernel);
    let first = built(&depmod(), &tree, &cache);
    // A depmod that is not there shows that none is started.
    let nowhere = Path::new("/nonexistent/depmod");
    assert_eq!(built(nowhere, &tree, &cache), first);
    fs::write(tree.file("one").unwrap(), module(&["name=one", "depends=", "alias=fs-another"])).unwrap();
    let second = built(&depmod(), &tree, &cache);
    assert_ne!(second, first);
    assert!(first.is_dir(), "a guest may still use it");
}

#[test]
fn processes_that_index_at_once_agree() {
    let (_dir, tree, cache) = tree(Origin::BesideKernel);
    let dirs: BTreeSet<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| built(&depmod(), &tree, &cache))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(dirs.len(), 1);
    assert_eq!(cache.join("modules").read_dir().unwrap().count(), 1);
}

// H2
#[test]
fn what_a_process_that_died_had_begun_is_gone_with_the_next_run_and_what_is_being_made_stays() {
    let (_dir, tree, cache) = tree(Origin::BesideKernel);
    let done = built(&depmod(), &tree, &cache);
    let abandoned = cache.join("modules/.new-abandoned");
    fs::create_dir_all(abandoned.join("lib/modules")).unwrap();
    let (at_work, _lock) = staging(&cache.join("modules")).unwrap();
    assert_eq!(built(&depmod(), &tree, &cache), done);
    assert!(!abandoned.exists() && at_work.path().is_dir());
}

#[test]
fn a_depmod_that_fails_is_a_reason_and_leaves_nothing() {
    let (dir, tree, cache) = tree(Origin::BesideKernel);
    let broken = dir.path().join("depmod");
    fs::write(&broken, "#!/bin/sh\necho cannot do it >&2\nexit 3\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let reason = links(&broken, &tree, &cache).make(|mut depmod| depmod.output()).unwrap_err();
    assert!(reason.contains("modprobe") && reason.contains("cannot do it"), "{reason}");
    assert_eq!(cache.join("modules").read_dir().unwrap().count(), 0);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_reason() {
    let (dir, tree, _) = tree(Origin::BesideKernel);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let reason = Links::place(depmod(), &tree, RELEASE, &file).unwrap_err();
    assert!(reason.contains("modprobe"), "{reason}");
}
