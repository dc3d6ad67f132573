//! Guests that are kept before anybody runs anything.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmtest_tests::clean::Process;
use vmtest_tests::{Invocation, Project, target};

use crate::client::{Client, diagnostics};
use crate::stop::machine_is_gone;
use crate::workspace::{self, event, is_event};

/// How long a machine may take that lets everything else go first.
const LIMIT: Duration = Duration::from_secs(150);

/// In place of QEMU: notes what it was started with.
const TELLTALE: &str = "#!/bin/sh\necho \"$0 $*\" >>\"${0%/*}/started\"\nexit 1\n";

/// What a trusting user sets.
fn switched_on() -> Value {
    json!({ "trusted": true, "warmSnapshots": true })
}

/// A project without a guest, on a machine of which is known whether KVM works: so that whatever boots here does so under the
/// same accelerator, a run as well as what it interrupts.
fn project() -> Project {
    static KNOWN: LazyLock<()> = LazyLock::new(|| {
        Project::one("true").run().expect_status(0);
    });
    LazyLock::force(&KNOWN);
    Project::one("true").without_snapshots()
}

/// Opens the project in an editor that shows runs.
fn open(invocation: Invocation<'_>, project: &Project, options: &Value) -> Client {
    let mut client = Client::of(invocation);
    client.initialize(json!({
        "capabilities": workspace::showing_runs(),
        "workspaceFolders": [{ "uri": workspace::uri(project.dir()), "name": "project" }],
        "initializationOptions": options,
    }));
    client.open(&workspace::toml(project), &project.read("vmtest.toml"));
    client
}

/// Waits until there is what is asked for; what comes from other processes gives no event to wait for.
#[track_caller]
fn wait_for<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "there is no {what} after {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a QEMU runs; its number.
#[track_caller]
fn machine(client: &mut Client) -> i32 {
    let running = client.running();
    let find = || running.processes().into_iter().find(|process| process.name.starts_with("qemu"));
    wait_for("QEMU", find).pid
}

/// The files of guests that are kept, or were to be.
fn kept(project: &Project) -> Vec<PathBuf> {
    let files = fs::read_dir(project.snapshots()).into_iter().flatten().flatten().map(|file| file.path());
    files.filter(|path| path.extension().is_some_and(|found| found != "lock")).collect()
}

/// Runs the target to its end; how its guest came to life, and why it booted.
fn run(client: &mut Client, project: &Project) -> (Value, Value) {
    client.result("vmtest/run", json!({ "uri": workspace::toml(project) }));
    let booted = client.until(|message| is_event(message, "t", "booted"));
    client.until(|message| is_event(message, "t", "finished"));
    let booted = event(&booted).expect("it was just looked at");
    (booted["start"].clone(), booted["cold_because"].clone())
}

/// A file that is opened, and a run when its guest is there.
struct Story {
    nice: String,
    /// What the server said until then.
    said: Vec<Value>,
    /// Lenses and states while the machine ran.
    shown: (Vec<String>, Value),
    start: Value,
    /// What ran when the file had been opened again, and its guest was found.
    opened_again: Vec<Process>,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let project = project();
    // Others would go first.
    let invocation = project.vmtest(["lsp"]).env("VMTEST_LOG", "vmtest_lsp=info").with_many_machines();
    let mut client = open(invocation, &project, &switched_on());
    let stat = fs::read_to_string(format!("/proc/{}/stat", machine(&mut client))).unwrap();
    let after_name = stat.rsplit_once(") ").expect("its name stands in parentheses").1;
    let nice = after_name.split(' ').nth(16).expect("proc_pid_stat(5) has it").to_owned();
    let titles = workspace::titles(&mut client, &project);
    let targets = client.result("vmtest/targets", json!({ "uri": workspace::toml(&project) }));
    client.running().wait_for_error("KeptNow");
    machine_is_gone(&mut client);
    client.result("vmtest/targets", json!({ "uri": workspace::toml(&project) }));
    let said = client.seen.clone();
    let (start, _) = run(&mut client, &project);
    let document = json!({ "textDocument": { "uri": workspace::toml(&project) } });
    client.notify("textDocument/didClose", document);
    client.open(&workspace::toml(&project), &project.read("vmtest.toml"));
    client.running().wait_for_error("AlreadyKept");
    let opened_again = client.running().processes();
    client.goodbye();
    Story { nice, said, shown: (titles, targets[0]["state"].clone()), start, opened_again }
});

#[test]
fn a_run_of_a_file_that_was_opened_resumes_the_guest_that_was_kept_for_it() {
    assert_eq!(STORY.start, "snapshot");
}

#[test]
fn where_a_guest_is_kept_no_machine_is_started() {
    assert!(STORY.opened_again.is_empty(), "{:?}", STORY.opened_again);
}

#[test]
fn a_machine_that_nobody_asked_for_lets_everything_else_go_first() {
    assert_eq!(STORY.nice, "19");
}

#[test]
fn the_user_sees_nothing_of_it() {
    assert_eq!(STORY.shown.1, json!({ "phase": "idle" }));
    assert!(STORY.shown.0.contains(&"▶ Run in VM".to_owned()), "{:?}", STORY.shown.0);
    let methods: Vec<_> = STORY.said.iter().filter_map(|message| message["method"].as_str()).collect();
    let harmless = ["textDocument/publishDiagnostics", "workspace/inlayHint/refresh"];
    assert!(methods.iter().all(|method| harmless.contains(method)), "{methods:?}");
}

/// What the machine is asked to start when a project with these targets, in which a telltale is in place of QEMU, is opened
/// with these options, until `enough` holds.
fn started(toml: &str, options: &Value, enough: impl Fn(&mut Client, &Project)) -> String {
    let project = Project::new(toml).without_snapshots();
    for name in ["qemu-system-x86_64", "evil"] {
        project.write_program(name, TELLTALE);
    }
    let path = format!("{}:{}", project.dir().display(), vmtest_tests::machine::PATH);
    let invocation = project.vmtest(["lsp"]).env("PATH", path).leaves(["started"]).without_machine();
    let mut client = open(invocation, &project, options);
    enough(&mut client, &project);
    client.goodbye();
    assert_eq!(kept(&project), Vec::<PathBuf>::new());
    fs::read_to_string(project.dir().join("started")).unwrap_or_default()
}

/// Until the kernel of a target has been looked at, and a second file that is not there.
fn looked_at(client: &mut Client, project: &Project) {
    let toml = workspace::toml(project);
    client.until(|message| diagnostics(message, &toml).is_some_and(|found| !found.is_empty()));
}

/// Until something was started.
fn something_started(_: &mut Client, project: &Project) {
    wait_for("start", || project.dir().join("started").exists().then_some(()));
}

/// A good target, and one whose kernel is not there.
fn two_targets() -> String {
    target("t", "", "true") + "[[target]]\nname = 'missing'\nkernel = './none'\ncommand = 'true'\n"
}

#[test]
fn the_telltale_tells_what_is_started() {
    // Else the tests that follow would prove nothing.
    let said = started(&two_targets(), &switched_on(), something_started);
    assert!(said.contains("/qemu-system-x86_64 -nodefaults"), "{said}");
}

#[test]
fn a_file_that_is_not_trusted_starts_nothing() {
    assert_eq!(started(&two_targets(), &json!({ "warmSnapshots": true }), looked_at), "");
}

#[test]
fn nothing_is_started_without_the_setting() {
    assert_eq!(started(&two_targets(), &json!({ "trusted": true }), looked_at), "");
}

#[test]
fn programs_and_arguments_of_the_users_own_are_never_used() {
    // In the order of the file: when the last is started, the others have been passed over.
    let toml = [
        target("program", "qemu_command = './evil'", "true"),
        target("arguments", "[target.vm]\nextra_args = ['-name', 'evil']", "true"),
        "[[target]]\nname = 'image'\nimage = './evil'\ncommand = 'true'\n".to_owned(),
        target("t", "", "true"),
    ];
    let said = started(&toml.concat(), &switched_on(), something_started);
    assert!(said.contains("/qemu-system-x86_64 -nodefaults") && !said.contains("evil"), "{said}");
}

#[test]
fn closing_the_file_ends_the_machine_and_leaves_nothing() {
    let project = project();
    let mut client = open(project.vmtest(["lsp"]), &project, &switched_on());
    machine(&mut client);
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": workspace::toml(&project) } }));
    machine_is_gone(&mut client);
    assert_eq!(kept(&project), Vec::<PathBuf>::new());
    client.goodbye();
}

#[test]
fn the_machine_ends_with_the_server() {
    let project = project();
    let mut client = open(project.vmtest(["lsp"]), &project, &switched_on());
    machine(&mut client);
    client.close();
    client.ended().expect_status(1);
    assert_eq!(kept(&project), Vec::<PathBuf>::new());
}

#[test]
fn a_run_that_comes_meanwhile_is_not_held_up_and_keeps_its_own_guest() {
    let project = project();
    let mut client = open(project.vmtest(["lsp"]), &project, &switched_on());
    machine(&mut client);
    assert_eq!(run(&mut client, &project), (json!("cold"), json!("there is no snapshot yet")));
    assert_eq!(run(&mut client, &project).0, "snapshot");
    client.goodbye();
}
