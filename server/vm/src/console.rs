//! The guest's console: bytes become lines, and the lines tell what became of the kernel.
//!
//! Total and incremental: any bytes in any pieces give the same result as the same bytes in one piece.

mod bug;
mod line;
mod splat;

use std::collections::VecDeque;

pub(crate) use self::bug::told_by_taint;
pub use self::bug::{BugKind, KernelBug};
use self::line::Lines;
use self::splat::Detector;

/// How many of the last lines are kept.
pub const TAIL_LINES: usize = 200;

/// How the guest init begins the line with which it gives up; the same as in `vmtest_guest::wire`.
const FATAL_PREFIX: &str = vmtest_guest::wire::FATAL_PREFIX;

/// What a piece of the console brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleEvent {
    /// A line, without its line break.
    Line(String),
    /// The kernel reported a bug of its own, and the report is complete.
    Bug(KernelBug),
}

/// Who has spoken so far: each also stands for those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Nobody.
    #[default]
    Nothing,
    /// The firmware, a boot loader or the decompressor.
    Something,
    /// The kernel itself.
    Kernel,
}

/// What a console has shown that a run must know at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alarms {
    /// Who has spoken.
    pub(crate) heard: Heard,
    /// A bug of the kernel, whole.
    pub(crate) bug: bool,
    /// How often the kernel stopped for good, as it seems: any program can write such a line, and the true one comes after it.
    pub(crate) panics: usize,
    /// How often it stopped all processors, as it seems likewise.
    pub(crate) halts: usize,
    /// The firmware found nothing to start.
    pub(crate) nothing_boots: bool,
}

/// Reads a console from its first byte to its last.
#[derive(Debug, Default)]
pub struct Console {
    lines: Lines,
    tail: VecDeque<String>,
    heard: Heard,
    detector: Detector,
    fatal: Option<String>,
    cause: Option<&'static str>,
    is_image: bool,
    nothing_boots: bool,
    halts: usize,
}

impl Console {
    /// A console that has said nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A console of a machine that starts from an image.
    pub fn of_image() -> Self {
        Self { is_image: true, ..Self::default() }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<ConsoleEvent> {
        if !bytes.is_empty() {
            self.heard = self.heard.max(Heard::Something);
        }
        let mut lines = Vec::new();
        self.lines.push(bytes, &mut lines);
        self.take(lines)
    }

    /// The console ended: takes what is left of an unfinished line, and completes an unfinished report.
    pub fn finish(&mut self) -> Vec<ConsoleEvent> {
        let mut lines = Vec::new();
        self.lines.finish(&mut lines);
        let mut events = self.take(lines);
        events.extend(self.detector.finish().map(ConsoleEvent::Bug));
        events
    }

    fn take(&mut self, lines: Vec<line::Line>) -> Vec<ConsoleEvent> {
        let mut events = Vec::with_capacity(lines.len());
        for line in lines {
            let message = line.message();
            if line.is_stamped() || message.starts_with("Linux version ") {
                self.heard = Heard::Kernel;
            }
            if line.is_whole() {
                if let Some(words) = message.strip_prefix(FATAL_PREFIX) {
                    // The first is the cause of any other.
                    self.fatal.get_or_insert_with(|| words.to_owned());
                }
                self.halts += usize::from(line.is_stamped() && message == HALTED);
                let own: &[_] = if self.is_image { &IMAGE_CAUSES } else { &KERNEL_CAUSES };
                self.cause = self.cause.or_else(|| likely_cause(message, own));
                // The firmware says so before anybody else could; later it is anybody's text.
                let firmware = self.is_image && self.heard < Heard::Kernel;
                self.nothing_boots |= firmware && NOTHING_BOOTS.iter().any(|sign| message.contains(sign));
            }
            let bugs = self.detector.line(&line);
            let text = line.into_text();
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(text.clone());
            events.push(ConsoleEvent::Line(text));
            events.extend(bugs.into_iter().map(ConsoleEvent::Bug));
        }
        events
    }

    /// The last lines, oldest first; at most [`TAIL_LINES`].
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// Who has spoken so far.
    pub fn heard(&self) -> Heard {
        self.heard
    }

    /// Whether an image's firmware found nothing to start on it.
    pub fn nothing_boots(&self) -> bool {
        self.nothing_boots
    }

    /// How often the kernel stopped all processors, as it seems: anybody can write such a line.
    pub fn halts(&self) -> usize {
        self.halts
    }

    /// The first bug that the kernel reported, complete or not.
    pub fn bug(&self) -> Option<&KernelBug> {
        self.bugs().next()
    }

    /// Every bug that the kernel reported, up to a limit; the last may not be complete. Where the first turns out to be a
    /// program's joke ([`KernelBug::confirmed_by`]), a later one may still be real.
    pub fn bugs(&self) -> impl Iterator<Item = &KernelBug> {
        self.detector.bugs()
    }

    /// The guest init's last words, when it gave up.
    pub fn guest_fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// Why a boot that failed may have failed, with what to do about it: for a user who did not write the kernel.
    pub fn likely_cause(&self) -> Option<&str> {
        if self.is_image {
            let guess = match (self.nothing_boots, self.heard > Heard::Nothing) {
                (true, _) => {
                    "the firmware found nothing to start on the image: is it made for UEFI (`uefi = true`) and not for \
                              BIOS, or the other way round?"
                }
                (false, true) => {
                    "no qemu-guest-agent answered: is the package installed in the image, and its service \
                                  enabled? `boot_timeout` gives a slow guest more time"
                }
                (false, false) => {
                    "neither an agent nor the serial console said anything: does the image have \
                                   qemu-guest-agent, and its kernel `console=ttyS0`?"
                }
            };
            return self.cause.or((self.bug().is_none()).then_some(guess));
        }
        let silent = "the kernel printed nothing: it may have no console on the serial port (CONFIG_SERIAL_8250=y, \
                      CONFIG_SERIAL_8250_CONSOLE=y), or stop before it has one; see what `earlyprintk=ttyS0` in \
                      `kernel_args` shows";
        self.cause.or((self.heard < Heard::Kernel && self.fatal.is_none()).then_some(silent))
    }
}

/// What the kernel says last when it was told to halt. The machine stays on.
const HALTED: &str = "reboot: System halted";

/// What `SeaBIOS` and OVMF say when there is nothing that they could start.
const NOTHING_BOOTS: [&str; 2] = ["No bootable device", "No bootable option or device was found"];

/// Lines that explain why nothing else will come, each with its meaning.
type Causes = [(&'static str, &'static str)];

const NO_MEMORY: &str = "the machine has too little memory for this kernel: give it more (`vm.memory`)";

/// Whatever the machine starts from.
const ANY_CAUSES: [(&str, &str); 4] = [
    (
        "Initramfs unpacking failed",
        "the initramfs could not be unpacked: give the machine more memory (`vm.memory`)",
    ),
    ("System is deadlocked on memory", NO_MEMORY),
    ("Out of memory and no killable processes", NO_MEMORY),
    ("Attempted to kill init!", "the guest's first process ended: the lines before the panic say why"),
];

const KERNEL_CAUSES: [(&str, &str); 4] = [
    (
        "version magic '",
        "the kernel's modules belong to another build of it: install the modules of this very build",
    ),
    (
        "disagrees about version of symbol",
        "the kernel's modules belong to another build of it: install the modules of this very build",
    ),
    (
        "VFS: Unable to mount root fs",
        "the kernel found no initramfs: build it with CONFIG_BLK_DEV_INITRD=y, and let nothing in `kernel_args` or \
         CONFIG_CMDLINE turn it off (`noinitrd`, `rdinit=`)",
    ),
    (
        "No working init found",
        "the kernel could not start vmtest's init: build it with CONFIG_BLK_DEV_INITRD=y and CONFIG_BINFMT_ELF=y, as \
         a 64-bit kernel, and let nothing in `kernel_args` name another `init=`",
    ),
];

const IMAGE_CAUSES: [(&str, &str); 3] = [
    (
        "VFS: Unable to mount root fs",
        "the image's kernel did not find its root: the disk is a virtio one (/dev/vda), for which it needs virtio_blk",
    ),
    (
        "You are in emergency mode",
        "the image came up in emergency mode: the console says what it did not find, perhaps another disk",
    ),
    ("grub rescue>", "the image's boot loader did not find its files"),
];

fn likely_cause(message: &str, own: &Causes) -> Option<&'static str> {
    let mut causes = ANY_CAUSES.iter().chain(own);
    causes.find(|(sign, _)| message.contains(sign)).map(|(_, cause)| *cause)
}

#[cfg(test)]
#[path = "console/tests.rs"]
mod tests;
