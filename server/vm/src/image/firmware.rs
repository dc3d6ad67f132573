//! UEFI firmware: where distributions put OVMF, and how it is plugged into the machine.

use std::io;
use std::path::{Path, PathBuf};

use crate::host;
use crate::qemu::arguments::{Arguments, Properties};

/// Files that start any image, without the Secure Boot that would refuse a self-built one.
const PLACES: [&str; 14] = [
    // Debian, Ubuntu
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/ovmf/OVMF.fd",
    // Fedora, Red Hat
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE_4M.fd",
    // Arch
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/edk2/x64/OVMF_CODE.fd",
    "/usr/share/edk2-ovmf/x64/OVMF_CODE.4m.fd",
    "/usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
    // SUSE
    "/usr/share/qemu/ovmf-x86_64-4m-code.bin",
    "/usr/share/qemu/ovmf-x86_64-code.bin",
    // NixOS
    "/run/libvirt/nix-ovmf/OVMF_CODE.fd",
    "/run/libvirt/nix-ovmf/edk2-x86_64-code.fd",
    "/run/current-system/sw/share/qemu/edk2-x86_64-code.fd",
];

/// Where QEMU brings its own, beside the folder of its program.
const BESIDE_QEMU: &str = "share/qemu/edk2-x86_64-code.fd";

/// A firmware file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Firmware {
    file: PathBuf,
    slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Read-only memory, in which the machine takes whole pieces of 64 KiB.
    Rom,
    /// Flash memory, which is never written: OVMF then keeps its variables in memory.
    Flash,
}

/// Why there is no firmware, and what to do about it.
#[derive(Debug)]
pub(crate) struct NoFirmware {
    pub(crate) reason: String,
    pub(crate) help: String,
}

impl Firmware {
    /// The user's file, else the distribution's.
    pub(crate) fn find(users: Option<&Path>, qemu: &Path) -> Result<Self, NoFirmware> {
        match users {
            Some(file) => Self::read(file).map_err(|error| NoFirmware {
                reason: format!("cannot read the firmware {}: {error}", file.display()),
                help: "correct `vm.bios`, or leave it out to use the distribution's OVMF".to_owned(),
            }),
            None => Self::first_of(candidates(qemu)).ok_or_else(|| NoFirmware {
                reason: "there is no UEFI firmware (OVMF) on this machine".to_owned(),
                help: host::firmware_cure(host::Manager::of_this_machine()),
            }),
        }
    }

    fn first_of(places: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        places.into_iter().find_map(|file| Self::read(file).ok())
    }

    fn read(file: impl Into<PathBuf>) -> io::Result<Self> {
        const PIECE: u64 = 64 * 1024;
        let file = file.into();
        let metadata = std::fs::File::open(&file)?.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(io::Error::other("it is no file with firmware in it"));
        }
        let slot = if metadata.len().is_multiple_of(PIECE) { Slot::Rom } else { Slot::Flash };
        Ok(Self { file, slot })
    }

    /// Gives it to the machine.
    pub(crate) fn plug(&self, args: &mut Arguments) {
        match self.slot {
            Slot::Rom => {
                args.raw("-bios", &self.file);
            }
            Slot::Flash => {
                let drive = Properties::new("").with("if", "pflash").with("unit", "0").with("format", "raw");
                args.list("-drive", drive.switch("readonly", true).with("file", &self.file));
            }
        }
    }
}

/// The file with this machine's UEFI firmware for `qemu`, if there is one.
pub fn uefi_firmware(qemu: &Path) -> Option<PathBuf> {
    Firmware::first_of(candidates(qemu)).map(|firmware| firmware.file)
}

fn candidates(qemu: &Path) -> impl Iterator<Item = PathBuf> {
    // Nix's profiles are links.
    let qemu = qemu.canonicalize().unwrap_or_else(|_| qemu.to_owned());
    let own = qemu.parent().and_then(Path::parent).map(|prefix| prefix.join(BESIDE_QEMU));
    PLACES.iter().map(PathBuf::from).chain(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_of_whole_pieces_is_read_only_memory_and_any_other_is_flash() {
        let folder = tempfile::tempdir().unwrap();
        let words = |size: usize| {
            let file = folder.path().join("a,b.fd");
            std::fs::write(&file, vec![0; size]).unwrap();
            let mut args = Arguments::default();
            Firmware::find(Some(&file), Path::new("/usr/bin/qemu")).unwrap().plug(&mut args);
            args.words().iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(words(128 * 1024).starts_with("-bios /"));
        let flash = words(129 * 1024);
        assert!(flash.starts_with("-drive if=pflash,unit=0,format=raw,readonly=on,file=/"), "{flash}");
        assert!(flash.ends_with("a,,b.fd"), "{flash}");
    }

    #[test]
    fn what_cannot_be_firmware_is_refused_with_the_key_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for file in [folder.path().to_owned(), folder.path().join("missing")] {
            let refused = Firmware::find(Some(&file), Path::new("/usr/bin/qemu")).unwrap_err();
            assert!(refused.reason.contains(&file.display().to_string()), "{}", refused.reason);
            assert!(refused.help.contains("vm.bios"));
        }
    }

    #[test]
    fn the_firmware_beside_qemu_is_found_where_the_distribution_has_none() {
        let prefix = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(prefix.path().join("share/qemu")).unwrap();
        std::fs::create_dir(prefix.path().join("bin")).unwrap();
        std::fs::write(prefix.path().join(BESIDE_QEMU), [0; 64]).unwrap();
        std::fs::write(prefix.path().join("bin/qemu"), "").unwrap();
        let qemu = prefix.path().join("bin/qemu");
        let own = candidates(&qemu).skip(PLACES.len());
        assert!(Firmware::first_of(own).is_some());
    }
}
