//! What a guest prints, on its way to a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Instant;

use super::{Subject, cost};
use crate::bench::{Bench, EVENTS};
use crate::figure::{self, Budget, Figure, Unit};
use crate::{Result, Saying as _, process};

const THROUGHPUT: Budget = Budget::AtLeast(50.0);
/// Seconds to the first byte.
const FIRST: Budget = Budget::AtMost(0.1);
/// What the output consists of, but for line breaks; nothing else that vmtest writes has it.
const FILLER: u8 = b'~';
/// Bytes of a line of it.
const LINE: usize = 64;
/// Lines that go there and back in a round.
const LINES: usize = 20;

pub(super) fn subjects(bench: &Bench) -> Vec<Subject<'_>> {
    let megabytes = bench.size.output;
    vec![
        Subject::new(move || throughput(bench, &format!("{megabytes} MB as text"), &[])),
        Subject::new(move || throughput(bench, &format!("{megabytes} MB as events"), &EVENTS)),
        Subject::new(move || there_and_back(bench)),
    ]
}

fn throughput(bench: &Bench, section: &str, options: &[&str]) -> Result<Vec<Figure>> {
    let bytes = bench.size.output * 1_000_000;
    // Made before it is measured: under emulation that takes longer than its way out.
    let script = format!(
        "yes '{}' | head -c {bytes} >/tmp/made; cat /tmp/made",
        char::from(FILLER).to_string().repeat(LINE - 1)
    );
    let mut vmtest = bench.vmtest();
    vmtest.args(options).arg("-k").arg(&bench.stock().path).arg(script);
    let mut passed = Passed { wanted: bytes / LINE * (LINE - 1), ..Passed::default() };
    let usage = process::run(&mut vmtest, |piece| passed.see(piece, Instant::now()))?;
    let (Some(first), Some(last)) = (passed.first, passed.last) else {
        return Err("the guest's output is not complete".to_owned());
    };
    let rate = bytes as f64 / 1e6 / (last - first).as_secs_f64();
    let mut figures =
        vec![Figure::new(section, "throughput", Unit::MegabytesPerSecond, rate).within(THROUGHPUT)];
    figures.extend(cost::figures(section, &usage));
    Ok(figures)
}

/// Output that comes by, with or without events around it.
#[derive(Debug, Default)]
struct Passed {
    /// How many fillers there will be.
    wanted: usize,
    seen: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Passed {
    fn see(&mut self, piece: &[u8], now: Instant) {
        self.seen += piece.iter().map(|byte| usize::from(*byte == FILLER)).sum::<usize>();
        if self.seen > 0 {
            self.first.get_or_insert(now);
        }
        if self.seen >= self.wanted {
            self.last.get_or_insert(now);
        }
    }
}

/// An upper bound for what a byte takes from the guest to the pipe: a shell in the guest reads a line and writes another.
fn there_and_back(bench: &Bench) -> Result<Vec<Figure>> {
    let mut vmtest = bench.vmtest();
    vmtest.arg("-k").arg(&bench.stock().path).arg("-");
    let mut child = vmtest
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .saying("vmtest does not start")?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let mut seconds = Vec::new();
    for number in 0..=LINES {
        let started = Instant::now();
        writeln!(stdin, "echo line {number}").saying("the guest's shell does not read")?;
        let expected = format!("line {number}");
        if !stdout.by_ref().map_while(std::result::Result::ok).any(|line| line == expected) {
            return Err("the guest's shell does not answer".to_owned());
        }
        seconds.push(started.elapsed().as_secs_f64());
    }
    drop(stdin);
    child.wait().saying("cannot wait for vmtest")?;
    // The first line waited for the guest.
    let median = figure::median(&seconds[1..]);
    Ok(vec![Figure::new("first byte", "a line there and back", Unit::Seconds, median).within(FIRST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_timed_from_its_first_to_its_last_byte() {
        let mut passed = Passed { wanted: 4, ..Passed::default() };
        let at = |seconds| Instant::now() + std::time::Duration::from_secs(seconds);
        let times = [at(0), at(1), at(2), at(3)];
        for (piece, time) in [&b"=> name"[..], b"~~\\n~", b"~", b"PASS"].into_iter().zip(times) {
            passed.see(piece, time);
        }
        assert_eq!((passed.first, passed.last), (Some(times[1]), Some(times[2])));
    }
}
