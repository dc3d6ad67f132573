//! Throw-away layers: an overlay takes what is written to a share that cannot be written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use vmtest_guest::wire::Job;

use crate::sentence::{Result, Saying as _};

const SCRATCH: &str = "/vm/scratch";

/// What was written to an overlay.
pub(crate) struct Layer {
    /// The directory that collects it.
    pub(crate) upper: File,
    /// Where the command sees it.
    pub(crate) point: PathBuf,
}

/// Makes room for all layers.
pub(crate) fn make_room() -> Result<()> {
    fs::create_dir_all(SCRATCH).saying(format_args!("cannot create {SCRATCH}"))?;
    mount(Some("scratch"), SCRATCH, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .saying("cannot mount a tmpfs (the kernel needs CONFIG_TMPFS=y)")
}

/// Covers `lower` on `point`, and gives the directory that collects what is written there. Without overlayfs `lower` appears as it
/// is, and the clause says why.
pub(crate) fn cover(
    tag: &str,
    lower: &Path,
    point: &Path,
    flags: MsFlags,
) -> Result<std::result::Result<File, String>> {
    let folder = Path::new(SCRATCH).join(tag);
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    for dir in [point, &upper, &work] {
        fs::create_dir_all(dir).saying(format_args!("cannot create {}", dir.display()))?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let why = match mount(Some("overlay"), point, Some("overlay"), flags, Some(options.as_str())) {
        Ok(()) => return File::open(&upper).map(Ok).saying(upper.display()),
        Err(Errno::ENODEV) => "the kernel has no overlayfs (CONFIG_OVERLAY_FS)".to_owned(),
        Err(error) => format!("overlayfs does not accept the share `{tag}` ({error})"),
    };
    mount(Some(lower), point, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .saying(format_args!("cannot bind the share `{tag}`"))?;
    Ok(Err(why))
}

/// Where the command finds a share: the place that it starts in, where that is one of several.
pub(crate) fn place(job: &Job, tag: &str) -> PathBuf {
    let points = || job.binds.iter().filter(|bind| bind.tag == tag).map(|bind| Path::new(&bind.point));
    let place =
        points().find(|point| Path::new(&job.command.cwd).starts_with(point)).or_else(|| points().next());
    place.map(Path::to_owned).unwrap_or_default()
}
