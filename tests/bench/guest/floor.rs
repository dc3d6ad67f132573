//! The least that a guest can do: say one line and restart, which ends QEMU. Built by the benchmark, static.

use std::arch::asm;

fn main() {
    println!("floor");
    // reboot(2) with LINUX_REBOOT_CMD_RESTART; without libc there is no other dependency to build.
    // SAFETY: the call does not return, and touches no memory.
    unsafe {
        asm!("syscall", in("rax") 169, in("rdi") 0xfee1_dead_u64, in("rsi") 0x2812_1969_u64, in("rdx") 0x0123_4567_u64,
             in("r10") 0, lateout("rax") _, out("rcx") _, out("r11") _);
    }
}
