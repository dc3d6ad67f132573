//! What is warmed up, and when it is called off, as a client sees it that sees nothing: an executor tells of every attempt,
//! and a test decides how it ends.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use vmtest_config::{KernelSource, System};
use vmtest_vm::event::Finished;
use vmtest_vm::executor::{TargetIo, Warmed};
use vmtest_vm::verdict::Verdict;

use super::*;
use crate::testing::{TestClient, URI, modern};

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(10);

/// What was asked of the executor.
#[derive(Debug)]
enum Asked {
    Warm(Asking),
    Run,
}

/// An attempt that waits for its end.
#[derive(Debug)]
struct Asking {
    /// The file name of its kernel.
    kernel: String,
    cancel: CancellationToken,
    end: oneshot::Sender<Warmed>,
}

impl Asking {
    fn end(self, warmed: Warmed) {
        self.end.send(warmed).expect("it is waited for");
    }

    /// Waits until it is called off, and ends it.
    async fn called_off(self) {
        tokio::time::timeout(LIMIT, self.cancel.cancelled()).await.expect("it is called off");
        self.end(Warmed::Cancelled);
    }
}

/// Tells what it is asked.
struct Teller(mpsc::UnboundedSender<Asked>);

impl Executor for Teller {
    fn execute<'a>(
        &'a self,
        _: &'a Target,
        _: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        let _ = self.0.send(Asked::Run);
        Box::pin(std::future::ready(Verdict::Passed.into()))
    }

    fn warm<'a>(
        &'a self,
        target: &'a Target,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Warmed> + Send + 'a>> {
        let System::Kernel(system) = &target.system else { panic!("{target:?}") };
        let KernelSource::Path(kernel) = &system.source else { panic!("{target:?}") };
        let kernel = kernel.file_name().unwrap().to_str().unwrap().to_owned();
        let (end, ended) = oneshot::channel();
        self.0.send(Asked::Warm(Asking { kernel, cancel, end })).expect("the test listens");
        Box::pin(async { ended.await.expect("the test ends it") })
    }
}

struct Bench {
    client: TestClient,
    asked: mpsc::UnboundedReceiver<Asked>,
}

impl Bench {
    async fn with(options: Value) -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        Self { client: TestClient::of(Arc::new(Teller(sender)), modern(), options).await, asked }
    }

    /// In a trusted workspace, switched on.
    async fn new() -> Self {
        Self::with(json!({ "trusted": true, "warmSnapshots": true })).await
    }

    async fn next(&mut self) -> Asked {
        tokio::time::timeout(LIMIT, self.asked.recv()).await.expect("it is asked").expect("it is there")
    }

    /// The next thing that is asked, which must be to warm this kernel up.
    async fn warms(&mut self, kernel: &str) -> Asking {
        match self.next().await {
            Asked::Warm(asking) if asking.kernel == kernel => asking,
            other => panic!("{other:?}"),
        }
    }

    /// Fails when anything is asked by the time that the server has heard everything.
    async fn rests(&mut self) {
        for _ in 0..3 {
            self.client.request("vmtest/none", json!({})).await;
        }
        if let Ok(asked) = self.asked.try_recv() {
            panic!("{asked:?}");
        }
    }

    async fn open_as(&mut self, uri: &str, text: &str) {
        let document = json!({ "uri": uri, "languageId": "toml", "version": 1, "text": text });
        self.client.notify("textDocument/didOpen", json!({ "textDocument": document })).await;
        self.client.expect("textDocument/publishDiagnostics").await;
    }

    async fn about(&mut self, method: &str, uri: &str) {
        self.client.notify(method, json!({ "textDocument": { "uri": uri } })).await;
    }

    async fn close(&mut self, uri: &str) {
        self.about("textDocument/didClose", uri).await;
    }

    async fn change(&mut self, text: &str) {
        let changed = json!({ "uri": URI, "version": 2 });
        let params = json!({ "textDocument": changed, "contentChanges": [{ "text": text }] });
        self.client.notify("textDocument/didChange", params).await;
        self.client.expect("textDocument/publishDiagnostics").await;
    }

    async fn configure(&mut self, settings: Value) {
        let params = json!({ "settings": { "vmtest": settings } });
        self.client.notify("workspace/didChangeConfiguration", params).await;
    }

    async fn trust(&mut self, trusted: bool) {
        self.client.notify("vmtest/didChangeTrust", json!({ "trusted": trusted })).await;
    }

    async fn end(mut self) {
        self.rests().await;
        // Fails unless the client has heard nothing but what the test has read.
        self.client.end().await;
    }
}

/// A target with this kernel.
fn target(kernel: &str) -> String {
    format!("[[target]]\nname = '{kernel}'\nkernel = './{kernel}'\ncommand = 'c'\n")
}

#[tokio::test]
async fn kernels_are_warmed_up_one_after_the_other_and_each_once() {
    let mut bench = Bench::new().await;
    let other_command = target("one").replace("'c'", "'d'");
    bench.client.open(&[target("one"), other_command, target("two")].concat()).await;
    let one = bench.warms("one").await;
    bench.rests().await;
    one.end(Warmed::KeptNow);
    bench.warms("two").await.end(Warmed::AlreadyKept);
    bench.end().await;
}

#[tokio::test]
async fn a_machine_of_its_own_is_one_more_to_warm_up() {
    let mut bench = Bench::new().await;
    let larger = target("one") + "[target.vm]\nmemory = '8G'\n";
    bench.client.open(&(target("one") + &larger)).await;
    for _ in 0..2 {
        bench.warms("one").await.end(Warmed::KeptNow);
    }
    bench.end().await;
}

#[tokio::test]
async fn nothing_is_warmed_up_unless_it_is_switched_on() {
    let mut bench = Bench::with(json!({ "trusted": true })).await;
    bench.client.open(&target("one")).await;
    bench.rests().await;
    bench.configure(json!({ "warmSnapshots": true })).await;
    let one = bench.warms("one").await;
    // What a notification does not name stays as it is.
    bench.configure(json!({ "jobs": 2 })).await;
    bench.rests().await;
    assert!(!one.cancel.is_cancelled());
    bench.configure(json!({ "warmSnapshots": null })).await;
    one.called_off().await;
    bench.end().await;
}

#[tokio::test]
async fn nothing_is_warmed_up_without_trust() {
    let mut bench = Bench::with(json!({ "warmSnapshots": true })).await;
    bench.client.open(&target("one")).await;
    bench.rests().await;
    bench.trust(true).await;
    let one = bench.warms("one").await;
    bench.trust(false).await;
    one.called_off().await;
    bench.rests().await;
    bench.trust(true).await;
    bench.warms("one").await.end(Warmed::KeptNow);
    bench.end().await;
}

#[tokio::test]
async fn trust_is_never_taken_from_a_setting() {
    let mut bench = Bench::with(json!({})).await;
    bench.client.open(&target("one")).await;
    bench.configure(json!({ "warmSnapshots": true, "trusted": true })).await;
    bench.end().await;
}

#[tokio::test]
async fn trust_that_a_question_brought_warms_up_when_its_run_is_over() {
    let (sender, asked) = mpsc::unbounded_channel();
    let options = json!({ "warmSnapshots": true });
    let client = TestClient::of(Arc::new(Teller(sender)), json!({}), options).await;
    let mut bench = Bench { client, asked };
    bench.client.open(&target("one")).await;
    let argument = json!({ "uri": URI, "name": "one", "index": 0 });
    let command = json!({ "command": "vmtest.server.run", "arguments": [argument] });
    bench.client.result("workspace/executeCommand", command).await;
    let question = bench.client.next().await;
    bench.client.reply(&question, Ok(json!({ "title": "Trust until the server ends" }))).await;
    // Trust comes a moment before the run.
    let mut has_run = false;
    let warming = loop {
        match bench.next().await {
            Asked::Run => has_run = true,
            Asked::Warm(asking) if has_run => break asking,
            Asked::Warm(asking) => asking.called_off().await,
        }
    };
    warming.end(Warmed::AlreadyKept);
    bench.client.drain().await;
    bench.end().await;
}

#[tokio::test]
async fn closing_the_file_calls_it_off_unless_another_needs_the_same() {
    let mut bench = Bench::new().await;
    let other = "file:///nonexistent/other/vmtest.toml";
    let absolute = target("one").replace("./one", "/boot/one");
    bench.client.open(&absolute).await;
    let one = bench.warms("one").await;
    bench.open_as(other, &absolute).await;
    bench.rests().await;
    bench.close(URI).await;
    bench.rests().await;
    assert!(!one.cancel.is_cancelled());
    bench.close(other).await;
    one.called_off().await;
    bench.end().await;
}

#[tokio::test]
async fn a_file_that_is_opened_again_is_warmed_up_again() {
    let mut bench = Bench::new().await;
    for _ in 0..2 {
        bench.client.open(&target("one")).await;
        bench.warms("one").await.end(Warmed::AlreadyKept);
        bench.rests().await;
        bench.close(URI).await;
        bench.rests().await;
    }
    bench.end().await;
}

#[tokio::test]
async fn what_came_of_it_is_never_told_and_never_tried_again() {
    let mut bench = Bench::new().await;
    bench.client.open(&target("one")).await;
    bench.warms("one").await.end(Warmed::NotKept("the disk is full".to_owned()));
    bench.rests().await;
    bench.about("textDocument/didSave", URI).await;
    bench.configure(json!({ "warmSnapshots": true })).await;
    bench.end().await;
}

#[tokio::test]
async fn saving_warms_up_what_is_new_and_calls_off_what_is_gone() {
    let mut bench = Bench::new().await;
    bench.client.open(&target("one")).await;
    let one = bench.warms("one").await;
    bench.change(&target("two")).await;
    bench.rests().await;
    assert!(!one.cancel.is_cancelled(), "a text that is being edited");
    bench.about("textDocument/didSave", URI).await;
    one.called_off().await;
    bench.warms("two").await.end(Warmed::KeptNow);
    bench.end().await;
}

#[tokio::test]
async fn a_text_with_errors_warms_nothing_up() {
    let mut bench = Bench::new().await;
    bench.client.open(&(target("one") + "[[target]]\nname = 'broken'\n")).await;
    bench.end().await;
}

#[tokio::test]
async fn a_run_begins_when_the_warming_is_gone_and_it_goes_on_after_the_run() {
    let mut bench = Bench::new().await;
    bench.client.open(&target("one")).await;
    let one = bench.warms("one").await;
    bench.client.result("vmtest/run", json!({ "uri": URI })).await;
    bench.client.drain().await;
    assert!(bench.asked.try_recv().is_err(), "it runs beside the warming");
    one.called_off().await;
    assert!(matches!(bench.next().await, Asked::Run));
    bench.warms("one").await.end(Warmed::AlreadyKept);
    bench.client.drain().await;
    bench.end().await;
}

#[tokio::test]
async fn a_run_that_waits_for_the_end_of_the_warming_can_be_stopped() {
    let mut bench = Bench::new().await;
    bench.client.open(&target("one")).await;
    let one = bench.warms("one").await;
    let run = bench.client.result("vmtest/run", json!({ "uri": URI })).await;
    bench.client.result("vmtest/cancel", run).await;
    loop {
        let message = bench.client.next().await;
        if message["params"]["event"] == "finished" {
            assert_eq!(message["params"]["verdict"], "cancelled");
            break;
        }
    }
    one.called_off().await;
    bench.warms("one").await.end(Warmed::KeptNow);
    bench.client.drain().await;
    bench.end().await;
}

#[tokio::test]
async fn an_executor_that_panics_costs_one_attempt() {
    let mut bench = Bench::new().await;
    bench.client.open(&(target("one") + &target("two"))).await;
    // Who waits for its end is told that nobody will say it.
    drop(bench.warms("one").await);
    bench.warms("two").await.end(Warmed::KeptNow);
    bench.end().await;
}

#[tokio::test]
async fn the_server_leaves_when_the_warming_is_gone() {
    let mut bench = Bench::new().await;
    bench.client.open(&target("one")).await;
    let one = bench.warms("one").await;
    bench.client.close();
    one.called_off().await;
    assert_eq!(bench.client.ended().await, 1);
}
