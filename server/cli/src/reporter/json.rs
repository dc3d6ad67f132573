//! One event a line, as `docs/protocol.md` describes it.

use std::io::{self, Write};

use vmtest_vm::event::RunEvent;

use super::{Reporter, Summary};

/// Writes JSON lines.
pub(crate) struct Json<W> {
    out: W,
}

impl<W: Write + Send> Json<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        // A reader acts on events as they come.
        self.out.flush()
    }

    fn end(&mut self, _: &Summary) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::Value;
    use vmtest_vm::verdict::Verdict;

    use super::*;
    use crate::reporter::testing::{self, Written};

    fn lines(targets: Vec<testing::Scripted>) -> Vec<Value> {
        let out = Written::default();
        testing::report(targets, Json::new(out.clone()));
        out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_line_is_an_event_and_the_last_of_a_target_is_finished() {
        let lines = lines(vec![testing::passing("a", b"hi\n")]);
        let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        expect_test::expect![[r#"
            ["queued", "preparing", "booting", "console", "booted", "command_started", "output", "finished"]"#]]
        .assert_eq(&format!("{names:?}"));
        assert_eq!(
            lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
            (0..8).collect::<Vec<_>>()
        );
    }

    #[test]
    fn hostile_output_is_lossless() {
        let hostile = b"\xff\0]]>\x1b[2J::error::\r\n";
        let lines = lines(vec![testing::scripted("a", vec![testing::stdout(hostile)], Verdict::Passed)]);
        let output = lines.iter().find(|line| line["event"] == "output").unwrap();
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(output["base64"].as_str().unwrap()).unwrap();
        assert_eq!(bytes, hostile);
    }
}
