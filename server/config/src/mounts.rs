//! `[target.vm.mounts]`: which places in the guest may be mounted on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Mount;
use crate::file::{self, Text};
use crate::problem::Problem;
use crate::resolve::absolute;
use crate::spans::RawSpans;
use crate::syntax::quote;
use crate::value::normalize_guest_path;

/// Where the project's directory is mounted.
const PROJECT: &str = "/mnt/vmtest";

/// Every share, in the order of its place in the guest, so that a parent comes before its child.
pub(crate) fn resolve(
    base: &Path,
    mounts: &BTreeMap<Text, file::Mount>,
    spans: &RawSpans,
    problems: &mut Vec<Problem>,
) -> Vec<Mount> {
    let mut places: BTreeMap<PathBuf, (&Text, Mount)> = BTreeMap::new();
    let mut in_order: Vec<_> = mounts.iter().collect();
    in_order.sort_by_key(|(name, _)| name.span().start);
    for (name, mount) in in_order {
        let written = name.get_ref();
        let span = name.span();
        if written.is_empty() {
            let problem = Problem::error("invalid_mount", span, "a mount has no place in the guest");
            problems.push(problem.help("write an absolute path, such as \"/mnt/data\""));
            continue;
        }
        let guest_path = normalize_guest_path(written);
        if !written.starts_with('/') {
            let absolute = quote(&guest_path.to_string_lossy());
            problems.push(
                Problem::warning(
                    "relative_mount",
                    span.clone(),
                    format!(
                        "{written:?} is relative; in the guest it is mounted on {}",
                        guest_path.display()
                    ),
                )
                .help(format!("write {absolute}"))
                .fix(format!("Write `{absolute}`"), span.clone(), absolute),
            );
        }
        if let Some(why) = forbidden(&guest_path) {
            let message = format!("nothing can be mounted on {}: {why}", guest_path.display());
            let problem = Problem::error("invalid_mount", span.clone(), message);
            problems.push(problem.help("mount it elsewhere, such as on /mnt/data"));
        }
        let Some(host_path) = &mount.host_path else {
            if !spans.has_entry("vm.mounts.*.host_path", written) {
                let message = format!("the mount on {} has no `host_path`", guest_path.display());
                let problem = Problem::error("missing_key", span, message);
                problems.push(problem.help("add host_path = \"./data\", the directory of the host"));
            }
            continue;
        };
        if let Some((first, _)) = places.get(&guest_path) {
            problems.push(
                Problem::error(
                    "duplicate_mount",
                    span,
                    format!("something else is mounted on {} too", guest_path.display()),
                )
                .help("give each mount a place of its own")
                .related(first.span(), "the other one"),
            );
            continue;
        }
        let mount = Mount {
            guest_path: guest_path.clone(),
            host_path: absolute(base, host_path.get_ref()),
            writable: mount.writable.as_ref().is_some_and(|writable| *writable.get_ref()),
        };
        places.insert(guest_path, (name, mount));
    }
    places.into_values().map(|(_, mount)| mount).collect()
}

/// Why a place in the guest cannot be mounted on.
fn forbidden(place: &Path) -> Option<String> {
    if place == Path::new("/") {
        return Some("it is the guest's root, which `rootfs` names".to_owned());
    }
    if place == Path::new(PROJECT) {
        return Some("the project's directory is there".to_owned());
    }
    if Path::new(PROJECT).starts_with(place) {
        return Some(format!("it would hide the project's directory on {PROJECT}"));
    }
    let system = ["/proc", "/sys", "/dev"].into_iter().find(|system| place.starts_with(system))?;
    Some(format!("{system} belongs to the guest's kernel"))
}
