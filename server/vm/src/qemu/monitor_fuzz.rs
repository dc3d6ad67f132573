use std::time::Duration;

use vmtest_fuzz::Fuzzer;

use super::*;

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

/// QEMU says this, whatever it is asked, and ends.
async fn told(text: Vec<u8>) {
    let ours = crate::scripted_peer::say(text, true);
    let Ok((monitor, mut events)) = Monitor::connect(ours).await else { return };
    monitor.internal_error().await;
    let _ = monitor.disk_operations().await;
    let _ = monitor.save("/x", true).await;
    let _ = monitor.load(3, MemoryIs::InFile).await;
    let _ = monitor.plug_share("share", "server".to_owned(), "1e.0".to_owned()).await;
    let _ = monitor.resume().await;
    monitor.quit().await;
    drop(monitor);
    while events.recv().await.is_some() {}
}

// Q2
#[test]
fn anything_that_qemu_says_is_an_answer_or_an_error_and_the_end_of_it_is_noticed() {
    let seed = |answers: &[&str]| [HELLO, &answers.concat()].concat();
    Fuzzer::new("monitor")
        .seed(seed(&[ANSWERS[1], ANSWERS[2], ANSWERS[0], ANSWERS[0], ANSWERS[0], ANSWERS[0], ANSWERS[7]]))
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
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // Time passes as soon as nobody has anything to do: whoever waits in vain is seen at once.
                .start_paused(true)
                .build()
                .unwrap();
            let told = async { tokio::time::timeout(Duration::from_secs(60), told(bytes.to_vec())).await };
            runtime.block_on(told).expect("it waits for what does not come");
        });
}
