//! Files of the host in a guest: walked, packed, read, started and created, on the root share and on the project's, beside
//! the same files over 9p with `cache=mmap`.
//!
//! Once with shares by 9p and once by virtiofs, each in one guest and each piece of work in turns: on a host that has other things to do, two guests differ by more
//! than their shares. A 9p device is mounted once and those of the shares are taken, so this guest has one device more,
//! which the command mounts itself. `vm.extra_args` adds it, which is why this guest is booted and never resumed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use super::Subject;
use crate::bench::{self, Bench, EVENTS, Run};
use crate::figure::{Budget, Figure, Unit};
use crate::{Result, Saying as _, process};

const BASELINE: &str = "9p cache=mmap";
/// Files of a folder.
const FOLDER: usize = 20;
/// Bytes of a file of the tree that is walked, and of one that is packed: about what a header has.
const SMALL: usize = 64;
const SOURCE: usize = 6_000;

pub(super) fn subjects(bench: &Bench) -> Result<Vec<Subject<'_>>> {
    let project = Rc::new(Project::new(bench)?);
    let mut kinds = vec!["9p"];
    match vmtest_vm::usable_virtiofsd() {
        Ok(_) => kinds.push("virtiofs"),
        Err(why) => println!("virtiofs is left out: {why}"),
    }
    let subject = |kind| {
        let project = project.clone();
        Subject::new(move || figures(&project.run(bench, kind)?, bench))
    };
    Ok(kinds.into_iter().map(subject).collect())
}

/// A project with the files, which lie beside it once more.
#[derive(Debug)]
struct Project {
    /// In the project's share.
    inside: PathBuf,
    /// The same files, in the root's.
    outside: PathBuf,
}

impl Project {
    fn new(bench: &Bench) -> Result<Self> {
        let folder = bench.folder("files")?;
        let project = Self { inside: folder.join("project/data"), outside: folder.join("data") };
        write_tree(&project.inside.join("tree"), bench.size.tree, SMALL)?;
        write_tree(&project.inside.join("source"), bench.size.source, SOURCE)?;
        write_file(&project.inside.join("big"), bench.size.big * 1_000_000)?;
        let program = bench.build_guest_program("files")?;
        fs::copy(program, project.inside.join("files")).saying("cannot copy a program")?;
        // Hard links, so that the host's caches hold both or neither.
        let mut copy = Command::new("cp");
        process::output(copy.arg("-al").arg(&project.inside).arg(&project.outside))?;
        Ok(project)
    }

    fn run(&self, bench: &Bench, kind: &str) -> Result<Run> {
        let [inside, outside] = [&self.inside, &self.outside].map(|path| path.display());
        let kernel = bench.stock().path.display();
        let options = "trans=virtio,version=9p2000.L,msize=512000,cache=mmap";
        let command = format!(
            "mkdir /mnt/beside && mount -t 9p -o {options} beside /mnt/beside && \
             {outside}/files beside+=/mnt/beside root={outside} project+={inside}"
        );
        let export = format!("local,id=beside,path={inside},security_model=none,multidevs=remap");
        let device = "virtio-9p-pci,fsdev=beside,mount_tag=beside";
        let toml = format!(
            "[[target]]\nname = 'files'\nkernel = '{kernel}'\ncommand = '{command}'\n\
             vm.extra_args = ['-fsdev', '{export}', '-device', '{device}']\n"
        );
        let folder = self.inside.parent().expect("the project is not the root");
        fs::write(folder.join("vmtest.toml"), toml).saying("cannot write vmtest.toml")?;
        bench::run(bench.vmtest().args(EVENTS).args(["--share", kind]).current_dir(folder))
    }
}

/// One sample for each line that the program in the guest wrote.
fn figures(run: &Run, bench: &Bench) -> Result<Vec<Figure>> {
    let share = run.booted("share");
    let text = run.text();
    text.lines().map(|line| figure(line, share, bench).ok_or_else(|| format!("no figure: {line}"))).collect()
}

fn figure(line: &str, share: &str, bench: &Bench) -> Option<Figure> {
    let [work, place, seconds] = *line.split(' ').collect::<Vec<_>>() else { return None };
    let seconds: f64 = seconds.parse().ok()?;
    let bench::Size { tree, source, big, .. } = bench.size;
    let section = match work {
        "walk-first" => format!("walk over {tree} files, first time"),
        "walk-again" => format!("walk over {tree} files, again"),
        "tar-first" => format!("tar of {source} files, first time"),
        "tar-again" => format!("tar of {source} files, again"),
        "read-first" => format!("read of {big} MB, first time"),
        "read-again" => format!("read of {big} MB, again"),
        "start" => "start of 100 programs".to_owned(),
        "create" => "create and delete 200 files".to_owned(),
        _ => return None,
    };
    let (unit, value) = if work.starts_with("read") {
        (Unit::MegabytesPerSecond, big as f64 / seconds)
    } else {
        (Unit::Seconds, seconds)
    };
    if place == "beside" {
        return Some(Figure::new(&section, BASELINE, unit, value).of_another());
    }
    let name = format!("{place} share, {share}");
    let budget = (work.starts_with("walk") || work.starts_with("tar")).then(|| budget(place, share));
    Some(Figure::new(&section, name, unit, value).faster_than(BASELINE).within(budget))
}

/// How many times faster than the baseline the design wants a share to be.
fn budget(place: &str, share: &str) -> Budget {
    Budget::AtLeast(match (place, share) {
        ("root", "virtiofs") => 12.0,
        ("root", _) => 5.0,
        _ => 3.0,
    })
}

/// Writes so many files into nested folders.
fn write_tree(folder: &Path, files: usize, bytes: usize) -> Result<()> {
    for number in 0..files {
        let (outer, inner) = (number / (FOLDER * FOLDER), number / FOLDER % FOLDER);
        let place = folder.join(format!("part-{outer}/module-{inner}"));
        if number % FOLDER == 0 {
            fs::create_dir_all(&place).saying(place.display())?;
        }
        write_file(&place.join(format!("file-{number}.h")), bytes)?;
    }
    Ok(())
}

fn write_file(path: &Path, bytes: usize) -> Result<()> {
    let text = b"#define LINE_OF_A_SOURCE_FILE 1\n".repeat(bytes.div_ceil(32));
    fs::write(path, &text[..bytes]).saying(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_nested_and_has_every_file() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path(), 2 * FOLDER * FOLDER, 40).unwrap();
        let last = folder.path().join("part-1/module-19/file-799.h");
        assert_eq!(fs::metadata(last).unwrap().len(), 40);
        assert_eq!(fs::read_dir(folder.path().join("part-0")).unwrap().count(), FOLDER);
    }
}
