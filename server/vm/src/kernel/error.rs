//! Why a kernel cannot be used, each with what to do about it.

use std::io;
use std::path::PathBuf;

use vmtest_config::Arch;

/// Why a kernel cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Nothing is there.
    #[error(
        "cannot find the kernel `{path}`: no such file; check `kernel`, which is relative to vmtest.toml"
    )]
    Missing {
        /// What was named.
        path: PathBuf,
    },
    /// The system does not let us read it.
    #[error("cannot read the kernel `{path}`: {source}{}", permission_cure(source))]
    Unreadable {
        /// What was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A device, a pipe, a socket.
    #[error("cannot use `{path}` as a kernel: it is {kind}; name a kernel file or a kernel build tree")]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is instead, with its article.
        kind: &'static str,
    },
    /// A directory with no kernel in it.
    #[error(
        "cannot find a kernel in the directory `{path}`: it is neither a kernel build tree nor an unpacked kernel \
         package; name the kernel file itself"
    )]
    NoKernelInDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Kernel sources, without the image.
    #[error(
        "cannot find a built kernel in the source tree `{path}`: `{image}` is missing; run `make -C {path}`, or name \
         the build directory that `make O=` was given"
    )]
    NotBuilt {
        /// The directory.
        path: PathBuf,
        /// The image's place in it.
        image: &'static str,
    },
    /// A directory with several kernels in it.
    #[error("cannot choose a kernel in the directory `{path}`: it has {}; name one of them", list(found))]
    SeveralKernels {
        /// The directory.
        path: PathBuf,
        /// The kernels, relative to the directory.
        found: Vec<String>,
    },
    /// No bytes.
    #[error("cannot use the kernel `{path}`: the file is empty; build or download it again")]
    Empty {
        /// What was named.
        path: PathBuf,
    },
    /// The end is missing.
    #[error(
        "cannot use the kernel `{path}`: the file is cut off at {size} bytes{}; build or download it again",
        of_expected(*expected)
    )]
    Truncated {
        /// What was named.
        path: PathBuf,
        /// How long it is.
        size: u64,
        /// How long its own header says it is.
        expected: Option<u64>,
    },
    /// No kernel is so long.
    #[error(
        "cannot use `{path}` as a kernel: it is {:.1} GiB long, and no kernel is; for a disk image use `image` \
         instead of `kernel`",
        gib(*size)
    )]
    TooLarge {
        /// What was named.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// Some other file.
    #[error(
        "cannot use `{path}` as a kernel: it is {}{}",
        looks_like.as_ref().map_or("no kernel that QEMU can start", |guess| guess.kind),
        looks_like.as_ref().map_or("; name a bzImage, a vmlinuz, a vmlinux, or a kernel build tree", |guess| guess.cure)
    )]
    NotAKernel {
        /// What was named.
        path: PathBuf,
        /// What it seems to be instead.
        looks_like: Option<LooksLike>,
    },
    /// A kernel for another machine.
    #[error(
        "cannot start the kernel `{path}` on {wanted}: it is a kernel for {found}; name an {wanted} kernel, or set \
         `arch`"
    )]
    WrongArch {
        /// What was named.
        path: PathBuf,
        /// The machine it is for.
        found: String,
        /// The machine that the target has.
        wanted: Arch,
    },
    /// A vmlinux that QEMU has no way into.
    #[error(
        "cannot start the vmlinux `{path}`: it has no PVH entry point, so QEMU cannot boot it; build it with \
         CONFIG_PVH=y, or name its bzImage (arch/x86/boot/bzImage)"
    )]
    NoPvh {
        /// What was named.
        path: PathBuf,
    },
    /// A kernel that does not say which it is.
    #[error(
        "cannot read the version of the kernel `{path}`: it has no usable version string; build or download it again"
    )]
    NoRelease {
        /// What was named.
        path: PathBuf,
    },
}

/// What a file that is no kernel seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LooksLike {
    /// With its article: "a text file".
    pub kind: &'static str,
    /// What to do, from the semicolon on.
    pub cure: &'static str,
}

fn permission_cure(error: &io::Error) -> &'static str {
    match error.kind() {
        // Ubuntu installs its kernels readable by root only.
        io::ErrorKind::PermissionDenied => {
            "; let your user read it (`sudo chmod a+r` on a copy, or `dpkg-statoverride` for an installed one)"
        }
        _ => "",
    }
}

fn of_expected(expected: Option<u64>) -> String {
    expected.map(|bytes| format!(" of {bytes}")).unwrap_or_default()
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
