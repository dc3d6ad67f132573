//! The version is in one place.

use serde_json::Value;

use crate::page::read;

/// The version of the workspace.
fn version() -> String {
    let manifest = read("Cargo.toml");
    let (_, workspace) =
        manifest.split_once("[workspace.package]\nversion = \"").expect("the workspace has a version");
    workspace.split_once('"').expect("a string has an end").0.to_owned()
}

#[test]
fn every_crate_takes_the_version_of_the_workspace() {
    let manifest = read("Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let members: Vec<_> = members.split_once(']').unwrap().0.split('"').skip(1).step_by(2).collect();
    assert!(members.len() >= 8, "{members:?}");
    for member in members {
        assert!(read(&format!("{member}/Cargo.toml")).contains("\nversion.workspace = true\n"), "{member}");
    }
}

#[test]
fn the_extension_has_the_version_of_the_server_in_it() {
    let json = |path| serde_json::from_str::<Value>(&read(path)).unwrap();
    let (package, lock) = (json("editors/vscode/package.json"), json("editors/vscode/package-lock.json"));
    for found in [&package["version"], &lock["version"], &lock["packages"][""]["version"]] {
        assert_eq!(*found, Value::String(version()));
    }
}

#[test]
fn the_changelogs_begin_with_this_version() {
    for path in ["CHANGELOG.md", "editors/vscode/CHANGELOG.md"] {
        let text = read(path);
        let first = text.lines().find_map(|line| line.strip_prefix("## "));
        assert_eq!(first, Some(version().as_str()), "{path}");
    }
}
