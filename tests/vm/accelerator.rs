//! KVM where it works, and the truth about it where it does not.

use vmtest_tests::{Outcome, Project, target};

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

#[test]
fn this_machines_kvm_is_tried_once_and_the_truth_about_it_is_said_once() {
    let project = Project::one("true").with_own_cache();
    let (first, second) = (project.run_json(), project.run_json());
    expect_one_attempt(&first, &second);
}

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
