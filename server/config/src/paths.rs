//! Whether the files that a target names exist: the one question that loading leaves open.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::Path;

use crate::key::{Key, PathKind};
use crate::problem::{Problem, Severity, Source};
use crate::spans::Place;
use crate::{Firmware, ImageSource, KernelSource, QemuCommand, Resolved, System, ValueType};

/// What a cure says where the directory that relative paths start at belongs.
const BASE: &str = "BASE";

/// Looks for every file and directory that a target names; each one that is missing, or of the wrong kind, is an error
/// at its value. What a default names is not looked for.
pub fn check_paths(resolved: &Resolved) -> Vec<Problem> {
    let target = &resolved.target;
    let mut problems = Vec::new();
    let mut check = |path: &'static str, place: Option<&Place>, file: &Path| {
        let kind = Key::find(&std::iter::once("target").chain(path.split('.')).collect::<Vec<_>>());
        if let (Some(place), Some(ValueType::Path(kind))) = (place, kind.map(|key| key.value)) {
            problems.extend(wrong(kind, file).map(|(what, cure)| problem(path, place, &what, cure)));
        }
    };
    let of = |path: &str| resolved.spans.of(path);
    match &target.system {
        System::Kernel(kernel) => {
            if let KernelSource::Path(file) = &kernel.source {
                check("kernel", of("kernel"), file);
            }
            check("rootfs", of("rootfs"), &kernel.rootfs);
        }
        System::Image(image) => {
            if let ImageSource::Path(file) = &image.source {
                check("image", of("image"), file);
            }
            if let Firmware::Uefi { file: Some(file) } = &image.firmware {
                check("vm.bios", of("vm.bios"), file);
            }
        }
    }
    if let QemuCommand::Custom(program) = &target.qemu_command
        && program.is_absolute()
    {
        check("qemu_command", of("qemu_command"), program);
    }
    for mount in &target.vm.mounts {
        let place = resolved.spans.of_mount("vm.mounts.*.host_path", &mount.guest_path);
        check("vm.mounts.*.host_path", place, &mount.host_path);
    }
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

fn problem(path: &str, place: &Place, what: &str, cure: &str) -> Problem {
    let key = path.rsplit('.').next().unwrap_or(path);
    let base = match &place.source {
        Source::Argument { option, .. } if *option != "--set" => "working directory",
        _ => "directory of vmtest.toml",
    };
    Problem {
        severity: Severity::Error,
        code: "missing_file",
        message: format!("`{key}`: {what}"),
        help: Some(cure.replace(BASE, base)),
        source: place.source.clone(),
        span: place.value.clone(),
        related: Vec::new(),
        fix: None,
    }
}

/// What is wrong with a path, and the cure.
fn wrong(kind: PathKind, path: &Path) -> Option<(String, &'static str)> {
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Some((
                format!("{shown} does not exist"),
                "check the path: a relative one starts at the BASE, and `~` is not expanded",
            ));
        }
        Err(error) => return Some((format!("cannot look at {shown}: {error}"), "check the permissions")),
    };
    let is: fn(&Metadata) -> bool = match kind {
        PathKind::Any => return None,
        PathKind::Directory => Metadata::is_dir,
        // Not `is_file`: a disk image may well be a block device.
        PathKind::File | PathKind::Program => |found| !found.is_dir(),
    };
    match kind {
        _ if is(&found) => None,
        PathKind::Directory => {
            Some((format!("{shown} is not a directory"), "name a directory: only those can be shared"))
        }
        _ => Some((format!("{shown} is a directory"), "name a file")),
    }
}
