//! What is taken out of a package: the kernel and its modules, as files that lie where they may, and nothing else.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use tokio_util::sync::CancellationToken;

/// More entries than packages of kernels have; a large one has ten thousand.
const MOST_ENTRIES: u64 = 200_000;
/// More bytes than they have.
const MOST_BYTES: u64 = 4 << 30;

/// Linux knows no longer path.
const LONGEST_NAME: u64 = 4096;

/// Takes archives apart.
#[derive(Debug)]
pub(super) struct Unpacker<'a> {
    root: PathBuf,
    cancel: &'a CancellationToken,
    entries_left: u64,
    bytes_left: u64,
    bytes: u64,
    /// Made last, so that no file is ever written through one.
    links: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Unpacker<'a> {
    /// Into this folder.
    pub(super) fn new(root: &Path, cancel: &'a CancellationToken) -> Self {
        Self::limited(root, cancel, MOST_ENTRIES, MOST_BYTES)
    }

    fn limited(root: &Path, cancel: &'a CancellationToken, entries_left: u64, bytes_left: u64) -> Self {
        Self { root: root.to_owned(), cancel, entries_left, bytes_left, bytes: 0, links: Vec::new() }
    }

    /// Unpacks a tar archive.
    pub(super) fn tar(&mut self, from: impl Read) -> io::Result<()> {
        let (cancel, limit) = (self.cancel, self.bytes_left);
        let mut archive = tar::Archive::new(Capped { from, left: &mut self.bytes_left, limit, cancel });
        // As they are: names that need entries of their own would be read into memory, however long they say that they are.
        let (mut long_name, mut long_target) = (None, None);
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            self.entries_left =
                self.entries_left.checked_sub(1).ok_or_else(|| refuse("it has too many entries"))?;
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() {
                long_name = Some(name(&mut entry)?);
                continue;
            } else if kind.is_gnu_longlink() {
                long_target = Some(name(&mut entry)?);
                continue;
            } else if kind.is_pax_local_extensions() || kind.is_gnu_sparse() {
                return Err(refuse("it is no archive as dpkg-deb makes them"));
            }
            let (long_name, long_target) = (long_name.take(), long_target.take());
            let path = long_name.map_or_else(|| entry.path().map(Cow::into_owned), Ok)?;
            let Some(place) = place(&path)? else { continue };
            if kind.is_file() || kind.is_contiguous() {
                self.bytes += write(&self.root.join(place), &mut entry)?;
            } else if kind.is_symlink()
                && let Some(target) =
                    long_target.map_or_else(|| entry.link_name(), |to| Ok(Some(to.into())))?
                && stays_inside(&place, &target)
            {
                self.links.push((place, target.into_owned()));
            }
        }
        Ok(())
    }

    /// Makes the links; how many bytes all of it has.
    pub(super) fn finish(self) -> io::Result<u64> {
        for (place, target) in self.links {
            let path = self.root.join(place);
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            symlink(target, path)?;
        }
        Ok(self.bytes)
    }
}

/// A reader that comes to an end.
struct Capped<'a, R> {
    from: R,
    left: &'a mut u64,
    limit: u64,
    cancel: &'a CancellationToken,
}

impl<R: Read> Read for Capped<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(refuse("it was cancelled"));
        }
        let count = self.from.read(buffer)?;
        *self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| refuse(&format!("it is larger than {} bytes", self.limit)))?;
        Ok(count)
    }
}

/// A name that is too long for a header, from the entry before the one that it belongs to.
fn name(entry: &mut impl Read) -> io::Result<PathBuf> {
    let mut bytes = Vec::new();
    entry.take(LONGEST_NAME + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_NAME {
        return Err(refuse("it has a name that is too long"));
    }
    // A NUL ends it, as tar writes it.
    let end = memchr::memchr(0, &bytes).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(OsString::from_vec(bytes).into())
}

/// Where an entry belongs; none for what is of no use. Modules are always below `lib`.
fn place(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refuse(&format!("its entry {} leads out of it", path.display())));
            }
        }
    }
    let plain = plain.strip_prefix("usr").map_or(plain.clone(), Path::to_owned);
    let is_wanted = plain.starts_with("boot") || plain.starts_with("lib/modules");
    Ok((is_wanted && plain.components().count() > 1).then_some(plain))
}

/// Whether a link at `place` leads to somewhere below the root. Others, such as those to a kernel's sources, are of no use.
fn stays_inside(place: &Path, target: &Path) -> bool {
    let mut depth = place.components().count() - 1;
    target.components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => {
            let above = depth.checked_sub(1);
            depth = above.unwrap_or_default();
            above.is_some()
        }
        Component::RootDir | Component::Prefix(_) => false,
    })
}

fn write(path: &Path, content: &mut impl Read) -> io::Result<u64> {
    fs::create_dir_all(path.parent().expect("it is below the root"))?;
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    io::copy(content, &mut file)
}

fn refuse(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use vmtest_fuzz::{Choices, Fuzzer};

    use super::*;

    /// An entry: its name as it is, without the care that good programs take.
    fn entry(name: &str, kind: tar::EntryType, target: &str, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o4777);
        header.set_cksum();
        let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
        [&header.as_bytes()[..], content, &padding].concat()
    }

    fn file(name: &str, content: &[u8]) -> Vec<u8> {
        entry(name, tar::EntryType::Regular, "", content)
    }

    fn link(name: &str, target: &str) -> Vec<u8> {
        entry(name, tar::EntryType::Symlink, target, b"")
    }

    /// Unpacks into the folder `root` of a new one; what it says, and all that is there afterwards.
    fn unpacked(entries: &[Vec<u8>], most_entries: u64, most_bytes: u64) -> (io::Result<u64>, Vec<String>) {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        let cancel = CancellationToken::new();
        let mut unpacker = Unpacker::limited(&root, &cancel, most_entries, most_bytes);
        let archive = [&entries.concat()[..], &[0; 1024]].concat();
        let said = unpacker.tar(&archive[..]).and_then(|()| unpacker.finish());
        let mut found = Vec::new();
        list(base.path(), base.path(), &mut found);
        found.sort();
        (said, found)
    }

    fn list(base: &Path, dir: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                list(base, &entry.path(), into);
            } else {
                into.push(entry.path().strip_prefix(base).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn the_kernel_and_its_modules_are_taken_and_nothing_else() {
        let entries = [
            file("./boot/vmlinuz-6.1", b"kernel"),
            file("usr/lib/modules/6.1/a.ko", b"module"),
            file("./usr/share/doc/x", b"text"),
            file("etc/passwd", b"text"),
            entry("boot/pipe", tar::EntryType::Fifo, "", b""),
            link("lib/modules/6.1/build", "/usr/src/linux"),
            link("lib/modules/6.1/vmlinuz", "../../../boot/vmlinuz-6.1"),
            link("lib/modules/6.1/out", "../../../../x"),
        ];
        let (said, found) = unpacked(&entries, 100, 1 << 20);
        assert_eq!(said.unwrap(), 12);
        assert_eq!(
            found,
            ["root/boot/vmlinuz-6.1", "root/lib/modules/6.1/a.ko", "root/lib/modules/6.1/vmlinuz"]
        );
    }

    /// The entry that gives the next one a name.
    fn long_name(name: &str) -> Vec<u8> {
        entry("././@LongLink", tar::EntryType::GNULongName, "", format!("{name}\0").as_bytes())
    }

    // N2
    #[test]
    fn nothing_is_written_outside() {
        let base = "lib/modules/6.1";
        for entries in [
            vec![file("../outside", b"x")],
            vec![file("boot/../../outside", b"x")],
            vec![file("/tmp/vmtest-outside", b"x")],
            vec![link("boot/link", ".."), file("boot/link/x", b"x")],
            vec![link(&format!("{base}/l"), "../6.1"), file(&format!("{base}/l"), b"x")],
            vec![file("boot/x", b"1"), file("boot/x", b"2")],
            vec![long_name("../outside"), file("boot/x", b"x")],
            vec![long_name(&format!("boot/{}/../../../outside", "x".repeat(200))), file("boot/x", b"x")],
        ] {
            let (said, found) = unpacked(&entries, 100, 1 << 20);
            assert!(said.is_err(), "{found:?}");
            assert!(found.iter().all(|path| path.starts_with("root/")), "{found:?}");
        }
        assert!(!Path::new("/tmp/vmtest-outside").exists());
    }

    // N2
    #[test]
    fn any_names_and_links_stay_below_the_root() {
        const KINDS: [tar::EntryType; 6] = [
            tar::EntryType::Regular,
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Directory,
            tar::EntryType::GNULongName,
            tar::EntryType::Fifo,
        ];
        let starts = ["boot", "lib/modules/6.1", "usr/lib/modules/6.1", "..", "/", "./boot"];
        let pieces = ["..", ".", "a", "l", "../..", "", "\0", "\n"];
        Fuzzer::new("archive").run(|input| {
            let mut choices = Choices::new(input);
            let name = |choices: &mut Choices<'_>| {
                let start = if choices.below(8) == 0 { 3 } else { 0 };
                let mut name = starts[start + choices.below(3)].to_owned();
                for _ in 0..choices.below(6) {
                    name = format!("{name}/{}", choices.of_all(&pieces));
                }
                name
            };
            let entries: Vec<_> = (0..=choices.below(8))
                .map(|_| {
                    let (name, target) = (name(&mut choices), name(&mut choices));
                    let count = choices.below(20);
                    entry(&name, *choices.of_all(&KINDS), &target, choices.bytes(count))
                })
                .collect();
            let (_, found) = unpacked(&entries, 100, 1 << 20);
            assert!(found.iter().all(|path| path.starts_with("root/")), "{found:?}");
        });
    }

    // N2
    #[test]
    fn a_hard_link_to_a_file_of_this_machine_is_not_made() {
        let entries = [entry("boot/vmlinuz-1", tar::EntryType::Link, "/etc/passwd", b"")];
        assert_eq!(unpacked(&entries, 10, 1 << 20).1, Vec::<String>::new());
    }

    #[test]
    fn a_long_name_is_a_name_like_others() {
        let name = format!("lib/modules/6.1/{}/a.ko", "x".repeat(120));
        let target = format!("../../../boot/{}", "y".repeat(120));
        let long_target = entry("././@LongLink", tar::EntryType::GNULongLink, "", target.as_bytes());
        let entries = [
            [long_name(&name), file("lib/modules/6.1/xx", b"module")].concat(),
            [long_target, link("lib/modules/6.1/vmlinuz", "../../../boot/yy")].concat(),
        ];
        let (said, found) = unpacked(&entries, 10, 1 << 20);
        assert_eq!(said.unwrap(), 6);
        assert_eq!(found, ["root/lib/modules/6.1/vmlinuz".to_owned(), format!("root/{name}")]);
    }

    // N2
    #[test]
    fn any_bytes_are_unpacked_as_an_archive_within_the_limits() {
        let good = [file("boot/vmlinuz", b"kernel"), link("lib/modules/6.1/l", "x")].concat();
        let many: Vec<u8> = (0..9).flat_map(|n| file(&format!("boot/{n}"), b"")).collect();
        Fuzzer::new("tar").seed(good).seed(many).pieces(["ustar  \0", "boot/", "../"]).run(|bytes| {
            let (said, found) = unpacked(&[bytes.to_vec()], 5, 20_000);
            assert!(found.len() <= 5 && found.iter().all(|path| path.starts_with("root/")), "{found:?}");
            assert!(said.is_err() || said.is_ok_and(|bytes| bytes <= 20_000));
        });
    }

    // N2
    #[test]
    fn a_name_without_end_is_refused_and_not_kept_in_memory() {
        let long = [long_name(&"x".repeat(1 << 20)), file("boot/x", b"")];
        assert!(unpacked(&long, 10, 1 << 30).0.unwrap_err().to_string().contains("name that is too long"));
        let pax = [entry("x", tar::EntryType::XHeader, "", b"12 path=boot\n"), file("boot/x", b"")];
        assert!(unpacked(&pax, 10, 1 << 30).0.is_err());
    }

    /// The real limits, by an archive that is never in memory: one entry, again and again.
    // N2
    #[test]
    fn a_million_entries_and_a_bomb_are_given_up() {
        struct Again(Vec<u8>, usize);
        impl Read for Again {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let from = &self.0[self.1 % self.0.len()..];
                let count = from.len().min(buffer.len());
                buffer[..count].copy_from_slice(&from[..count]);
                self.1 += count;
                Ok(count)
            }
        }
        let root = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        for (archive, why) in [
            (file("etc/x", b""), "too many entries"),
            (file("etc/x", &vec![0; 64 << 20]), "larger than 4294967296 bytes"),
        ] {
            let error = Unpacker::new(root.path(), &cancel).tar(Again(archive, 0)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    // N2
    #[test]
    fn entries_and_bytes_are_counted_also_those_that_are_of_no_use() {
        let many: Vec<_> = (0..11).map(|n| file(&format!("etc/{n}"), b"")).collect();
        assert!(unpacked(&many, 10, 1 << 20).0.unwrap_err().to_string().contains("too many entries"));
        assert!(unpacked(&many, 11, 1 << 20).0.is_ok());
        let large = [file("etc/x", &[0; 5000])];
        assert!(unpacked(&large, 10, 5000).0.unwrap_err().to_string().contains("larger than 5000 bytes"));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let whole = file("boot/vmlinuz", &[7; 600]);
        for length in [100, 512, 513, 1000] {
            let mut unpacker = Unpacker::new(base.path(), &cancel);
            assert!(unpacker.tar(&whole[..length]).is_err(), "{length}");
            let _ = fs::remove_dir_all(base.path().join("boot"));
        }
    }
}
