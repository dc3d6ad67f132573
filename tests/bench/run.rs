//! How long a run of `uname -r` takes, cold and from a kept guest, beside the bare boot of the same kernel in the same QEMU
//! (the floor).
//!
//! `VMTEST_BENCH_KERNEL` names a kernel with 9p built in; without it the stock kernel is taken, whose modules the floor
//! does not load. Rounds alternate, so that a machine that drifts drifts for both; medians are compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vmtest_vm::initramfs::Initramfs;

const ROUNDS: usize = 7;
/// The design's budget for a cold run of a kernel with 9p built in.
const COLD: f64 = 1.6;
/// And for a run of the stock kernel's kept guest.
const WARM: f64 = 0.15;

fn main() {
    let vmtest = std::env::var_os("VMTEST_BIN")
        .map(PathBuf::from)
        .expect("VMTEST_BIN names the binary; use `make bench`");
    let kernels = PathBuf::from(
        std::env::var_os("VMTEST_KERNELS").expect("VMTEST_KERNELS names the kernels; use `make bench`"),
    );
    let (kernel, is_budget_kernel) = match std::env::var_os("VMTEST_BENCH_KERNEL") {
        Some(kernel) => (PathBuf::from(kernel), true),
        None => (kernels.join("stable/boot/vmlinuz"), false),
    };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let initramfs = floor_initramfs(scratch.path());

    // A first run of each: finds out about KVM, and fills the page cache.
    let (first, events) = run(&vmtest, &kernel, scratch.path(), None);
    let kvm = events
        .lines()
        .any(|line| line.contains(r#""event":"booted""#) && line.contains(r#""accelerator":"kvm""#));
    floor(&kernel, &initramfs, kvm);
    let accelerator = if kvm { "kvm" } else { "tcg" };
    println!("first run, everything unknown: {:.2} s ({accelerator})", first.as_secs_f64());

    let (mut floors, mut cold, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.push(floor(&kernel, &initramfs, kvm));
        cold.push(run(&vmtest, &kernel, scratch.path(), Some("--cold")).0);
        let (took, events) = run(&vmtest, &kernel, scratch.path(), None);
        assert!(events.contains(r#""start":"snapshot""#), "a run was not resumed: {events}");
        warm.push(took);
    }
    let floor = median(&mut floors);
    println!("floor      {floor:6.2} s   {}", spread(&floors));
    report("cold run", &mut cold, floor, is_budget_kernel.then_some(COLD));
    report("kept guest", &mut warm, floor, (!is_budget_kernel).then_some(WARM));
}

fn report(what: &str, runs: &mut [Duration], floor: f64, budget: Option<f64>) {
    let run = median(runs);
    let ratio = run / floor;
    let budget = match budget {
        Some(budget) if ratio > budget => format!(", the budget of {budget} is missed"),
        Some(budget) => format!(", budget {budget}"),
        None => String::new(),
    };
    println!("{what:10} {run:6.2} s   {}: {ratio:.2} of the floor{budget}", spread(runs));
}

/// The bare kernel, with the arguments that a run gives it.
fn floor(kernel: &Path, initramfs: &Path, kvm: bool) -> Duration {
    let started = Instant::now();
    let output = Command::new("qemu-system-x86_64")
        .args(
            "-nodefaults -no-user-config -no-reboot -display none -monitor none -machine pc -smp 2"
                .split(' '),
        )
        .args(if kvm { ["-accel", "kvm", "-cpu", "host"] } else { ["-accel", "tcg", "-cpu", "max"] })
        .args(["-m", "4G", "-serial", "stdio", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 panic=-1 loglevel=7"])
        .stdin(Stdio::null())
        .output()
        .expect("qemu-system-x86_64 starts: apt install qemu-system-x86");
    let took = started.elapsed();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("floor"),
        "the floor's guest did not get to its init"
    );
    took
}

fn run(vmtest: &Path, kernel: &Path, scratch: &Path, option: Option<&str>) -> (Duration, String) {
    let started = Instant::now();
    let output = Command::new(vmtest)
        .arg("-k")
        .arg(kernel)
        .args(option)
        .args(["--format", "json", "uname -r"])
        .current_dir(scratch)
        .env("HOME", scratch)
        .env("XDG_CACHE_HOME", scratch.join("cache"))
        .env("XDG_STATE_HOME", scratch.join("state"))
        .stdin(Stdio::null())
        .output()
        .expect("vmtest starts");
    let took = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (took, String::from_utf8_lossy(&output.stdout).into_owned())
}

fn floor_initramfs(scratch: &Path) -> PathBuf {
    let init = scratch.join("init");
    let status = Command::new("rustc")
        .args([
            "-O",
            "-C",
            "target-feature=+crt-static",
            "--target",
            "x86_64-unknown-linux-gnu",
            "--edition",
            "2024",
            "-o",
        ])
        .arg(&init)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/bench/floor_init.rs"))
        .status()
        .expect("rustc starts");
    assert!(status.success(), "the floor's init did not build");
    let archive = Initramfs::new()
        .char_device("/dev/console", 0o600, 5, 1)
        .file("/init", 0o755, std::fs::read(init).expect("the init that was just built"))
        .finish();
    let path = scratch.join("initramfs");
    std::fs::write(&path, archive).expect("a scratch file");
    path
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn spread(sorted: &[Duration]) -> String {
    format!(
        "({:.2} to {:.2}, {} rounds)",
        sorted[0].as_secs_f64(),
        sorted[sorted.len() - 1].as_secs_f64(),
        sorted.len()
    )
}
