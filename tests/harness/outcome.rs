//! How a run ended and what it wrote. Every assertion that fails shows all of it.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

/// A run that has ended and left nothing behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub(super) words: String,
    /// All of standard output; of a terminal, all that was shown.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: Vec<u8>,
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// From its start to its end.
    pub elapsed: Duration,
}

impl Outcome {
    /// Fails the test unless `holds`.
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what}\n{self}");
    }

    /// Fails the test unless the exit status is this.
    #[track_caller]
    pub fn expect_status(&self, status: i32) -> &Self {
        self.check(self.status == Some(status), &format!("the exit status is not {status}"));
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails the test unless standard output has this text.
    #[track_caller]
    pub fn expect_text(&self, text: &str) -> &Self {
        self.check(self.text().contains(text), &format!("standard output has no `{text}`"));
        self
    }

    /// Fails the test unless standard error has this text.
    #[track_caller]
    pub fn expect_error_text(&self, text: &str) -> &Self {
        self.check(self.error_text().contains(text), &format!("standard error has no `{text}`"));
        self
    }

    /// Fails the test unless this is a whole line of standard output.
    #[track_caller]
    pub fn expect_line(&self, line: &str) -> &Self {
        self.check(self.text().lines().any(|found| found == line), &format!("there is no line `{line}`"));
        self
    }

    /// Fails the test if this is a whole line of standard output.
    #[track_caller]
    pub fn expect_no_line(&self, line: &str) -> &Self {
        self.check(!self.text().lines().any(|found| found == line), &format!("there is a line `{line}`"));
        self
    }

    /// The events of `--format json`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}\n{self}"))
        };
        self.text().lines().map(parse).collect()
    }

    /// The events of one kind.
    #[track_caller]
    pub fn events_named(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// The end of the only target.
    #[track_caller]
    pub fn finished(&self) -> Value {
        let mut all = self.events_named("finished");
        self.check(all.len() == 1, "there is more than one target");
        all.remove(0)
    }

    /// The end of the target with this name.
    #[track_caller]
    pub fn finished_of(&self, target: &str) -> Value {
        let found = self.events_named("finished").into_iter().find(|event| event["target"] == target);
        found.unwrap_or_else(|| panic!("{target} has not finished\n{self}"))
    }

    /// Fails the test unless the only target's verdict is this.
    #[track_caller]
    pub fn expect_verdict(&self, verdict: &str) -> &Self {
        let found = self.finished();
        self.check(found["verdict"] == verdict, &format!("the verdict is not {verdict}: {found}"));
        self
    }

    /// What the only target's command wrote to `stream`, from `--format json`.
    #[track_caller]
    pub fn output(&self, stream: &str) -> Vec<u8> {
        let decode = |event: &Value| match (&event["text"], &event["base64"]) {
            (Value::String(text), Value::Null) => text.clone().into_bytes(),
            (Value::Null, Value::String(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap_or_else(|error| panic!("no base64: {error}: {event}")),
            _ => panic!("an output event has text or base64: {event}"),
        };
        self.events_named("output")
            .iter()
            .filter(|event| event["stream"] == stream)
            .flat_map(decode)
            .collect()
    }

    /// What the only target's command wrote to standard output, as text.
    #[track_caller]
    pub fn guest_text(&self) -> String {
        String::from_utf8(self.output("stdout")).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Fails the test unless the command's standard output is this.
    #[track_caller]
    pub fn expect_guest_text(&self, text: &str) -> &Self {
        let found = self.guest_text();
        self.check(found == text, &format!("the command wrote {found:?}, not {text:?}"));
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, status, signal, elapsed, stdout, stderr } = self;
        writeln!(f, "run: {words}\nstatus {status:?}, signal {signal:?}, after {elapsed:?}")?;
        writeln!(f, "---- standard error\n{}", shortened(stderr))?;
        writeln!(f, "---- standard output\n{}---- end", shortened(stdout))
    }
}

/// Everything, but of a hundred megabytes only both ends.
fn shortened(bytes: &[u8]) -> String {
    const ENDS: usize = 100_000;
    if bytes.len() <= 2 * ENDS {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (head, tail) = (&bytes[..ENDS], &bytes[bytes.len() - ENDS..]);
    let left_out = bytes.len() - 2 * ENDS;
    format!("{}\n[… {left_out} bytes …]\n{}", String::from_utf8_lossy(head), String::from_utf8_lossy(tail))
}
