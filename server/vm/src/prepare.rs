//! Everything that is done before QEMU starts: all that can be refused is refused here.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use vmtest_config::{Arch, KernelSource, KernelSystem, RootAccess, System, Target};
use vmtest_guest::wire::{AGENT_PROGRAM, MODULE_DIR};

use crate::agent::Agent;
use crate::host;
use crate::initramfs::Initramfs;
use crate::job::{self, Shares};
use crate::kernel::{Kernel, ModuleSearch};
use crate::modules::{Feature, Index, Links, Module, Need, index, select, select_with_config};
use crate::verdict::Failure;

/// The guest init, built by this crate's build script.
const GUEST_INIT: &[u8] = include_bytes!(env!("VMTEST_GUEST_INIT"));
/// Less than this, and the initramfs or the first programs do not fit.
const LEAST_MEMORY: u64 = 128 << 20;

/// What a boot needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The file for QEMU's `-kernel`.
    pub(crate) kernel: PathBuf,
    /// The kernel's release.
    pub(crate) release: String,
    /// The initramfs, in memory.
    pub(crate) initramfs: OwnedFd,
    /// The program to start.
    pub(crate) qemu: PathBuf,
    /// The project's directory, without symbolic links.
    pub(crate) project: PathBuf,
    /// Shared directories.
    pub(crate) shares: Shares,
    /// Module indexes to be made before the guest is set up.
    pub(crate) indexes: Option<Links>,
    /// Sentences for the user.
    pub(crate) notices: Vec<String>,
}

/// The kernel system of a target that this version can run, or what is missing.
pub(crate) fn supported(target: &Target) -> Result<&KernelSystem, Failure> {
    let refuse =
        |reason: String, help: &str| Failure { reason, help: Some(help.to_owned()), ..Failure::default() };
    let system = match &target.system {
        System::Kernel(system) => system,
        System::Image(_) => {
            return Err(refuse(
                "this version of vmtest does not run image targets yet".to_owned(),
                "use a kernel target: `kernel = \"…\"` instead of `image`",
            ));
        }
    };
    if target.arch != Arch::host() || target.arch != Arch::X86_64 {
        return Err(refuse(
            format!(
                "this version of vmtest runs x86_64 kernels on x86_64 machines; the target's arch is {}",
                target.arch
            ),
            "what is missing is a guest init, a machine type and an agent for that architecture",
        ));
    }
    match &system.source {
        KernelSource::Path(_) => Ok(system),
        KernelSource::Url(_) | KernelSource::Package(_) => Err(refuse(
            "this version of vmtest does not fetch kernels yet".to_owned(),
            "fetch it yourself and name the file: `kernel = \"…\"`",
        )),
    }
}

/// Reads the kernel, chooses its modules and builds the initramfs.
pub(crate) fn prepare(target: &Target, system: &KernelSystem, cache: &Path) -> Result<Prepared, Failure> {
    if target.vm.memory.bytes < LEAST_MEMORY {
        return Err(failure(
            format!("{} MiB of memory are too little for a guest", target.vm.memory.bytes >> 20),
            Some("set `vm.memory` to 128M or more"),
        ));
    }
    let KernelSource::Path(path) = &system.source else {
        unreachable!("`supported` lets only paths through")
    };
    let qemu = find_qemu(target)?;
    check_directories(target, system)?;
    let project = job::canonical_project(target).map_err(|error| {
        failure(
            format!("cannot reach the project's directory {}: {error}", target.project_dir.display()),
            None,
        )
    })?;
    let kernel = Kernel::read(path, &ModuleSearch::new(&system.rootfs))
        .map_err(|error| failure(error.to_string(), None))?;
    let modules = choose_modules(&kernel, target)?;
    let agent = Agent::find().map_err(|error| failure(error.to_string(), None))?;
    let initramfs = initramfs(&modules, &agent)?;
    let mut notices = Vec::new();
    let module_index = kernel
        .modules
        .as_ref()
        .filter(|tree| tree.files().len() > 0)
        .map(|tree| index(tree, &kernel.release, cache));
    if let Some(Index::NotPossible { reason }) = &module_index {
        notices.push(reason.clone());
    }
    if project == Path::new("/") && system.root_access != RootAccess::Writable {
        notices.push(
            "the project is /, so it is not shared writable: run vmtest in a directory of the project's own"
                .to_owned(),
        );
    }
    let shares = Shares::new(
        target,
        system,
        &project,
        module_index.as_ref().map(|outcome| (kernel.release.as_str(), outcome)),
    );
    let indexes = match module_index {
        Some(Index::Links(links)) => Some(links),
        _ => None,
    };
    Ok(Prepared {
        kernel: kernel.file,
        release: kernel.release,
        initramfs,
        qemu,
        project,
        shares,
        indexes,
        notices,
    })
}

fn failure(reason: String, help: Option<&str>) -> Failure {
    Failure { reason, help: help.map(str::to_owned), ..Failure::default() }
}

/// QEMU's own message for a directory that is not there names an internal id.
fn check_directories(target: &Target, system: &KernelSystem) -> Result<(), Failure> {
    let mounts = target.vm.mounts.iter().map(|mount| ("vm.mounts", &mount.host_path));
    for (key, path) in std::iter::once(("rootfs", &system.rootfs)).chain(mounts) {
        if !path.is_dir() {
            return Err(failure(
                format!("`{key}`: {} is not a directory that can be shared", path.display()),
                Some("correct the path, or create the directory"),
            ));
        }
    }
    Ok(())
}

fn find_qemu(target: &Target) -> Result<PathBuf, Failure> {
    host::find_qemu(target).map_err(|program| {
        let help = host::qemu_cure(target, host::Manager::of_this_machine());
        failure(format!("there is no program {}", program.display()), Some(&help))
    })
}

/// Why this kernel cannot run targets, as far as its files tell. Reads modules and perhaps the whole image: fractions of
/// a second.
pub fn unsuitable(kernel: &Kernel, target: &Target) -> Option<String> {
    choose_modules(kernel, target).err().map(|failure| failure.reason)
}

fn choose_modules(kernel: &Kernel, target: &Target) -> Result<Vec<Module>, Failure> {
    let mut needs = vec![
        Feature::Initrd.required(),
        Feature::Devtmpfs.required(),
        Feature::Proc.required(),
        Feature::Sysfs.required(),
        Feature::Tmpfs.required(),
        Feature::VirtioPci.required(),
        Feature::VirtioConsole.required(),
        Feature::NineP.required(),
        Feature::Overlay.optional(),
    ];
    if target.vm.network {
        needs.push(Feature::VirtioNet.required());
    }
    let missing = |error: &dyn std::fmt::Display| failure(error.to_string(), None);
    let selection = select(kernel, &needs).map_err(|error| missing(&error))?;
    let required_unknown =
        selection.unknown().any(|feature| needs.contains(&Need { feature, required: true }));
    if required_unknown && let Some(config) = kernel.embedded_config() {
        return select_with_config(kernel, Some(&config), &needs)
            .map(|selection| selection.modules)
            .map_err(|error| missing(&error));
    }
    Ok(selection.modules)
}

fn initramfs(modules: &[Module], agent: &Agent) -> Result<OwnedFd, Failure> {
    let program = utf8(&agent.program)?;
    let mut archive = Initramfs::new()
        .char_device("/dev/console", 0o600, 5, 1)
        .char_device("/dev/null", 0o666, 1, 3)
        .dir("/proc", 0o755)
        .dir("/sys", 0o755)
        .dir("/run", 0o755)
        .dir("/tmp", 0o1777)
        .file("/init", 0o755, GUEST_INIT)
        .file(AGENT_PROGRAM, 0o644, program.as_bytes());
    for (number, module) in modules.iter().enumerate() {
        // The guest loads them in the order of their names.
        archive = archive.file(
            &format!("{MODULE_DIR}/{number:03}-{}.ko", module.name),
            0o644,
            module.image.as_ref(),
        );
    }
    for (guest_path, host_path) in &agent.files {
        let bytes = std::fs::read(host_path).map_err(|error| {
            failure(
                format!("cannot read {}, which the guest agent needs: {error}", host_path.display()),
                None,
            )
        })?;
        archive = archive.file(utf8(guest_path)?, 0o755, bytes);
    }
    in_memory(&archive)
        .map_err(|error| failure(format!("cannot build the initramfs in memory: {error}"), None))
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        failure(format!("the path of the guest agent's file {} is not UTF-8", path.display()), None)
    })
}

/// A file without a name: nothing on disk to guess or to leave behind.
fn in_memory(archive: &Initramfs<'_>) -> io::Result<OwnedFd> {
    let fd = memfd_create("vmtest-initramfs", MFdFlags::MFD_CLOEXEC)?;
    let mut writer = BufWriter::with_capacity(1 << 20, File::from(fd));
    archive.write_to(&mut writer)?;
    writer.flush()?;
    Ok(OwnedFd::from(writer.into_inner().map_err(io::IntoInnerError::into_error)?))
}
