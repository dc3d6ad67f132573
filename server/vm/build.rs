//! Builds the guest init, static, so that it can travel inside the `vmtest` binary.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let guest = manifest.join("../guest");
    for part in ["src", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", guest.join(part).display());
    }
    let out = PathBuf::from(variable("OUT_DIR")).join("guest");
    let arch = variable("CARGO_CFG_TARGET_ARCH");
    let target = target_triple(&arch);
    // Cargo within Cargo: its own target directory, because the outer one is locked, and none of the outer's wrappers.
    let status = Command::new(variable("CARGO"))
        .args(["build", "--package", "vmtest-guest", "--bin", "vmtest-guest", "--profile", "guest"])
        .arg("--manifest-path")
        .arg(guest.join("Cargo.toml"))
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&out)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .status()
        .expect("cargo can be started: it started this build script");
    assert!(status.success(), "the guest init did not build for {target}");
    let program = out.join(&target).join("guest/vmtest-guest");
    println!("cargo:rustc-env=VMTEST_GUEST_INIT={}", program.display());
}

/// musl makes a program a third of the size; the gnu target is there in any case.
fn target_triple(arch: &str) -> String {
    let musl = format!("{arch}-unknown-linux-musl");
    let libdir =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", &musl]).output();
    let installed =
        libdir.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    if installed { musl } else { format!("{arch}-unknown-linux-gnu") }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
