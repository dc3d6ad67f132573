//! How long a run takes, cold and from a kept guest, beside the floor: the bare boot of the same kernel in the same QEMU, to
//! an init that writes a line and restarts. And beside peers, where there are any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmtest_vm::initramfs::Initramfs;

use super::Subject;
use crate::bench::{self, Bench, Kernel};
use crate::figure::{Budget, Figure, Unit};
use crate::{Result, Saying as _, process};

/// Of a cold run of a kernel with 9p built in, as a multiple of the floor.
const COLD: Budget = Budget::AtMost(1.6);
/// Of a run of the stock kernel's kept guest, as a multiple of the floor.
const KEPT: Budget = Budget::AtMost(0.15);
/// What the original takes, as a multiple of a run of a kept guest, on the kernel with 9p built in.
const ORIGINAL: Budget = Budget::AtLeast(12.0);
/// Seconds after which a peer or a floor hangs.
const PATIENCE: &str = "180";

pub(super) fn subjects(bench: &Bench) -> Result<Vec<Subject<'_>>> {
    let initramfs = floor_initramfs(bench)?;
    let mut subjects = Vec::new();
    for kernel in &bench.kernels {
        let initramfs = initramfs.clone();
        subjects.push(Subject::new(move || floor(bench, kernel, &initramfs)));
        subjects.push(Subject::new(move || cold(bench, kernel)));
        subjects.push(Subject::new(move || kept(bench, kernel)));
        if !kernel.is_stock {
            subjects.extend(peers(bench, kernel)?);
        }
    }
    Ok(subjects)
}

fn cold(bench: &Bench, kernel: &Kernel) -> Result<Vec<Figure>> {
    let run = bench.uname(&kernel.path, &["--cold"])?;
    let figure = Figure::new(&kernel.title, "cold run", Unit::Seconds, run.usage.seconds);
    Ok(vec![figure.times_of("floor").within((!kernel.is_stock).then_some(COLD))])
}

fn kept(bench: &Bench, kernel: &Kernel) -> Result<Vec<Figure>> {
    let run = bench.uname(&kernel.path, &[])?.resumed()?;
    let figure = Figure::new(&kernel.title, "kept guest", Unit::Seconds, run.usage.seconds);
    Ok(vec![figure.times_of("floor").within(kernel.is_stock.then_some(KEPT))])
}

/// The bare kernel, with the arguments that a run gives it.
fn floor(bench: &Bench, kernel: &Kernel, initramfs: &Path) -> Result<Vec<Figure>> {
    let mut qemu = patient(bench, Path::new("qemu-system-x86_64"));
    let machine = "-nodefaults -no-user-config -no-reboot -display none -monitor none -machine pc -smp 2";
    let cpu = if bench.machine.has_kvm() { "-accel kvm -cpu host" } else { "-accel tcg -cpu max" };
    qemu.args(machine.split(' '))
        .args(cpu.split(' '))
        .args(["-m", "4G", "-serial", "stdio", "-kernel"])
        .arg(&kernel.path)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 panic=-1 loglevel=7"]);
    let seconds = run_to(&mut qemu, "floor")?;
    Ok(vec![Figure::new(&kernel.title, "floor", Unit::Seconds, seconds).of_another()])
}

fn floor_initramfs(bench: &Bench) -> Result<PathBuf> {
    let init = bench.build_guest_program("floor")?;
    let archive = Initramfs::new()
        .char_device("/dev/console", 0o600, 5, 1)
        .file("/init", 0o755, fs::read(&init).saying(init.display())?)
        .finish();
    let path = bench.folder("guest")?.join("initramfs");
    fs::write(&path, archive).saying(path.display())?;
    Ok(path)
}

/// The peers, with a kernel that they can boot: virtme-ng when it is on `PATH`, and what `VMTEST_BENCH_PEER` names, with the
/// command line of the original vmtest.
fn peers<'b>(bench: &'b Bench, kernel: &'b Kernel) -> Result<Vec<Subject<'b>>> {
    // A copy, because virtme-ng writes a list of modules beside a kernel.
    let image = bench.folder("peers")?.join("bzImage");
    fs::copy(&kernel.path, &image).saying(kernel.path.display())?;
    let mut peers = Vec::new();
    if let Some(name) = version(bench, Path::new("vng")) {
        let mut vng = patient(bench, Path::new("vng"));
        if !bench.machine.has_kvm() {
            vng.arg("--disable-kvm");
        }
        // With the kernel's messages, as in every other boot here; and without them it needs a guest with udev.
        vng.args(["--verbose", "--run"]).arg(&image).args(["--", "uname", "-r"]);
        peers.push((name, vng, None));
    }
    if let Some(path) = bench::path_in("VMTEST_BENCH_PEER") {
        let name = version(bench, &path).unwrap_or_else(|| "vmtest".to_owned());
        let mut peer = patient(bench, &path);
        peer.arg("-k").arg(&image).arg("uname -r");
        peers.push((format!("{name} (peer)"), peer, Some(ORIGINAL)));
    }
    let mut subjects = Vec::new();
    for (name, mut command, budget) in peers {
        let mut measure = move || {
            let seconds = run_to(&mut command, &format!("\n{}", kernel.release))?;
            let figure = Figure::new(&kernel.title, &name, Unit::Seconds, seconds).of_another();
            Ok(vec![figure.times_of("kept guest").within(budget)])
        };
        // Once before it counts, as all others.
        match measure() {
            Ok(_) => subjects.push(Subject::new(measure)),
            Err(error) => eprintln!("bench: a peer does not run here, and is left out: {error}"),
        }
    }
    Ok(subjects)
}

/// The first line that a program says about its version; none when it is not there.
fn version(bench: &Bench, program: &Path) -> Option<String> {
    let (_, text) = process::output(bench.command(program).arg("--version")).ok()?;
    Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
}

/// A program that is ended when it hangs, with both of its outputs as one.
fn patient(bench: &Bench, program: &Path) -> Command {
    let mut command = bench.command(Path::new("timeout"));
    command.args([PATIENCE, "sh", "-c", "exec \"$0\" \"$@\" 2>&1"]).arg(program);
    command
}

/// Runs a program that must write this; gives the time from its start to its end. Its exit status does not count: that of
/// virtme-ng depends on whether the guest has udev.
fn run_to(command: &mut Command, expected: &str) -> Result<f64> {
    let mut text = Vec::new();
    let (usage, failure) = process::run_to_any_end(command, |piece| text.extend_from_slice(piece))?;
    if String::from_utf8_lossy(&text).contains(expected) {
        return Ok(usage.seconds);
    }
    let (failure, text) = (failure.unwrap_or_default(), process::last_lines(&text));
    Err(format!("there is no `{}` in what it wrote: {failure}\n{text}", expected.trim()))
}
