//! Finds the places that a command's output names: `file:line[:column]` in the forms of compilers, test frameworks and
//! kernels, with what they say about them.
//!
//! Pure and incremental: bytes in as they come, [`Place`]s out. Time is linear in the bytes and memory is one line,
//! whatever a guest prints. Whether a file exists is for the caller to know; here a place only looks like one.

mod line;
#[cfg(test)]
mod tests;

use memchr::{memchr, memchr_iter, memmem};
use vmtest_vm::sanitize;

/// What is longer is cut; no tool that names places writes such lines.
const LONGEST: usize = 8 << 10;
/// Frames of a traceback that are kept until its last line says what happened.
const FRAMES: usize = 64;
/// Places in a Go test that wait for the line that names the package.
const GO_LINES: usize = 64;
/// Longest message.
const MESSAGE: usize = 500;

/// A place that the output names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was printed.
    pub(crate) path: String,
    /// Other paths that it may mean, when the first is none; the first that exists counts.
    pub(crate) also: Vec<String>,
    /// From 1.
    pub(crate) line: u32,
    /// From 1; counts characters.
    pub(crate) column: Option<u32>,
    /// How bad it is.
    pub(crate) kind: Kind,
    /// What was said about it.
    pub(crate) message: String,
    /// Places of one traceback have the same number, the innermost first: the first that exists is the one to look at.
    pub(crate) trace: Option<u32>,
}

/// What the output called a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nothing in particular.
    Mention,
    /// A note that belongs to something else.
    Note,
    /// A warning.
    Warning,
    /// An error.
    Error,
}

/// Finds places in one stream.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    partial: Vec<u8>,
    context: Context,
}

/// What earlier lines said that later lines refer to.
#[derive(Debug, Default)]
struct Context {
    /// `error[E0001]: mismatched types`, until the place comes.
    headline: Option<(Kind, String)>,
    /// A place whose message is on the lines that follow, and whether the first of them has come.
    pending: Option<(Place, bool)>,
    /// A Python traceback so far, the outermost first.
    frames: Vec<Place>,
    /// pytest's `E   assert 1 == 2`.
    assertion: Option<String>,
    /// The exception that a stack of `at` lines belongs to.
    exception: Option<String>,
    /// The stack that `at` lines belong to.
    stack: Option<u32>,
    /// Go: lines of the package whose name comes last.
    go: Vec<Place>,
    /// Go: whether the test of the following lines failed.
    go_failed: bool,
    /// Numbers tracebacks.
    traces: u32,
}

impl Scanner {
    /// A scanner whose tracebacks are numbered from `first`.
    pub(crate) fn new(first: u32) -> Self {
        Self { context: Context { traces: first, ..Context::default() }, ..Self::default() }
    }

    /// Takes bytes as they came.
    pub(crate) fn push(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(Place)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() {
                self.context.line(&line[..line.len().min(LONGEST)], found);
            } else {
                self.keep(line);
                self.context.line(&self.partial, found);
                self.partial.clear();
            }
            bytes = rest;
        }
        self.keep(bytes);
    }

    /// The stream is at its end.
    pub(crate) fn finish(&mut self, found: &mut dyn FnMut(Place)) {
        self.push(b"\n", found);
        self.context.flush(found);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Context {
    fn line(&mut self, bytes: &[u8], found: &mut dyn FnMut(Place)) {
        if self.is_boring(bytes) {
            return;
        }
        let text = sanitize::line(bytes);
        self.whole_line(text.trim_end(), found);
    }

    /// Whether a line can neither name a place nor belong to one. Most lines, so this must cost little.
    fn is_boring(&self, line: &[u8]) -> bool {
        let waits = self.pending.is_some() || !self.frames.is_empty();
        if waits || memchr(b'\x1b', line).is_some() || has_number_after(line) {
            return false;
        }
        let text = line.trim_ascii_start();
        let starts: [&[u8]; 9] =
            [b"error", b"warning", b"note", b"help", b"E  ", b"Traceback", b"--- ", b"FAIL", b"ok "];
        !starts.iter().any(|start| text.starts_with(start))
            && memmem::find(line, b"Error").is_none()
            && memmem::find(line, b"Exception").is_none()
    }

    fn trace(&mut self) -> u32 {
        self.traces = self.traces.wrapping_add(1);
        self.traces
    }

    /// What was waiting has waited in vain.
    fn flush(&mut self, found: &mut dyn FnMut(Place)) {
        if let Some((place, _)) = self.pending.take() {
            found(place);
        }
        self.end_traceback("", found);
        self.go.clear();
    }

    /// The last line of a Python traceback.
    fn end_traceback(&mut self, message: &str, found: &mut dyn FnMut(Place)) {
        if self.frames.is_empty() {
            return;
        }
        let trace = self.trace();
        for mut frame in std::mem::take(&mut self.frames).into_iter().rev() {
            frame.trace = Some(trace);
            if !message.is_empty() {
                frame.message = cut(message);
            }
            found(frame);
        }
    }
}

/// Whether there is `:12`, `: 12:` of dash, or `line 12` of Python, bash and Perl.
fn has_number_after(line: &[u8]) -> bool {
    let colon = |at: usize| match &line[at + 1..] {
        [b'0'..=b'9', ..] => true,
        [b' ', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            digits > 0 && rest.get(digits) == Some(&b':')
        }
        _ => false,
    };
    memchr_iter(b':', line).any(colon)
        || memmem::find_iter(line, b"line ").any(|at| line.get(at + 5).is_some_and(u8::is_ascii_digit))
}

/// A message of bounded length.
fn cut(message: &str) -> String {
    message.trim().chars().take(MESSAGE).collect()
}
