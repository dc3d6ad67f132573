//! The job that the host hands to the guest init, and the frames that come back.
//!
//! Three virtio-serial ports connect them, each used in one direction only by the init: the agent's own, [`STREAM_PORT`]
//! (guest to host) and [`INPUT_PORT`] (host to guest). A port that is written and polled by one process can lose its
//! wake-up (vimto fc25e09); one direction for each leaves nothing to lose.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

/// Name of the agent's port; qemu-ga's default.
pub const AGENT_PORT: &str = "org.qemu.guest_agent.0";
/// Name of the port that carries [`Frame`]s to the host.
pub const STREAM_PORT: &str = "vmtest.stream";
/// Name of the port that carries [`Input`]s to the guest.
pub const INPUT_PORT: &str = "vmtest.input";

/// Where the host writes the job, in the init's own root. The write's end (close) starts it.
pub const JOB_FILE: &str = "/job/job";
/// The directory of [`JOB_FILE`].
pub const JOB_DIR: &str = "/job";
/// Where the init finds kernel modules to load, in the order of their names.
pub const MODULE_DIR: &str = "/modules";
/// Where the init finds the path of qemu-ga.
pub const AGENT_PROGRAM: &str = "/agent";
/// Starts a console line that says why the guest init gave up.
pub const FATAL_PREFIX: &str = "vmtest-guest: fatal: ";

/// Everything the guest must know to run one command: what a parked guest does not yet have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The host's wall clock when it began to write this, in nanoseconds since 1970.
    pub realtime_ns: u64,
    /// Fresh random bytes of the host.
    pub entropy: Vec<u8>,
    /// The host's name.
    pub hostname: OsString,
    /// The host's file mode creation mask.
    pub umask: u32,
    /// Whether a program may run as its owner. Where all owners are shown as nobody, `mount` would run as nobody.
    pub honors_setuid: bool,
    /// The root share.
    pub root: Root,
    /// More shares.
    pub shares: Vec<Share>,
    /// Where they appear, a parent before its child.
    pub binds: Vec<Bind>,
    /// The network, when there is a card.
    pub network: Option<Network>,
    /// What runs.
    pub command: CommandSpec,
}

/// The kernel's client for a directory of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSystem {
    /// QEMU serves it. The device is there when the kernel boots.
    NineP,
    /// A daemon serves it. The device came after the boot, and before the job.
    Virtiofs,
}

/// The share that becomes `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The mount tag.
    pub tag: String,
    /// What it is mounted as.
    pub file_system: FileSystem,
    /// What the guest's writes do.
    pub access: Access,
}

/// What happens to writes to a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// They go to a tmpfs and are lost.
    Overlay,
    /// They fail.
    ReadOnly,
    /// They reach the host.
    Writable,
}

/// A directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The mount tag.
    pub tag: String,
    /// What it is mounted as.
    pub file_system: FileSystem,
    /// What the guest's writes do.
    pub access: Access,
}

/// A place at which a share appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The share's tag.
    pub tag: String,
    /// A directory in the share, relative to its root; empty for the root itself.
    pub inside: OsString,
    /// An absolute path.
    pub point: OsString,
    /// Whether the command can do without it where the root has no room for it.
    pub optional: bool,
}

/// The addresses of QEMU's user-mode network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The guest's address.
    pub address: [u8; 4],
    /// Its length in bits.
    pub prefix: u8,
    /// Where everything else is reached.
    pub gateway: [u8; 4],
    /// The name server.
    pub dns: [u8; 4],
}

/// The command and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// Text for the shell's `-c`; none starts an interactive shell.
    pub script: Option<OsString>,
    /// The working directory.
    pub cwd: OsString,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where input comes from and output goes to.
    pub stdio: Stdio,
}

/// What the command's standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// Empty input, two pipes for output.
    Output,
    /// Input from [`Input::Bytes`], two pipes for output.
    Pipe,
    /// A terminal of this size.
    Terminal {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        cols: u16,
    },
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit status or signal.
    pub status: ExitStatus,
    /// `/proc/sys/kernel/tainted` before the command.
    pub tainted_before: u64,
    /// `/proc/sys/kernel/tainted` after it.
    pub tainted_after: u64,
    /// Files written to the throw-away layer, at most [`MAX_LOST_PATHS`].
    pub lost_paths: Vec<OsString>,
    /// How many there are.
    pub lost_count: u64,
}

/// The most paths that [`Exit`] names.
pub const MAX_LOST_PATHS: usize = 20;

/// What wait(2) said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// The process exited.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// What the guest init tells the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The init lives; the text says what it does.
    Alive(String),
    /// The command's first process is started next: what the user wrote may have run when nothing comes after this.
    Starting,
    /// The command's first process runs.
    Started,
    /// The command wrote to its standard output, or to its terminal.
    Stdout(Vec<u8>),
    /// The command wrote to its standard error.
    Stderr(Vec<u8>),
    /// One sentence for the user; the run goes on.
    Notice(String),
    /// The command ended and all its output has been sent.
    Exit(Exit),
    /// The command could not be started; one sentence.
    Failed(String),
}

/// What the host tells the guest init while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// For the command's standard input.
    Bytes(Vec<u8>),
    /// The terminal's new size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        cols: u16,
    },
    /// The end of the input.
    End,
}

/// The most bytes of payload in one message; a longer one is a broken peer.
pub const MAX_PAYLOAD: usize = 1 << 20;

const HEADER: usize = 5;

/// A message that travels as one byte of kind, four bytes of length (little endian) and the payload.
pub trait Message: Sized {
    /// The kind and the payload.
    fn encode(&self) -> (u8, Vec<u8>);
    /// The message, or none when kind and payload do not fit.
    fn decode(kind: u8, payload: &[u8]) -> Option<Self>;
}

/// The bytes of `message` on the wire.
pub fn to_bytes(message: &impl Message) -> Vec<u8> {
    let (kind, payload) = message.encode();
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(kind);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

/// The peer sent bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The kind that was announced.
    pub kind: u8,
    /// The length that was announced, in bytes.
    pub len: usize,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a message of kind {} with {} bytes makes no sense", self.kind, self.len)
    }
}

impl std::error::Error for Malformed {}

/// Cuts a stream of bytes, arriving in any pieces, into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one. After [`Malformed`] the stream is worthless.
    pub fn next_message<M: Message>(&mut self) -> Result<Option<M>, Malformed> {
        let rest = &self.buffer[self.start..];
        let Some((header, body)) = rest.split_at_checked(HEADER) else { return Ok(None) };
        let kind = header[0];
        let len = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if len > MAX_PAYLOAD {
            return Err(Malformed { kind, len });
        }
        let Some(payload) = body.get(..len) else { return Ok(None) };
        let message = M::decode(kind, payload).ok_or(Malformed { kind, len })?;
        self.start += HEADER + len;
        Ok(Some(message))
    }
}

impl Message for Frame {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Alive(text) => (1, text.clone().into_bytes()),
            Self::Started => (2, Vec::new()),
            Self::Stdout(bytes) => (3, bytes.clone()),
            Self::Stderr(bytes) => (4, bytes.clone()),
            Self::Notice(text) => (5, text.clone().into_bytes()),
            Self::Exit(exit) => (6, postcard::to_allocvec(exit).unwrap_or_default()),
            Self::Failed(text) => (7, text.clone().into_bytes()),
            Self::Starting => (8, Vec::new()),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        let text = || String::from_utf8_lossy(payload).into_owned();
        Some(match kind {
            1 => Self::Alive(text()),
            2 if payload.is_empty() => Self::Started,
            3 => Self::Stdout(payload.to_vec()),
            4 => Self::Stderr(payload.to_vec()),
            5 => Self::Notice(text()),
            6 => Self::Exit(postcard::from_bytes(payload).ok()?),
            7 => Self::Failed(text()),
            8 if payload.is_empty() => Self::Starting,
            _ => return None,
        })
    }
}

impl Message for Input {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Bytes(bytes) => (1, bytes.clone()),
            Self::Resize { rows, cols } => (2, [rows.to_le_bytes(), cols.to_le_bytes()].concat()),
            Self::End => (3, Vec::new()),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (1, bytes) => Self::Bytes(bytes.to_vec()),
            (2, &[r0, r1, c0, c1]) => {
                Self::Resize { rows: u16::from_le_bytes([r0, r1]), cols: u16::from_le_bytes([c0, c1]) }
            }
            (3, []) => Self::End,
            _ => return None,
        })
    }
}

impl Job {
    /// The job as the host writes it to [`JOB_FILE`].
    pub fn to_bytes(&self) -> Vec<u8> {
        // Encoding plain data into memory cannot fail; an empty job would be refused by the guest.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads what [`Job::to_bytes`] wrote; none when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use vmtest_fuzz::{Fuzzer, Random};

    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Alive("modules".into()),
            Frame::Starting,
            Frame::Started,
            Frame::Stdout(b"a\xff\0\n".to_vec()),
            Frame::Stderr(Vec::new()),
            Frame::Notice("no overlayfs".into()),
            Frame::Exit(Exit {
                status: ExitStatus::Signal(11),
                tainted_before: 0,
                tainted_after: 128,
                lost_paths: vec!["/etc/x".into()],
                lost_count: 1,
            }),
            Frame::Failed("no root".into()),
        ]
    }

    #[test]
    fn frames_survive_every_split_of_the_stream() {
        let bytes: Vec<u8> = frames().iter().flat_map(to_bytes).collect();
        for size in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_message::<Frame>().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames(), "pieces of {size} bytes");
        }
    }

    #[test]
    fn inputs_come_back_as_they_were_sent() {
        let inputs = [Input::Bytes(b"ls\r".to_vec()), Input::Resize { rows: 50, cols: 300 }, Input::End];
        let mut decoder = Decoder::default();
        for input in &inputs {
            decoder.push(&to_bytes(input));
            assert_eq!(decoder.next_message::<Input>(), Ok(Some(input.clone())));
        }
        assert_eq!(decoder.next_message::<Input>(), Ok(None));
    }

    #[test]
    fn an_absurd_length_is_refused_before_it_is_buffered() {
        let mut decoder = Decoder::default();
        decoder.push(&[3, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_message::<Frame>(), Err(Malformed { kind: 3, len: 0xffff_ffff }));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[99, 0, 0, 0, 0]);
        assert!(decoder.next_message::<Frame>().is_err());
    }

    #[test]
    fn a_job_keeps_bytes_that_are_not_utf8() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = OsString::from_vec(vec![b'/', 0xff, b'\n']);
        let job = Job {
            realtime_ns: 1,
            entropy: vec![7; 32],
            hostname: "host".into(),
            umask: 0o22,
            honors_setuid: true,
            root: Root { tag: "root".into(), file_system: FileSystem::NineP, access: Access::Overlay },
            shares: vec![Share {
                tag: "project".into(),
                file_system: FileSystem::Virtiofs,
                access: Access::Writable,
            }],
            binds: vec![Bind {
                tag: "project".into(),
                inside: "a".into(),
                point: odd.clone(),
                optional: false,
            }],
            network: None,
            command: CommandSpec {
                script: Some("true".into()),
                cwd: odd.clone(),
                env: vec![("A".into(), odd)],
                stdio: Stdio::Output,
            },
        };
        assert_eq!(Job::from_bytes(&job.to_bytes()), Some(job));
    }
    fn read<M: Message>(bytes: &[u8], mut next: impl FnMut(usize) -> usize) -> (Vec<M>, Option<Malformed>) {
        let (mut decoder, mut seen, mut rest) = (Decoder::default(), Vec::new(), bytes);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(next(rest.len()).clamp(1, rest.len()));
            decoder.push(piece);
            rest = after;
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => seen.push(message),
                    Ok(None) => break,
                    Err(malformed) => return (seen, Some(malformed)),
                }
            }
        }
        (seen, None)
    }

    // G5
    #[test]
    fn any_bytes_are_the_same_messages_in_any_split_and_survive_the_way_back() {
        let all: Vec<u8> = frames().iter().flat_map(to_bytes).collect();
        let inputs = [Input::Bytes(b"ls\r".to_vec()), Input::Resize { rows: 50, cols: 300 }, Input::End];
        let fuzzer = Fuzzer::new("wire").seed(all).seed(inputs.iter().flat_map(to_bytes).collect::<Vec<_>>());
        let pieces = frames().iter().map(to_bytes).collect::<Vec<_>>();
        fuzzer.pieces(pieces).memory(4 * MAX_PAYLOAD).run(|bytes| {
            let mut random = Random::of(bytes);
            let widest = 1 + random.below(40);
            let (frames, end) = read::<Frame>(bytes, |len| len);
            assert_eq!(read::<Frame>(bytes, |_| 1 + random.below(widest)), (frames.clone(), end));
            let again: Vec<u8> = frames.iter().flat_map(to_bytes).collect();
            assert_eq!(read::<Frame>(&again, |len| len), (frames, None));
            let (inputs, _) = read::<Input>(bytes, |len| len);
            let again: Vec<u8> = inputs.iter().flat_map(to_bytes).collect();
            assert_eq!(read::<Input>(&again, |len| len), (inputs, None));
            if let Some(job) = Job::from_bytes(bytes) {
                assert_eq!(Job::from_bytes(&job.to_bytes()), Some(job));
            }
        });
    }
}
