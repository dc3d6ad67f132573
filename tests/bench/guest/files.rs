//! Works on the benchmark's files inside the guest, and says how long each piece of work took by the guest's monotonic
//! clock. Built by the benchmark, static, so that it starts alike wherever it lies.
//!
//! `files NAME=DIRECTORY…`: does each piece of work in every directory before it goes on to the next, and writes lines of
//! `work NAME seconds`. A name that ends in `+` is a directory in which files are created, too.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Programs started from the directory.
const STARTS: usize = 100;
/// Files created and deleted in it.
const CREATED: usize = 200;

fn main() {
    let places: Vec<String> = env::args().skip(1).collect();
    // It starts itself, as the program that does nothing.
    if places.is_empty() {
        return;
    }
    let places: Vec<_> = places
        .iter()
        .map(|place| place.split_once('=').expect("NAME=DIRECTORY"))
        .map(|(name, directory)| (name.trim_end_matches('+'), Path::new(directory), name.ends_with('+')))
        .collect();
    for (work, make_script) in [("walk", walk as fn(&Path) -> String), ("tar", tar), ("read", read)] {
        for (name, directory, _) in &places {
            let script = make_script(directory);
            forget();
            report(&format!("{work}-first"), name, || shell(&script));
            report(&format!("{work}-again"), name, || shell(&script));
        }
    }
    for (name, directory, _) in &places {
        forget();
        report("start", name, || {
            for _ in 0..STARTS {
                run(Command::new(directory.join("files")));
            }
        });
    }
    for (name, directory, _) in places.iter().filter(|(_, _, creates)| *creates) {
        report("create", name, || create(&directory.join("new")));
    }
}

/// A test on the size makes `find` ask for every file's attributes, as `git status` does.
fn walk(directory: &Path) -> String {
    format!("find {}/tree -size +1000M", directory.display())
}

/// GNU tar reads nothing when it sees that its archive is /dev/null.
fn tar(directory: &Path) -> String {
    format!("tar -cf - -C {}/source . | cat >/dev/null", directory.display())
}

fn read(directory: &Path) -> String {
    format!("dd if={}/big of=/dev/null bs=1M status=none", directory.display())
}

/// Empties the guest's caches, but for the programs that are measured with, whose own loading is not the question.
fn forget() {
    run(Command::new("sync"));
    fs::write("/proc/sys/vm/drop_caches", "3").expect("the guest's root may do that");
    shell("find /dev/null -size +1000M; tar -cf - -C /dev null | cat >/dev/null; dd if=/dev/null of=/dev/null status=none");
}

fn create(directory: &Path) {
    fs::create_dir(directory).expect("the directory is writable");
    for number in 0..CREATED {
        let mut file = File::create_new(directory.join(number.to_string())).expect("there is room");
        file.write_all(b"one line of text\n").expect("there is room");
    }
    fs::remove_dir_all(directory).expect("it was just made");
}

fn shell(script: &str) {
    let mut command = Command::new("sh");
    command.args(["-ec", script]);
    run(command);
}

fn run(mut command: Command) {
    let status = command.status().expect("the program starts");
    assert!(status.success(), "{command:?}: {status}");
}

fn report(work: &str, name: &str, mut work_on_it: impl FnMut()) {
    let started = Instant::now();
    work_on_it();
    println!("{work} {name} {}", started.elapsed().as_secs_f64());
}
