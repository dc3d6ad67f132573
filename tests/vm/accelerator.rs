//! KVM where it works, and the truth about it where it does not.

use vmtest_tests::{Outcome, Project, machine, target};

use crate::fake_qemu::{failing, project_with};

fn accelerators(run: &Outcome) -> Vec<String> {
    run.events_named("booting")
        .iter()
        .map(|event| event["accelerator"].as_str().unwrap().to_owned())
        .collect()
}

fn notices_about_kvm(run: &Outcome) -> Vec<String> {
    let messages =
        run.events_named("notice").into_iter().map(|event| event["message"].as_str().unwrap().to_owned());
    messages.filter(|message| message.to_lowercase().contains("kvm")).collect()
}

/// What must hold for a first and a second run on any machine: with KVM that works, that breaks, or that is closed.
#[track_caller]
fn expect_one_attempt(first: &Outcome, second: &Outcome) {
    for run in [first, second] {
        run.expect_status(0);
        let used = run.events_named("booted")[0]["accelerator"].clone();
        let said = notices_about_kvm(run).len();
        let wanted = usize::from(used == "tcg");
        run.check(said == wanted, &format!("{said} sentences about KVM, not {wanted}"));
        let last = accelerators(run).last().cloned().unwrap_or_default();
        run.check(used == last.as_str(), "the last attempt is not the one that booted");
    }
    let used = second.events_named("booted")[0]["accelerator"].clone();
    // What broke once is not asked again.
    second.check(accelerators(second) == [used.as_str().unwrap()], "the second run tried again");
}

// Q3
#[test]
fn this_machines_kvm_is_tried_once_and_the_truth_about_it_is_said_once() {
    let project = Project::one("true").with_own_cache();
    let (first, second) = (project.run_json(), project.run_json());
    expect_one_attempt(&first, &second);
}

// Q3
#[test]
fn a_qemu_that_dies_with_kvm_falls_back_once_and_is_not_asked_again() {
    let project = Project::new("").with_own_cache();
    let script = "#!/bin/sh\ncase \" $* \" in *kvm*) echo 'no kvm today' >&2; exit 1;; esac\nexec qemu-system-x86_64 \"$@\"\n";
    let wrapper = project.write_program("wrapper.sh", script);
    let keys = format!("qemu_command = '{}'", wrapper.display());
    project.write("vmtest.toml", &target("t", &keys, "true"));
    let (first, second) = (project.run_json(), project.run_json());
    expect_one_attempt(&first, &second);
    if accelerators(&first) == ["kvm", "tcg"] {
        first.check(notices_about_kvm(&first)[0].contains("no kvm today"), "the reason is not QEMU's own");
    }
}

/// Whether KVM can be seen to fail: vmtest asks a QEMU for it only where there is one.
fn has_kvm() -> bool {
    let has = machine::has_kvm();
    if !has {
        println!("there is no /dev/kvm that may be opened: nothing to see");
    }
    has
}

/// A fake QEMU that can do with TCG, and with KVM fails like this.
#[track_caller]
fn expect_fallback(fault: &str, because: &str) {
    if !has_kvm() {
        return;
    }
    let project = project_with("").with_own_cache();
    let run = || failing(&project, fault).run();
    let (first, second) = (run(), run());
    expect_one_attempt(&first, &second);
    assert_eq!(accelerators(&first), ["kvm", "tcg"]);
    first.check(notices_about_kvm(&first)[0].contains(because), &format!("the reason is not `{because}`"));
    second.check(notices_about_kvm(&second)[0].contains("found before"), "the second run has another reason");
}

// Q3
#[test]
fn a_qemu_that_aborts_with_kvm_falls_back_once_and_is_not_asked_again() {
    expect_fallback("aborts", "signal: 6 (SIGABRT)");
}

// Q3
#[test]
fn an_internal_error_of_kvm_falls_back_once_and_is_not_asked_again() {
    expect_fallback("internal-error", "internal error of KVM");
}

// Q3
#[test]
fn a_guest_that_hangs_with_kvm_falls_back_once_and_is_not_asked_again() {
    expect_fallback("silent", "did not come to life within 5 s");
}

// Q3
#[test]
fn a_kvm_that_is_forbidden_is_said_once_and_asked_for_again_by_the_next_run() {
    if !has_kvm() || !machine::vmtest_is_root() {
        println!("only root can close /dev/kvm for one run: nothing to see for an ordinary user");
        return;
    }
    let project = project_with("").with_own_cache();
    // Devices of such a mount cannot be opened. It goes with the run.
    let close =
        "mount --bind /dev/kvm /dev/kvm && mount -o remount,bind,nodev /dev/kvm && exec \"$0\" \"$@\"";
    let run = failing(&project, "").inside_words(["unshare", "--mount", "sh", "-c", close]).run();
    run.expect_status(0);
    assert_eq!(accelerators(&run), ["tcg"]);
    run.check(run.events_named("booted")[0]["accelerator"] == "tcg", "it booted otherwise");
    let said = notices_about_kvm(&run);
    run.check(
        said.len() == 1 && said[0].contains("/dev/kvm is not open to you"),
        "it does not say why, once",
    );
    let run = failing(&project, "").run();
    run.expect_status(0);
    assert_eq!(accelerators(&run), ["kvm"]);
}
