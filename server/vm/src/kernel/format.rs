//! Which kind of kernel a file is, by its first bytes.

use std::fmt;

use vmtest_config::Arch;

use super::error::LooksLike;

/// How a kernel file is built up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A compressed image with a real-mode header: `bzImage`, `vmlinuz`.
    BzImage,
    /// The ELF file that every image is made from.
    Vmlinux,
    /// The flat image of arm64 and RISC-V.
    Image,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BzImage => "bzImage",
            Self::Vmlinux => "vmlinux",
            Self::Image => "Image",
        })
    }
}

/// A recognized kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) format: Format,
    pub(super) arch: FoundArch,
}

/// The machine that a kernel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundArch {
    Known(Arch),
    Other(&'static str),
}

impl PartialEq<Arch> for FoundArch {
    fn eq(&self, other: &Arch) -> bool {
        matches!(self, Self::Known(arch) if arch == other)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.arch {
            FoundArch::Known(arch) => write!(f, "{arch}"),
            FoundArch::Other(name) => f.write_str(name),
        }
    }
}

/// Recognizes a kernel by the start of its file; else says what the file seems to be, where that is clear.
pub(super) fn detect(head: &[u8]) -> Result<Found, Option<LooksLike>> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let known = |format, arch| Ok(Found { format, arch: FoundArch::Known(arch) });
    // Documentation/arch/x86/boot.rst: boot_flag and header.
    if at(0x202, b"HdrS") && at(0x1FE, &[0x55, 0xAA]) {
        return known(Format::BzImage, Arch::X86_64);
    }
    // Documentation/arch/arm64/booting.rst: magic.
    if at(0x38, b"ARM\x64") {
        return known(Format::Image, Arch::Aarch64);
    }
    // Documentation/arch/riscv/boot-image-header.rst: magic2.
    if at(0x38, b"RSC\x05") {
        return known(Format::Image, Arch::Riscv64);
    }
    if at(0, b"\x7FELF") {
        let arch = elf_arch(head).ok_or(Some(NO_ELF_KERNEL))?;
        return Ok(Found { format: Format::Vmlinux, arch });
    }
    Err(looks_like(head))
}

const NO_ELF_KERNEL: LooksLike = LooksLike {
    kind: "an ELF file for no machine that vmtest knows",
    cure: "; name a bzImage, a vmlinuz, a vmlinux, or a kernel build tree",
};

/// The machine of an ELF file, by `e_machine` and its class; the ids are those of `elf.h`.
fn elf_arch(head: &[u8]) -> Option<FoundArch> {
    let class = *head.get(4)?;
    let machine = match (*head.get(5)?, head.get(18..20)?) {
        (2, bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        (_, bytes) => u16::from_le_bytes([bytes[0], bytes[1]]),
    };
    Some(match (machine, class) {
        (62, 2) => FoundArch::Known(Arch::X86_64),
        (183, 2) => FoundArch::Known(Arch::Aarch64),
        (243, 2) => FoundArch::Known(Arch::Riscv64),
        (22, 2) => FoundArch::Known(Arch::S390x),
        (3, _) => FoundArch::Other("32-bit x86"),
        (40, _) => FoundArch::Other("32-bit Arm"),
        (243, _) => FoundArch::Other("32-bit RISC-V"),
        (20 | 21, _) => FoundArch::Other("PowerPC"),
        (8, _) => FoundArch::Other("MIPS"),
        (258, _) => FoundArch::Other("LoongArch"),
        _ => return None,
    })
}

/// Files that people name by mistake.
fn looks_like(head: &[u8]) -> Option<LooksLike> {
    const IMAGE: &str = "; use `image` instead of `kernel`";
    const UNPACK: &str = "; unpack it and name the kernel in it";
    const NAME: &str = "; name a bzImage, a vmlinuz, a vmlinux, or a kernel build tree";
    let guess = |kind, cure| Some(LooksLike { kind, cure });
    let tar = head.get(257..262) == Some(b"ustar");
    match head {
        [] => None,
        [b'Q', b'F', b'I', 0xFB, ..] => guess("a qcow2 disk image", IMAGE),
        [b'K', b'D', b'M', b'V', ..] => guess("a VMDK disk image", IMAGE),
        [b'M', b'Z', _, _, b'z', b'i', b'm', b'g', ..] => guess(
            "a self-extracting EFI kernel, which QEMU cannot start",
            "; name the `Image` or `bzImage` of its build",
        ),
        [b'M', b'Z', ..] => guess(
            "an EFI program, perhaps a unified kernel image, which has no boot header",
            "; name the vmlinuz it was made from",
        ),
        [0x27, 0x05, 0x19, 0x56, ..] => guess("a U-Boot image", "; name the vmlinuz it was made from"),
        _ if head.starts_with(b"!<arch>\ndebian-binary") => guess(
            "a Debian package",
            "; unpack it with `dpkg-deb -x` and name the directory, or use `kernel_package`",
        ),
        [0xED, 0xAB, 0xEE, 0xDB, ..] => guess(
            "an RPM package",
            "; unpack it with `rpm2cpio` and name the directory, or use `kernel_package`",
        ),
        _ if head.starts_with(b"070701") || head.starts_with(b"070702") => {
            guess("a cpio archive, perhaps an initramfs", NAME)
        }
        _ if tar => guess("a tar archive", UNPACK),
        [0x1F, 0x8B, ..] => guess("a gzip file", "; uncompress it with `gunzip`, or name the bzImage"),
        [0xFD, b'7', b'z', b'X', b'Z', ..] => {
            guess("an xz file", "; uncompress it with `unxz`, or name the bzImage")
        }
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            guess("a zstd file", "; uncompress it with `unzstd`, or name the bzImage")
        }
        [0x7F, b'E', b'L', b'F', ..] => Some(NO_ELF_KERNEL),
        // The header starts beyond the file's end.
        _ if head.len() < 0x206 && !is_text(head) => None,
        _ if head.get(0x1FE..0x200) == Some(&[0x55, 0xAA]) => guess("a raw disk image or boot sector", IMAGE),
        _ if is_text(head) => guess("a text file", NAME),
        _ => None,
    }
}

fn is_text(head: &[u8]) -> bool {
    let start = &head[..head.len().min(1024)];
    !start.is_empty() && start.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E | 0x80..))
}
