//! From what was prepared to a guest whose agent has answered: booted or resumed, under KVM or TCG, with its shares.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use vmtest_guest::wire::FileSystem;

use super::keeping::Source;
use super::warming::Purpose;
use super::{Booted, Run, lost};
use crate::accelerator::{self, KvmMemory};
use crate::agent_client::ExecError;
use crate::clock::awake;
use crate::decide::{self, BootEnd, Next, Report, Sign, Step, Watched};
use crate::event::{Accelerator, EventKind, ShareKind, Start};
use crate::image;
use crate::live::{Beginning, Live, in_words};
use crate::prepare::{self, Prepared, PreparedSystem};
use crate::qemu::machine::{Boot, MEMORY_UNIT, Machine};
use crate::qemu::monitor::MonitorEvent;
use crate::verdict::{Failure, Verdict};

/// How often it is looked at how often its disk was used, and how often it must have been for a sign of life: broken KVM may get a
/// boot loader to read its files, a few times in a second.
const DISK_LOOK: Duration = Duration::from_secs(5);
const MANY_DISK_OPERATIONS: i64 = 1000;
/// A daemon that works takes milliseconds to be connected.
const PLUG: Duration = Duration::from_secs(10);

/// Why a target has no guest as it was prepared.
enum Unbooted {
    /// It is over.
    Ended(Verdict),
    /// It has to be prepared otherwise: virtiofsd does not work here, for this reason.
    NotShared(String),
}

/// Why there is no guest.
pub(super) enum NotUp {
    /// It did not boot, or the user stopped it.
    Failed(BootEnd, Report),
    /// It could not be resumed, or kept, for this reason: its kernel may well boot.
    BootInstead(String),
    /// virtiofsd does not work here, for this reason.
    NotShared(String),
}

impl NotUp {
    pub(super) fn cancelled() -> Self {
        Self::Failed(BootEnd::Cancelled, Report::default())
    }
}

impl Run<'_> {
    /// Boots or resumes, with other shares where virtiofsd turns out not to work.
    pub(super) async fn get_up(&mut self, prepared: &mut Prepared) -> Result<Booted, Verdict> {
        let reason = match self.boot(prepared).await {
            Ok(booted) => return Ok(booted),
            Err(Unbooted::Ended(verdict)) => return Err(verdict),
            Err(Unbooted::NotShared(reason)) => format!("virtiofsd does not work here: {reason}"),
        };
        if prepared.shares.kind == ShareKind::Virtiofs || self.share_kind.is_some() {
            return Err(Verdict::BootFailed(Failure { reason, ..Failure::default() }));
        }
        let sentence = format!("directories are shared by 9p, which is slower: {reason}");
        self.notice_once("virtiofsd", sentence).await;
        self.share_kind = Some(ShareKind::NineP);
        *prepared = self.prepare().await?;
        match self.boot(prepared).await {
            Ok(booted) => Ok(booted),
            Err(Unbooted::Ended(verdict)) => Err(verdict),
            Err(Unbooted::NotShared(_)) => unreachable!("9p needs no daemon"),
        }
    }

    async fn boot(&mut self, prepared: &Prepared) -> Result<Booted, Unbooted> {
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
            let machine = self.machine(prepared, accelerator);
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
                Ok(booted) => self.share(booted, prepared).await,
                Err(not_up) => Err(not_up),
            };
            match booted {
                Ok((booted, share)) => {
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
                        share,
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

    fn machine(&self, prepared: &Prepared, accelerator: Accelerator) -> Machine {
        let vm = &self.target.vm;
        Machine {
            accelerator: accelerator::chosen_by_user(&vm.extra_args).is_none().then_some(accelerator),
            cpu: match accelerator {
                Accelerator::Kvm => self.target.kvm_cpu_args.clone(),
                Accelerator::Tcg => "max".to_owned(),
            },
            cpus: vm.num_cpus.get(),
            memory_bytes: vm.memory.bytes.next_multiple_of(MEMORY_UNIT),
            boot: match &prepared.system {
                PreparedSystem::Kernel(kernel) => Boot::Kernel {
                    file: kernel.file.clone(),
                    command_line: command_line(&kernel.args, accelerator),
                },
                PreparedSystem::Image(image) => {
                    Boot::Image { format: image.disk.format, firmware: image.firmware.clone() }
                }
            },
            shares: prepared.shares.devices.clone(),
            network: vm.network,
            sandbox: prepare::is_ours_alone(self.target),
            extra_args: vm.extra_args.clone(),
        }
    }

    /// Gives a guest that is up its shares, as far as our guest init does not mount them; how they reach it.
    async fn share(&self, booted: Booted, prepared: &Prepared) -> Result<(Booted, ShareKind), NotUp> {
        match prepared.system {
            PreparedSystem::Kernel(_) => {
                self.plug_shares(booted).await.map(|booted| (booted, prepared.shares.kind))
            }
            PreparedSystem::Image(_) => self.mount_in_image(booted, prepared).await,
        }
    }

    /// Mounts the shares of an image by 9p, which is there from the start, else by virtiofs: only its own kernel knows what it has.
    async fn mount_in_image(
        &self,
        mut booted: Booted,
        prepared: &Prepared,
    ) -> Result<(Booted, ShareKind), NotUp> {
        let mut refusals = Vec::new();
        for (by, kind) in [(FileSystem::NineP, ShareKind::NineP), (FileSystem::Virtiofs, ShareKind::Virtiofs)]
        {
            if !prepared.shares.devices.iter().any(|device| device.file_system == by) {
                continue;
            }
            if by == FileSystem::Virtiofs {
                booted = self.plug_shares(booted).await?;
            }
            let Live { process, agent, .. } = &mut booted.live;
            let limit = self.limits(Accelerator::Tcg).boot;
            let end = tokio::select! {
                () = self.io.cancel.cancelled() => BootEnd::Cancelled,
                () = awake(limit) => BootEnd::TimedOut(limit),
                status = process.wait() => BootEnd::Died(in_words(status)),
                mounted = image::mount(agent, &prepared.shares, by) => match mounted {
                    Ok(said) => {
                        for sentence in said.lines() {
                            self.notice(sentence.to_owned()).await;
                        }
                        return Ok((booted, kind));
                    }
                    Err(ExecError::Broken(error)) => BootEnd::Unreachable(error.to_string()),
                    Err(ExecError::Forbidden(why)) => BootEnd::NotSetUp(
                        format!("the image's guest agent does not run programs: {why}"),
                        Some("allow guest-exec in its configuration, such as /etc/sysconfig/qemu-ga"),
                    ),
                    Err(ExecError::Refused(why)) => {
                        refusals.push(why);
                        continue;
                    }
                },
            };
            return Err(NotUp::Failed(end, booted.live.end(Some(booted.monitor)).await));
        }
        let reason = format!("directories cannot be shared with the image: {}", refusals.join("; "));
        let help = "its kernel needs 9p (CONFIG_9P_FS, CONFIG_NET_9P_VIRTIO) or, where virtiofsd can serve you, \
                    virtiofs (CONFIG_VIRTIO_FS)";
        let end = BootEnd::NotSetUp(reason, Some(help));
        Err(NotUp::Failed(end, booted.live.end(Some(booted.monitor)).await))
    }

    /// Gives a guest that is up the shares that it cannot be kept with.
    async fn plug_shares(&self, mut booted: Booted) -> Result<Booted, NotUp> {
        let plugged = tokio::select! {
            () = self.io.cancel.cancelled() => None,
            () = awake(PLUG) => Some(Err(format!("it did not answer within {} s", PLUG.as_secs()))),
            plugged = booted.live.plug_shares() => Some(plugged),
        };
        let not_up = match plugged {
            Some(Ok(())) => return Ok(booted),
            Some(Err(reason)) => NotUp::NotShared(reason),
            None => NotUp::cancelled(),
        };
        // It may be waiting for the daemon, and hear nothing else.
        booted.live.process.kill().await;
        booted.live.end(Some(booted.monitor)).await;
        Err(not_up)
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
        let end = match self.wait_for_agent(&mut live, &mut monitor, prepared, accelerator).await {
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
        prepared: &Prepared,
        accelerator: Accelerator,
    ) -> Result<(), BootEnd> {
        let watched = Watched {
            accelerator,
            // It may have no console at all: it is waited for in silence, as long as its disk is used.
            is_image: matches!(prepared.system, PreparedSystem::Image(_)),
            limits: self.limits(accelerator),
        };
        let Watched { is_image, limits, .. } = watched;
        let (deadline, silence) = (awake(limits.boot), awake(limits.silence));
        let mut disk_operations = 0;
        tokio::pin!(deadline, silence);
        let connected = tokio::select! {
            () = self.io.cancel.cancelled() => Err(Sign::Stop),
            () = &mut deadline => Err(Sign::LimitOver),
            events = live.connect_monitor() => match events {
                Ok(events) => Ok(events),
                // A QEMU that refuses its arguments.
                Err(error) => Err(lost(&mut live.process, &error).await),
            },
        };
        let mut first = None;
        match connected {
            Ok(events) => *monitor = Some(events),
            Err(sign) => first = Some(sign),
        }
        // Asked once: the question waits in the port until the agent is there.
        let answer = live.agent.answer();
        tokio::pin!(answer);
        loop {
            let sign = if let Some(sign) = first.take() {
                sign
            } else {
                let stall = awake(limits.stall);
                tokio::select! {
                    biased;
                    () = self.io.cancel.cancelled() => Sign::Stop,
                    answer = &mut answer => match answer {
                        Ok(()) => Sign::Answered,
                        Err(error) => lost(&mut live.process, &error).await,
                    },
                    status = live.process.wait() => Sign::QemuEnded(in_words(status)),
                    event = next_event(monitor) => Sign::Monitor(event),
                    Ok(()) = live.alarms.changed() => Sign::Console(*live.alarms.borrow_and_update()),
                    Ok(()) = live.progress.changed() => {
                        if is_image {
                            silence.set(awake(limits.silence));
                        }
                        continue;
                    }
                    () = awake(DISK_LOOK), if is_image && accelerator == Accelerator::Kvm => {
                        let now = live.disk_operations().await.unwrap_or_default();
                        if now - disk_operations >= MANY_DISK_OPERATIONS {
                            disk_operations = now;
                            silence.set(awake(limits.silence));
                        }
                        continue;
                    }
                    () = &mut silence, if watched.minds_silence(live.alarms.borrow().heard) => Sign::Silent,
                    () = &mut deadline => Sign::LimitOver,
                    () = stall, if watched.minds_stalls() => Sign::Stalled,
                }
            };
            match decide::while_booting(sign, &watched) {
                Step::GoOn => {}
                Step::Ask => {
                    if live.accelerator_failed().await {
                        first = Some(Sign::AcceleratorFailed);
                    }
                }
                Step::Next => return Ok(()),
                Step::End(end) => return Err(end),
            }
        }
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
