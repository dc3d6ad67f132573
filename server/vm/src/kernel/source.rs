//! From the path that the user wrote to the kernel file, and to the build tree around it.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use vmtest_config::Arch;

use super::{KernelError, banner};

/// Where `make` leaves the image.
fn image_in_tree(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "arch/x86/boot/bzImage",
        Arch::Aarch64 => "arch/arm64/boot/Image",
        Arch::Riscv64 => "arch/riscv/boot/Image",
        Arch::S390x => "arch/s390/boot/bzImage",
    }
}

/// The kernel file that `path` means: itself, or the kernel in that directory.
pub(super) fn kernel_file(path: &Path, arch: Arch) -> Result<PathBuf, KernelError> {
    let metadata = path.metadata().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            KernelError::Missing { path: path.to_owned() }
        }
        _ => KernelError::Unreadable { path: path.to_owned(), source },
    })?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return in_directory(path, arch);
    }
    // Opening a pipe would wait for its writer.
    let special = if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        return Ok(path.to_owned());
    };
    Err(KernelError::NotAFile { path: path.to_owned(), kind: special })
}

fn in_directory(dir: &Path, arch: Arch) -> Result<PathBuf, KernelError> {
    let image = image_in_tree(arch);
    let built = dir.join(image);
    if built.is_file() {
        return Ok(built);
    }
    // Kernel sources have both; a build directory has at least the second after `make defconfig`.
    if dir.join("Kbuild").is_file() || dir.join("include/config/auto.conf").is_file() {
        return Err(KernelError::NotBuilt { path: dir.to_owned(), image });
    }
    let mut found =
        packaged(dir).map_err(|source| KernelError::Unreadable { path: dir.to_owned(), source })?;
    found.sort();
    match found.as_slice() {
        [] => Err(KernelError::NoKernelInDirectory { path: dir.to_owned() }),
        [only] => Ok(dir.join(only)),
        several => Err(KernelError::SeveralKernels { path: dir.to_owned(), found: several.to_vec() }),
    }
}

/// The kernels of an unpacked package, relative to its directory: `boot/vmlinuz-<release>` (Debian, openSUSE),
/// `lib/modules/<release>/vmlinuz` (Fedora, Arch), or right there.
fn packaged(dir: &Path) -> io::Result<Vec<String>> {
    let is_kernel = |name: &str| {
        ["vmlinuz", "bzImage"].iter().any(|stem| name == *stem || name.starts_with(&format!("{stem}-")))
            && !name.contains("rescue")
    };
    let mut found = Vec::new();
    for place in ["", "boot"] {
        let entries = match dir.join(place).read_dir() {
            Ok(entries) => entries,
            Err(error) if place.is_empty() => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            // A link is a second name for a kernel that is there anyway (`/vmlinuz`, `/boot/vmlinuz`).
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if let Some(name) = entry.file_name().to_str().filter(|name| is_file && is_kernel(name)) {
                found.push(Path::new(place).join(name).to_string_lossy().into_owned());
            }
        }
    }
    // Fedora installs the same kernel in both places.
    if !found.is_empty() {
        return Ok(found);
    }
    for place in ["lib/modules", "usr/lib/modules"] {
        let Ok(entries) = dir.join(place).read_dir() else { continue };
        for entry in entries.flatten() {
            let name = Path::new(place).join(entry.file_name()).join("vmlinuz");
            if dir.join(&name).is_file() {
                found.push(name.to_string_lossy().into_owned());
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// The build tree that the kernel file belongs to: the directory that was named, or the one above the image.
pub(super) fn build_tree(named: &Path, file: &Path) -> Option<PathBuf> {
    let real = file.canonicalize().ok();
    // <tree>/arch/x86/boot/bzImage and <tree>/vmlinux.
    let above = [Some(file), real.as_deref()]
        .into_iter()
        .flatten()
        .flat_map(|file| [file.ancestors().nth(4), file.parent()].into_iter().flatten().map(Path::to_owned));
    std::iter::once(named.to_owned())
        .chain(above)
        .find(|dir| dir.join("include/config/kernel.release").is_file())
}

/// The release that a build tree was last built as.
pub(super) fn built_release(tree: &Path) -> Option<String> {
    let text = std::fs::read(tree.join("include/config/kernel.release")).ok()?;
    banner::release_from(text.trim_ascii())
}
