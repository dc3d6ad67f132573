//! Packages of Debian and its relatives, by their own programs.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::archive::Unpacker;
use super::{Offered, PackageError};
use crate::download::Progress;
use crate::qemu::process::{self, Priority};

/// Beginnings of names of packages that have a part of a kernel: Ubuntu's modules are in packages of their own.
const PARTS: [&str; 3] = ["linux-image-", "linux-modules-", "linux-binary-"];
/// Names end so that are no kernel to boot.
const NO_KERNELS: [&str; 3] = ["-dbg", "-unsigned", "-template"];
/// More packages than any kernel is made of.
const MOST: usize = 8;
/// How often to look how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// What is said of a version of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) package: String,
    pub(super) version: String,
    description: String,
    depends: Vec<String>,
    bytes: u64,
}

/// Kernels, without their debug information.
pub(super) async fn offered(cancel: &CancellationToken) -> Result<Vec<Offered>, PackageError> {
    let names = run(apt_cache(&["pkgnames", PARTS[0]]), cancel).await?;
    let mut names: Vec<_> =
        names.lines().filter(|name| !NO_KERNELS.iter().any(|end| name.ends_with(end))).collect();
    names.sort_unstable();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = run(apt_cache(&[&["show", "--no-all-versions"][..], &names].concat()), cancel).await?;
    Ok(versions(&text)
        .into_values()
        .map(|version| Offered {
            package: version.package,
            version: version.version,
            description: version.description,
        })
        .collect())
}

/// The packages to fetch for `package`: those that it is made of, when it only stands for others.
pub(super) async fn resolve(package: &str, cancel: &CancellationToken) -> Result<Vec<Stanza>, PackageError> {
    let (mut wanted, mut next): (Vec<Stanza>, _) = (Vec::new(), VecDeque::from([package.to_owned()]));
    while let Some(name) = next.pop_front() {
        if wanted.len() == MOST || wanted.iter().any(|version| version.package == name) {
            continue;
        }
        let version = show(&name, cancel).await?;
        next.extend(version.depends.iter().filter(|name| is_part(name)).cloned());
        wanted.push(version);
    }
    // One that depends on a kernel has none itself.
    wanted.retain(|version| !version.depends.iter().any(|name| name.starts_with(PARTS[0])));
    Ok(wanted)
}

/// Fetches them into a folder. apt checks them against its signed lists.
pub(super) async fn download(
    wanted: &[Stanza],
    into: &Path,
    cancel: &CancellationToken,
    progress: &mut Progress<'_>,
) -> Result<(), PackageError> {
    // The folder is the user's alone, so there is nobody for whom apt could give up its rights.
    let mut command = command("apt-get", &["-qq", "-o", "APT::Sandbox::User=", "download"]);
    command
        .args(wanted.iter().map(|wanted| format!("{}={}", wanted.package, wanted.version)))
        .current_dir(into);
    let total: u64 = wanted.iter().map(|wanted| wanted.bytes).sum();
    let mut done = std::pin::pin!(run(command, cancel));
    loop {
        tokio::select! {
            ended = &mut done => {
                progress.done(total);
                return ended.map(|_| ());
            }
            () = tokio::time::sleep(LOOK) => progress.reached(size(into), Some(total)),
        }
    }
}

/// Unpacks a package.
pub(super) fn unpack(package: &Path, into: &mut Unpacker<'_>) -> io::Result<()> {
    let mut child = command("dpkg-deb", &["--fsys-tarfile"])
        .arg(package)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    // The pipe is closed by now, so that a program that has more to say ends, too.
    let read = into.tar(stdout);
    let status = child.wait()?;
    read?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("dpkg-deb: {status}"))) }
}

async fn show(name: &str, cancel: &CancellationToken) -> Result<Stanza, PackageError> {
    let not_offered = || PackageError::NotOffered { package: name.to_owned() };
    if name.starts_with('-') {
        return Err(not_offered());
    }
    match run(apt_cache(&["show", "--no-all-versions", name]), cancel).await {
        Ok(text) => versions(&text).remove(name).ok_or_else(not_offered),
        Err(PackageError::Client { .. }) => Err(not_offered()),
        Err(error) => Err(error),
    }
}

fn is_part(name: &str) -> bool {
    PARTS.iter().any(|start| name.starts_with(start))
}

/// Reads what `apt-cache show` prints, by name. Of several versions the first counts, which is the one that apt would take.
fn versions(text: &str) -> BTreeMap<String, Stanza> {
    let mut versions = BTreeMap::new();
    for stanza in text.split("\n\n") {
        let mut version = Stanza::default();
        for line in stanza.lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            match key {
                "Package" => value.clone_into(&mut version.package),
                "Version" => value.clone_into(&mut version.version),
                "Size" => version.bytes = value.parse().unwrap_or_default(),
                "Description" | "Description-en" => value.clone_into(&mut version.description),
                "Depends" | "Pre-Depends" => version.depends.extend(dependencies(value)),
                _ => {}
            }
        }
        if !version.package.is_empty() && !version.version.is_empty() {
            versions.entry(version.package.clone()).or_insert(version);
        }
    }
    versions
}

/// The names in a list of dependencies; of alternatives the first.
fn dependencies(list: &str) -> impl Iterator<Item = String> + '_ {
    let name = |text: &str| text.split(['|', '(', ':', '[']).next().unwrap_or_default().trim().to_owned();
    list.split(',').map(name)
}

fn apt_cache(arguments: &[&str]) -> Command {
    command("apt-cache", arguments)
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
    // The thread waits for it, so it is there as long as we are.
    process::tie_to_thread(&mut command);
    command
}

/// What a program prints; an error with what it said when it fails.
async fn run(command: Command, cancel: &CancellationToken) -> Result<String, PackageError> {
    let what = command.get_program().to_string_lossy().into_owned();
    let client = |why: String| PackageError::Client { what: what.clone(), why };
    let output =
        process::output(command, Priority::Normal, cancel).await.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => PackageError::Cancelled,
            _ => client(error.to_string()),
        })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = text(&output.stderr);
    let why = said.lines().find(|line| line.starts_with("E: ")).or(said.lines().last());
    Err(client(why.map_or_else(|| output.status.to_string(), str::to_owned)))
}

fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)
Description: Linux for 64-bit PCs (meta-package)
Description-md5: 6a25
Size: 1480

Package: linux-image-generic
Version: 6.8
Depends: linux-image-6.8.0-45-generic | linux-x, kmod:any (>= 1), linux-modules-extra-6.8.0-45-generic
Description-en: Generic
 more: text
Size: 10

Package: linux-image-amd64
Version: 6.1.176-1
";

    #[test]
    fn the_first_version_of_each_package_is_read_with_the_names_of_what_it_needs() {
        let versions = versions(SHOWN);
        assert_eq!(versions.len(), 2);
        let debian = &versions["linux-image-amd64"];
        assert_eq!((debian.version.as_str(), debian.bytes), ("6.1.192-2", 1480));
        assert_eq!(debian.description, "Linux for 64-bit PCs (meta-package)");
        assert_eq!(debian.depends, ["linux-image-6.1.0-56-amd64"]);
        let ubuntu = &versions["linux-image-generic"];
        let needed = ["linux-image-6.8.0-45-generic", "kmod", "linux-modules-extra-6.8.0-45-generic"];
        assert_eq!(ubuntu.depends, needed);
        assert_eq!(needed.map(is_part), [true, false, true]);
    }

    #[test]
    fn what_is_no_list_of_packages_has_none() {
        for text in ["", "\n\n\n", "Package: x", "Version: 1\n\nPackage", "N: nothing found"] {
            assert_eq!(versions(text), BTreeMap::new(), "{text:?}");
        }
    }
}
