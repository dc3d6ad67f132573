use std::collections::BTreeMap as Map;
use std::io::Read as _;

use proptest::prelude::*;

use super::*;

/// An entry as it stands in an archive: mode with its type, content, device.
type Found = (u32, Vec<u8>, (u32, u32));

/// Reads an archive; order and all.
fn read(archive: &[u8]) -> Vec<(String, Found)> {
    let mut rest = archive;
    let mut found = Vec::new();
    loop {
        let mut reader = newc::Reader::new(rest).unwrap();
        if reader.entry().is_trailer() {
            return found;
        }
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let entry = reader.entry();
        let device = (entry.rdev_major(), entry.rdev_minor());
        found.push((entry.name().to_owned(), (entry.mode(), content, device)));
        rest = reader.finish().unwrap();
    }
}

#[test]
fn what_is_put_in_is_there_with_its_mode_and_parents_before_children() {
    let archive = Initramfs::new()
        .file("/usr/bin/agent", 0o755, &b"program"[..])
        .symlink("/sbin", "usr/bin")
        .char_device("/dev/console", 0o600, 5, 1)
        .char_device("/dev/null", 0o666, 1, 3)
        .dir("/proc", 0o555)
        .finish();
    let text = |text: &str| text.as_bytes().to_vec();
    let expected: [(&str, Found); 8] = [
        ("dev", (0o40755, text(""), (0, 0))),
        ("dev/console", (0o20600, text(""), (5, 1))),
        ("dev/null", (0o20666, text(""), (1, 3))),
        ("proc", (0o40555, text(""), (0, 0))),
        ("sbin", (0o120_777, text("usr/bin"), (0, 0))),
        ("usr", (0o40755, text(""), (0, 0))),
        ("usr/bin", (0o40755, text(""), (0, 0))),
        ("usr/bin/agent", (0o100_755, text("program"), (0, 0))),
    ];
    assert_eq!(read(&archive), expected.map(|(name, found)| (name.to_owned(), found)));
}

#[test]
fn the_same_entries_give_the_same_bytes_in_any_order() {
    let one = Initramfs::new().file("/a/b", 0o644, &b"1"[..]).dir("/c", 0o755).finish();
    let other =
        Initramfs::new().dir("/c", 0o755).file("a/./x/../b", 0o644, b"1".to_vec()).dir("/", 0o700).finish();
    assert_eq!(one, other.clone());
    assert_eq!(one.len() % 4, 0);
}

#[test]
fn of_two_entries_with_one_path_the_later_counts() {
    let archive = Initramfs::new()
        .file("/a", 0o644, &b"first"[..])
        .file("/a", 0o600, &b"second"[..])
        .file("/f", 0o644, &b"a file"[..])
        .file("/f/inside", 0o644, &b""[..])
        .symlink("/lib", "usr/lib")
        .file("/lib/x", 0o644, &b""[..])
        .finish();
    let found: Map<String, Found> = read(&archive).into_iter().collect();
    assert_eq!(found["a"], (0o100_600, b"second".to_vec(), (0, 0)));
    assert_eq!(found["f"].0, 0o40755);
    // The kernel follows a link that is there already.
    assert_eq!(found["lib"].0, 0o120_777);
}

proptest! {
    #[test]
    fn any_files_come_back_as_they_went_in(
        files in proptest::collection::btree_map(
            "[a-z]{1,3}(/[a-z.]{1,4}x){0,3}",
            (0..0o10000u32, proptest::collection::vec(any::<u8>(), 0..64)),
            0..20,
        )
    ) {
        // A path that is also the parent of another would become a directory.
        let files: Map<String, (u32, Vec<u8>)> = files
            .iter()
            .filter(|(path, _)| !files.keys().any(|other| other.starts_with(&format!("{path}/"))))
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect();
        let mut archive = Initramfs::new();
        for (path, (mode, content)) in &files {
            archive = archive.file(path, *mode, content.as_slice());
        }
        let found = read(&archive.finish());
        let mut seen = std::collections::BTreeSet::new();
        for (path, _) in &found {
            if let Some((parent, _)) = path.rsplit_once('/') {
                prop_assert!(seen.contains(parent), "{} comes before its parent", path);
            }
            prop_assert!(seen.insert(path.clone()), "{} comes twice", path);
        }
        let regular: Map<String, (u32, Vec<u8>)> = found
            .into_iter()
            .filter(|(_, (mode, ..))| mode & 0o170_000 == 0o100_000)
            .map(|(path, (mode, content, _))| (path, (mode & 0o7777, content)))
            .collect();
        prop_assert_eq!(regular, files);
    }
}
