//! Lines with which the kernel reports a bug of its own.

/// A bug that the kernel reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelBug {
    /// The line that names it, without what changes from run to run where that is easy to leave out.
    pub title: String,
    /// The report on the console, from its first line to its last, as it was printed; at most 80 lines.
    pub excerpt: Vec<String>,
    /// What kind of bug it is.
    pub kind: BugKind,
}

// Bits of `/proc/sys/kernel/tainted`.
const BAD_PAGE: u64 = 1 << 5;
const DIED: u64 = 1 << 7;
const WARNED: u64 = 1 << 9;
const SOFT_LOCKUP: u64 = 1 << 14;

/// What the taint flags that came while the command ran tell by themselves: the report of such a bug may be missing on the
/// console, or be hidden in text of a program's that looks like another.
pub(crate) fn told_by_taint(tainted_before: u64, tainted_after: u64) -> Option<&'static str> {
    let new = tainted_after & !tainted_before;
    let told = [
        (DIED, "the kernel has died in a function of its own (taint flag D)"),
        (BAD_PAGE, "the kernel has found its memory damaged or misused (taint flag B)"),
        (SOFT_LOCKUP, "a processor did not come back from the kernel (taint flag L)"),
    ];
    told.into_iter().find(|(flag, _)| new & flag != 0).map(|(_, words)| words)
}

/// What kind of bug the kernel reported. A plain `WARNING: CPU: …` is none: kernels under test warn on purpose, and who
/// thinks otherwise boots with `panic_on_warn=1`, which makes each a [`BugKind::Panic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BugKind {
    /// The kernel stopped for good.
    Panic,
    /// An exception in kernel code, `BUG()` included.
    Oops,
    /// KASAN, KMSAN or KFENCE: memory used wrongly.
    Memory,
    /// A page or a slab object is damaged.
    BadPage,
    /// KCSAN or UBSAN: behaviour that the language does not define.
    Undefined,
    /// Locks used in a way that can deadlock, and the like.
    Locking,
    /// Sleeping, or scheduling, where that is forbidden.
    Atomic,
    /// A processor does not come back from kernel code.
    SoftLockup,
    /// A processor does not take interrupts, RCU does not get on, or a task waits for ever.
    Stall,
    /// Any other `BUG: `.
    Other,
}

impl BugKind {
    /// The bits in `/proc/sys/kernel/tainted` of which such a bug sets at least one
    /// (Documentation/admin-guide/tainted-kernels.rst); 0 where it sets none.
    pub fn taint(self) -> u64 {
        match self {
            Self::Oops => DIED,
            Self::Memory | Self::BadPage => BAD_PAGE,
            Self::Atomic => WARNED,
            Self::SoftLockup => SOFT_LOCKUP,
            Self::Panic | Self::Undefined | Self::Locking | Self::Stall | Self::Other => 0,
        }
    }

    /// Whether a host that gave the guest no time can be the reason as well.
    pub fn may_be_the_hosts_fault(self) -> bool {
        matches!(self, Self::SoftLockup | Self::Stall)
    }
}

impl KernelBug {
    /// Whether the taint flags of a guest that still answers agree with what its console says: any program in the guest
    /// can write a line that looks like a bug. Flags are never cleared, so those from before count as well. A bug that
    /// leaves no flag is believed; a panic is not, because after one nobody answers.
    pub fn confirmed_by(&self, tainted_before: u64, tainted_after: u64) -> bool {
        match (self.kind, self.kind.taint()) {
            (BugKind::Panic, _) => false,
            (_, 0) => true,
            (_, expected) => (tainted_before | tainted_after) & expected != 0,
        }
    }
}

/// What a panic's message starts with.
pub(super) const PANIC: &str = "Kernel panic - not syncing: ";

/// The kinds of report, by what a message starts with; the first that fits counts.
pub(super) const STARTS: [(&str, BugKind); 37] = [
    ("Kernel panic - not syncing", BugKind::Panic),
    ("PANIC: early exception", BugKind::Panic),
    ("PANIC: double fault", BugKind::Oops),
    ("traps: PANIC: double fault", BugKind::Oops),
    ("BUG: KASAN: ", BugKind::Memory),
    ("BUG: KMSAN: ", BugKind::Memory),
    ("BUG: KFENCE: ", BugKind::Memory),
    ("BUG: KCSAN: ", BugKind::Undefined),
    ("UBSAN: ", BugKind::Undefined),
    ("BUG: unable to handle ", BugKind::Oops),
    ("BUG: kernel NULL pointer dereference", BugKind::Oops),
    ("BUG: stack guard page was hit", BugKind::Oops),
    ("BUG: TASK stack guard page was hit", BugKind::Oops),
    ("BUG: Bad page ", BugKind::BadPage),
    ("BUG: non-zero ", BugKind::Other),
    ("BUG: scheduling while atomic", BugKind::Atomic),
    ("BUG: sleeping function called from invalid context", BugKind::Atomic),
    ("BUG: soft lockup", BugKind::SoftLockup),
    ("BUG: workqueue lockup", BugKind::Stall),
    ("BUG: ", BugKind::Other),
    ("kernel BUG at ", BugKind::Oops),
    ("Kernel BUG at ", BugKind::Oops),
    ("general protection fault", BugKind::Oops),
    ("Oops: ", BugKind::Oops),
    ("Oops - ", BugKind::Oops),
    ("Unable to handle kernel ", BugKind::Oops),
    ("Internal error: ", BugKind::Oops),
    ("WARNING: possible circular locking", BugKind::Locking),
    ("WARNING: possible recursive locking", BugKind::Locking),
    ("WARNING: possible irq lock inversion", BugKind::Locking),
    ("WARNING: inconsistent lock state", BugKind::Locking),
    ("WARNING: bad unlock balance", BugKind::Locking),
    ("WARNING: held lock freed", BugKind::Locking),
    ("WARNING: lock held when returning to user space", BugKind::Locking),
    ("WARNING: suspicious RCU usage", BugKind::Locking),
    ("[ BUG: ", BugKind::Locking),
    ("Watchdog detected hard LOCKUP", BugKind::Stall),
];

/// The title and kind of the bug that this message reports, if it does. It has to start with it: a message that only
/// quotes a bug (`traps: a.out[12] general protection fault ip:…`) is none.
pub(super) fn recognize(message: &str) -> Option<(String, BugKind)> {
    let message = message.trim_end();
    let inner = without_source(message);
    if let Some((_, kind)) = STARTS.iter().find(|(start, _)| inner.starts_with(start)) {
        return Some((title(inner, *kind), *kind));
    }
    let lock_order =
        inner.starts_with("WARNING: ") && inner.contains("-safe -> ") && inner.contains("-unsafe lock order");
    if lock_order {
        return Some((title(inner, BugKind::Locking), BugKind::Locking));
    }
    // SLUB: "BUG kmalloc-64 (Not tainted): Right Redzone overwritten".
    if inner.starts_with("BUG ") && inner.contains("ainted") && inner.contains("): ") {
        return Some((title(inner, BugKind::BadPage), BugKind::BadPage));
    }
    let stalled = inner.starts_with("INFO: rcu")
        && (inner.contains("stall on CPU") || inner.contains("stalls on CPU"))
        || inner.starts_with("INFO: rcu") && inner.contains("detected expedited stalls")
        || inner.starts_with("INFO: task ") && inner.contains(" blocked for more than ");
    if stalled {
        return Some((title(inner, BugKind::Stall), BugKind::Stall));
    }
    // die(): "invalid opcode: 0000 [#1] PREEMPT SMP", "divide error: 0000 [#1] SMP".
    let (cause, _) = inner.split_once(" [#")?;
    let (words, code) = cause.rsplit_once(": ")?;
    let died = code.len() == 4
        && code.bytes().all(|byte| byte.is_ascii_hexdigit())
        && words.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' ' || byte == b'-');
    died.then(|| (title(inner, BugKind::Oops), BugKind::Oops))
}

/// The message without the part of the kernel that says it: `watchdog: `, `rcu: `.
fn without_source(message: &str) -> &str {
    for source in ["NMI watchdog: ", "watchdog: ", "rcu: "] {
        if let Some(rest) = message.strip_prefix(source) {
            // "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"
            return match rest.strip_prefix("CPU").and_then(|rest| rest.split_once(": ")) {
                Some((cpu, rest)) if cpu.bytes().all(|byte| byte.is_ascii_digit()) => rest,
                _ => rest,
            };
        }
    }
    message
}

fn title(message: &str, kind: BugKind) -> String {
    const LIMIT: usize = 200;
    let mut title = message.strip_prefix(PANIC).unwrap_or(message);
    match kind {
        BugKind::Memory | BugKind::Undefined => {
            title = title.strip_prefix("BUG: ").unwrap_or(title);
            // "KASAN: slab-use-after-free in foo+0x12/0x34 [module]"
            if let Some((start, _)) = title.split_once("+0x").filter(|_| !title.contains(" / ")) {
                title = start;
            }
        }
        BugKind::Oops => {
            // "Oops: general protection fault, …: 0000 [#1] PREEMPT SMP" since 6.10.
            title = title.split_once(" [#").map_or(title, |(start, _)| start);
            if let Some((words, code)) = title.rsplit_once(": ")
                && words != "Oops"
                && code.len() == 4
                && code.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                title = words.strip_prefix("Oops: ").unwrap_or(words);
            }
        }
        _ => {}
    }
    match title.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title.to_owned(),
    }
}
