//! Moves bytes between the command and the host until the command has ended and its output is sent.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{self, Command};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::{Pid, chdir};
use vmtest_guest::wire::{CommandSpec, Decoder, Exit, ExitStatus, Frame, Input, Job, Stdio};

use crate::children::Children;
use crate::ports::Stream;
use crate::sentence::{Result, Saying as _};
use crate::session::{self, Kind};
use crate::setup::Shares;
use crate::{ioctl, lost};

/// How long what the command left running may still write. `exec > >(tee log)` needs a moment; a daemon that keeps the
/// stream open gets no more.
const DRAIN: Duration = Duration::from_millis(500);
/// One frame is one write of 32 KiB, the most that the port driver takes at a time.
const CHUNK: usize = 32 * 1024 - 5;
/// Typed bytes that the command has not read; more stay with the host.
const INPUT_AHEAD: usize = 64 * 1024;

/// A running command.
pub(crate) struct Pump {
    pid: Pid,
    /// Ends when the command's program runs; a sentence on it says that it does not.
    status: Option<File>,
    stdout: Option<Source>,
    stderr: Option<Source>,
    input: Option<Sink>,
    terminal: bool,
    shares: Shares,
    /// Open from before the command's mounts, which may hide /proc.
    tainted: File,
    tainted_before: u64,
}

/// One of the command's outputs.
struct Source {
    file: File,
    frame: fn(Vec<u8>) -> Frame,
    /// Bytes that were there when the command ended: sent whatever the time.
    owed: usize,
}

/// The command's input.
struct Sink {
    file: File,
    waiting: Vec<u8>,
    /// No more will come; the file is closed when `waiting` is empty.
    ended: bool,
}

impl Pump {
    /// Starts the session.
    pub(crate) fn start(job: &Job, shares: Shares, mut tainted: File, stream: &mut Stream) -> Result<Self> {
        let (status, status_writer) = nix::unistd::pipe().saying("cannot make a pipe")?;
        // The session inherits its end; PID 1 has one thread, so nothing else can be started in between.
        fcntl(&status, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).saying("cannot mark a pipe")?;
        let mut command = Command::new("/proc/self/exe");
        command.args([session::ARGUMENT, &status_writer.as_raw_fd().to_string()]);
        let CommandSpec { script, cwd, env, stdio } = &job.command;
        command.arg(match (script, stdio) {
            (Some(_), _) => Kind::Script.argument(),
            (None, Stdio::Terminal { .. }) => Kind::Terminal.argument(),
            (None, _) => Kind::Reading.argument(),
        });
        command.args(script).env_clear().envs(env.iter().map(|(name, value)| (name, value)));
        chdir(Path::new(cwd))
            .saying(format_args!("cannot enter the working directory {}", Path::new(cwd).display()))?;
        let (stdout, stderr, input, terminal) = match *stdio {
            Stdio::Terminal { rows, cols } => {
                let (master, slave) = open_terminal()?;
                // A size that cannot be set is a terminal of unknown size.
                let _ = ioctl::set_window_size(&master, rows, cols);
                let clone = || slave.try_clone().saying("cannot share the terminal");
                command.stdin(clone()?).stdout(clone()?).stderr(clone()?);
                let sink = Sink::new(master.try_clone().saying("cannot share the terminal")?);
                (Source::new(master, Frame::Stdout)?, None, Some(sink), true)
            }
            piped => {
                let (out, out_writer) = std::io::pipe().saying("cannot make a pipe")?;
                let (err, err_writer) = std::io::pipe().saying("cannot make a pipe")?;
                command.stdout(out_writer).stderr(err_writer);
                let input = if piped == Stdio::Pipe {
                    let (reader, writer) = std::io::pipe().saying("cannot make a pipe")?;
                    command.stdin(reader);
                    let writer = File::from(OwnedFd::from(writer));
                    set_nonblocking(&writer)?;
                    Some(Sink::new(writer))
                } else {
                    command.stdin(process::Stdio::null());
                    None
                };
                let stderr = Source::new(File::from(OwnedFd::from(err)), Frame::Stderr)?;
                (Source::new(File::from(OwnedFd::from(out)), Frame::Stdout)?, Some(stderr), input, false)
            }
        };
        let tainted_before = read_number(&mut tainted);
        // The host has it when this returns, so a command that takes the machine down at once is not taken for one that never ran.
        stream.send(&Frame::Starting)?;
        let child = command.spawn().saying("cannot start the session")?;
        Ok(Self {
            pid: Pid::from_raw(child.id() as i32),
            status: Some(File::from(status)),
            stdout: Some(stdout),
            stderr,
            input,
            terminal,
            shares,
            tainted,
            tainted_before,
        })
    }

    /// Runs the command to its end and reports it.
    pub(crate) fn run(mut self, stream: &mut Stream, input: &File, children: &mut Children) -> Result<()> {
        let mut decoder = Decoder::default();
        let mut ended: Option<(ExitStatus, Instant)> = None;
        while self.must_go_on(ended) {
            let ready = self.wait(input, children, ended.map(|(_, deadline)| deadline))?;
            if ready.status {
                self.read_status(stream)?;
            }
            if ready.input {
                self.read_input(input, &mut decoder)?;
            }
            if let Some(sink) = &mut self.input
                && !sink.write()
            {
                self.input = None;
            }
            // Output before the end: what the command wrote is sent before its exit, always.
            pump_output(&mut self.stdout, ready.stdout, stream)?;
            pump_output(&mut self.stderr, ready.stderr, stream)?;
            if ready.death
                && let Some(status) = children.reap(Some(self.pid))
            {
                ended = Some((status, Instant::now() + DRAIN));
                for source in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
                    source.owed = ioctl::bytes_waiting(&source.file);
                }
            }
        }
        // A session that fails before it becomes the command says so at its end, which may be seen after its death.
        self.read_status(stream)?;
        for share in &self.shares.writable {
            if let Err(error) = nix::unistd::syncfs(share) {
                // The command's own end stays the truth about the command.
                let sentence = format!("what the command wrote may not all be on the host: {error}");
                stream.send(&Frame::Notice(sentence))?;
            }
        }
        let Some((status, _)) = ended else { return Err("the command has no end".to_owned()) };
        let lost = lost::find(&self.shares.layers);
        stream.send(&Frame::Exit(Exit {
            status,
            tainted_before: self.tainted_before,
            tainted_after: read_number(&mut self.tainted),
            lost_paths: lost.paths,
            lost_count: lost.count,
        }))
    }

    fn must_go_on(&self, ended: Option<(ExitStatus, Instant)>) -> bool {
        let Some((_, deadline)) = ended else { return true };
        let sources = [&self.stdout, &self.stderr];
        let owed = sources.iter().any(|source| source.as_ref().is_some_and(|source| source.owed > 0));
        let open = sources.iter().any(|source| source.is_some());
        owed || (open && Instant::now() < deadline)
    }

    fn wait<'a>(
        &'a self,
        input: &'a File,
        children: &'a Children,
        deadline: Option<Instant>,
    ) -> Result<Ready> {
        let mut wanted = Wanted(vec![PollFd::new(children.death(), PollFlags::POLLIN)]);
        let started = self.status.is_none();
        let output =
            |source: &'a Option<Source>| source.as_ref().filter(|_| started).map(|source| &source.file);
        let status = wanted.add(self.status.as_ref(), PollFlags::POLLIN);
        let stdout = wanted.add(output(&self.stdout), PollFlags::POLLIN);
        let stderr = wanted.add(output(&self.stderr), PollFlags::POLLIN);
        let sink = self.input.as_ref();
        let room = sink.is_some_and(|sink| !sink.ended && sink.waiting.len() < INPUT_AHEAD);
        let input = wanted.add(Some(input).filter(|_| room), PollFlags::POLLIN);
        let full = sink.filter(|sink| !sink.waiting.is_empty()).map(|sink| &sink.file);
        wanted.add(full, PollFlags::POLLOUT);
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a poll that returns a moment early would spin.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = wanted.0;
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("cannot wait for the command: {error}")),
        }
        let ready = |index: Option<usize>| {
            index.is_some_and(|index| fds[index].revents().is_some_and(|events| !events.is_empty()))
        };
        Ok(Ready {
            death: ready(Some(0)),
            status: ready(status),
            stdout: ready(stdout),
            stderr: ready(stderr),
            input: ready(input),
        })
    }

    fn read_status(&mut self, stream: &mut Stream) -> Result<()> {
        let Some(mut status) = self.status.take() else { return Ok(()) };
        let mut sentence = String::new();
        status.read_to_string(&mut sentence).saying("cannot hear from the session")?;
        if !sentence.is_empty() {
            return Err(sentence);
        }
        stream.send(&Frame::Started)
    }

    fn read_input(&mut self, port: &File, decoder: &mut Decoder) -> Result<()> {
        let mut buffer = [0; 4096];
        let mut port = port;
        match port.read(&mut buffer) {
            // The host has gone; there is nothing to wait for any more.
            Ok(0) => self.input = None,
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(format!("cannot read the host's input: {error}")),
        }
        while let Some(input) = decoder.next_message::<Input>().saying("the host's input")? {
            let Some(sink) = &mut self.input else { continue };
            match input {
                Input::Bytes(bytes) => sink.waiting.extend(bytes),
                Input::Resize { rows, cols } => {
                    let _ = ioctl::set_window_size(&sink.file, rows, cols);
                }
                // A terminal cannot be closed from this side; its end of file is a character.
                Input::End if self.terminal => sink.waiting.push(0x04),
                Input::End => sink.ended = true,
            }
        }
        Ok(())
    }
}

/// The descriptors to wait for.
struct Wanted<'a>(Vec<PollFd<'a>>);

impl<'a> Wanted<'a> {
    /// Its place in the list; none when there is nothing to wait for.
    fn add(&mut self, file: Option<&'a File>, events: PollFlags) -> Option<usize> {
        self.0.push(PollFd::new(file?.as_fd(), events));
        Some(self.0.len() - 1)
    }
}

/// What poll(2) found.
#[expect(clippy::struct_excessive_bools, reason = "each is a descriptor of its own")]
struct Ready {
    death: bool,
    status: bool,
    stdout: bool,
    stderr: bool,
    input: bool,
}

impl Source {
    fn new(file: File, frame: fn(Vec<u8>) -> Frame) -> Result<Self> {
        set_nonblocking(&file)?;
        Ok(Self { file, frame, owed: 0 })
    }
}

/// Sends one piece of output; closes the source at its end.
fn pump_output(slot: &mut Option<Source>, ready: bool, stream: &mut Stream) -> Result<()> {
    let Some(source) = slot.as_mut().filter(|source| ready || source.owed > 0) else { return Ok(()) };
    let mut buffer = vec![0; CHUNK];
    match source.file.read(&mut buffer) {
        Ok(0) => *slot = None,
        Ok(count) => {
            buffer.truncate(count);
            source.owed = source.owed.saturating_sub(count);
            stream.send(&(source.frame)(buffer))?;
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => source.owed = 0,
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        // A terminal whose other side is closed everywhere answers EIO.
        Err(_) => *slot = None,
    }
    Ok(())
}

impl Sink {
    fn new(file: File) -> Self {
        Self { file, waiting: Vec::new(), ended: false }
    }

    /// Writes what the command takes; false when it takes no more, or no more will come.
    fn write(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !self.ended
    }
}

/// A new terminal: the side that PID 1 keeps and the command's.
fn open_terminal() -> Result<(File, File)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .saying("cannot make a terminal (the kernel needs CONFIG_UNIX98_PTYS=y)")?;
    grantpt(&master).saying("cannot make a terminal")?;
    unlockpt(&master).saying("cannot make a terminal")?;
    let name = ptsname_r(&master).saying("cannot name the terminal")?;
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOCTTY)
        .open(&name)
        .saying(format_args!("cannot open the terminal {name}"))?;
    Ok((File::from(OwnedFd::from(master)), slave))
}

fn set_nonblocking(file: &File) -> Result<()> {
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop).saying("cannot make a pipe non-blocking")
}

fn read_number(file: &mut File) -> u64 {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}
