//! One target from kernel to verdict, in order. [`Run::carry_out`] names every step.

mod booting;
mod errand;
mod keeping;
mod warming;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use errand::Errand;
use futures::future::{Fuse, FusedFuture as _, FutureExt as _};
use keeping::Keeping;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmtest_config::{Command, Target};
use vmtest_guest::wire::Exit;
use warming::Purpose;

use crate::agent_client::AgentClient;
use crate::clock::Clock;
use crate::decide::{self, Limits, Report, RunEnd, Sign, Step};
use crate::event::{Accelerator, Durations, EventKind, Finished, LostWrites, ShareKind};
use crate::executor::{Executor, TargetIo, Warmed};
use crate::image::GuestError;
use crate::job::Attached;
use crate::live::{Live, gone};
use crate::modules::Links;
use crate::prepare::{self, Prepared};
use crate::qemu::monitor::MonitorEvent;
use crate::qemu::process::{self, Process};
use crate::snapshot::Snapshots;
use crate::sources::{self, Sources};
use crate::stream::Control;
use crate::typing::Typing;
use crate::verdict::Verdict;
use crate::virtiofsd;

/// Runs targets in QEMU.
#[derive(Debug)]
pub struct QemuExecutor {
    cache: PathBuf,
    /// None where every guest is to boot.
    snapshots: Option<Snapshots>,
    /// None to choose what is best.
    share_kind: Option<ShareKind>,
    virtiofsd: Arc<virtiofsd::Known>,
    /// What was said once and need not be said for every target.
    said: Mutex<BTreeSet<String>>,
}

impl QemuExecutor {
    /// Keeps what it learns (broken KVM, module indexes) and guests that have booted under `cache`, which need not exist.
    pub fn new(cache: &Path) -> Self {
        Self {
            cache: cache.to_owned(),
            snapshots: Some(Snapshots::new(cache)),
            share_kind: None,
            virtiofsd: Arc::default(),
            said: Mutex::default(),
        }
    }

    /// Boots every guest, and keeps none.
    #[must_use]
    pub fn cold(self) -> Self {
        Self { snapshots: None, ..self }
    }

    /// Shares directories this way and no other.
    #[must_use]
    pub fn share_by(self, kind: ShareKind) -> Self {
        Self { share_kind: Some(kind), ..self }
    }

    /// Makes everything that the target boots a file of this machine. What cannot run is refused before it is fetched.
    async fn fetch_sources<'t>(&self, target: &'t Target, io: &TargetIo) -> Result<Sources<'t>, Verdict> {
        prepare::supported(target).map_err(Verdict::BootFailed)?;
        sources::fetch(target, &self.cache, &io.events, &io.cancel).await
    }

    /// The same, with nothing said yet.
    fn unheard(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            snapshots: self.snapshots.clone(),
            share_kind: self.share_kind,
            virtiofsd: self.virtiofsd.clone(),
            said: Mutex::default(),
        }
    }
}

impl Executor for QemuExecutor {
    fn execute<'a>(
        &'a self,
        target: &'a Target,
        io: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        Box::pin(async move {
            let started = Instant::now();
            let sources = match self.fetch_sources(target, &io).await {
                Ok(sources) => sources,
                Err(verdict) => {
                    let durations = Durations { total: started.elapsed(), ..Durations::default() };
                    return Finished { durations, ..Finished::from(verdict) };
                }
            };
            let mut run = Run::new(self, &sources.target, io, Purpose::Command);
            let (verdict, lost_writes) = match run.carry_out().await {
                Ok(ended) => ended,
                Err(verdict) => (sources.explain(verdict), LostWrites::default()),
            };
            let settled = tokio::select! {
                settled = run.keeping.settle() => settled,
                // What has no name yet goes with us.
                () = run.io.cancel.cancelled() => Ok(()),
            };
            if let Err(error) = settled {
                run.notice(format!("the guest is not kept, so the next run boots, too: {error}")).await;
            }
            let durations = Durations { total: started.elapsed(), ..run.durations };
            Finished { verdict, durations, lost_writes }
        })
    }

    fn warm<'a>(
        &'a self,
        target: &'a Target,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Warmed> + Send + 'a>> {
        Box::pin(warming::warm(self, target, cancel))
    }
}

struct Run<'a> {
    target: &'a Target,
    executor: &'a QemuExecutor,
    io: TargetIo,
    durations: Durations,
    keeping: Keeping,
    purpose: Purpose,
    /// None to choose what is best.
    share_kind: Option<ShareKind>,
}

/// A guest whose agent has answered.
struct Booted {
    live: Live,
    monitor: mpsc::UnboundedReceiver<MonitorEvent>,
}

/// Module indexes that are being made.
struct Indexes {
    made: JoinHandle<Result<(), String>>,
    call_off: CancellationToken,
}

/// What is known of a guest that was up, when its machine is gone.
struct Ran {
    end: RunEnd,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(executor: &'a QemuExecutor, target: &'a Target, io: TargetIo, purpose: Purpose) -> Self {
        Self {
            target,
            executor,
            io,
            durations: Durations::default(),
            keeping: Keeping::new(executor.snapshots.clone()),
            purpose,
            share_kind: executor.share_kind,
        }
    }
}

impl Run<'_> {
    /// Everything, in order. An error is a verdict that was reached before there was a guest.
    async fn carry_out(&mut self) -> Result<(Verdict, LostWrites), Verdict> {
        // Refusals first: they need no machine and no time.
        prepare::supported(self.target).map_err(Verdict::BootFailed)?;
        self.say(EventKind::Preparing).await;
        // Reads the kernel and builds the initramfs, or opens the image; everything that can be wrong before QEMU starts is said
        // here.
        let mut prepared = self.prepare().await?;
        // What the guest needs later than its boot is made meanwhile.
        let indexes = prepared.indexes().cloned().map(|links| self.make_indexes(links));
        // KVM where it works, else TCG; the first answer of the agent ends it. An image's shares are mounted before it is said that it
        // is up, because only then it is known how they reach it.
        let booted = self.get_up(&mut prepared).await;
        if let Some(indexes) = indexes {
            self.wait_for_indexes(indexes, booted.is_ok()).await;
        }
        let booted = booted?;
        // By a job for our guest init, which carries the clock and fresh random bytes and so is written only now; in an image by its
        // own agent. The command's own time starts when the guest says that it runs; set-up belongs to the boot's limit.
        let mut ran = self.run_to_end(&prepared, booted).await;
        // A guest that was resumed, and came to grief before its command could run, without a word of its kernel, boots instead.
        if let Some(suspect) = self.boots_after(&ran).await {
            let booted = self.get_up(&mut prepared).await?;
            let resumed = std::mem::replace(&mut ran, self.run_to_end(&prepared, booted).await);
            if ran.report.may_have_run {
                suspect.convict(&resumed.end.to_string());
            }
        }
        let Ran { end, report } = ran;
        let verdict = decide::verdict(&end, &report, self.target.fail_on_kernel_bug);
        let lost_writes = match end {
            RunEnd::Ended(exit) => lost_writes(&exit),
            _ => LostWrites::default(),
        };
        Ok((verdict, lost_writes))
    }

    fn limits(&self, accelerator: Accelerator) -> Limits {
        self.purpose.limits(self.target, accelerator)
    }

    async fn say(&self, event: EventKind) {
        // A listener that is gone does not change what happens.
        let _ = self.io.events.send(event).await;
    }

    async fn notice(&self, message: String) {
        self.say(EventKind::Notice { message }).await;
    }

    /// Says what is true of this machine, and not of one target.
    async fn notice_once(&self, subject: &str, message: String) {
        let new = self.executor.said.lock().expect("no holder panics").insert(subject.to_owned());
        if new {
            self.notice(message).await;
        }
    }

    async fn prepare(&mut self) -> Result<Prepared, Verdict> {
        let started = Instant::now();
        let (target, cache) = (self.target.clone(), self.executor.cache.clone());
        let (wanted, virtiofsd) = (self.share_kind, self.executor.virtiofsd.clone());
        let work = tokio::task::spawn_blocking(move || prepare::prepare(&target, &cache, wanted, &virtiofsd));
        let prepared = tokio::select! {
            () = self.io.cancel.cancelled() => return Err(Verdict::Cancelled),
            prepared = work => prepared,
        };
        self.durations.prepare += started.elapsed();
        let prepared = match prepared {
            Ok(prepared) => prepared.map_err(Verdict::BootFailed)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        for notice in &prepared.notices {
            self.notice_once(notice, notice.clone()).await;
        }
        Ok(prepared)
    }

    /// Makes module indexes, on a thread that may wait.
    fn make_indexes(&self, links: Links) -> Indexes {
        let (cancel, priority) = (self.io.cancel.child_token(), self.purpose.priority());
        let (call_off, runtime) = (cancel.clone(), Handle::current());
        let run = move |mut depmod| {
            process::tie_to_thread(&mut depmod);
            runtime.block_on(process::output(depmod, priority, &cancel))
        };
        Indexes { made: tokio::task::spawn_blocking(move || links.make(run)), call_off }
    }

    /// Waits for them, also when they are called off: they have a folder to tidy up.
    async fn wait_for_indexes(&self, indexes: Indexes, are_needed: bool) {
        if !are_needed {
            indexes.call_off.cancel();
        }
        let made = indexes.made.await;
        if let Ok(Err(sentence)) = made
            && !indexes.call_off.is_cancelled()
        {
            self.notice_once(&sentence, sentence.clone()).await;
        }
    }

    /// Runs the command in a guest that is up, and ends the machine.
    async fn run_to_end(&mut self, prepared: &Prepared, booted: Booted) -> Ran {
        let Booted { mut live, mut monitor } = booted;
        let end = self.run_command(prepared, &mut live, &mut monitor).await;
        // The console is read to its end before the verdict: a panic may be its last words.
        Ran { end, report: live.end(Some(monitor)).await }
    }

    /// Has the command run and waits for its end, whatever it may be.
    async fn run_command(
        &mut self,
        prepared: &Prepared,
        live: &mut Live,
        monitor: &mut mpsc::UnboundedReceiver<MonitorEvent>,
    ) -> RunEnd {
        if self.target.command != Command::Interactive {
            self.io.terminal = None;
        }
        let attached = self
            .io
            .terminal
            .as_ref()
            .map_or(Attached::No, |terminal| terminal.size.map_or(Attached::Pipe, Attached::Window));
        let limits = self.limits(Accelerator::Tcg);
        let setup_limit = if self.keeping.is_resumed() { limits.resumed_setup } else { limits.setup };
        let mut clock = Clock::new(setup_limit, limits.command);
        let errand = match Errand::new(self.target, prepared, live.guest.take(), attached) {
            Ok(errand) => errand,
            Err(error) => return RunEnd::SetupFailed(format!("cannot prepare the job: {error}")),
        };
        let mut typing = None;
        let end = {
            let Live { process, agent, control, alarms, inputs, shutdown, may_have_run, .. } = live;
            let agent: &AgentClient = agent;
            let cancel = &self.io.cancel;
            let errand = errand.run(agent).fuse();
            let question = Fuse::terminated();
            // Also while a question is out, which may be older than what the console has shown since.
            let mut must_ask = false;
            tokio::pin!(errand, question);
            loop {
                if must_ask && question.is_terminated() {
                    must_ask = false;
                    question.set(errand::answers(agent).fuse());
                }
                let sign = tokio::select! {
                    biased;
                    () = cancel.cancelled() => Sign::Stop,
                    word = control.recv() => match word {
                        Some(word) => {
                            *may_have_run |= word == Control::Starting;
                            Sign::Command(word)
                        }
                        None => lost(process, &io::Error::other("its stream ended, and QEMU goes on")).await,
                    },
                    Err(error) = &mut errand => match error {
                        GuestError::NotStarted(sentence) => Sign::NotStarted(sentence),
                        GuestError::Lost(error) => lost(process, &error).await,
                    },
                    Some(event) = monitor.recv() => {
                        if let MonitorEvent::Shutdown(reason) = &event {
                            *shutdown = Some(reason.clone());
                        }
                        Sign::Monitor(event)
                    }
                    Ok(()) = alarms.changed() => Sign::Console(*alarms.borrow_and_update()),
                    answer = &mut question => match answer {
                        Ok(()) => Sign::Answered,
                        Err(errand::Silence) => Sign::Dead(*alarms.borrow()),
                    },
                    () = clock.expired() => Sign::LimitOver,
                };
                match decide::while_running(sign, clock.end()) {
                    Step::GoOn => {}
                    Step::Ask => must_ask = true,
                    Step::Next => {
                        clock.command_started();
                        // Not before: what is typed is the command's, and a guest that fails has none.
                        let ends = self.io.terminal.take().zip(inputs.take());
                        typing = ends.map(|(terminal, inputs)| {
                            let has_window = terminal.size.is_some();
                            Typing::start(terminal, inputs.keyboard(has_window))
                        });
                    }
                    Step::End(end) => break end,
                }
            }
        };
        drop(typing);
        clock.stop(&mut self.durations);
        end
    }
}

/// The connection to QEMU or its guest broke: QEMU's own end says more than that, if it comes.
async fn lost(process: &mut Process, error: &io::Error) -> Sign {
    gone(process).await.map_or_else(|| Sign::Unreachable(error.to_string()), Sign::QemuEnded)
}

fn lost_writes(exit: &Exit) -> LostWrites {
    LostWrites {
        count: exit.lost_count,
        paths: exit.lost_paths.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
    }
}
