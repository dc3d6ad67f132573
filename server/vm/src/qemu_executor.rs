//! One target from kernel to verdict, in order. [`Run::carry_out`] names every step.

mod keeping;
mod warming;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keeping::{Keeping, Source};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmtest_config::{Command, KernelSystem, Target};
use vmtest_guest::wire::Exit;
use warming::Purpose;

use crate::accelerator::{self, KvmMemory};
use crate::clock::{Clock, awake};
use crate::decide::{self, BootEnd, Next, Report, RunEnd};
use crate::event::{Accelerator, Durations, EventKind, Finished, LostWrites, ShareKind, Start};
use crate::executor::{Executor, TargetIo, Warmed};
use crate::job::{self, Attached};
use crate::live::{Beginning, Live, in_words};
use crate::modules::Links;
use crate::prepare::{self, Prepared, Sharing};
use crate::qemu::machine::{MEMORY_UNIT, Machine};
use crate::qemu::monitor::MonitorEvent;
use crate::qemu::process;
use crate::snapshot::Snapshots;
use crate::stream::Control;
use crate::typing::Typing;
use crate::verdict::Verdict;
use crate::virtiofsd;

/// A KVM guest's kernel speaks within a second; one that has not by then is not running, or crawling.
const KVM_SILENCE: Duration = Duration::from_secs(5);
/// An emulated guest may share its processor with many others.
const STALL: Duration = Duration::from_secs(60);
/// A daemon that works takes milliseconds to be connected.
const PLUG: Duration = Duration::from_secs(20);
/// How long a guest that was resumed may take to be set up before it boots instead.
const RESUMED_SETUP: Duration = Duration::from_secs(60);
/// `boot_timeout` where the target has none.
const KVM_BOOT: Duration = Duration::from_secs(60);
const TCG_BOOT: Duration = Duration::from_secs(300);

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
            let mut run = Run {
                target,
                executor: self,
                io,
                durations: Durations::default(),
                keeping: Keeping::new(self.snapshots.clone()),
                purpose: Purpose::Command,
            };
            let (verdict, lost_writes) = match run.carry_out().await {
                Ok(ended) => ended,
                Err(verdict) => (verdict, LostWrites::default()),
            };
            tokio::select! {
                _ = run.keeping.settle() => {}
                // What has no name yet goes with us.
                () = run.io.cancel.cancelled() => {}
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
}

/// A guest whose agent has answered.
struct Booted {
    live: Live,
    monitor: mpsc::UnboundedReceiver<MonitorEvent>,
}

/// What is known of a guest that was up, when its machine is gone.
struct Ran {
    end: RunEnd,
    /// Whether its command had begun.
    began: bool,
    report: Report,
}

/// Why a target has no guest as it was prepared.
enum Unbooted {
    /// It is over.
    Ended(Verdict),
    /// It has to be prepared otherwise: virtiofsd does not work here, for this reason.
    NotShared(String),
}

/// Why there is no guest.
enum NotUp {
    /// It did not boot, or the user stopped it.
    Failed(BootEnd, Report),
    /// It could not be resumed, or kept, for this reason: its kernel may well boot.
    BootInstead(String),
    /// virtiofsd does not work here, for this reason.
    NotShared(String),
}

impl NotUp {
    fn cancelled() -> Self {
        Self::Failed(BootEnd::Cancelled, Report::default())
    }
}

impl Run<'_> {
    /// Everything, in order. An error is a verdict that was reached before there was a guest.
    async fn carry_out(&mut self) -> Result<(Verdict, LostWrites), Verdict> {
        // Refusals first: they need no machine and no time.
        let system = prepare::supported(self.target).map_err(Verdict::BootFailed)?;
        self.say(EventKind::Preparing).await;
        // Reads the kernel and builds the initramfs; everything that can be wrong before QEMU starts is said here.
        let mut prepared = self.prepare(system).await?;
        // What the guest needs later than its boot is made meanwhile.
        let indexes = prepared.indexes.clone().map(|links| self.make_indexes(links));
        // KVM where it works, else TCG; the first answer of the agent ends it.
        let booted = self.get_up(system, &mut prepared).await?;
        if let Some(indexes) = indexes {
            self.wait_for_indexes(indexes).await;
        }
        // The job carries the clock and fresh random bytes, so it is written only now. The command's own time starts when
        // the guest says that it runs; set-up belongs to the boot's limit.
        let mut ran = self.run_to_end(system, &prepared, booted).await;
        // A guest that was resumed, and came to grief before its command began without a word of its kernel, boots instead.
        if let Some(suspect) = self.boots_after(&ran).await {
            let booted = self.get_up(system, &mut prepared).await?;
            let resumed = std::mem::replace(&mut ran, self.run_to_end(system, &prepared, booted).await);
            if ran.began {
                suspect.convict(&resumed.end.to_string());
            }
        }
        let Ran { end, report, .. } = ran;
        let verdict = decide::verdict(&end, &report, self.target.fail_on_kernel_bug);
        let lost_writes = match end {
            RunEnd::Ended(exit) => lost_writes(&exit),
            _ => LostWrites::default(),
        };
        Ok((verdict, lost_writes))
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

    async fn prepare(&mut self, system: &KernelSystem) -> Result<Prepared, Verdict> {
        let started = Instant::now();
        let (target, system, cache) = (self.target.clone(), system.clone(), self.executor.cache.clone());
        let (wanted, virtiofsd) = (self.executor.share_kind, self.executor.virtiofsd.clone());
        let work = tokio::task::spawn_blocking(move || {
            let sharing = Sharing { wanted, virtiofsd: virtiofsd.get() };
            prepare::prepare(&target, &system, &cache, &sharing)
        });
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
    fn make_indexes(&self, links: Links) -> JoinHandle<Result<(), String>> {
        let (cancel, priority) = (self.io.cancel.clone(), self.purpose.priority());
        let runtime = Handle::current();
        let run = move |depmod| runtime.block_on(process::output(depmod, priority, &cancel));
        tokio::task::spawn_blocking(move || links.make(run))
    }

    async fn wait_for_indexes(&self, indexes: JoinHandle<Result<(), String>>) {
        let made = tokio::select! {
            // The next step says so.
            () = self.io.cancel.cancelled() => return,
            made = indexes => made,
        };
        if let Ok(Err(sentence)) = made {
            self.notice_once(&sentence, sentence.clone()).await;
        }
    }

    /// Boots or resumes, with other shares where virtiofsd turns out not to work.
    async fn get_up(&mut self, system: &KernelSystem, prepared: &mut Prepared) -> Result<Booted, Verdict> {
        loop {
            let reason = match self.boot(system, prepared).await {
                Ok(booted) => return Ok(booted),
                Err(Unbooted::Ended(verdict)) => return Err(verdict),
                Err(Unbooted::NotShared(reason)) => reason,
            };
            let sentence = format!("virtiofsd does not work here: {reason}");
            self.executor.virtiofsd.give_up(&sentence);
            *prepared = self.prepare(system).await?;
            // Else this was the only way, and its failure has been said.
            self.notice_once(
                "virtiofsd",
                format!("directories are shared by 9p, which is slower: {sentence}"),
            )
            .await;
        }
    }

    async fn boot(&mut self, system: &KernelSystem, prepared: &Prepared) -> Result<Booted, Unbooted> {
        let started = Instant::now();
        let memory = KvmMemory::new(&self.executor.cache, &prepared.qemu, &self.target.kvm_cpu_args);
        let chosen = accelerator::chosen_by_user(&self.target.vm.extra_args);
        let mut accelerator = match chosen {
            Some(accelerator) => accelerator,
            None => self.choose_accelerator(&memory).await,
        };
        let mut suspicion: Option<String> = None;
        let mut retried = false;
        for attempt in 1.. {
            self.say(EventKind::Booting { accelerator, attempt }).await;
            let machine = self.machine(system, prepared, accelerator);
            let source = self.keeping.source(&machine, prepared).await;
            if self.purpose == Purpose::Keeping && !matches!(source, Source::BootAndKeep(_)) {
                // There is one, or there can be none; which of the two `keeping` knows.
                return Err(Unbooted::Ended(Verdict::Cancelled));
            }
            let boot_started = Instant::now();
            let booted = match source {
                Source::Snapshot(template) => self.resume_kept(&machine, prepared, &template).await,
                Source::BootAndKeep(keeper) => {
                    let beginning = Beginning::BootToBeKept(&keeper.claim);
                    match self.boot_once(&machine, prepared, accelerator, beginning).await {
                        Ok(booted) => self.keep(&machine, prepared, booted, keeper).await,
                        Err(not_up) => Err(not_up),
                    }
                }
                Source::Boot => self.boot_once(&machine, prepared, accelerator, Beginning::Boot).await,
            };
            let booted = match booted {
                Ok(booted) => self.plug_shares(booted).await,
                not_up => not_up,
            };
            match booted {
                Ok(booted) => {
                    if let Some(reason) = suspicion {
                        // Only now is it certain that KVM was to blame, and not QEMU's arguments.
                        memory.remember(&reason);
                    }
                    self.durations.boot = started.elapsed();
                    let seconds = boot_started.elapsed().as_secs_f64();
                    let cold_because = self.keeping.cold_because();
                    self.say(EventKind::Booted {
                        seconds,
                        accelerator,
                        start: if cold_because.is_some() { Start::Cold } else { Start::Snapshot },
                        cold_because,
                        share: prepared.shares.kind,
                    })
                    .await;
                    return Ok(booted);
                }
                Err(NotUp::NotShared(reason)) => return Err(Unbooted::NotShared(reason)),
                Err(NotUp::BootInstead(reason)) => {
                    self.boot_instead(reason).await;
                }
                Err(NotUp::Failed(end, report)) => {
                    self.durations.boot = started.elapsed();
                    // What the user chose is not replaced.
                    let judged_as = chosen.map_or(accelerator, |_| Accelerator::Tcg);
                    match decide::after_boot(&end, judged_as, retried, &report) {
                        Next::FallBack(reason) => {
                            self.notice_once("accelerator", format!(
                                "guests are emulated (TCG), which is slower: KVM does not work here: {reason}"
                            ))
                            .await;
                            accelerator = Accelerator::Tcg;
                            // A guest that lets others go first may be silent without a fault.
                            let is_certain =
                                self.purpose == Purpose::Command || !matches!(end, BootEnd::Silent(_));
                            suspicion = is_certain.then(|| format!("KVM does not work here: {reason}"));
                        }
                        Next::Retry(reason) => {
                            self.notice(format!("{reason}; booting it once more")).await;
                            retried = true;
                        }
                        Next::GiveUp(verdict) => return Err(Unbooted::Ended(verdict)),
                    }
                }
            }
        }
        unreachable!("a boot is retried at most twice")
    }

    async fn choose_accelerator(&self, memory: &KvmMemory) -> Accelerator {
        let choice = accelerator::choose(memory);
        if let Some(why) = choice.why_not_kvm {
            self.notice_once("accelerator", format!("guests are emulated (TCG), which is slower: {why}"))
                .await;
        }
        choice.accelerator
    }

    fn machine(&self, system: &KernelSystem, prepared: &Prepared, accelerator: Accelerator) -> Machine {
        let vm = &self.target.vm;
        Machine {
            accelerator: accelerator::chosen_by_user(&vm.extra_args).is_none().then_some(accelerator),
            cpu: match accelerator {
                Accelerator::Kvm => self.target.kvm_cpu_args.clone(),
                Accelerator::Tcg => "max".to_owned(),
            },
            cpus: vm.num_cpus.get(),
            memory_bytes: vm.memory.bytes.next_multiple_of(MEMORY_UNIT),
            kernel: prepared.kernel.clone(),
            command_line: command_line(&system.args, accelerator),
            shares: prepared.shares.devices.clone(),
            network: vm.network,
            sandbox: prepare::is_ours_alone(self.target),
            extra_args: vm.extra_args.clone(),
        }
    }

    /// Gives a guest that is up the shares that it cannot be kept with.
    async fn plug_shares(&self, mut booted: Booted) -> Result<Booted, NotUp> {
        let plugged = tokio::select! {
            () = self.io.cancel.cancelled() => None,
            () = awake(PLUG) => Some(Err(format!("it did not answer within {} s", PLUG.as_secs()))),
            plugged = booted.live.plug_shares() => Some(plugged),
        };
        let Some(Err(reason)) = plugged else {
            return if plugged.is_some() { Ok(booted) } else { Err(NotUp::cancelled()) };
        };
        booted.live.end(Some(booted.monitor)).await;
        Err(NotUp::NotShared(reason))
    }

    /// Starts QEMU and waits for the agent's first answer, or for the reason why there will be none.
    async fn boot_once(
        &mut self,
        machine: &Machine,
        prepared: &Prepared,
        accelerator: Accelerator,
        beginning: Beginning<'_>,
    ) -> Result<Booted, NotUp> {
        let started =
            Live::start(prepared, machine, beginning, self.purpose.priority(), &self.io.events).await;
        let mut live = match started {
            Ok(live) => live,
            Err(error) => {
                return Err(NotUp::Failed(BootEnd::NotStarted(error.to_string()), Report::default()));
            }
        };
        let mut monitor = None;
        let end = match self.wait_for_agent(&mut live, &mut monitor, accelerator).await {
            Ok(()) => match monitor {
                Some(monitor) => return Ok(Booted { live, monitor }),
                None => BootEnd::Unreachable("the agent answered before the monitor".to_owned()),
            },
            Err(end) => end,
        };
        Err(NotUp::Failed(end, live.end(monitor).await))
    }

    async fn wait_for_agent(
        &self,
        live: &mut Live,
        monitor: &mut Option<mpsc::UnboundedReceiver<MonitorEvent>>,
        accelerator: Accelerator,
    ) -> Result<(), BootEnd> {
        let limit = self.boot_limit(accelerator);
        let deadline = awake(limit);
        let (most_silence, most_stall) = (self.purpose.patience(KVM_SILENCE), self.purpose.patience(STALL));
        let silence = awake(most_silence);
        tokio::pin!(deadline, silence);
        let events = tokio::select! {
            () = self.io.cancel.cancelled() => return Err(BootEnd::Cancelled),
            () = &mut deadline => return Err(BootEnd::TimedOut(limit)),
            events = live.connect_monitor() => events,
        };
        match events {
            Ok(events) => *monitor = Some(events),
            Err(error) => {
                // A QEMU that refuses its arguments closes the monitor before it is gone.
                return Err(match tokio::time::timeout(Duration::from_secs(2), live.process.wait()).await {
                    Ok(status) => BootEnd::Died(in_words(status)),
                    Err(_) => BootEnd::Unreachable(error.to_string()),
                });
            }
        }
        // Asked once: the question waits in the port until the agent is there.
        let answer = live.agent.answer();
        tokio::pin!(answer);
        loop {
            let stall = awake(most_stall);
            tokio::select! {
                biased;
                () = self.io.cancel.cancelled() => return Err(BootEnd::Cancelled),
                answer = &mut answer => return answer.map_err(|error| BootEnd::Unreachable(error.to_string())),
                status = live.process.wait() => return Err(BootEnd::Died(in_words(status))),
                event = next_event(monitor) => {
                    if event == MonitorEvent::Stopped && live.accelerator_failed().await {
                        return Err(BootEnd::AcceleratorFailed);
                    }
                }
                Ok(()) = live.alarms.changed() => {
                    if live.alarms.borrow_and_update().bug {
                        return Err(BootEnd::KernelBug);
                    }
                }
                Ok(()) = live.progress.changed() => {}
                () = &mut silence, if accelerator == Accelerator::Kvm && !live.alarms.borrow().kernel_runs => {
                    return Err(BootEnd::Silent(most_silence));
                }
                () = &mut deadline => return Err(BootEnd::TimedOut(limit)),
                () = stall => return Err(BootEnd::Stalled(most_stall)),
            }
        }
    }

    fn boot_limit(&self, accelerator: Accelerator) -> Duration {
        self.purpose.patience(self.target.boot_timeout.unwrap_or(match accelerator {
            Accelerator::Kvm => KVM_BOOT,
            Accelerator::Tcg => TCG_BOOT,
        }))
    }

    /// Runs the command in a guest that is up, and ends the machine.
    async fn run_to_end(&mut self, system: &KernelSystem, prepared: &Prepared, booted: Booted) -> Ran {
        let Booted { mut live, monitor } = booted;
        let (end, began) = self.run_command(system, prepared, &mut live).await;
        // The console is read to its end before the verdict: a panic may be its last words.
        Ran { end, began, report: live.end(Some(monitor)).await }
    }

    /// Hands the job over and waits for the end of the command, whatever it may be; whether the command had begun.
    async fn run_command(
        &mut self,
        system: &KernelSystem,
        prepared: &Prepared,
        live: &mut Live,
    ) -> (RunEnd, bool) {
        if self.target.command != Command::Interactive {
            self.io.terminal = None;
        }
        let attached = self
            .io
            .terminal
            .as_ref()
            .map_or(Attached::No, |terminal| terminal.size.map_or(Attached::Pipe, Attached::Window));
        let setup_limit = if self.keeping.is_resumed() {
            self.target.boot_timeout.unwrap_or(RESUMED_SETUP)
        } else {
            self.boot_limit(Accelerator::Tcg)
        };
        let mut clock = Clock::new(setup_limit, self.target.timeout);
        let job = match job::job(self.target, system, &prepared.project, &prepared.shares, attached) {
            Ok(job) => job,
            Err(error) => return (RunEnd::SetupFailed(format!("cannot prepare the job: {error}")), false),
        };
        let mut typing = None;
        let end = {
            let Live { process, agent, control, input, .. } = live;
            let cancel = &self.io.cancel;
            let mut hand_over = Some(Box::pin(agent.hand_over(&job)));
            loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => break RunEnd::Cancelled,
                    said = control.recv() => match said {
                        Some(Control::Started) => {
                            clock.command_started();
                            // Not before: what is typed is the command's, and a guest that fails has none.
                            let ends = self.io.terminal.take().zip(input.take());
                            typing = ends.map(|(terminal, input)| Typing::start(terminal, input));
                        }
                        Some(Control::Ended(exit)) => break RunEnd::Ended(exit),
                        Some(Control::Failed(sentence)) => break RunEnd::SetupFailed(sentence),
                        None => break match process.wait().await {
                            status @ Ok(_) => RunEnd::Died(in_words(status)),
                            Err(error) => RunEnd::Unreachable(error.to_string()),
                        },
                    },
                    handed = async { hand_over.as_mut().expect("polled only while there is one").await }, if hand_over.is_some() => {
                        hand_over = None;
                        if let Err(error) = handed {
                            // QEMU's own end says more than the broken connection to the agent.
                            break match tokio::time::timeout(Duration::from_secs(2), process.wait()).await {
                                Ok(status) => RunEnd::Died(in_words(status)),
                                Err(_) => RunEnd::Unreachable(error.to_string()),
                            };
                        }
                    }
                    () = clock.expired() => break clock.end(),
                }
            }
        };
        drop(typing);
        clock.stop(&mut self.durations);
        (end, clock.has_command_begun())
    }
}

/// The next thing that the monitor says; never, when there is no monitor.
async fn next_event(monitor: &mut Option<mpsc::UnboundedReceiver<MonitorEvent>>) -> MonitorEvent {
    if let Some(monitor) = monitor
        && let Some(event) = monitor.recv().await
    {
        return event;
    }
    std::future::pending().await
}

/// The kernel's command line: ours first, so that the user's words win.
fn command_line(user: &str, accelerator: Accelerator) -> String {
    let mut ours = vec![
        "console=ttyS0",
        // KVM that hangs is told from KVM that works by the first byte, long before the real console.
        "earlyprintk=ttyS0,115200",
        // A panic ends the guest at once; with -no-reboot that ends QEMU.
        "panic=-1",
        "loglevel=7",
        "printk.devkmsg=on",
        "random.trust_cpu=on",
    ];
    if accelerator == Accelerator::Tcg {
        // A processor that is a thread of a busy host stands still for a while; that is no bug of the kernel.
        ours.extend([
            "watchdog_thresh=30",
            "rcupdate.rcu_cpu_stall_timeout=60",
            "workqueue.watchdog_thresh=60",
        ]);
    }
    [ours.join(" "), user.to_owned()]
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(" ")
}

fn lost_writes(exit: &Exit) -> LostWrites {
    LostWrites {
        count: exit.lost_count,
        paths: exit.lost_paths.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
    }
}
