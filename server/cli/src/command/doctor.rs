//! `vmtest doctor`: what this machine has, what it lacks and how to get it.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use vmtest_config::Arch;
use vmtest_vm::accelerator::{self, KvmMemory};
use vmtest_vm::agent::Agent;
use vmtest_vm::event::Accelerator;
use vmtest_vm::host::{
    AGENT_PACKAGE, FIRMWARE_PACKAGE, Manager, Package, in_path, install_commands, kernel_files, qemu_package,
    qemu_program,
};
use vmtest_vm::kernel::{Kernel, ModuleSearch};

use crate::executor::cache;
use crate::paint::Paint;
use vmtest_vm::{sanitize, uefi_firmware, usable_virtiofsd};

/// Looks, prints and fails when something is missing without which nothing runs.
pub(crate) fn doctor() -> ExitCode {
    let manager = Manager::of_this_machine();
    let findings = [qemu(), agent(), kvm(), virtiofsd(), firmware(), depmod(), kernels(Path::new("/"))];
    let printed = crate::print(format_args!(
        "{}",
        render(&findings, manager, Paint::for_terminal(io::stdout().is_terminal()))
    ));
    if findings.iter().any(|finding| finding.weight == Weight::Essential && finding.found.is_err()) {
        return ExitCode::FAILURE;
    }
    printed
}

/// One thing that was looked for.
#[derive(Debug)]
struct Finding {
    what: &'static str,
    weight: Weight,
    /// What was found, a line each, or why it is missing.
    found: Result<Vec<String>, String>,
    fix: Fix,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Nothing runs without it.
    Essential,
    /// Runs are slower or poorer without it; the words say how.
    Optional(&'static str),
}

/// How to get it.
#[derive(Debug, Clone)]
enum Fix {
    /// Install the package.
    Package(Package),
    /// Do this.
    Words(&'static str),
}

fn render(findings: &[Finding], manager: Option<Manager>, paint: Paint) -> String {
    let mut lines = Vec::new();
    let mut line = |mark: String, what: &str, words: &str| {
        lines.push(format!("{mark} {what:<15}{}", sanitize::line(words.as_bytes())));
    };
    for finding in findings {
        match &finding.found {
            Ok(lines) => {
                let mut what = finding.what;
                for words in lines {
                    let mark = if what.is_empty() { " ".to_owned() } else { paint.good("✓") };
                    line(mark, std::mem::take(&mut what), words);
                }
            }
            Err(why) => {
                let (mark, why) = match finding.weight {
                    Weight::Essential => (paint.bad("✗"), why.clone()),
                    Weight::Optional(loss) => (paint.strong("✗"), format!("{why}; {loss}")),
                };
                line(mark, finding.what, &why);
                for words in fixes(&finding.fix, manager) {
                    line(" ".to_owned(), "", &format!("→ {words}"));
                }
            }
        }
    }
    let essential =
        findings.iter().filter(|finding| finding.weight == Weight::Essential && finding.found.is_err());
    let missing: Vec<_> = essential.map(|finding| finding.what).collect();
    let can = match missing.as_slice() {
        [] => "vmtest can run here.".to_owned(),
        missing => format!("vmtest cannot run here without {}.", missing.join(" and ")),
    };
    format!("{}\n\n{can}\n", lines.join("\n"))
}

fn fixes(fix: &Fix, manager: Option<Manager>) -> Vec<String> {
    match fix {
        Fix::Words(words) => vec![(*words).to_owned()],
        Fix::Package(package) => install_commands(package, manager),
    }
}

fn qemu() -> Finding {
    let program = qemu_program(Arch::host());
    let found = in_path(&program, &[]).ok_or(format!("`{program}` is not in PATH")).and_then(|path| {
        let version = first_line_of(&path, "--version")?;
        let version = version.strip_prefix("QEMU emulator version ").unwrap_or(&version).to_owned();
        Ok(vec![format!("{version}, {}", path.display())])
    });
    Finding { what: "QEMU", weight: Weight::Essential, found, fix: Fix::Package(qemu_package(Arch::host())) }
}

fn agent() -> Finding {
    let found = Agent::find()
        .map(|agent| vec![agent.program.display().to_string()])
        // The sentence goes on with package names, which come below.
        .map_err(|error| error.to_string().split(": install").next().unwrap_or_default().to_owned());
    Finding { what: "qemu-ga", weight: Weight::Essential, found, fix: Fix::Package(AGENT_PACKAGE) }
}

fn kvm() -> Finding {
    const LOSS: &str = "QEMU emulates instead, which is several times slower";
    let Some(qemu) = in_path(qemu_program(Arch::host()), &[]) else {
        let found = Err("not tried without QEMU".to_owned());
        return Finding {
            what: "KVM",
            weight: Weight::Optional(LOSS),
            found,
            fix: Fix::Words("install QEMU first"),
        };
    };
    let choice = accelerator::choose(&KvmMemory::new(&cache(), &qemu, "host"));
    let found = match (choice.accelerator, choice.why_not_kvm) {
        // The device alone says little: it may be there, be open, and fail.
        (Accelerator::Kvm, _) => starts_with_kvm(&qemu).map(|()| vec!["a guest runs with it".to_owned()]),
        (Accelerator::Tcg, why) => Err(why.unwrap_or_else(|| "does not work".to_owned())),
    };
    let fix = if Path::new("/dev/kvm").exists() {
        "`sudo usermod -aG kvm $USER` and a new login open /dev/kvm; inside a VM, nested virtualization must be on"
    } else {
        "switch virtualization on in the firmware and `modprobe kvm_intel` or `kvm_amd`; inside a VM, switch nested virtualization on outside"
    };
    Finding { what: "KVM", weight: Weight::Optional(LOSS), found, fix: Fix::Words(fix) }
}

/// Lets a machine without a disk run for a moment: a KVM that is broken makes QEMU end, stop or hang.
fn starts_with_kvm(qemu: &Path) -> Result<(), String> {
    const MOMENT: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(10);
    let machine = match Arch::host() {
        Arch::X86_64 => "pc",
        Arch::Aarch64 | Arch::Riscv64 => "virt",
        Arch::S390x => "s390-ccw-virtio",
    };
    let mut child = Command::new(qemu)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-qmp", "stdio"])
        .args(["-accel", "kvm", "-cpu", "host", "-m", "64M", "-machine", machine])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", qemu.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A QEMU that is gone already is told by its status.
        let _ = stdin.write_all(b"{\"execute\":\"qmp_capabilities\"}\n");
        std::thread::sleep(MOMENT);
        let _ = stdin.write_all(b"{\"execute\":\"query-status\"}\n{\"execute\":\"quit\"}\n");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                return Err("/dev/kvm is there, but QEMU hangs with it".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        return Err(format!("/dev/kvm is there, but QEMU ends at once with it ({}): {said}", output.status));
    }
    if String::from_utf8_lossy(&output.stdout).contains("internal-error") {
        return Err("/dev/kvm is there, but a guest gets nowhere with it (KVM internal error)".to_owned());
    }
    Ok(())
}

fn virtiofsd() -> Finding {
    Finding {
        what: "virtiofsd",
        weight: Weight::Optional(
            "directories are shared by 9p, which is slower, and kernels without 9p do not run",
        ),
        found: usable_virtiofsd().map(|path| vec![path.display().to_string()]),
        fix: Fix::Package(["virtiofsd"; 4]),
    }
}

fn firmware() -> Finding {
    let qemu = in_path(qemu_program(Arch::host()), &[]).unwrap_or_default();
    Finding {
        what: "UEFI firmware",
        weight: Weight::Optional("images with `uefi = true` do not start without `vm.bios`"),
        found: uefi_firmware(&qemu)
            .map(|file| vec![file.display().to_string()])
            .ok_or_else(|| "not found".to_owned()),
        fix: Fix::Package(FIRMWARE_PACKAGE),
    }
}

fn depmod() -> Finding {
    let found = in_path("depmod", &["/usr/sbin", "/sbin"])
        .map(|path| vec![path.display().to_string()])
        .ok_or_else(|| "not found".to_owned());
    Finding {
        what: "depmod",
        weight: Weight::Optional("vmtest does without, but a kernel build's `modules_install` does not"),
        found,
        fix: Fix::Package(["kmod"; 4]),
    }
}

fn kernels(root: &Path) -> Finding {
    let search = ModuleSearch::new(Path::new("/"));
    let lines: Vec<_> = kernel_files(root)
        .into_iter()
        .map(|file| match Kernel::read_for(&file, Arch::host(), &search) {
            Ok(kernel) => {
                let modules = if kernel.modules.is_some() { "with modules" } else { "no modules found" };
                format!("{}: {}, {modules}", file.display(), kernel.release)
            }
            Err(error) => format!("{}: {error}", file.display()),
        })
        .collect();
    let found = if lines.is_empty() { Err("none in /boot or /lib/modules".to_owned()) } else { Ok(lines) };
    Finding {
        what: "kernels",
        weight: Weight::Optional("vmtest.toml must name one from elsewhere"),
        found,
        fix: Fix::Package([
            "linux-image-amd64 (Ubuntu: linux-image-generic)",
            "kernel-core",
            "linux",
            "kernel-default",
        ]),
    }
}

fn first_line_of(program: &Path, argument: &str) -> Result<String, String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{} {argument} fails: {}", program.display(), output.status));
    }
    Ok(sanitize::line(output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn finding(what: &'static str, weight: Weight, found: Result<Vec<String>, String>, fix: Fix) -> Finding {
        Finding { what, weight, found, fix }
    }

    #[test]
    fn what_is_missing_comes_with_its_fix() {
        let findings = [
            finding("QEMU", Weight::Essential, Ok(vec!["7.2".into()]), Fix::Package(["a", "b", "c", "d"])),
            finding(
                "qemu-ga",
                Weight::Essential,
                Err("not found".into()),
                Fix::Package(["a", "b", "c", "d"]),
            ),
            finding("KVM", Weight::Optional("slower"), Err("forbidden".into()), Fix::Words("join the group")),
            finding("kernels", Weight::Optional("x"), Ok(vec!["one".into(), "two".into()]), Fix::Words("")),
        ];
        expect![[r"
            ✓ QEMU           7.2
            ✗ qemu-ga        not found
                             → dnf install b
            ✗ KVM            forbidden; slower
                             → join the group
            ✓ kernels        one
                             two

            vmtest cannot run here without qemu-ga.
        "]]
        .assert_eq(&render(&findings, Some(Manager::Dnf), Paint::off()));
    }
}
