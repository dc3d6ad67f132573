//! Where the action gets `vmtest` from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmtest_tests::machine;

use crate::runner::Job;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program of two lines.
fn write_program(path: &Path, line: &str) {
    fs::write(path, format!("#!/bin/bash\n{line}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A job that asks for release v9, and the folder of a server that has it.
fn of_release() -> (Job, PathBuf) {
    machine::needs("curl", "curl");
    let job = Job::new("", &[("version", "v9")]);
    let server = job.project.base().join("server");
    let release = server.join("releases/download/v9");
    fs::create_dir_all(&release).unwrap();
    let name = format!("vmtest-{}-linux", std::env::consts::ARCH);
    let folder = job.project.base().join(&name);
    fs::create_dir(&folder).unwrap();
    write_program(&folder.join("vmtest"), "echo the released vmtest");
    let archive = release.join(format!("{name}.tar.gz"));
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(job.project.base()).arg(&name));
    let sums = run(Command::new("sha256sum").arg(format!("{name}.tar.gz")).current_dir(&release));
    fs::write(release.join("SHA256SUMS"), sums).unwrap();
    let manifest = job.download.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let (before, after) = text.split_once("repository = \"").unwrap();
    let after = after.split_once('"').unwrap().1;
    fs::write(&manifest, format!("{before}repository = \"file://{}\"{after}", server.display())).unwrap();
    (job, release)
}

#[test]
fn a_release_is_downloaded_and_put_on_the_path() {
    let (mut job, _) = of_release();
    let steps = job.run(&[]);
    let install = steps.iter().find(|step| step.name == "Install vmtest").unwrap();
    install.outcome.as_ref().unwrap().expect_status(0).expect_text("the released vmtest");
    assert_eq!(job.added_to_path(), format!("{}\n", job.temp().join("vmtest-release").display()));
}

#[test]
fn a_release_that_is_not_what_its_checksums_say_is_refused() {
    let (mut job, release) = of_release();
    let sums = release.join("SHA256SUMS");
    let wrong = fs::read_to_string(&sums).unwrap();
    fs::write(&sums, "0".repeat(64) + &wrong[64..]).unwrap();
    let last = job.run(&[]).pop().unwrap();
    assert_eq!(last.name, "Install vmtest");
    let run = last.outcome.unwrap();
    run.expect_status(1).expect_text("is not what SHA256SUMS says");
    run.check(!run.text().contains("the released vmtest"), "it was started all the same");
}

#[test]
fn a_release_that_is_not_there_is_said() {
    let (mut job, release) = of_release();
    fs::remove_dir_all(release).unwrap();
    let run = job.run(&[]).pop().unwrap().outcome.unwrap();
    run.expect_status(1).expect_text("cannot download").expect_text("v9");
}

#[test]
fn without_a_release_vmtest_is_built_from_the_actions_own_source_once() {
    let job = Job::new("", &[]);
    let programs = job.project.base().join("programs");
    fs::create_dir(&programs).unwrap();
    let log = job.temp().join("cargo.log");
    // In place of a build: it writes down how it was called, and makes what was asked for.
    let cargo = format!(
        "echo \"$*\" >>'{}'; mkdir -p \"$7/bin\"; printf '#!/bin/sh\\necho the built vmtest\\n' >\"$7/bin/vmtest\"; chmod +x \"$7/bin/vmtest\"",
        log.display()
    );
    write_program(&programs.join("cargo"), &cargo);
    let mut job = job.with_programs(programs);
    for _ in 0..2 {
        let steps = job.run(&[]);
        assert!(steps.iter().any(|step| step.name == "Cache vmtest"));
        let install = steps.iter().find(|step| step.name == "Install vmtest").unwrap();
        install.outcome.as_ref().unwrap().expect_status(0).expect_text("the built vmtest");
    }
    let (source, built) = (job.download.join("server/cli"), job.temp().join("vmtest-built"));
    let target = job.temp().join("vmtest-target");
    let [source, built, target] = [source, built, target].map(|path| path.display().to_string());
    let wanted = format!("install --locked --quiet --path {source} --root {built} --target-dir {target}\n");
    assert_eq!(fs::read_to_string(log).unwrap(), wanted);
}
