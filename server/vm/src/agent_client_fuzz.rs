use vmtest_fuzz::{Fuzzer, Random};
use vmtest_guest::wire::{Access, CommandSpec, FileSystem, Root, Stdio};

use super::*;
use crate::scripted_peer::{at_once, say};

/// What an honest agent may say; `SYNC` is the number that it was asked for.
const ANSWERS: [&str; 11] = [
    "{\"return\": SYNC}\n",
    "{\"return\": 1000}\n",
    "{\"return\": {\"count\": 49152, \"eof\": false}}\n",
    "{\"return\": {}}\n",
    "{\"return\": {\"pid\": 77}}\n",
    "{\"return\": {\"exited\": false}}\n",
    "{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": \"aGkK\", \"out-truncated\": true}}\n",
    "{\"return\": {\"exited\": true, \"signal\": 9, \"err-data\": \"////\"}}\n",
    "{\"return\": {\"exited\": true}}\n",
    "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n",
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\", \"more\": 1}}\n",
];

fn job() -> Job {
    Job {
        realtime_ns: 1,
        entropy: vec![7; 50_000],
        hostname: "host".into(),
        umask: 0o22,
        honors_setuid: true,
        root: Root { tag: "root".into(), file_system: FileSystem::NineP, access: Access::Overlay },
        shares: Vec::new(),
        binds: Vec::new(),
        network: None,
        command: CommandSpec {
            script: Some("true".into()),
            cwd: "/".into(),
            env: Vec::new(),
            stdio: Stdio::Output,
        },
    }
}

/// The agent says this, whatever it is asked, and ends. Whether all went well.
async fn told(text: Vec<u8>, is_asked: bool) -> bool {
    let agent = AgentClient::new(say(text, false, is_asked));
    let mut all_well = agent.answer().await.is_ok();
    all_well &= agent.ping().await.is_ok();
    let script = || Script { text: "true", arguments: vec!["x".to_owned()] };
    match agent.start(script(), false).await {
        Ok(pid) => all_well &= agent.wait(pid).await.is_ok_and(|status| status.signal == Some(9)),
        Err(_) => all_well = false,
    }
    all_well &= agent.run(script()).await.is_ok_and(|output| output == "hi\n");
    all_well & agent.hand_over(&job()).await.is_ok()
}

fn all_well(text: &[u8], is_asked: bool) -> bool {
    let sync = (std::process::id() & 0x7fff_ffff).to_string();
    let text = match memchr::memmem::find(text, b"SYNC") {
        Some(at) => [&text[..at], sync.as_bytes(), &text[at + 4..]].concat(),
        None => text.to_vec(),
    };
    at_once(Duration::from_secs(3600), told(text, is_asked))
}

// Q2, G5
#[test]
fn any_words_of_an_agent_are_an_answer_or_an_error_and_their_end_is_noticed() {
    let said = |order: &[usize]| order.iter().map(|number| ANSWERS[*number]).collect::<String>();
    let rest = job().to_bytes().len() - PIECE;
    let rest = format!("{{\"return\": {{\"count\": {rest}, \"eof\": false}}}}\n");
    let honest = [&said(&[0, 3, 4, 5, 7, 4, 6, 1, 2]), &rest, ANSWERS[3]].concat();
    assert!(all_well(honest.as_bytes(), true));
    Fuzzer::new("agent")
        .seed(honest)
        .seed(said(&[0, 10, 4, 8, 9, 1, 2]))
        .seed(["\u{ff}", &said(&[0, 3, 4, 5, 5, 5, 8, 4, 7])].concat())
        .pieces(ANSWERS)
        .pieces([
            "\n",
            "{",
            "}",
            "[",
            "null",
            ",",
            "\"return\":",
            "\"error\":",
            "\"id\":",
            "SYNC",
            "\u{ff}",
            "====",
            "true",
        ])
        .pieces([
            "18446744073709551616",
            "-1",
            "1e999",
            "\"\\ud800\"",
            "\u{0}",
            "\"exitcode\":",
            "\"out-data\":",
        ])
        .run(|bytes| {
            all_well(bytes, Random::of(bytes).below(4) > 0);
        });
}
