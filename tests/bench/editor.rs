//! How fast `vmtest lsp` answers, beside tombi (a TOML language server, from `PyPI`) when it is on `PATH`: both get the
//! same documents over plain stdio, in turns, so that a machine that drifts drifts for both.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const STARTS: usize = 15;
const KEYSTROKES: usize = 100;
/// Edits of the memory measurement, and where it first looks.
const EDITS: usize = 10_000;
const WARM_EDITS: usize = 1_000;
/// Bytes that a guest prints.
const OUTPUT: usize = 100_000_000;

fn main() {
    let vmtest = std::env::var_os("VMTEST_BIN")
        .map(PathBuf::from)
        .expect("VMTEST_BIN names the binary; use `make bench`");
    let mut servers = vec![Server { name: "vmtest", program: vmtest, words: &["lsp"] }];
    match in_path("tombi") {
        Some(program) => servers.push(Server { name: "tombi", program, words: &["lsp", "--offline"] }),
        None => println!("tombi is not on PATH (pip install tombi): no comparison"),
    }
    let folder = tempfile::tempdir().expect("a scratch directory");

    let mut starts = vec![Vec::new(); servers.len()];
    for _ in 0..STARTS {
        for (server, times) in servers.iter().zip(&mut starts) {
            let started = Instant::now();
            let client = Client::start(server, folder.path());
            times.push(started.elapsed());
            client.leave();
        }
    }
    table("start to the `initialize` reply", &servers, &mut starts, "10 ms, and no slower than tombi");

    for (targets, budget) in
        [(10, "1 ms"), (100, "no slower than tombi"), (1000, "8 ms median, 25 ms p99, no slower than tombi")]
    {
        let mut keystrokes = vec![Vec::new(); servers.len()];
        let mut completions = vec![Vec::new(); servers.len()];
        let mut clients: Vec<_> = servers
            .iter()
            .map(|server| {
                let mut client = Client::start(server, folder.path());
                client.open(&document(targets, false));
                client
            })
            .collect();
        for stroke in 0..KEYSTROKES {
            // Every other keystroke makes a mistake, so that there is something new to say.
            let text = document(targets, stroke % 2 == 0);
            for (at, client) in clients.iter_mut().enumerate() {
                keystrokes[at].push(client.change(&text));
                completions[at].push(client.complete(targets / 2 * LINES + 2, 0));
            }
        }
        let bytes = document(targets, false).len();
        table(
            &format!("keystroke to diagnostics, {targets} targets ({bytes} bytes)"),
            &servers,
            &mut keystrokes,
            budget,
        );
        table(
            &format!("completion, {targets} targets"),
            &servers,
            &mut completions,
            "1 ms median, 3 ms p99 at 1000",
        );
        clients.into_iter().for_each(Client::leave);
    }

    output(&servers[0], folder.path());

    for server in &servers {
        let mut client = Client::start(server, folder.path());
        client.open(&document(1000, false));
        let mut early = 0.0;
        for edit in 0..EDITS {
            client.change(&document(1000, edit % 2 == 0));
            if edit == WARM_EDITS {
                early = client.memory();
            }
        }
        let late = client.memory();
        println!(
            "memory of {:<7} 1000 targets: {early:.1} MB after {WARM_EDITS} edits, {late:.1} MB after {EDITS}   budget 25 MB, flat",
            server.name
        );
        client.leave();
    }
}

/// Measures how fast what a guest prints reaches the client of a run.
fn output(server: &Server, folder: &Path) {
    let Some(kernels) = std::env::var_os("VMTEST_KERNELS").map(PathBuf::from) else {
        println!("VMTEST_KERNELS names no kernels: output is not measured; use `make bench`");
        return;
    };
    let kernel = kernels.join("stable/boot/vmlinuz");
    let mut client = Client::start(server, folder);
    // What the guest itself takes to make the text comes first: under emulation that is most of the time.
    let make = format!("yes {} | head -c {OUTPUT}", "x".repeat(63));
    let text = format!(
        "[[target]]\nname = \"output\"\nkernel = {:?}\ncommand = \"{make} >/dev/null; echo made; {make}\"\n",
        kernel.display().to_string()
    );
    client.open(&text);
    let uri = client.uri.clone();
    client.request("vmtest/run", json!({ "uri": uri, "targets": [] }));
    let (mut started, mut own, mut bytes) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let message = client.receive();
        match message.pointer("/params/event").and_then(Value::as_str) {
            Some("command_started") => started = Instant::now(),
            Some("output") if own.is_zero() => {
                own = started.elapsed();
                started = Instant::now();
            }
            Some("output") => {
                bytes += message.pointer("/params/text").and_then(Value::as_str).map_or(0, str::len);
            }
            Some("finished") => break,
            _ => {}
        }
    }
    let megabytes = bytes as f64 / 1e6;
    let all = started.elapsed().as_secs_f64();
    println!(
        "output of a guest to the client: {:.0} MB/s ({megabytes:.0} MB), {:.0} MB/s beyond what the guest takes to make it   budget 50 MB/s",
        megabytes / all,
        megabytes / (all - own.as_secs_f64()).max(0.001)
    );
    client.leave();
}

/// A language server to measure.
struct Server {
    name: &'static str,
    program: PathBuf,
    words: &'static [&'static str],
}

/// Lines of one target.
const LINES: usize = 9;

/// A document of so many targets; with a mistake in its middle.
fn document(targets: usize, mistake: bool) -> String {
    let mut text = String::new();
    for target in 0..targets {
        let cpus = if mistake && target == targets / 2 { "" } else { "2" };
        let _ = write!(
            text,
            "[[target]]\nname = \"linux {target}\"\n\nkernel = \"./bzImage-{target}\"\ncommand = \"\"\"\ncd tests && ./run --all\n\"\"\"\nvm.num_cpus = {cpus}\nvm.memory = \"2G\"\n"
        );
    }
    text
}

/// A client without a mind of its own.
struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    uri: String,
    version: i64,
    id: i64,
    /// Whether diagnostics must be asked for.
    pull: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "the calls read better")]
impl Client {
    /// Starts a server and waits for its first reply.
    fn start(server: &Server, folder: &Path) -> Self {
        let mut child = Command::new(&server.program)
            .args(server.words)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", server.program.display()));
        let stdin = child.stdin.take().expect("it was asked for");
        let stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        let uri = format!("file://{}/vmtest.toml", folder.display());
        let mut client = Self { child, stdin, stdout, uri, version: 1, id: 0, pull: false };
        let reply = client.request(
            "initialize",
            json!({
                "processId": std::process::id(),
                "rootUri": format!("file://{}", folder.display()),
                "capabilities": { "textDocument": { "publishDiagnostics": { "versionSupport": true }, "diagnostic": {} }, "experimental": { "vmtest": { "runEvents": true } } },
                "initializationOptions": { "trusted": true },
            }),
        );
        client.pull = reply.pointer("/result/capabilities/diagnosticProvider").is_some();
        client.send(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }));
        client
    }

    fn open(&mut self, text: &str) {
        let document =
            json!({ "uri": self.uri, "languageId": "toml", "version": self.version, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
        self.diagnostics();
    }

    /// Sends the text after a keystroke; gives the time until its diagnostics are there.
    fn change(&mut self, text: &str) -> Duration {
        self.version += 1;
        let document = json!({ "uri": self.uri, "version": self.version });
        let started = Instant::now();
        self.notify(
            "textDocument/didChange",
            json!({ "textDocument": document, "contentChanges": [{ "text": text }] }),
        );
        self.diagnostics();
        started.elapsed()
    }

    fn complete(&mut self, line: usize, character: usize) -> Duration {
        let params = json!({ "textDocument": { "uri": self.uri }, "position": { "line": line, "character": character } });
        let started = Instant::now();
        let reply = self.request("textDocument/completion", params);
        let elapsed = started.elapsed();
        assert!(reply.get("result").is_some(), "completion failed: {reply}");
        elapsed
    }

    /// Waits for what the server thinks of the last version.
    fn diagnostics(&mut self) {
        if self.pull {
            let params = json!({ "textDocument": { "uri": self.uri } });
            self.request("textDocument/diagnostic", params);
            return;
        }
        loop {
            let message = self.receive();
            let current = message.pointer("/params/version").is_none_or(|version| *version == self.version);
            if message["method"] == "textDocument/publishDiagnostics" && current {
                return;
            }
        }
    }

    /// Resident memory in MB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("the server listens");
        self.stdin.flush().expect("the server listens");
    }

    /// The next message; requests of the server are answered with nothing.
    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("the server talks") > 0, "the server is gone");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).expect("the server talks");
        let message: Value = serde_json::from_slice(&body).expect("JSON");
        if message.get("method").is_some() && message.get("id").is_some() {
            self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": null }));
        }
        message
    }

    fn leave(mut self) {
        self.request("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        let _ = self.child.wait();
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Prints each server's median and 99th percentile, and the ratio of the medians.
fn table(what: &str, servers: &[Server], times: &mut [Vec<Duration>], budget: &str) {
    println!("{what}   budget {budget}");
    let mut medians = Vec::new();
    for (server, times) in servers.iter().zip(times) {
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1000.0;
        println!("  {:<7} median {:7.2} ms   p99 {:7.2} ms", server.name, at(0.5), at(0.99));
        medians.push(at(0.5));
    }
    if let [own, other] = medians[..] {
        println!("  ratio   {:7.2}", own / other);
    }
}
