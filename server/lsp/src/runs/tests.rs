//! Runs with a scripted executor, a recorded client and no clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;
use tower_lsp::lsp_types::{NumberOrString, ProgressParams, ProgressParamsValue, WorkDoneProgress};
use vmtest_config::Target;
use vmtest_vm::event::{Accelerator, EventKind, Finished, Output, OutputStream};
use vmtest_vm::executor::{Script, ScriptEnd, ScriptedExecutor, TargetIo};
use vmtest_vm::verdict::Verdict;

use super::testing::{header, request};
use super::*;
use crate::outbox::testing::Recorder;

struct Bench {
    runs: Runs,
    client: Arc<Recorder>,
    trust: Arc<Trust>,
    folder: tempfile::TempDir,
}

/// Runs with these scripts, in the order in which targets start.
fn bench(scripts: impl IntoIterator<Item = Script>) -> Bench {
    bench_with(Arc::new(ScriptedExecutor::new(scripts)))
}

fn bench_with(executor: Arc<dyn Executor>) -> Bench {
    let (client, diagnostics, trust) =
        (Arc::new(Recorder::default()), Arc::default(), Arc::<Trust>::default());
    trust.set(true);
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let make_logs = Arc::new(move |id: &RunId, targets| Logs::create(logs.join(&id.0), targets).ok());
    let warming = Arc::new(Warming::new(executor.clone(), Arc::default(), trust.clone()));
    let outbox = client.clone();
    let runs = Runs::new(executor, outbox, Arc::clone(&diagnostics), trust.clone(), warming, make_logs);
    runs.configure(|settings| {
        settings.client.run_events = true;
        settings.client.related_information = true;
        settings.jobs = Some(1);
    });
    let to = client.clone();
    tokio::spawn(async move { diagnostics.publish(&*to).await });
    Bench { runs, client, trust, folder }
}

impl Bench {
    fn project(&self, names: &[&str]) -> Request {
        let mut request = request(names);
        request.uri = uri_of(&self.folder.path().join("vmtest.toml")).unwrap();
        for chosen in &mut request.targets {
            chosen.target.project_dir = self.folder.path().to_owned();
        }
        request
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// The client does not take events, and shows progress or not.
    fn without_events(&self, progress: bool) {
        self.runs.configure(|settings| {
            settings.client.run_events = false;
            settings.client.progress = progress;
        });
    }

    /// The tokens of the bars that have begun.
    fn tokens(notices: &[Notice]) -> Vec<String> {
        let begun = |notice: &Notice| match notice {
            Notice::Progress(ProgressParams {
                token: NumberOrString::String(token),
                value: ProgressParamsValue::WorkDone(WorkDoneProgress::Begin(_)),
            }) => Some(token.clone()),
            _ => None,
        };
        notices.iter().filter_map(begun).collect()
    }

    /// Waits until so many bars have begun; their tokens.
    async fn progresses(&self, count: usize) -> Vec<String> {
        Self::tokens(&self.client.until(|notices| Self::tokens(notices).len() == count).await)
    }

    /// Waits until the client has seen so many targets end; their events.
    async fn finished(&self, count: usize) -> Vec<Value> {
        let is_end =
            |notice: &Notice| matches!(notice, Notice::RunEvent(event) if event["event"] == "finished");
        self.client.until(|notices| notices.iter().filter(|notice| is_end(notice)).count() == count).await;
        self.client.events()
    }

    /// What the client shows for each file now: the end of its name, and severity and first line of each diagnostic.
    fn shown(&self) -> BTreeMap<String, Vec<String>> {
        let mut shown = BTreeMap::new();
        for notice in self.client.notices() {
            let Notice::Diagnostics(params) = notice else { continue };
            let name = params.uri.path().as_str().rsplit('/').next().unwrap().to_owned();
            let line = |one: Diagnostic| {
                let message = one.message.lines().next().unwrap_or_default().to_owned();
                format!("{}:{:?} {message}", one.range.start.line, one.severity.unwrap())
            };
            shown.insert(name, params.diagnostics.into_iter().map(line).collect());
        }
        shown.retain(|_, list: &mut Vec<_>| !list.is_empty());
        shown
    }

    /// Waits until the client shows what `enough` says.
    async fn until_shown(&self, enough: impl Fn(&BTreeMap<String, Vec<String>>) -> bool) {
        self.client.until(|_| enough(&self.shown())).await;
    }

    async fn until_state(&self, uri: &Uri, name: &str, enough: impl Fn(&TargetState) -> bool) {
        let mut state = {
            let known = self.runs.0.known();
            known.last(uri, &TargetKey::first(name)).unwrap().attempt.state.subscribe()
        };
        state.wait_for(enough).await.unwrap();
    }
}

fn out(text: &[u8]) -> EventKind {
    EventKind::Output(Output { stream: OutputStream::Stdout, data: Bytes::copy_from_slice(text) })
}

fn script(output: &str, verdict: Verdict) -> Script {
    Script {
        events: vec![EventKind::Preparing, out(output.as_bytes())],
        end: ScriptEnd::Finish(verdict.into()),
    }
}

/// A target that runs until it is stopped.
fn endless(output: &str) -> Script {
    let events = vec![
        EventKind::Preparing,
        EventKind::Booting { accelerator: Accelerator::Kvm, attempt: 1 },
        EventKind::CommandStarted,
        out(output.as_bytes()),
    ];
    Script { events, end: ScriptEnd::WaitForCancel(Verdict::Cancelled.into()) }
}

fn failed() -> Verdict {
    Verdict::Failed { exit_code: 3 }
}

fn names(events: &[Value], target: &str) -> Vec<String> {
    let of = events.iter().filter(|event| event["target"] == target);
    of.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_one_gapless_stream_of_events_with_its_documents_uri() {
    let bench = bench([script("hello\n", Verdict::Passed)]);
    let run_id = bench.runs.start(request(&["a"])).unwrap();
    let events = bench.finished(1).await;
    assert_eq!(names(&events, "a"), ["queued", "preparing", "output", "finished"]);
    for (seq, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], seq);
        assert_eq!(event["run_id"], run_id.0.as_str());
        assert_eq!(event["uri"], "file:///project/vmtest.toml");
    }
    assert_eq!(events[2]["text"], "hello\n");
}

#[tokio::test(start_paused = true)]
async fn all_targets_of_a_run_are_queued_in_order_before_anything_else_is_said() {
    let bench = bench([script("", Verdict::Passed), script("", Verdict::Passed), script("", failed())]);
    bench.runs.start(request(&["a", "b", "c"])).unwrap();
    let events = bench.finished(3).await;
    let said =
        |event: &Value| format!("{} {}", event["event"].as_str().unwrap(), event["target"].as_str().unwrap());
    assert_eq!(events[..3].iter().map(said).collect::<Vec<_>>(), ["queued a", "queued b", "queued c"]);
}

#[tokio::test(start_paused = true)]
async fn targets_of_one_name_have_states_of_their_own() {
    let bench = bench([script("", Verdict::Passed), script("", failed())]);
    let request = request(&["a", "a"]);
    let uri = request.uri.clone();
    bench.runs.start(request).unwrap();
    bench.finished(2).await;
    let verdicts: Vec<_> =
        bench
            .runs
            .states(&uri)
            .into_values()
            .map(|state| {
                if let TargetState::Finished { verdict, .. } = state { verdict } else { panic!("{state:?}") }
            })
            .collect();
    assert_eq!(verdicts, [Verdict::Passed, failed()]);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_machine_free_is_queued_and_starts_in_order() {
    let bench =
        bench([endless("first\n"), script("second\n", Verdict::Passed), script("third\n", Verdict::Passed)]);
    let first = bench.runs.start(request(&["a"])).unwrap();
    bench.runs.start(request(&["b", "c"])).unwrap();
    let uri = request(&["a"]).uri;
    bench.until_state(&uri, "a", |state| matches!(state, TargetState::Running { .. })).await;
    assert_eq!(bench.runs.states(&uri)[&TargetKey::first("b")], TargetState::Queued);
    bench.runs.cancel(&first.0);
    let events = bench.finished(3).await;
    let text =
        |event: &Value| Some((event["target"].as_str()?.to_owned(), event["text"].as_str()?.to_owned()));
    // Scripts are played in the order in which targets start.
    let played: BTreeMap<_, _> = events.iter().filter_map(text).collect();
    let expected = [("a", "first\n"), ("b", "second\n"), ("c", "third\n")];
    assert_eq!(played, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}

#[tokio::test(start_paused = true)]
async fn a_queued_target_is_cancelled_at_once_and_alone() {
    let bench = bench([endless(""), script("", Verdict::Passed)]);
    let uri = request(&["a"]).uri;
    let run = bench.runs.start(request(&["a", "b", "c"])).unwrap();
    bench.until_state(&uri, "a", |state| matches!(state, TargetState::Running { .. })).await;
    bench.runs.cancel_target(&uri, &TargetKey::first("b"));
    let cancelled =
        |state: &TargetState| matches!(state, TargetState::Finished { verdict: Verdict::Cancelled, .. });
    bench.until_state(&uri, "b", cancelled).await;
    assert_eq!(bench.runs.states(&uri)[&TargetKey::first("c")], TargetState::Queued);
    bench.runs.cancel_target(&uri, &TargetKey::first("a"));
    bench.finished(3).await;
    assert!(bench.runs.0.known().runs.get(&run.0).is_none_or(|left| !left.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_progress_of_a_target_stops_it() {
    let bench = bench([endless("")]);
    bench.without_events(true);
    let uri = request(&["a"]).uri;
    bench.runs.start(request(&["a"])).unwrap();
    let [token] = bench.progresses(1).await.try_into().unwrap();
    bench.runs.cancel_progress(&token);
    bench.until_state(&uri, "a", |state| !state.is_active()).await;
}

#[tokio::test(start_paused = true)]
async fn progress_is_called_as_its_target_and_unlike_any_other_that_goes_on() {
    let bench = bench([endless(""), endless(""), endless("")]);
    bench.without_events(true);
    bench.runs.configure(|settings| settings.jobs = Some(2));
    let uri = request(&["a"]).uri;
    bench.runs.start(request(&["a", "a"])).unwrap();
    let mut tokens = bench.progresses(2).await;
    tokens.sort();
    assert_eq!(tokens, ["vmtest: a", "vmtest: a (2)"]);
    // The bar of a target that is started over may still be there.
    bench.runs.start(request(&["a"])).unwrap();
    assert_eq!(bench.progresses(3).await[2], "vmtest: a (3)");
    bench.runs.cancel_progress("vmtest: a (3)");
    bench.until_state(&uri, "a", |state| !state.is_active()).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_rests_after_its_end_because_clients_still_clean_up_then() {
    let bench = bench([endless(""), endless(""), endless("")]);
    bench.without_events(true);
    let uri = request(&["a"]).uri;
    let mut count = 0;
    for (pause, expected) in [(0, "vmtest: a"), (1, "vmtest: a (2)"), (4, "vmtest: a")] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let run = bench.runs.start(request(&["a"])).unwrap();
        count += 1;
        assert_eq!(bench.progresses(count).await.last().unwrap(), expected);
        bench.runs.cancel(&run.0);
        bench.until_state(&uri, "a", |state| !state.is_active()).await;
    }
}

/// Notes when machines start and end; each needs a second to end.
#[derive(Default)]
struct Slow(Mutex<Vec<&'static str>>);

impl Executor for Slow {
    fn execute<'a>(
        &'a self,
        _: &'a Target,
        io: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        Box::pin(async move {
            self.0.lock().unwrap().push("start");
            let _ = io.events.send(EventKind::CommandStarted).await;
            io.cancel.cancelled().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.lock().unwrap().push("gone");
            Verdict::Cancelled.into()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_started_again_is_started_over_when_its_old_machine_is_gone() {
    let slow = Arc::new(Slow::default());
    let bench = bench_with(slow.clone());
    bench.runs.configure(|settings| settings.jobs = Some(4));
    let uri = request(&["a"]).uri;
    let running = |state: &TargetState| matches!(state, TargetState::Running { .. });
    bench.runs.start(request(&["a"])).unwrap();
    bench.until_state(&uri, "a", running).await;
    // The one in the middle is stopped before it starts; the last still waits for the first.
    bench.runs.start(request(&["a"])).unwrap();
    bench.runs.start(request(&["a"])).unwrap();
    bench.until_state(&uri, "a", running).await;
    assert_eq!(*slow.0.lock().unwrap(), ["start", "gone", "start"]);
}

#[tokio::test(start_paused = true)]
async fn the_server_leaves_when_all_machines_are_gone_and_starts_no_other() {
    let slow = Arc::new(Slow::default());
    let bench = bench_with(slow.clone());
    let uri = request(&["a"]).uri;
    bench.runs.start(request(&["a", "b"])).unwrap();
    bench.until_state(&uri, "a", |state| matches!(state, TargetState::Running { .. })).await;
    assert!(bench.runs.shutdown(Duration::from_secs(2)).await);
    assert_eq!(*slow.0.lock().unwrap(), ["start", "gone"]);
    assert!(matches!(bench.runs.start(request(&["a"])), Err(Refusal::Sentence(_))));
}

#[tokio::test(start_paused = true)]
async fn the_server_does_not_wait_for_a_machine_longer_than_it_may() {
    let bench = bench_with(Arc::new(Slow::default()));
    let uri = request(&["a"]).uri;
    bench.runs.start(request(&["a"])).unwrap();
    bench.until_state(&uri, "a", |state| matches!(state, TargetState::Running { .. })).await;
    assert!(!bench.runs.shutdown(Duration::from_millis(100)).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_keeps_no_machine_alive() {
    let mut flood = endless("");
    flood.events.extend((0..100).map(|_| out(&vec![b'x'; 100_000])));
    let bench = bench([flood]);
    bench.client.stop_reading();
    bench.runs.start(request(&["a"])).unwrap();
    // Until the guest waits for the client.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(bench.runs.shutdown(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn many_small_outputs_are_few_events_and_nothing_is_lost() {
    let mut many = script("", Verdict::Passed);
    let lines: Vec<_> = (0..2000).map(|number| format!("{number}\n")).collect();
    many.events.extend(lines.iter().map(|line| out(line.as_bytes())));
    let bench = bench([many]);
    bench.runs.start(request(&["a"])).unwrap();
    let events = bench.finished(1).await;
    let texts: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts.concat(), lines.concat());
    assert!(texts.len() < 20, "{}", texts.len());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_shown_while_the_run_goes_on_and_the_verdict_at_its_end() {
    let bench = bench([endless("main.c:2:1: error: bad\n")]);
    bench.write("main.c", "int\nx\n");
    let request = bench.project(&["a"]);
    let uri = request.uri.clone();
    bench.runs.start(request).unwrap();
    bench.until_shown(|shown| shown.get("main.c").is_some_and(|list| list == &["1:Error bad"])).await;
    assert!(bench.runs.states(&uri)[&TargetKey::first("a")].is_active());
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_the_end_is_shown_before_the_last_event() {
    let bench = bench([script("src/a.c:1:1: error: bad\n", Verdict::Failed { exit_code: 1 })]);
    bench.runs.start(bench.project(&["a"])).unwrap();
    bench.finished(1).await;
    let notices = bench.client.notices();
    let place = |what: &dyn Fn(&Notice) -> bool| notices.iter().position(what).unwrap();
    let verdict = place(
        &|notice| matches!(notice, Notice::Diagnostics(params) if params.diagnostics.iter().any(|one| one.code.is_some())),
    );
    let end = place(&|notice| matches!(notice, Notice::RunEvent(event) if event["event"] == "finished"));
    assert!(verdict < end, "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_on_the_targets_header_and_its_places_stay() {
    let bench = bench([script("main.c:2: here\n", failed())]);
    bench.write("main.c", "int\nx\n");
    bench.runs.start(bench.project(&["a"])).unwrap();
    bench.until_shown(|shown| shown.len() == 2).await;
    let shown = bench.shown();
    assert_eq!(shown["main.c"], ["1:Information here"]);
    assert_eq!(shown["vmtest.toml"], ["0:Error Command failed with exit code: 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_passed_keeps_only_what_the_output_called_bad() {
    let bench = bench([script("main.c:1: here\nmain.c:2:1: warning: careful\n", Verdict::Passed)]);
    bench.write("main.c", "int\nx\n");
    bench.runs.start(bench.project(&["a"])).unwrap();
    bench.finished(1).await;
    bench.until_shown(|shown| !shown.is_empty()).await;
    assert_eq!(bench.shown(), BTreeMap::from([("main.c".into(), vec!["1:Warning careful".into()])]));
}

#[tokio::test(start_paused = true)]
async fn the_next_run_clears_what_the_last_one_said() {
    let bench = bench([script("main.c:2: here\n", failed()), endless("")]);
    bench.write("main.c", "int\nx\n");
    bench.runs.start(bench.project(&["a"])).unwrap();
    bench.until_shown(|shown| shown.len() == 2).await;
    bench.runs.start(bench.project(&["a"])).unwrap();
    bench.until_shown(BTreeMap::is_empty).await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_and_closing_clear_what_was_said_and_what_is_remembered() {
    for rename in [true, false] {
        let bench = bench([script("main.c:2: here\n", failed())]);
        bench.write("main.c", "int\nx\n");
        let request = bench.project(&["a"]);
        let uri = request.uri.clone();
        bench.runs.start(request).unwrap();
        bench.until_shown(|shown| shown.len() == 2).await;
        bench.until_state(&uri, "a", |state| !state.is_active()).await;
        if rename {
            bench.runs.document_changed(&uri, &[("b", header(0))]);
        } else {
            bench.runs.forget(&uri);
        }
        bench.until_shown(BTreeMap::is_empty).await;
        assert!(bench.runs.states(&uri).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_diagnostic_moves_with_its_target() {
    let bench = bench([script("", failed())]);
    let request = bench.project(&["a"]);
    let uri = request.uri.clone();
    bench.runs.start(request).unwrap();
    bench.until_shown(|shown| shown.len() == 1).await;
    bench.runs.document_changed(&uri, &[("new", header(0)), ("a", header(1))]);
    let moved = ["10:Error Command failed with exit code: 3"];
    bench.until_shown(|shown| shown.get("vmtest.toml").is_some_and(|list| list == &moved)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_closed_document_ends_unseen() {
    let bench = bench([endless("")]);
    let uri = request(&["a"]).uri;
    let run = bench.runs.start(request(&["a"])).unwrap();
    bench.runs.forget(&uri);
    assert!(bench.runs.states(&uri)[&TargetKey::first("a")].is_active());
    bench.runs.cancel(&run.0);
    bench.finished(1).await;
    assert!(bench.runs.states(&uri).is_empty());
    assert!(bench.shown().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_whole_output_is_in_the_log_that_the_state_names() {
    let bench = bench([script("\u{1b}[31mhello\n", failed())]);
    let request = bench.project(&["a"]);
    let uri = request.uri.clone();
    bench.runs.start(request).unwrap();
    bench.finished(1).await;
    bench.runs.configure(|settings| settings.client.show_document = true);
    let state = bench.runs.states(&uri).remove(&TargetKey::first("a"));
    let Some(TargetState::Finished { log: Some(log), .. }) = state else { panic!("{state:?}") };
    assert_eq!(std::fs::read(&log).unwrap(), b"\x1b[31mhello\n");
    bench.runs.open_log(&uri, &TargetKey::first("a")).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(*bench.client.shown.lock().unwrap(), [uri_of(&log).unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_targets_last_run_replaces_the_one_before() {
    let bench = bench([script("1", failed()), script("2", failed()), script("3", failed())]);
    bench.runs.start(request(&["a", "b"])).unwrap();
    bench.finished(2).await;
    bench.runs.start(request(&["a"])).unwrap();
    bench.finished(3).await;
    while !bench.runs.0.known().runs.is_empty() {
        tokio::task::yield_now().await;
    }
    let mut left: Vec<_> = std::fs::read_dir(bench.folder.path().join("logs"))
        .unwrap()
        .flat_map(|run| std::fs::read_dir(run.unwrap().path()).unwrap())
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .filter(|text| !text.starts_with("vmtest: "))
        .collect();
    left.sort();
    assert_eq!(left, ["2", "3"]);
}

// L3
#[tokio::test(start_paused = true)]
async fn an_execution_that_panics_is_lost_and_the_next_one_runs() {
    let panics = Script { events: vec![], end: ScriptEnd::Panic };
    let bench = bench([panics, script("", Verdict::Passed)]);
    bench.runs.start(request(&["a", "b"])).unwrap();
    let events = bench.finished(2).await;
    let verdicts: Vec<_> = events.iter().filter_map(|event| event["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["lost", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn another_client_gets_lines_and_progress_instead_of_events() {
    let bench = bench([script("hello\n", Verdict::Passed)]);
    bench.without_events(true);
    bench.runs.start(request(&["a"])).unwrap();
    let is_log = |notice: &Notice, wanted: &str| matches!(notice, Notice::Log(_, text) if text == wanted);
    let notices = bench.client.until(|all| all.iter().any(|one| is_log(one, "a: passed (0.0 s)"))).await;
    assert!(notices.iter().any(|notice| is_log(notice, "a | hello")));
    assert_eq!(bench.client.events(), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn the_end_is_a_message_only_where_nothing_else_shows_it() {
    let bench = bench([script("", failed()), script("", Verdict::Passed), script("", failed())]);
    let ends = |notices: &[Notice]| {
        let end = |notice: &Notice| {
            if let Notice::Message(typ, text) = notice { Some((*typ, text.clone())) } else { None }
        };
        let mut ends: Vec<_> = notices.iter().filter_map(end).collect();
        // Targets tell of themselves on their own.
        ends.sort_by(|(_, one), (_, other)| one.cmp(other));
        ends
    };
    bench.without_events(false);
    bench.runs.start(request(&["a", "b"])).unwrap();
    let notices = bench.client.until(|notices| ends(notices).len() == 2).await;
    let said = [
        (MessageType::ERROR, "a: Command failed with exit code: 3 (0.0 s)".to_owned()),
        (MessageType::INFO, "b: passed (0.0 s)".to_owned()),
    ];
    assert_eq!(ends(&notices), said);
    bench.without_events(true);
    bench.runs.start(request(&["c"])).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ends(&bench.client.notices()), said);
}

#[tokio::test(start_paused = true)]
async fn lenses_are_asked_for_anew_about_once_a_second_while_something_runs() {
    let bench = bench([endless("")]);
    bench.runs.configure(|settings| settings.client.lens_refresh = true);
    let runs = bench.runs.clone();
    tokio::spawn(async move { runs.refresh_lenses().await });
    let run = bench.runs.start(request(&["a"])).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let count = *bench.client.refreshes.lock().unwrap();
    assert!((8..14).contains(&count), "{count}");
    bench.runs.cancel(&run.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let count = *bench.client.refreshes.lock().unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(*bench.client.refreshes.lock().unwrap(), count);
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_run_is_refused_or_asked_for() {
    let bench = bench([script("", Verdict::Passed)]);
    bench.trust.set(false);
    assert_eq!(bench.runs.start(request(&["a"])), Err(Refusal::Untrusted));
    assert_eq!(bench.runs.start_or_ask(request(&["a"])), Ok(None));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.client.asked.lock().unwrap().len(), 1);
    assert_eq!(bench.client.events(), Vec::<Value>::new());
    *bench.client.answer.lock().unwrap() = Some("Run once".into());
    assert_eq!(bench.runs.start_or_ask(request(&["a"])), Ok(None));
    bench.finished(1).await;
    assert!(!bench.trust.is_granted());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_ask_is_told_how_to_grant_trust() {
    let bench = bench([]);
    bench.trust.set(false);
    bench.client.cannot_ask.store(true, Ordering::SeqCst);
    assert_eq!(bench.runs.start_or_ask(request(&["a"])), Ok(None));
    let notices = bench.client.until(|notices| !notices.is_empty()).await;
    assert_eq!(notices, [Notice::Message(MessageType::ERROR, trust::HOW_TO.to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_goes_to_the_client_at_once() {
    let bench = bench([endless("x")]);
    let start = Instant::now();
    bench.runs.start(request(&["a"])).unwrap();
    bench.client.until(|_| bench.client.events().iter().any(|event| event["event"] == "output")).await;
    assert!(start.elapsed() < Duration::from_millis(100));
}
