//! What a kept guest depends on. Whatever changes here makes another guest of it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use blake3::Hasher;

use crate::qemu::machine::Machine;

/// Changes with everything else that a guest of an older vmtest would not know.
const FORMAT: &[u8] = b"vmtest snapshot 1";
/// The lines of `/proc/cpuinfo` that say what a processor can do, and not how fast it is at the moment.
const PROCESSOR: [&str; 7] =
    ["vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"];

/// Names something that is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(String);

impl Key {
    /// From all that it depends on.
    pub(crate) fn of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut hasher = Hasher::new();
        for part in parts {
            let part = part.as_ref();
            // The length before the bytes: two parts cannot pass for two others.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().to_hex()[..32].to_owned())
    }

    /// A guest's.
    /// Reads the kernel and the initramfs (guest init, agent, modules): some tens of megabytes.
    pub(crate) fn new(
        machine: &Machine,
        kernel: &Path,
        qemu: &Path,
        initramfs: impl AsFd,
    ) -> io::Result<Self> {
        let arguments = machine.kept_arguments();
        let (qemu, host) = (identity(qemu)?, host());
        let kernel = content(&File::open(kernel)?)?;
        let initramfs = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&initramfs.as_fd()));
        let initramfs = content(&File::open(initramfs)?)?;
        let words = arguments.words().iter().map(|word| word.as_bytes());
        let files = [qemu.as_bytes(), host.as_bytes(), kernel.as_bytes(), initramfs.as_bytes()];
        Ok(Self::of([FORMAT].into_iter().chain(words).chain(files)))
    }

    /// The key of an entry's file name, if that is one.
    pub(crate) fn of_name(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let is_key = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_key.then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn content(file: &File) -> io::Result<blake3::Hash> {
    let mut hasher = Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize())
}

/// The program as a package manager or a build leaves it: reading all of it would take longer than resuming.
fn identity(program: &Path) -> io::Result<String> {
    let path = fs::canonicalize(program)?;
    let file = fs::metadata(&path)?;
    let (changed, nanoseconds) = (file.ctime(), file.ctime_nsec());
    let (path, device, inode, size) = (path.display(), file.dev(), file.ino(), file.size());
    Ok(format!("{path} {device} {inode} {size} {changed}.{nanoseconds}"))
}

/// The processor and kernel under which a guest of KVM ran.
fn host() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    let mut host: String = first
        .lines()
        .filter(|line| line.split(':').next().is_some_and(|name| PROCESSOR.contains(&name.trim())))
        .collect();
    host.push_str(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default());
    host
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;
    use crate::event::Accelerator;
    use crate::qemu::machine::{Boot, ShareDevice};
    use vmtest_guest::wire::{Access, FileSystem};

    struct Bench {
        folder: tempfile::TempDir,
        machine: Machine,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["qemu", "kernel", "initramfs"] {
                fs::write(folder.path().join(name), name).unwrap();
            }
            let share = ShareDevice {
                tag: "project".into(),
                path: PathBuf::from("/home/u/one"),
                file_system: FileSystem::NineP,
                access: Access::Writable,
            };
            let machine = Machine {
                accelerator: Some(Accelerator::Tcg),
                cpu: "max".into(),
                cpus: 2,
                memory_bytes: 1 << 30,
                boot: Boot::Kernel { file: PathBuf::new(), command_line: "console=ttyS0".into() },
                shares: vec![share],
                network: false,
                sandbox: true,
                extra_args: Vec::new(),
            };
            Self { folder, machine }
        }

        fn key(&self) -> Key {
            self.key_of(self)
        }

        fn changed(&self, change: impl FnOnce(&mut Machine)) -> Key {
            let mut machine = self.machine.clone();
            change(&mut machine);
            Self { folder: tempfile::tempdir().unwrap(), machine }.key_of(self)
        }

        fn key_of(&self, files: &Self) -> Key {
            let file = |name| files.folder.path().join(name);
            let initramfs = File::open(file("initramfs")).unwrap();
            Key::new(&self.machine, &file("kernel"), &file("qemu"), initramfs).unwrap()
        }
    }

    #[test]
    fn projects_share_a_kept_guest() {
        let bench = Bench::new();
        let elsewhere = bench.changed(|machine| {
            machine.shares[0].path = "/home/u/two".into();
            machine.shares[0].access = Access::Overlay;
        });
        assert_eq!(bench.key(), elsewhere);
    }

    // S5
    #[test]
    fn whatever_the_guest_can_see_makes_another_one() {
        let bench = Bench::new();
        let one_more = bench.machine.shares[0].clone();
        let keys = [
            bench.key(),
            bench.changed(|machine| {
                machine.boot = Boot::Kernel { file: PathBuf::new(), command_line: "quiet".into() };
            }),
            bench.changed(|machine| machine.cpus = 1),
            bench.changed(|machine| machine.memory_bytes = 2 << 30),
            bench.changed(|machine| machine.cpu = "qemu64".into()),
            bench.changed(|machine| machine.accelerator = Some(Accelerator::Kvm)),
            bench.changed(|machine| machine.network = true),
            bench.changed(|machine| machine.shares.push(one_more)),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    // S5
    #[test]
    fn files_count_by_what_is_in_them_and_qemu_by_what_it_is() {
        let bench = Bench::new();
        let before = bench.key();
        // The same bytes in a newer file are the same kernel.
        fs::write(bench.folder.path().join("kernel"), "kernel").unwrap();
        assert_eq!(bench.key(), before);
        for name in ["kernel", "initramfs", "qemu"] {
            let before = bench.key();
            let mut file = fs::OpenOptions::new().append(true).open(bench.folder.path().join(name)).unwrap();
            file.write_all(b"!").unwrap();
            assert_ne!(bench.key(), before, "{name}");
        }
    }
}
