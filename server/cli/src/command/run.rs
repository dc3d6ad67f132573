//! A run: targets from the file or the command line, through the executor, to the reports.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use vmtest_config::Command;
use vmtest_vm::event::{RunEvent, RunId};
use vmtest_vm::executor::Terminal;
use vmtest_vm::runner::{self, Schedule};
use vmtest_vm::verdict::{EXIT_CONFIG, Verdict};

use crate::args::{Format, RunArgs};
use crate::executor::executor;
use crate::paint::Paint;
use crate::project::{self, Project};
use crate::reporter::json::Json;
use crate::reporter::junit::JUnit;
use crate::reporter::live::{self, Live};
use crate::reporter::plain::{Plain, Style};
use crate::reporter::{Clock, Listener, OnFailure, Reporter, Trouble, drive, github};
use crate::shell::{self, Keyboard, Shell};
use crate::signals;
use vmtest_vm::logs::{LogPaths, Logs};

/// Events between the run and its reports; a full channel makes the guests wait.
const EVENTS: usize = 256;

/// With as many descriptors a run works; with fewer some part of it may fail, and say so in words of its own.
const FEWEST_DESCRIPTORS: u64 = 64;

/// Runs what `args` say and gives back the process's exit status.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    if let Err(message) = expect_descriptors() {
        return refuse(&message);
    }
    let project = match project::for_run(args) {
        Ok(project) => project,
        Err(refused) => return refused.report(),
    };
    let run_id = RunId::new();
    let display = match display(args, &project) {
        Ok(display) => display,
        Err(message) => return refuse(&message),
    };
    let outputs = match Outputs::open(args, &project, &run_id) {
        Ok(outputs) => outputs,
        Err(message) => return refuse(&message),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start threads: {error}")),
    };
    let status = runtime.block_on(carry_out(args, project, run_id, display, outputs));
    // A reader of standard input may still wait for a key.
    runtime.shutdown_background();
    ExitCode::from(status)
}

fn expect_descriptors() -> Result<(), String> {
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| format!("cannot ask how many files may be open at once: {error}"))?;
    if allowed < FEWEST_DESCRIPTORS {
        let needed = format!("a run needs {FEWEST_DESCRIPTORS}; try `ulimit -n 1024`");
        return Err(format!("no more than {allowed} files may be open at once, and {needed}"));
    }
    Ok(())
}

fn refuse(message: &str) -> ExitCode {
    crate::say(format_args!("{message}"));
    ExitCode::from(EXIT_CONFIG)
}

async fn carry_out(
    args: &RunArgs,
    project: Project,
    run_id: RunId,
    display: Display,
    outputs: Outputs,
) -> u8 {
    let cancel = CancellationToken::new();
    let received = match signals::watch(&cancel, display != Display::Live) {
        Ok(received) => received,
        Err(error) => {
            crate::say(format_args!("cannot listen to signals: {error}"));
            return EXIT_CONFIG;
        }
    };
    let schedule = Schedule { jobs: args.jobs.number(&project.targets), fail_fast: args.fail_fast };
    let (terminal, keyboard) = match display {
        Display::Shell => {
            let (terminal, keyboard) = shell::connect(cancel.clone());
            (Some(terminal), Some(keyboard))
        }
        _ => (None, None),
    };
    let listeners = listeners(args, &project, display, outputs, keyboard, &cancel);
    let executor = executor(&args.guests);
    let (events, reported) = report(listeners, &cancel);
    let verdicts = run_targets(run_id, project, schedule, executor, events, &cancel, terminal).await;
    // The thread is gone without a word only when it panicked.
    let Ok(trouble) = reported.await else { return 101 };
    signals::exit_status(&verdicts, received.number(), &trouble)
}

async fn run_targets(
    run_id: RunId,
    project: Project,
    schedule: Schedule,
    executor: Arc<dyn vmtest_vm::executor::Executor>,
    events: mpsc::Sender<RunEvent>,
    cancel: &CancellationToken,
    terminal: Option<Terminal>,
) -> Vec<Verdict> {
    runner::run(run_id, project.targets, schedule, executor, events, cancel.clone(), terminal).await
}

/// Starts the thread that writes. It may block on a slow reader; then the guests wait, and signals are still heard.
fn report(
    listeners: Vec<Listener>,
    cancel: &CancellationToken,
) -> (mpsc::Sender<RunEvent>, oneshot::Receiver<Trouble>) {
    let (events, receiver) = mpsc::channel(EVENTS);
    let (done, reported) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let cancel = cancel.clone();
    let clock = clock();
    std::thread::spawn(move || {
        // When this thread panics, nobody would see what the guests do.
        let _stop = cancel.clone().drop_guard();
        let _ = done.send(runtime.block_on(drive(receiver, listeners, clock, cancel)));
    });
    (events, reported)
}

fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// What standard output is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Display {
    Json,
    Live,
    Plain,
    Shell,
}

fn display(args: &RunArgs, project: &Project) -> Result<Display, String> {
    if let Some(target) = project.targets.iter().find(|target| target.command == Command::Interactive) {
        if project.targets.len() > 1 {
            return Err(format!(
                "target `{}` is an interactive shell and needs the terminal for itself: run it alone with -f",
                target.name
            ));
        }
        if args.format == Format::Json {
            return Err("a shell needs standard output for itself: leave out --format json".to_owned());
        }
        return Ok(Display::Shell);
    }
    let wants_ui = std::env::var_os("VMTEST_NO_UI").is_none()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
        && !in_github_actions();
    Ok(match args.format {
        Format::Json => Display::Json,
        Format::Human if wants_ui && io::stdout().is_terminal() => Display::Live,
        Format::Human => Display::Plain,
    })
}

fn in_github_actions() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// The files of a run, opened before anything boots.
struct Outputs {
    junit: Option<(PathBuf, JUnit)>,
    logs: Option<(Logs, OnFailure)>,
}

impl Outputs {
    fn open(args: &RunArgs, project: &Project, run_id: &RunId) -> Result<Self, String> {
        let targets = project.targets.len();
        let junit = match &args.junit {
            None => None,
            Some(file) => {
                let junit = JUnit::create(file, project.places.clone())
                    .map_err(|error| format!("cannot write the JUnit report {}: {error}", file.display()))?;
                Some((file.clone(), junit))
            }
        };
        let logs = match &args.log_dir {
            Some(folder) => {
                let logs = Logs::create(folder.clone(), targets)
                    .map_err(|error| format!("cannot write logs to {}: {error}", folder.display()))?;
                Some((logs, OnFailure::FailAtEnd))
            }
            None => Logs::create_default(&run_id.0, targets).map(|logs| (logs, OnFailure::Ignore)),
        };
        Ok(Self { junit, logs })
    }
}

fn listeners(
    args: &RunArgs,
    project: &Project,
    display: Display,
    outputs: Outputs,
    keyboard: Option<Keyboard>,
    cancel: &CancellationToken,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let paths = outputs.logs.as_ref().map(|(logs, _)| logs.paths()).unwrap_or_default();
    listeners.push(Listener {
        reporter: terminal_reporter(args, project, display, paths, keyboard, cancel),
        writes: "to standard output".to_owned(),
        on_failure: OnFailure::CancelRun,
    });
    // Behind the one that has made the terminal raw.
    #[cfg(debug_assertions)]
    listeners.extend(crate::reporter::fault::listener());
    if let Some((logs, on_failure)) = outputs.logs {
        listeners.push(Listener { reporter: Box::new(logs), writes: "the logs".to_owned(), on_failure });
    }
    if let Some((file, junit)) = outputs.junit {
        listeners.push(Listener {
            reporter: Box::new(junit),
            writes: format!("the JUnit report {}", file.display()),
            on_failure: OnFailure::FailAtEnd,
        });
    }
    let summary =
        std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| in_github_actions() && !file.is_empty());
    if let Some(file) = summary {
        listeners.push(Listener {
            reporter: Box::new(github::JobSummary::new(PathBuf::from(file))),
            writes: "the job summary".to_owned(),
            on_failure: OnFailure::Ignore,
        });
    }
    listeners
}

fn terminal_reporter(
    args: &RunArgs,
    project: &Project,
    display: Display,
    logs: LogPaths,
    keyboard: Option<Keyboard>,
    cancel: &CancellationToken,
) -> Box<dyn Reporter> {
    let style = Style {
        one_liner: project.one_liner,
        verbose: args.verbose,
        github: in_github_actions().then(|| github::Commands::new(project.places.clone())),
    };
    match (display, keyboard) {
        (Display::Json, _) => Box::new(Json::new(io::stdout())),
        (Display::Live, _) => {
            let options = live::Options {
                targets: project.targets.len(),
                one_liner: project.one_liner,
                verbose: args.verbose,
                paint: Paint::for_terminal(true),
                logs,
                clock: clock(),
                size: Box::new(|| {
                    let (rows, columns) = console::Term::stdout().size();
                    (rows.into(), columns.into())
                }),
                cancel: cancel.clone(),
            };
            Box::new(Live::new(io::stdout(), options))
        }
        (Display::Shell, Some(keyboard)) => {
            // A shell's verdict is what the user saw.
            let style = Style { one_liner: true, github: None, ..style };
            Box::new(Shell::new(Plain::new(io::stdout(), io::stderr(), style), keyboard))
        }
        (Display::Plain | Display::Shell, _) => Box::new(Plain::new(io::stdout(), io::stderr(), style)),
    }
}
