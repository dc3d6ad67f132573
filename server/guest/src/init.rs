//! The guest's life, in order. Everything up to the park depends on kernel and machine only, not on the project, so a
//! parked guest can be kept and given to any project later.

use std::fs;
use std::io::Write as _;

use nix::sys::reboot::{RebootMode, reboot};
use vmtest_guest::wire::{FATAL_PREFIX, Frame};

use crate::children::{self, Children};
use crate::ports::{Ports, Stream};
use crate::pump::Pump;
use crate::sentence::Result;
use crate::setup::Arrived;
use crate::{boot, ports, root, setup};

/// PID 1 must never return: the kernel would panic and hide what happened.
pub(crate) fn main() -> ! {
    if let Err(sentence) = live() {
        die(&sentence);
    }
    die("the guest init has nothing left to do")
}

fn live() -> Result<()> {
    // The mounts come first: devices, /proc and /sys are needed by all that follows.
    boot::mount_filesystems()?;
    // The uevent socket must listen before the modules create the ports, or their events are missed.
    let uevents = ports::Uevents::listen()?;
    let modules = boot::load_modules();
    let Ports { agent, mut stream, input } = ports::wait(&uevents, &modules)?;
    // The job's directory is watched before the agent, which writes it, can be reached.
    let jobs = setup::JobDirectory::watch()?;
    let mut children = Children::watch()?;
    children::start_agent(&agent)?;
    stream.send(&Frame::Alive("parked".into()))?;

    let arrived = setup::wait_for_job(&jobs, &mut children)?;
    if let Err(sentence) = carry_out(&arrived, &mut stream, &input, &mut children) {
        stream.send(&Frame::Failed(sentence))?;
    }
    // The host ends the machine; until then orphans are reaped and the agent lives.
    children.reap_for_ever()
}

fn carry_out(
    arrived: &Arrived,
    stream: &mut Stream,
    input: &fs::File,
    children: &mut Children,
) -> Result<()> {
    let job = &arrived.job;
    // Fresh randomness before any process that could draw from a resumed guest's repeated state.
    setup::seed_random(&job.entropy)?;
    setup::set_clock(arrived)?;
    setup::set_host_name(&job.hostname)?;
    setup::bring_network_up(job.network.as_ref(), stream)?;
    let shares = setup::mount_shares(job, stream)?;
    setup::set_limits(job.umask)?;
    // The last thing before the command: from here on PID 1's own files are out of reach.
    let tainted = setup::open_tainted()?;
    root::enter(job, shares.overlay)?;
    Pump::start(job, shares, tainted, stream)?.run(stream, input, children)
}

/// Says why on the console, which is all that certainly works, and ends the machine.
fn die(sentence: &str) -> ! {
    if let Ok(mut console) = fs::OpenOptions::new().write(true).open("/dev/console") {
        // A newline first: the kernel may be in the middle of a line.
        let _ = write!(console, "\n{FATAL_PREFIX}{sentence}\n");
    }
    // A restart, not a power-off: QEMU leaves at a reset (-no-reboot), also where the kernel has no ACPI.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    loop {
        nix::unistd::pause();
    }
}
