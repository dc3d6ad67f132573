//! Holds the editor's part of `docs/protocol.md` to the types.

use std::collections::BTreeSet;

use serde_json::json;
use vmtest_vm::event::{EventKind, Output, OutputStream};

use super::*;

const PAGE: &str = include_str!("../../../../docs/protocol.md");

/// The JSON examples of the page, by the words behind their language.
fn examples(of: &str) -> Vec<Value> {
    let blocks = PAGE.split("```json ").skip(1).filter_map(|block| block.split("```").next());
    let named = blocks.filter_map(|block| block.split_once('\n')).filter(|(name, _)| *name == of);
    named.map(|(_, json)| serde_json::from_str(json).expect(json)).collect()
}

fn example(of: &str) -> Value {
    let examples = examples(of);
    assert_eq!(examples.len(), 1, "{of}");
    examples.into_iter().next().unwrap()
}

fn uri() -> Uri {
    "file:///home/u/project/vmtest.toml".parse().unwrap()
}

fn run_id() -> RunId {
    RunId("19a2b3c4d5e-1f4-0".into())
}

/// One of each state. A new variant fails to compile here, so that it comes with its example.
fn states() -> Vec<TargetStatus> {
    let states = vec![
        TargetStatus::Idle,
        TargetStatus::Queued { run_id: run_id() },
        TargetStatus::Downloading { run_id: run_id(), seconds: 3.2 },
        TargetStatus::Preparing { run_id: run_id(), seconds: 0.1 },
        TargetStatus::Booting { run_id: run_id(), seconds: 0.4 },
        TargetStatus::Running { run_id: run_id(), seconds: 2.0 },
        TargetStatus::Finished {
            run_id: run_id(),
            seconds: 0.9,
            log: Some(
                "file:///home/u/.local/state/vmtest/runs/19a2b3c4d5e-1f4-0/01-6.1.log".parse().unwrap(),
            ),
            verdict: Verdict::Failed { exit_code: 3 },
        },
    ];
    for state in &states {
        match state {
            TargetStatus::Idle
            | TargetStatus::Queued { .. }
            | TargetStatus::Downloading { .. }
            | TargetStatus::Preparing { .. }
            | TargetStatus::Booting { .. }
            | TargetStatus::Running { .. }
            | TargetStatus::Finished { .. } => {}
        }
    }
    states
}

fn lens_arguments() -> LensArguments {
    LensArguments { uri: uri(), name: "6.1".into(), index: 0 }
}

#[test]
fn the_page_names_every_method_and_command() {
    for method in [TARGETS, RUN, CANCEL, RUN_EVENT, DID_CHANGE_TRUST] {
        assert!(PAGE.contains(&format!("\n### `{method}`\n")), "{method}");
    }
    for command in COMMANDS {
        assert!(PAGE.contains(&format!("| `{command}` |")), "{command}");
    }
}

#[test]
fn every_state_has_its_example() {
    let shown: Vec<_> = examples("state");
    let states: Vec<_> = states().into_iter().map(|state| serde_json::to_value(state).unwrap()).collect();
    assert_eq!(shown, states);
    for key in states.iter().flat_map(|state| state.as_object().unwrap().keys()).collect::<BTreeSet<_>>() {
        assert!(PAGE.contains(&format!("| `{key}` |")) || key == "exit_code", "`{key}` has no row");
    }
}

#[test]
fn the_targets_request_is_as_on_the_page() {
    let params: DocumentArguments = serde_json::from_value(example("vmtest/targets")).unwrap();
    assert_eq!(params.uri, uri());
    let range: Range = serde_json::from_value(json!({
        "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 10 }
    }))
    .unwrap();
    let info =
        TargetInfo { name: "6.1".into(), index: 0, interactive: false, range, state: TargetStatus::Idle };
    assert_eq!(serde_json::to_value([info]).unwrap(), example("vmtest/targets result"));
}

#[test]
fn the_run_request_is_as_on_the_page() {
    let shown: Vec<RunParams> =
        examples("vmtest/run").into_iter().map(|params| serde_json::from_value(params).unwrap()).collect();
    let of = |targets| RunParams { uri: uri(), targets };
    let place = TargetRef::Place { name: "6.1".into(), index: 0 };
    assert_eq!(shown, [of(None), of(Some(vec![TargetRef::Name("6.1".into())])), of(Some(vec![place]))]);
    let result = RunResult { run_id: run_id() };
    assert_eq!(serde_json::to_value(result).unwrap(), example("vmtest/run result"));
}

#[test]
fn cancel_and_trust_are_as_on_the_page() {
    let cancel: CancelParams = serde_json::from_value(example("vmtest/cancel")).unwrap();
    assert_eq!(cancel.run_id, run_id().0);
    let trust: TrustParams = serde_json::from_value(example("vmtest/didChangeTrust")).unwrap();
    assert!(trust.trusted);
}

#[test]
fn a_run_event_is_that_of_the_command_line_and_the_documents_uri() {
    let data = bytes::Bytes::from_static(b"6.1.0\n");
    let kind = EventKind::Output(Output { stream: OutputStream::Stdout, data });
    let event = RunEvent { run_id: run_id(), target: "6.1".into(), index: 0, seq: 7, kind };
    let params = RunEventParams { uri: &uri(), event: &event };
    assert_eq!(serde_json::to_value(params).unwrap(), example("vmtest/runEvent"));
}

#[test]
fn commands_take_what_lenses_carry() {
    let argument = serde_json::to_value(lens_arguments()).unwrap();
    assert_eq!(argument, example("command argument"));
    assert_eq!(ServerCommand::parse(COMMAND_RUN, vec![argument]), Ok(ServerCommand::Run(lens_arguments())));
    let all = ServerCommand::parse(COMMAND_RUN_ALL, vec![json!({ "uri": uri() })]);
    assert_eq!(all, Ok(ServerCommand::RunAll(DocumentArguments { uri: uri() })));
}

#[test]
fn a_wrong_command_is_refused_in_a_sentence() {
    let refusal = |id, arguments| ServerCommand::parse(id, arguments).unwrap_err();
    assert!(refusal("vmtest.run", vec![]).starts_with("vmtest has no command `vmtest.run`"));
    assert_eq!(refusal(COMMAND_RUN, vec![]), "`vmtest.server.run` takes one argument, not 0");
    assert!(refusal(COMMAND_LOG, vec![json!({ "uri": uri() })]).contains("missing field `name`"));
}

#[test]
fn a_target_that_is_neither_name_nor_place_is_refused_in_a_sentence() {
    let error = serde_json::from_value::<RunParams>(json!({ "uri": uri(), "targets": [1] })).unwrap_err();
    assert_eq!(error.to_string(), "a target is a name, or an object with `name` and `index`");
}

#[test]
fn options_are_read_and_unknown_ones_ignored() {
    let changed = example("workspace/didChangeConfiguration");
    let (options, wrong) = Options::read(changed.pointer("/settings/vmtest"));
    assert_eq!((options.jobs, options.warm_snapshots, wrong), (Some(4), true, vec![]));
    let shown = example("initializationOptions");
    let as_shown = Options { trusted: true, jobs: Some(2), warm_snapshots: true };
    assert_eq!(Options::read(Some(&shown)), (as_shown, vec![]));
    let more = json!({ "trusted": true, "later": [] });
    assert_eq!(Options::read(Some(&more)), (Options { trusted: true, ..Options::default() }, vec![]));
    assert_eq!(Options::read(None), (Options::default(), vec![]));
}

#[test]
fn a_wrong_option_is_said_and_grants_nothing() {
    let (options, wrong) = Options::read(Some(&json!({ "trusted": "true", "jobs": 0, "warmSnapshots": 1 })));
    assert_eq!(options, Options::default());
    assert_eq!(
        wrong,
        [
            "initializationOptions.trusted must be true or false, not a string; the workspace is not trusted",
            "initializationOptions.jobs must be a whole number from 1 to 1024, not 0",
            "initializationOptions.warmSnapshots must be true or false, not 1"
        ]
    );
    assert_eq!(
        Options::read(Some(&json!([true]))).1,
        ["initializationOptions must be an object, not a list"]
    );
}

#[test]
fn run_events_are_for_clients_that_say_so() {
    let capabilities = example("capabilities");
    assert!(wants_run_events(Some(&capabilities["experimental"])));
    assert!(!wants_run_events(Some(&json!({ "vmtest": { "runEvents": "yes" } }))));
    assert!(!wants_run_events(None));
}
