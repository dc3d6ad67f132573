use std::time::Duration;

use vmtest_fuzz::{Fuzzer, Random};

use super::*;
use crate::scripted_peer::{at_once, say};

const HELLO: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}
{"return": {}}
"#;

/// What an honest QEMU may say while it is asked everything that a run asks.
const ANSWERS: [&str; 12] = [
    "{\"return\": {}}\n",
    "{\"return\": {\"running\": false, \"singlestep\": false, \"status\": \"internal-error\"}}\r\n",
    "{\"return\": [{\"stats\": {\"rd_operations\": 9223372036854775807, \"wr_operations\": 1}}]}\n",
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n",
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"STOP\"}\n",
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n",
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-quit\"}}\n",
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"MIGRATION\", \"data\": {\"status\": \"completed\"}}\n",
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"\", \"node-name\": \"x\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": true, \"reason\": \"No space\"}}\n",
    "{\"return\": {}, \"id\": 7}\n",
    "{\"return\": {}, \"id\": \"seven\"}\n",
    "{\"return\": null}\n",
];

/// QEMU says this, whatever it is asked, and ends. Whether all went well.
async fn told(text: Vec<u8>, is_asked: bool) -> bool {
    let ours = say(text, true, is_asked);
    let Ok((monitor, mut events)) = Monitor::connect(ours).await else { return false };
    let mut all_well = monitor.internal_error().await;
    all_well &= monitor.disk_operations().await.is_ok();
    all_well &= monitor.save("/x", true).await.is_ok();
    all_well &= monitor.load(3, MemoryIs::InFile).await.is_ok();
    all_well &= monitor.plug_share("share", "server".to_owned(), "1e.0".to_owned()).await.is_ok();
    all_well &= monitor.resume().await.is_ok();
    monitor.quit().await;
    drop(monitor);
    let mut count = 0;
    while events.recv().await.is_some() {
        count += 1;
    }
    all_well && count == 1
}

fn all_well(text: &[u8], is_asked: bool) -> bool {
    at_once(Duration::from_secs(60), told(text.to_vec(), is_asked))
}

// Q2
#[test]
fn any_words_of_qemu_are_an_answer_or_an_error_and_their_end_is_noticed() {
    let seed = |answers: &[&str]| [HELLO, &answers.concat()].concat();
    let [answer, status, disks, .., migrated] = &ANSWERS[..8] else { unreachable!() };
    let honest = seed(&[status, disks, &answer.repeat(4), migrated, &answer.repeat(6)]);
    assert!(all_well(honest.as_bytes(), true));
    Fuzzer::new("monitor")
        .seed(honest)
        .seed(seed(&ANSWERS))
        .seed(seed(&[ANSWERS[3], ANSWERS[3], ANSWERS[9], ANSWERS[4]]))
        .pieces(ANSWERS)
        .pieces([
            HELLO,
            "\n",
            "\r\n",
            "{",
            "}",
            "[",
            "null",
            ",",
            "\"return\":",
            "\"error\":",
            "\"event\":",
            "\"id\":",
        ])
        .pieces(["18446744073709551616", "-1", "1e999", "\"\\ud800\"", "\u{0}"])
        .run(|bytes| {
            all_well(bytes, Random::of(bytes).below(4) > 0);
        });
}
