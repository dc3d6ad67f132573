//! An agent that lies, or answers with too much.

use vmtest_tests::{Project, machine};

use super::{expect_boot_failed, failing, most_memory, project, reason, run};

/// vmtest itself with an initramfs, and one line as long as a line may be.
const MOST_MEMORY: u64 = 300;

#[track_caller]
fn expect_bounded(fault: &str, because: &str) {
    let project = project();
    let running = failing(&project, fault).start();
    let most = most_memory(&running);
    let run = running.finish();
    expect_boot_failed(&run, because);
    run.check(most < MOST_MEMORY, &format!("it took {most} MiB"));
}

// G5
#[test]
fn a_gigabyte_of_base64_is_a_failed_boot_and_takes_no_gigabyte() {
    expect_bounded("long-answer", "a line of over 48 MiB");
}

// G5
#[test]
fn an_answer_of_millions_of_values_is_a_failed_boot_and_takes_no_gigabyte() {
    expect_bounded("many-values", "values in one line");
}

// G5
#[test]
fn an_answer_with_a_foreign_number_is_a_failed_boot() {
    expect_boot_failed(&run("foreign-id"), "QGA sync failed");
}

// G5
#[test]
fn a_command_that_has_exited_in_no_known_way_is_lost_and_never_passed() {
    let qemu = machine::helper("fake-qemu");
    let project = Project::new(&format!(
        "[[target]]\nname = 't'\nimage = './disk'\ncommand = 'the-command'\nqemu_command = '{}'\n[target.vm]\nextra_args = ['-accel', 'tcg']\n",
        qemu.display()
    ));
    let mut sector = vec![0; 4096];
    sector[510..512].copy_from_slice(&[0x55, 0xAA]);
    project.write_bytes("disk", &sector);
    // The fake one can have a command that ends well.
    failing(&project, "").run().expect_status(0).expect_verdict("passed");
    let run = failing(&project, "no-status").run();
    run.expect_status(69).expect_verdict("lost");
    run.check(reason(&run).contains("does not say how the command ended"), "the reason is another");
}
