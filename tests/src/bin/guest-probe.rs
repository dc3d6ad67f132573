//! Runs inside the guest, for tests that need more than a shell.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::reboot::{RebootMode, reboot};
use vmtest_tests::pattern::Pattern;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["pattern", mebibytes] => pattern(mebibytes.parse().expect("a number")),
        ["line", mebibytes] => line(mebibytes.parse().expect("a number")),
        ["flood", mebibytes] => flood(mebibytes.parse().expect("a number")),
        ["segfault"] => segfault(),
        ["bpf"] => bpf(),
        ["poweroff"] => end_machine(RebootMode::RB_POWER_OFF),
        ["reboot"] => end_machine(RebootMode::RB_AUTOBOOT),
        ["halt"] => end_machine(RebootMode::RB_HALT_SYSTEM),
        _ => panic!("guest-probe pattern MIB|line MIB|flood MIB|segfault|bpf|poweroff|reboot|halt"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-probe {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Writes so much of the pattern with seed 1.
fn pattern(mebibytes: usize) -> io::Result<()> {
    let mut pattern = Pattern::new(1);
    let mut out = io::stdout().lock();
    let mut piece = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        pattern.fill(&mut piece);
        out.write_all(&piece)?;
    }
    out.flush()
}

/// Writes so much without a line break.
fn line(mebibytes: usize) -> io::Result<()> {
    let piece = vec![b'x'; 1 << 20];
    let mut out = io::stdout().lock();
    for _ in 0..mebibytes {
        out.write_all(&piece)?;
    }
    out.flush()
}

/// Writes so much, and leaves the file `blocked` once nobody has taken any of it for two seconds: in it, how much was taken.
fn flood(mebibytes: usize) -> io::Result<()> {
    const NOBODY: u16 = 2000;
    let stdout = io::stdout();
    let all = mebibytes << 20;
    let (mut taken, mut is_told) = (0, false);
    // Smaller than what a pipe holds: one that is ready takes all of it.
    let piece = [b"flood\n".repeat(512), vec![b'\n'; 1024]].concat();
    while taken < all {
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, NOBODY)? == 0 {
            if !is_told {
                std::fs::write("blocked.part", taken.to_string())?;
                std::fs::rename("blocked.part", "blocked")?;
                is_told = true;
            }
            continue;
        }
        taken += nix::unistd::write(&stdout, &piece)?;
    }
    Ok(())
}

/// Ends as a program with a wild pointer does.
fn segfault() -> io::Result<()> {
    // SAFETY: there is none: address 8 is never mapped, so the kernel ends this process here, which is the purpose.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(8).write_volatile(1) };
    Err(io::Error::other("address 8 is mapped"))
}

/// What `poweroff -f` and `reboot -f` do, on a machine that has neither.
fn end_machine(mode: RebootMode) -> io::Result<()> {
    match reboot(mode)? {}
}

/// Loads the smallest socket filter, `return 0`, and prints that the verifier accepted it.
fn bpf() -> io::Result<()> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const SOCKET_FILTER: u32 = 1;
    /// The beginning of `union bpf_attr` for a program, from `<linux/bpf.h>`; the kernel takes a shorter one.
    #[repr(C)]
    struct ProgramAttributes {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
    }
    // `r0 = 0; exit`: opcode, registers, offset, immediate.
    let instructions: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let mut log = vec![0u8; 4096];
    let attributes = ProgramAttributes {
        kind: SOCKET_FILTER,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log: log.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel reads the attributes and the instructions and writes the log; all of them live until it returns.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<ProgramAttributes>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let said = String::from_utf8_lossy(&log);
    let said = said.trim_end_matches('\0').lines().last().unwrap_or_default();
    println!("loaded: {said}");
    Ok(())
}
