//! Everything that is done before QEMU starts: all that can be refused is refused here.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use vmtest_config::{
    self as config, Arch, ImageSource, ImageSystem, KernelSource, KernelSystem, QemuCommand, RootAccess,
    System, Target,
};
use vmtest_guest::wire::{AGENT_PROGRAM, FileSystem, MODULE_DIR};

use crate::agent::Agent;
use crate::event::ShareKind;
use crate::host;
use crate::image::{Disk, Firmware};
use crate::initramfs::Initramfs;
use crate::job::{self, Shares};
use crate::kernel::{Kernel, KernelConfig, ModuleSearch};
use crate::modules::{Feature, Index, Links, Module, Need, Selection, index, select, select_with_config};
use crate::qemu::machine::SERVED_AT_MOST;
use crate::verdict::Failure;
use crate::virtiofsd::{Known, Virtiofsd, usable_virtiofsd};

/// The guest init, built by this crate's build script.
const GUEST_INIT: &[u8] = include_bytes!(env!("VMTEST_GUEST_INIT"));
/// Less than this, and the initramfs or the first programs do not fit.
const LEAST_MEMORY: u64 = 128 << 20;

/// What a boot needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What boots.
    pub(crate) system: PreparedSystem,
    /// The program to start.
    pub(crate) qemu: PathBuf,
    /// The project's directory, without symbolic links.
    pub(crate) project: PathBuf,
    /// Shared directories.
    pub(crate) shares: Shares,
    /// What serves them where QEMU does not.
    pub(crate) virtiofsd: Option<Virtiofsd>,
    /// Sentences for the user.
    pub(crate) notices: Vec<String>,
}

/// What boots, and what belongs to it.
#[derive(Debug)]
pub(crate) enum PreparedSystem {
    /// A kernel, with the host's directories.
    Kernel(Box<PreparedKernel>),
    /// A disk with everything on it.
    Image(PreparedImage),
}

/// A kernel that is ready to boot.
#[derive(Debug)]
pub(crate) struct PreparedKernel {
    /// The file for QEMU's `-kernel`.
    pub(crate) file: PathBuf,
    /// The kernel's release.
    pub(crate) release: String,
    /// Its command line, as far as the user has it.
    pub(crate) args: String,
    /// The initramfs, in memory.
    pub(crate) initramfs: OwnedFd,
    /// Module indexes to be made before the guest is set up.
    pub(crate) indexes: Option<Links>,
}

/// An image that is ready to boot.
#[derive(Debug)]
pub(crate) struct PreparedImage {
    /// Open for reading only.
    pub(crate) disk: Disk,
    /// None for the machine's own BIOS.
    pub(crate) firmware: Option<Firmware>,
}

impl Prepared {
    /// Whether the guest sees whose the host's files are.
    pub(crate) fn shows_owners(&self) -> bool {
        self.shares.kind == ShareKind::NineP || self.virtiofsd.as_ref().is_none_or(Virtiofsd::shows_owners)
    }

    /// The kernel's module indexes that are to be made.
    pub(crate) fn indexes(&self) -> Option<&Links> {
        match &self.system {
            PreparedSystem::Kernel(kernel) => kernel.indexes.as_ref(),
            PreparedSystem::Image(_) => None,
        }
    }
}

/// Whether this version can run a target; else what is missing.
pub(crate) fn supported(target: &Target) -> Result<(), Failure> {
    if target.arch != Arch::host() || target.arch != Arch::X86_64 {
        return Err(failure(
            format!(
                "this version of vmtest runs x86_64 guests on x86_64 machines; the target's arch is {}",
                target.arch
            ),
            Some("what is missing is a guest init, a machine type and an agent for that architecture"),
        ));
    }
    Ok(())
}

/// Reads the kernel or the image; everything that can be wrong before QEMU starts is said here.
pub(crate) fn prepare(
    target: &Target,
    cache: &Path,
    share_kind: Option<ShareKind>,
    virtiofsd: &Known,
) -> Result<Prepared, Failure> {
    if target.vm.memory.bytes < LEAST_MEMORY {
        return Err(failure(
            format!("{} MiB of memory are too little for a guest", target.vm.memory.bytes >> 20),
            Some("set `vm.memory` to 128M or more"),
        ));
    }
    let qemu = find_qemu(target)?;
    match &target.system {
        System::Kernel(system) => prepare_kernel(target, system, qemu, cache, share_kind, virtiofsd),
        System::Image(system) => prepare_image(target, system, qemu, share_kind, virtiofsd),
    }
}

/// Opens the image and finds its firmware. How directories are shared turns out in the guest.
fn prepare_image(
    target: &Target,
    system: &ImageSystem,
    qemu: PathBuf,
    share_kind: Option<ShareKind>,
    virtiofsd: &Known,
) -> Result<Prepared, Failure> {
    let ImageSource::Path(path) = &system.source else {
        unreachable!("`sources` has made it a file of this machine")
    };
    check_directories(target, None)?;
    check_links(target, None)?;
    let project = find_project(target)?;
    let disk = Disk::open(path).map_err(|error| failure(error.to_string(), None))?;
    let firmware = match &system.firmware {
        config::Firmware::Bios => None,
        config::Firmware::Uefi { file } => {
            let found = Firmware::find(file.as_deref(), &qemu);
            Some(found.map_err(|missing| failure(missing.reason, Some(&missing.help)))?)
        }
    };
    let (by, virtiofsd) = sharing_of_image(target, share_kind, virtiofsd)?;
    let shares = Shares::of_image(target, &project, &by);
    check_served(&shares)?;
    let mut notices = Vec::new();
    if project == Path::new("/") {
        notices.push(PROJECT_IS_ROOT.to_owned());
    } else if target.discards_writes {
        notices.push("what the guest writes to the project is thrown away with it".to_owned());
    }
    let system = PreparedSystem::Image(PreparedImage { disk, firmware });
    Ok(Prepared { system, qemu, project, shares, virtiofsd, notices })
}

/// What the guest of an image is offered to mount directories by.
fn sharing_of_image(
    target: &Target,
    wanted: Option<ShareKind>,
    virtiofsd: &Known,
) -> Result<(Vec<FileSystem>, Option<Virtiofsd>), Failure> {
    if wanted == Some(ShareKind::NineP) {
        return Ok((vec![FileSystem::NineP], None));
    }
    let daemon = if is_ours_alone(target) {
        find_virtiofsd(target, virtiofsd)
    } else {
        Err("the machine is not vmtest's alone".to_owned())
    };
    match (wanted, daemon) {
        (Some(ShareKind::Virtiofs), Ok(daemon)) => Ok((vec![FileSystem::Virtiofs], Some(daemon))),
        (Some(ShareKind::Virtiofs), Err(why)) => Err(no_virtiofs(&why)),
        (_, Ok(daemon)) => Ok((vec![FileSystem::NineP, FileSystem::Virtiofs], Some(daemon))),
        (_, Err(_)) => Ok((vec![FileSystem::NineP], None)),
    }
}

const PROJECT_IS_ROOT: &str =
    "the project is /, so it is not shared writable: run vmtest in a directory of the project's own";

/// Reads the kernel, chooses its modules and builds the initramfs.
fn prepare_kernel(
    target: &Target,
    system: &KernelSystem,
    qemu: PathBuf,
    cache: &Path,
    share_kind: Option<ShareKind>,
    virtiofsd: &Known,
) -> Result<Prepared, Failure> {
    let KernelSource::Path(path) = &system.source else {
        unreachable!("`sources` has made it a file of this machine")
    };
    check_directories(target, Some(system))?;
    check_links(target, Some(system))?;
    let project = find_project(target)?;
    let kernel = Kernel::read(path, &ModuleSearch::new(&system.rootfs))
        .map_err(|error| failure(error.to_string(), None))?;
    let Sharing { kind: share_kind, modules, virtiofsd } =
        choose_sharing(&kernel, target, share_kind, virtiofsd)?;
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
        notices.push(PROJECT_IS_ROOT.to_owned());
    }
    let shares = Shares::new(
        target,
        system,
        &project,
        module_index.as_ref().map(|outcome| (kernel.release.as_str(), outcome)),
        share_kind,
    );
    check_served(&shares)?;
    let indexes = match module_index {
        Some(Index::Links(links)) => Some(links),
        _ => None,
    };
    let system = PreparedSystem::Kernel(Box::new(PreparedKernel {
        file: kernel.file,
        release: kernel.release,
        args: system.args.clone(),
        initramfs,
        indexes,
    }));
    Ok(Prepared { system, qemu, project, shares, virtiofsd, notices })
}

fn find_project(target: &Target) -> Result<PathBuf, Failure> {
    job::canonical_project(target).map_err(|error| {
        failure(
            format!("cannot reach the project's directory {}: {error}", target.project_dir.display()),
            None,
        )
    })
}

fn check_served(shares: &Shares) -> Result<(), Failure> {
    if shares.served() <= SERVED_AT_MOST {
        return Ok(());
    }
    Err(failure(
        format!(
            "virtiofs serves {SERVED_AT_MOST} directories at most, and this target has {}",
            shares.served()
        ),
        Some("mount a directory that holds several of them"),
    ))
}

fn failure(reason: String, help: Option<&str>) -> Failure {
    Failure { reason, help: help.map(str::to_owned), ..Failure::default() }
}

/// What a guest has written must not decide what the next may write: a link that it left in the place of a share could lead
/// anywhere on the host.
fn check_links(target: &Target, system: Option<&KernelSystem>) -> Result<(), Failure> {
    if target.discards_writes {
        return Ok(());
    }
    let root = system.filter(|system| system.root_access == RootAccess::Writable);
    let root = root.map(|system| ("rootfs", system.rootfs.as_path()));
    let mounts = target.vm.mounts.iter().filter(|mount| mount.writable);
    let mounts = mounts.map(|mount| ("vm.mounts", mount.host_path.as_path()));
    let written: Vec<_> = root.into_iter().chain(mounts).collect();
    for (key, path) in &written {
        for folder in written.iter().map(|(_, folder)| *folder).chain([target.project_dir.as_path()]) {
            if let Some(place) = leads_out(path, folder) {
                return Err(failure(
                    format!(
                        "`{key}`: {} leads out of {}, which guests can write to: it is {}",
                        path.display(),
                        folder.display(),
                        place.display()
                    ),
                    Some("name the directory itself, if it is meant"),
                ));
            }
        }
    }
    Ok(())
}

/// Where a path really is that leads through a folder, when that is elsewhere.
fn leads_out(path: &Path, folder: &Path) -> Option<PathBuf> {
    let mut words = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(words.pop()),
            other => words.push(other),
        }
    }
    let folder = std::fs::canonicalize(folder).ok()?;
    let is_below = |path: &Path| std::fs::canonicalize(path).is_ok_and(|place| place.starts_with(&folder));
    if is_below(path) || !words.ancestors().any(is_below) {
        return None;
    }
    std::fs::canonicalize(path).ok()
}

/// QEMU's own message for a directory that is not there names an internal id.
fn check_directories(target: &Target, system: Option<&KernelSystem>) -> Result<(), Failure> {
    let mounts = target.vm.mounts.iter().map(|mount| ("vm.mounts", &mount.host_path));
    for (key, path) in system.map(|system| ("rootfs", &system.rootfs)).into_iter().chain(mounts) {
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

/// Why this kernel cannot run targets here, as far as its files tell. Reads modules and perhaps the whole image, and may ask
/// virtiofsd for its help: fractions of a second.
pub fn unsuitable(kernel: &Kernel, target: &Target) -> Option<String> {
    let modules = Modules::new(kernel, target);
    let lacks_9p = modules.select(ShareKind::NineP).err()?;
    let can_do_without = modules.select(ShareKind::Virtiofs).is_ok() && usable_virtiofsd().is_ok();
    (!can_do_without).then_some(lacks_9p.reason)
}

/// How directories are shared, and what that takes.
struct Sharing {
    kind: ShareKind,
    modules: Vec<Module>,
    virtiofsd: Option<Virtiofsd>,
}

/// How directories are shared with this kernel: as `wanted`, else as is best.
fn choose_sharing(
    kernel: &Kernel,
    target: &Target,
    wanted: Option<ShareKind>,
    virtiofsd: &Known,
) -> Result<Sharing, Failure> {
    let modules = Modules::new(kernel, target);
    let with = |kind, daemon: Option<&Virtiofsd>| {
        let Chosen { modules, .. } = modules.select(kind)?;
        Ok(Sharing { kind, modules, virtiofsd: daemon.cloned() })
    };
    if wanted == Some(ShareKind::NineP) {
        return with(ShareKind::NineP, None);
    }
    match (wanted, &find_virtiofsd(target, virtiofsd)) {
        (Some(_), Err(why)) => Err(no_virtiofs(why)),
        (Some(kind), Ok(daemon)) => with(kind, Some(daemon)),
        // The user's own arguments may say where the guest's memory is, which the daemons must see.
        (None, Ok(daemon)) => {
            if daemon.shows_owners()
                && is_ours_alone(target)
                && let Ok(Chosen { modules, certain: true }) = modules.select(ShareKind::Mixed)
            {
                return Ok(Sharing { kind: ShareKind::Mixed, modules, virtiofsd: Some(daemon.clone()) });
            }
            with(ShareKind::NineP, None)
                .or_else(|lacks_9p| with(ShareKind::Virtiofs, Some(daemon)).map_err(|_| lacks_9p))
        }
        (None, Err(why)) => with(ShareKind::NineP, None).map_err(|mut lacks_9p| {
            if modules.select(ShareKind::Virtiofs).is_ok() {
                lacks_9p.help = Some(format!("this kernel can share directories over virtiofs, but {why}"));
            }
            lacks_9p
        }),
    }
}

/// This machine's virtiofsd, if it can serve the target; else a clause that says why not.
fn find_virtiofsd(target: &Target, known: &Known) -> Result<Virtiofsd, String> {
    let daemon = known.get()?;
    // It sees the guest's memory in a file of its size.
    host::may_write(target.vm.memory.bytes)
        .map_err(|error| format!("the guest's memory would have to be a file, and {error}"))?;
    Ok(daemon)
}

fn no_virtiofs(why: &str) -> Failure {
    failure(format!("directories cannot be shared over virtiofs: {why}"), None)
}

/// Whether all of the machine is vmtest's own: nobody knows what arguments or a program of the user's make of it.
pub(crate) fn is_ours_alone(target: &Target) -> bool {
    target.vm.extra_args.is_empty() && target.qemu_command == QemuCommand::Default
}

/// What a kernel needs for a target, as far as its files tell.
struct Modules<'a> {
    kernel: &'a Kernel,
    network: bool,
    /// Reading it takes half a second.
    config: OnceCell<Option<KernelConfig>>,
}

/// Modules to load.
struct Chosen {
    modules: Vec<Module>,
    /// Whether it is known that the kernel can do with them what is needed.
    certain: bool,
}

impl<'a> Modules<'a> {
    fn new(kernel: &'a Kernel, target: &Target) -> Self {
        Self { kernel, network: target.vm.network, config: OnceCell::new() }
    }

    fn select(&self, share_kind: ShareKind) -> Result<Chosen, Failure> {
        let mut needs = vec![
            Feature::Initrd.required(),
            Feature::Devtmpfs.required(),
            Feature::Proc.required(),
            Feature::Sysfs.required(),
            Feature::Tmpfs.required(),
            Feature::VirtioPci.required(),
            Feature::VirtioConsole.required(),
            Feature::Overlay.optional(),
        ];
        if share_kind != ShareKind::Virtiofs {
            needs.push(Feature::NineP.required());
        }
        if share_kind != ShareKind::NineP {
            needs.push(Feature::Virtiofs.required());
        }
        if self.network {
            needs.push(Feature::VirtioNet.required());
        }
        let missing = |error: &dyn std::fmt::Display| failure(error.to_string(), None);
        let is_unknown = |selection: &Selection| {
            selection.unknown().any(|feature| needs.contains(&Need { feature, required: true }))
        };
        let mut selection = select(self.kernel, &needs).map_err(|error| missing(&error))?;
        if is_unknown(&selection)
            && let Some(config) = self.config.get_or_init(|| self.kernel.embedded_config())
        {
            selection =
                select_with_config(self.kernel, Some(config), &needs).map_err(|error| missing(&error))?;
        }
        Ok(Chosen { certain: !is_unknown(&selection), modules: selection.modules })
    }
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
