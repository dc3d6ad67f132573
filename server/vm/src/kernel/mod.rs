//! A kernel as the user names it: a file, a build tree, or an unpacked package; and what can be told about it before
//! it boots.
//!
//! Reading is cheap on purpose: a header, a few kilobytes around it, and a directory walk for the modules. The one
//! expensive source of truth, the configuration inside a compressed image, is only opened by
//! [`Kernel::embedded_config`].

mod banner;
mod bzimage;
mod config;
mod error;
mod format;
mod payload;
mod source;
mod vmlinux;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use vmtest_config::Arch;

pub use self::config::{KernelConfig, Setting};
pub use self::error::KernelError;
pub use self::format::Format;
pub use self::payload::{PAYLOAD_LIMIT, PayloadError, payload};
use crate::modules::{ModuleTree, Origin};
use crate::regular;

/// Enough for the boot sector, the 255 setup sectors that a header can announce, and every magic number.
const HEAD_LEN: u64 = 256 * 512;

/// No image is this long. A vmlinux with debug information can be, but only its program headers are read.
const IMAGE_LIMIT: u64 = 1 << 30;

/// A kernel that QEMU can start, and what is known about it.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The file that goes to QEMU's `-kernel`.
    pub file: PathBuf,
    /// How that file is built up.
    pub format: Format,
    /// `uname -r` of the kernel, safe as a file name.
    pub release: String,
    /// Its loadable modules, where some were found.
    pub modules: Option<ModuleTree>,
    /// Its configuration, where a file tells it.
    pub config: Option<KernelConfig>,
}

/// Where modules and configurations are looked for besides the kernel's own surroundings.
#[derive(Debug, Clone)]
pub struct ModuleSearch {
    /// The guest's root directory.
    pub rootfs: PathBuf,
    /// The host's root directory.
    pub host: PathBuf,
}

impl ModuleSearch {
    /// Looks in `rootfs`, then on this machine.
    pub fn new(rootfs: &Path) -> Self {
        Self { rootfs: rootfs.to_owned(), host: PathBuf::from("/") }
    }

    /// Both roots, each once.
    fn roots(&self) -> impl Iterator<Item = (Origin, &Path)> {
        let host = (self.host != self.rootfs).then_some((Origin::Host, self.host.as_path()));
        std::iter::once((Origin::Rootfs, self.rootfs.as_path())).chain(host)
    }
}

impl Kernel {
    /// Reads a kernel for an `x86_64` guest.
    pub fn read(path: &Path, search: &ModuleSearch) -> Result<Self, KernelError> {
        Self::read_for(path, Arch::X86_64, search)
    }

    /// Reads a kernel for a guest of the given architecture.
    pub fn read_for(path: &Path, arch: Arch, search: &ModuleSearch) -> Result<Self, KernelError> {
        let file = source::kernel_file(path, arch)?;
        let (format, release) = inspect(&file, arch)?;
        let build_tree = source::build_tree(path, &file);
        // A tree whose last build is of another release has modules that this kernel refuses.
        let build_tree =
            build_tree.filter(|tree| source::built_release(tree).is_none_or(|built| built == release));
        let modules = ModuleTree::find(&module_places(build_tree.as_deref(), &file, &release, search));
        let config = KernelConfig::find(&config_places(
            build_tree.as_deref(),
            &file,
            modules.as_ref(),
            &release,
            search,
        ));
        Ok(Self { file, format, release, modules, config })
    }

    /// The configuration that is part of the kernel itself (`CONFIG_IKCONFIG`). This decompresses the image: fractions of
    /// a second, so ask only when nothing else tells. `None` also where it cannot be read: it is never more than a hint.
    pub fn embedded_config(&self) -> Option<KernelConfig> {
        let mut file = regular::open(&self.file).ok()?;
        match self.format {
            Format::BzImage => {
                let header = bzimage::Header::parse(&head(&mut file).ok()?)?;
                let (start, len) = header.payload?;
                file.seek(SeekFrom::Start(start)).ok()?;
                let payload = payload::open(io::BufReader::new(file.take(len))).ok()?;
                config::embedded(payload.take(PAYLOAD_LIMIT))
            }
            Format::Vmlinux | Format::Image => {
                file.seek(SeekFrom::Start(0)).ok()?;
                config::embedded(file.take(IMAGE_LIMIT))
            }
        }
    }
}

/// What the bytes of the file say: its format and release, or why it will not boot.
fn inspect(path: &Path, arch: Arch) -> Result<(Format, String), KernelError> {
    let unreadable = |source| KernelError::Unreadable { path: path.to_owned(), source };
    let mut file = regular::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let head = head(&mut file).map_err(unreadable)?;
    let found = format::detect(&head).map_err(|looks_like| match looks_like {
        None if size == 0 => KernelError::Empty { path: path.to_owned() },
        None if size > IMAGE_LIMIT => KernelError::TooLarge { path: path.to_owned(), size },
        looks_like => KernelError::NotAKernel { path: path.to_owned(), looks_like },
    })?;
    if found.arch != arch {
        let (path, found) = (path.to_owned(), found.to_string());
        return Err(KernelError::WrongArch { path, found, wanted: arch });
    }
    if found.format != Format::Vmlinux && size > IMAGE_LIMIT {
        return Err(KernelError::TooLarge { path: path.to_owned(), size });
    }
    let release = match found.format {
        Format::BzImage => {
            let header = bzimage::Header::parse(&head).ok_or_else(|| KernelError::Truncated {
                path: path.to_owned(),
                size,
                expected: None,
            })?;
            if size < header.file_size {
                let expected = Some(header.file_size);
                return Err(KernelError::Truncated { path: path.to_owned(), size, expected });
            }
            if header.is_64_bit == Some(false) {
                let found = "32-bit x86".to_owned();
                return Err(KernelError::WrongArch { path: path.to_owned(), found, wanted: arch });
            }
            header.release
        }
        Format::Vmlinux => vmlinux::inspect(&file, size, path)?,
        Format::Image => {
            file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
            banner::release(&mut file).map_err(unreadable)?
        }
    };
    let release = release.ok_or_else(|| KernelError::NoRelease { path: path.to_owned() })?;
    Ok((found.format, release))
}

/// The file's first bytes, from its start.
fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD_LEN).read_to_end(&mut head)?;
    Ok(head)
}

/// The directories that a kernel file lies in: as named, and where symbolic links lead.
fn kernel_dirs(file: &Path) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = file.parent().map(Path::to_owned).into_iter().collect();
    if let Some(real) = file.canonicalize().ok().as_deref().and_then(Path::parent)
        && dirs.first().is_none_or(|dir| dir != real)
    {
        dirs.push(real.to_owned());
    }
    dirs
}

/// Where the modules of this release may be, best first.
fn module_places(
    build_tree: Option<&Path>,
    file: &Path,
    release: &str,
    search: &ModuleSearch,
) -> Vec<(Origin, PathBuf)> {
    let mut places: Vec<(Origin, PathBuf)> = Vec::new();
    places.extend(build_tree.map(|tree| (Origin::BuildTree, tree.to_owned())));
    for dir in kernel_dirs(file) {
        // Fedora and Arch keep the kernel among its modules.
        if dir.file_name().is_some_and(|name| name == release) {
            places.push((Origin::BesideKernel, dir.clone()));
        }
        let parent = dir.parent().unwrap_or(&dir);
        for base in [
            parent.join("lib/modules"),
            parent.join("usr/lib/modules"),
            dir.join("lib/modules"),
            dir.join("modules"),
            dir.join("modules/lib/modules"),
        ] {
            places.push((Origin::BesideKernel, base.join(release)));
        }
    }
    for (origin, root) in search.roots() {
        for base in ["usr/lib/modules", "lib/modules", "run/booted-system/kernel-modules/lib/modules"]
            .map(|dir| root.join(dir))
        {
            places.push((origin, base.join(release)));
        }
    }
    places
}

/// Where the configuration of this release may be, best first.
fn config_places(
    build_tree: Option<&Path>,
    file: &Path,
    modules: Option<&ModuleTree>,
    release: &str,
    search: &ModuleSearch,
) -> Vec<PathBuf> {
    let named = format!("config-{release}");
    let mut places: Vec<PathBuf> = build_tree.map(|tree| tree.join(".config")).into_iter().collect();
    for dir in kernel_dirs(file) {
        places.push(dir.join(&named));
        if dir.file_name().is_some_and(|name| name == release) {
            places.push(dir.join("config"));
        }
    }
    if let Some(tree) = modules.filter(|tree| tree.origin != Origin::BuildTree) {
        places.extend(["config", "build/.config"].map(|file| tree.dir.join(file)));
    }
    for (_, root) in search.roots() {
        places.push(root.join("boot").join(&named));
        places.push(root.join("usr/lib/modules").join(release).join("config"));
    }
    places
}

#[cfg(test)]
mod tests;
