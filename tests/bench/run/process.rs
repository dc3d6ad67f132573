//! Runs a program and measures it: time, processor, memory.
//!
//! The processor time of the program itself, without its children, is that of its process clock (`clock_getcpuclockid`),
//! read when it has ended and before it is reaped: exact, and it holds all threads that ever were. The time of its children
//! (QEMU, and whatever else it started and waited for) is what the rest of its resource usage is. The greatest resident
//! memory is the kernel's own high-water mark, looked at until the program ends: `ru_maxrss` would be QEMU's.

use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::{Result, Saying as _};

/// How often the memory of a program is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What a program took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// Processor time of the program itself.
    pub(crate) own_cpu: f64,
    /// Processor time of everything that it started.
    pub(crate) children_cpu: f64,
    /// The most memory that it had resident, in MB.
    pub(crate) memory: f64,
}

/// Runs a program to its successful end; what it writes goes to `read`, piece by piece.
pub(crate) fn run(command: &mut Command, read: impl FnMut(&[u8])) -> Result<Usage> {
    let (usage, failure) = run_to_any_end(command, read)?;
    failure.map_or(Ok(usage), Err)
}

/// Runs a program, and says how it failed where it did.
pub(crate) fn run_to_any_end(
    command: &mut Command,
    mut read: impl FnMut(&[u8]),
) -> Result<(Usage, Option<String>)> {
    let mut stderr = tempfile::tempfile().saying("cannot make a temporary file")?;
    command.stdout(Stdio::piped()).stderr(stderr.try_clone().saying("cannot share a file")?);
    let children_before = children_cpu()?;
    let started = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", command.get_program().display()))?;
    let (memory, own_cpu) = watch(&mut child, &mut read)?;
    let seconds = started.elapsed().as_secs_f64();
    let status = child.wait().saying("cannot wait for a program")?;
    let usage = Usage { seconds, own_cpu, children_cpu: children_cpu()? - children_before - own_cpu, memory };
    if status.success() {
        return Ok((usage, None));
    }
    let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
    let mut text = Vec::new();
    stderr.rewind().and_then(|()| stderr.read_to_end(&mut text)).saying("cannot read a temporary file")?;
    Ok((usage, Some(format!("{}: {how}\n{}", words(command), last_lines(&text)))))
}

/// Runs a program to its successful end; gives what it wrote, too.
pub(crate) fn output(command: &mut Command) -> Result<(Usage, Vec<u8>)> {
    let mut text = Vec::new();
    let usage = run(command, |piece| text.extend_from_slice(piece))?;
    Ok((usage, text))
}

/// Follows a program to its end, but leaves it to be reaped; gives its memory and its processor time.
fn watch(child: &mut Child, read: &mut impl FnMut(&[u8])) -> Result<(f64, f64)> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut stdout = child.stdout.take().expect("it was asked for");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut most = 0.0;
            while !ended.load(Ordering::Relaxed) {
                most = high_water(pid).unwrap_or(most);
                thread::sleep(LOOK);
            }
            most
        });
        let mut piece = vec![0; 1 << 18];
        // The program's end ends this, too; what is wrong is then seen by its status.
        while let Ok(length @ 1..) = stdout.read(&mut piece) {
            read(&piece[..length]);
        }
        let end = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        ended.store(true, Ordering::Relaxed);
        let memory = memory.join().expect("it does not panic");
        end.saying("cannot wait for a program")?;
        let clock = clock_getcpuclockid(pid).saying("a program has no clock")?;
        let cpu = clock_gettime(clock).saying("a program's clock cannot be read")?;
        Ok((memory, Duration::from(cpu).as_secs_f64()))
    })
}

/// The most memory that a process that runs has had resident, in MB.
fn high_water(pid: Pid) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0 / 1e6)
}

/// Processor time of all processes that were started and reaped, with what those had reaped themselves.
fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).saying("cannot read the resource usage")?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last lines of a program's output.
pub(crate) fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_program_and_of_its_children_are_told_apart() {
        // The inner shell counts; the outer one waits for it.
        let script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo done";
        let mut text = Vec::new();
        let usage =
            run(Command::new("sh").args(["-c", script]), |piece| text.extend_from_slice(piece)).unwrap();
        assert_eq!(text, b"done\n");
        assert!(usage.children_cpu > 5.0 * usage.own_cpu, "{usage:?}");
        assert!(usage.seconds > 0.0 && usage.memory > 0.0, "{usage:?}");
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(error.contains("exit status: 3") && error.ends_with("why"), "{error}");
    }
}
