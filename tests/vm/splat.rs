//! Bugs of the kernel while the command says that all is well, and text that only looks like one.

use std::fs;
use std::path::PathBuf;

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _};
use serde_json::Value;
use vmtest_tests::{Outcome, Project, machine, target};

/// `xor eax, eax; mov eax, [rax]`
const READ_NULL: &[u8] = &[0x31, 0xc0, 0x8b, 0x00];
/// `ud2`, which is what `BUG()` is
const TRAP: &[u8] = &[0x0f, 0x0b];
/// `jmp .`
const SPIN: &[u8] = &[0xeb, 0xfe];

/// A module of the stable kernel, whose own code needs no help of the loader.
fn stock_module() -> Vec<u8> {
    let kernel = machine::kernel("stable");
    let modules: PathBuf = kernel.image.parent().unwrap().join("../lib/modules").join(kernel.release);
    fs::read(modules.join("kernel/lib/test_user_copy.ko")).expect("the stable kernel has it")
}

/// A stock module that runs `code` when it is loaded. A kernel that was built to have bugs would be no stock kernel.
fn broken_module(code: &[u8]) -> Vec<u8> {
    const SIGNED: &[u8] = b"~Module signature appended~\n";
    let mut module = stock_module();
    let at = {
        let file = ElfFile::<FileHeader64<LittleEndian>>::parse(&*module).unwrap();
        let init = file.symbols().find(|symbol| symbol.name() == Ok("init_module")).unwrap();
        let section = file.section_by_index(init.section_index().unwrap()).unwrap();
        let own = init.address()..init.address() + code.len() as u64;
        assert!(section.relocations().all(|(place, _)| place + 8 <= own.start || place >= own.end));
        usize::try_from(section.file_range().unwrap().0 + init.address()).unwrap()
    };
    module[at..at + code.len()].copy_from_slice(code);
    // One whose signature is wrong is refused; one without is not.
    if module.ends_with(SIGNED) {
        module.truncate(module.len() - SIGNED.len());
    }
    module
}

/// Loads a broken module in the guest and then says that all is well.
fn loaded(code: &[u8], keys: &str, before: &str, load: &str) -> Outcome {
    machine::needs("insmod", "kmod");
    let project = Project::new(&target("t", keys, &format!("{before}\n{load}\necho well")));
    project.write_bytes("broken.ko", &broken_module(code));
    project.run_json()
}

/// The bug has this in its title, and its excerpt has these words.
#[track_caller]
fn expect_kernel_bug(run: &Outcome, title: &str, excerpt: &[&str]) {
    run.expect_status(70).expect_verdict("kernel_bug");
    let finished = run.finished();
    run.check(finished["title"].as_str().unwrap().contains(title), &format!("the title is {finished}"));
    let told = |bug: &Value| {
        let lines = bug["excerpt"].to_string();
        bug["title"] == finished["title"] && excerpt.iter().all(|words| lines.contains(words))
    };
    run.check(run.events_named("kernel_bug").iter().any(told), &format!("no event has {excerpt:?}"));
}

// G1
#[test]
fn an_oops_is_a_kernel_bug_although_the_command_passes() {
    let run = loaded(READ_NULL, "", "", "insmod ./broken.ko");
    run.expect_guest_text("well\n");
    let excerpt = ["RIP: 0010:test_user_copy_init", "Comm: insmod", "Call Trace:"];
    expect_kernel_bug(&run, "BUG: kernel NULL pointer dereference", &excerpt);
}

// G1
#[test]
fn a_trap_of_the_kernel_is_a_kernel_bug_although_the_command_passes() {
    let run = loaded(TRAP, "", "", "insmod ./broken.ko");
    run.expect_guest_text("well\n");
    expect_kernel_bug(&run, "invalid opcode", &["RIP: 0010:test_user_copy_init"]);
}

// G1
#[test]
fn a_processor_that_does_not_come_back_is_a_kernel_bug_and_no_timeout() {
    let keys = "timeout = '30s'\nvm.num_cpus = 2";
    let run = loaded(SPIN, keys, "echo 1 >/proc/sys/kernel/watchdog_thresh", "insmod ./broken.ko");
    expect_kernel_bug(&run, "BUG: soft lockup", &["RIP: 0010:test_user_copy_init"]);
}

/// Reports that any program can write, and flags that only root can: what a kernel with KASAN does.
const KASAN: &str = r#"
say() { printf '<1>%s\n' "$1" >/dev/kmsg; }
say '=================================================================='
say 'BUG: KASAN: slab-use-after-free in planted+0x12/0x34'
say 'Read of size 8 at addr ffff888003a1c000 by task planted/42'
say '=================================================================='
"#;
const TAINT: &str = "echo 32 >/proc/sys/kernel/tainted";

// G1
#[test]
fn a_report_of_kasan_is_a_kernel_bug_when_the_kernel_is_tainted() {
    let run = Project::one(&format!("{KASAN}{TAINT}")).run_json();
    expect_kernel_bug(&run, "KASAN: slab-use-after-free in planted", &["Read of size 8"]);
}

// G1
#[test]
fn a_report_of_kasan_is_text_when_the_kernel_is_not_tainted() {
    let run = Project::one(KASAN).run_json();
    run.expect_status(0).expect_verdict("passed");
    run.check(!run.events_named("kernel_bug").is_empty(), "what the console says is not told");
}

// G1
#[test]
fn a_report_whose_line_comes_in_pieces_is_a_kernel_bug() {
    let pieces = "printf '[    9.000000] BUG: KAS' >/dev/console; printf 'AN: slab-use-after' >/dev/console
                  printf -- '-free in planted+0x12/0x34\\n' >/dev/console";
    let run = Project::one(&format!("{pieces}\n{TAINT}")).run_json();
    expect_kernel_bug(&run, "KASAN: slab-use-after-free in planted", &[]);
}

// G1
#[test]
fn an_oops_is_a_kernel_bug_also_after_many_reports_that_are_only_text() {
    let before = format!("for n in {{1..30}}; do {KASAN} done");
    let run = loaded(READ_NULL, "", &before, "insmod ./broken.ko");
    run.expect_guest_text("well\n").expect_status(70).expect_verdict("kernel_bug");
}

// G1
#[test]
fn an_oops_is_a_kernel_bug_also_after_a_panic_that_is_only_text() {
    let before = "printf '<0>Kernel panic - not syncing: planted\\n' >/dev/kmsg";
    let run = loaded(READ_NULL, "", before, "insmod ./broken.ko");
    run.expect_guest_text("well\n").expect_status(70).expect_verdict("kernel_bug");
}

// G1
#[test]
fn an_oops_that_is_allowed_for_is_none_of_the_verdict() {
    let run = loaded(READ_NULL, "fail_on_kernel_bug = false", "", "insmod ./broken.ko");
    run.expect_status(0).expect_verdict("passed").expect_guest_text("well\n");
}
