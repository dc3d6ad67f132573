//! Holds `docs/protocol.md` to the types that it describes.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use vmtest_vm::event::{
    Accelerator, Durations, EventKind, Finished, LostWrites, Output, OutputStream, RunEvent, RunId,
    ShareKind, Start,
};
use vmtest_vm::verdict::{Failure, Verdict};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// One of every event. A new variant fails to compile here, so that it comes with its sample.
fn samples() -> Vec<EventKind> {
    let accelerator = Accelerator::Kvm;
    let mut samples = vec![
        EventKind::Queued,
        EventKind::Downloading { url: String::new(), received: 1, total: Some(2) },
        EventKind::Preparing,
        EventKind::Booting { accelerator, attempt: 1 },
        EventKind::Notice { message: String::new() },
        EventKind::Console { line: String::new() },
        EventKind::Booted {
            seconds: 0.7,
            accelerator,
            start: Start::Cold,
            cold_because: Some(String::new()),
            share: ShareKind::NineP,
        },
        EventKind::CommandStarted,
        output(b"text"),
        output(b"\xff"),
        EventKind::KernelBug { title: String::new(), excerpt: vec![String::new()] },
    ];
    samples.extend(verdicts().into_iter().map(|verdict| {
        let lost_writes = LostWrites { count: 1, paths: vec!["/x".into()] };
        EventKind::Finished(Finished { verdict, durations: Durations::default(), lost_writes })
    }));
    for sample in &samples {
        match sample {
            EventKind::Queued
            | EventKind::Downloading { .. }
            | EventKind::Preparing
            | EventKind::Booting { .. }
            | EventKind::Notice { .. }
            | EventKind::Console { .. }
            | EventKind::Booted { .. }
            | EventKind::CommandStarted
            | EventKind::Output(_)
            | EventKind::KernelBug { .. }
            | EventKind::Finished(_) => {}
        }
    }
    samples
}

fn output(data: &'static [u8]) -> EventKind {
    EventKind::Output(Output { stream: OutputStream::Stdout, data: Bytes::from_static(data) })
}

/// One of every verdict; see [`samples`].
fn verdicts() -> Vec<Verdict> {
    let verdicts = vec![
        Verdict::Passed,
        Verdict::Failed { exit_code: 3 },
        Verdict::Killed { signal: 11 },
        Verdict::TimedOut { limit: Duration::from_secs(90) },
        Verdict::KernelBug { title: String::new() },
        Verdict::BootFailed(Failure::default()),
        Verdict::Lost(Failure::default()),
        Verdict::Cancelled,
    ];
    for verdict in &verdicts {
        match verdict {
            Verdict::Passed
            | Verdict::Failed { .. }
            | Verdict::Killed { .. }
            | Verdict::TimedOut { .. }
            | Verdict::KernelBug { .. }
            | Verdict::BootFailed(_)
            | Verdict::Lost(_)
            | Verdict::Cancelled => {}
        }
    }
    verdicts
}

fn serialized() -> Vec<Value> {
    let event = |kind| RunEvent { run_id: RunId("r".into()), target: "t".into(), index: 0, seq: 0, kind };
    samples().into_iter().map(|kind| serde_json::to_value(event(kind)).unwrap()).collect()
}

/// The JSON examples of the page.
fn examples() -> Vec<Value> {
    let blocks = PAGE.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.map(|block| serde_json::from_str(block).expect(block)).collect()
}

/// Dotted names of all fields; what is in a list is not named.
fn keys(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{key}");
        keys(value, &format!("{name}."), into);
        into.insert(name);
    }
}

fn key_set(value: &Value) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    keys(value, "", &mut set);
    set
}

/// What tells two shapes of event apart.
fn shape(value: &Value) -> (String, String, bool) {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    (text("event"), text("verdict"), value.get("base64").is_some())
}

#[test]
fn every_field_is_on_the_page() {
    for value in serialized() {
        for key in key_set(&value) {
            assert!(PAGE.contains(&format!("| `{key}` |")), "`{key}` of {:?} has no row", shape(&value));
        }
    }
}

#[test]
fn every_event_has_a_section_and_every_verdict_a_row() {
    for value in serialized() {
        let (event, verdict, _) = shape(&value);
        assert!(PAGE.contains(&format!("\n## `{event}`\n")), "{event}");
        assert!(verdict.is_empty() || PAGE.contains(&format!("\n| `{verdict}` |")), "{verdict}");
    }
}

#[test]
fn every_event_and_verdict_has_an_example_with_the_same_fields() {
    let examples = examples();
    for value in serialized() {
        let same: Vec<_> = examples.iter().filter(|example| shape(example) == shape(&value)).collect();
        assert!(!same.is_empty(), "{:?} has no example", shape(&value));
        for example in same {
            assert_eq!(key_set(example), key_set(&value), "{:?}", shape(&value));
        }
    }
}

#[test]
fn no_example_is_of_something_that_does_not_exist() {
    let shapes: BTreeSet<_> = serialized().iter().map(shape).collect();
    for example in examples() {
        assert!(shapes.contains(&shape(&example)), "{example}");
    }
}

#[test]
fn every_name_of_a_value_is_on_the_page() {
    let names = [
        serde_json::to_value([Accelerator::Kvm, Accelerator::Tcg]),
        serde_json::to_value([Start::Cold, Start::Snapshot]),
        serde_json::to_value([ShareKind::NineP, ShareKind::Virtiofs, ShareKind::Mixed]),
        serde_json::to_value([OutputStream::Stdout, OutputStream::Stderr]),
    ];
    for name in names.into_iter().flat_map(|list| list.unwrap().as_array().cloned().unwrap()) {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_exit_statuses_are_the_verdicts_own() {
    for verdict in [Verdict::Passed, Verdict::TimedOut { limit: Duration::ZERO }, Verdict::Cancelled]
        .into_iter()
        .chain([Verdict::KernelBug { title: String::new() }, Verdict::Lost(Failure::default())])
    {
        let name = serde_json::to_value(&verdict).unwrap()["verdict"].as_str().unwrap().to_owned();
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        assert!(row.ends_with(&format!("| {} |", verdict.exit_status())), "{row}");
    }
}
