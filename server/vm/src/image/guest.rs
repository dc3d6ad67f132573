//! What is done in the guest of an image, by its own agent: shares are mounted, and the command runs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use qapi::qga::GuestExecStatus;
use tokio::sync::{mpsc, watch};
use vmtest_guest::wire::{Access, Exit, ExitStatus, FileSystem};

use super::{INPUT_PORT, STDERR_PORT, STDOUT_PORT};
use crate::agent_client::{AgentClient, ExecError, Script};
use crate::event::{EventKind, Output, OutputStream};
use crate::executor::WindowSize;
use crate::job::{Attached, Shares};
use crate::stream::{Control, PlainPhase};

/// How long what the command left running may keep its output open after its end; and again, how long it may go on writing.
const DRAIN: Duration = Duration::from_secs(2);

/// A script of this folder, behind what all of them need.
macro_rules! script {
    ($name:literal) => {
        concat!(include_str!("scripts/prelude.sh"), include_str!(concat!("scripts/", $name)))
    };
}

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// For the shell's `-c`; none for a shell.
    pub(crate) script: Option<String>,
    /// `NAME=value`, on top of what the agent has.
    pub(crate) env: Vec<String>,
    pub(crate) attached: Attached,
}

/// Why the command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestError {
    /// It could not be started; one sentence.
    #[error("{0}")]
    NotStarted(String),
    /// Nothing is known of it any more.
    #[error("{0}")]
    Lost(io::Error),
}

impl From<ExecError> for GuestError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Refused(_) | ExecError::Forbidden(_) => Self::NotStarted(error.to_string()),
            ExecError::Broken(error) => Self::Lost(error),
        }
    }
}

/// Why shares were not mounted.
pub(crate) type Mounting = ExecError;

/// Mounts every share that reaches the guest this way. What the user should know of it is one sentence a line.
pub(crate) async fn mount(agent: &AgentClient, shares: &Shares, by: FileSystem) -> Result<String, Mounting> {
    let kind = match by {
        FileSystem::NineP => "9p",
        FileSystem::Virtiofs => "virtiofs",
    };
    let mut arguments = vec![kind.to_owned()];
    for bind in &shares.binds {
        let is_meant =
            |device: &&crate::qemu::machine::ShareDevice| device.tag == bind.tag && device.file_system == by;
        let Some(device) = shares.devices.iter().find(is_meant) else { continue };
        let access = match device.access {
            Access::Writable => "rw",
            Access::ReadOnly => "ro",
            Access::Overlay => "overlay",
        };
        arguments.extend([bind.tag.clone(), bind.point.to_string_lossy().into_owned(), access.to_owned()]);
    }
    agent.run(Script { text: script!("mount.sh"), arguments }).await
}

/// Our ends of what connects the command to the run.
pub(crate) struct Guest {
    pub(crate) control: mpsc::UnboundedSender<Control>,
    pub(crate) events: mpsc::Sender<EventKind>,
    /// Tells those who read the ports how far the command is.
    pub(crate) phase: watch::Sender<PlainPhase>,
    /// Ends when all of them have read to the end.
    pub(crate) emptied: mpsc::Receiver<Infallible>,
    /// New sizes of the user's window.
    pub(crate) sizes: mpsc::UnboundedReceiver<WindowSize>,
}

/// What the guest has for the command.
struct Survey(HashMap<String, String>);

impl Survey {
    /// From lines of a name and a value.
    fn parse(said: &str) -> Self {
        let pairs = said.lines().filter_map(|line| line.split_once(' '));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name.rsplit('.').next().unwrap_or(name)).cloned()
    }

    fn tainted(&self) -> u64 {
        self.get("tainted").and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }
}

/// How the command's output comes to the host.
enum Way {
    /// By ports, as it is written.
    Ports(Script),
    /// By the agent, at the end.
    Collected,
    /// By a serial line, as a terminal's.
    Line(String),
}

impl Guest {
    /// Runs the command to its end, in order. What matters to the run is said by `control`.
    pub(crate) async fn carry_out(
        mut self,
        agent: &AgentClient,
        command: &CommandLine,
    ) -> Result<(), GuestError> {
        let survey = Script { text: script!("survey.sh"), arguments: Vec::new() };
        let survey = Survey::parse(&agent.run(survey).await?);
        let (script, way) = self.plan(&survey, command).await?;
        let _ = self.control.send(Control::Starting);
        // The command waits in front of its pipes until somebody reads them, so nothing is written before it is said that it runs.
        let pid = agent.start(script, matches!(way, Way::Collected)).await?;
        self.phase.send_replace(PlainPhase::Running);
        let _ = self.events.send(EventKind::CommandStarted).await;
        if let Way::Line(line) = &way {
            // Keys that come to a line which nobody has opened are lost.
            let arguments = vec![pid.to_string(), line.clone()];
            agent.run(Script { text: script!("opened.sh"), arguments }).await.map_err(lost)?;
        }
        let _ = self.control.send(Control::Started);
        let carrier = match &way {
            Way::Ports(carry) => Some(agent.start(carry.clone(), false).await.map_err(lost)?),
            Way::Collected | Way::Line(_) => None,
        };
        let status = self.wait(agent, pid, &way).await?;
        let exit = exit_status(&status)?;
        if let Some(carrier) = carrier {
            // What the command left running may hold its output open for ever.
            let _ = tokio::time::timeout(DRAIN, agent.wait(carrier)).await;
        }
        self.phase.send_replace(PlainPhase::Over);
        let _ = tokio::time::timeout(DRAIN, self.emptied.recv()).await;
        self.pass_on(status).await;
        let after = Script { text: script!("tainted.sh"), arguments: Vec::new() };
        let after = Survey::parse(&agent.run(after).await.map_err(lost)?);
        let _ = self.control.send(Control::Ended(Exit {
            status: exit,
            tainted_before: survey.tainted(),
            tainted_after: after.tainted(),
            lost_paths: Vec::new(),
            lost_count: 0,
        }));
        Ok(())
    }

    /// What to start, and how its output comes.
    async fn plan(&self, survey: &Survey, command: &CommandLine) -> Result<(Script, Way), GuestError> {
        if let Attached::Window(WindowSize { rows, cols }) = command.attached {
            let line = survey.get("terminal").ok_or_else(|| {
                GuestError::NotStarted(
                    "the image's kernel has no second serial line (/dev/ttyS1) for a shell".to_owned(),
                )
            })?;
            let arguments = [line.clone(), rows.to_string(), cols.to_string()];
            let arguments = arguments.into_iter().chain(command.env.iter().cloned()).collect();
            return Ok((Script { text: script!("shell.sh"), arguments }, Way::Line(line)));
        }
        let has_input = command.attached == Attached::Pipe;
        let ports =
            (survey.get("pipes"), survey.get(STDOUT_PORT), survey.get(STDERR_PORT), survey.get(INPUT_PORT));
        let (pipes, way) = match ports {
            (Some(pipes), Some(stdout), Some(stderr), input) if input.is_some() || !has_input => {
                let input = input.filter(|_| has_input).unwrap_or_default();
                let arguments = vec![pipes.clone(), stdout, stderr, input];
                (pipes, Way::Ports(Script { text: script!("carry.sh"), arguments }))
            }
            _ if has_input => {
                return Err(GuestError::NotStarted(
                    "the image has no virtio-serial ports for a shell's input".to_owned(),
                ));
            }
            _ => {
                let message =
                    "the image has no virtio-serial ports for output, so it comes when the command has ended";
                let _ = self.events.send(EventKind::Notice { message: message.to_owned() }).await;
                (String::new(), Way::Collected)
            }
        };
        let input = if has_input { "yes" } else { "no" };
        let script = command.script.clone().unwrap_or_default();
        let arguments =
            [pipes, input.to_owned(), script].into_iter().chain(command.env.iter().cloned()).collect();
        Ok((Script { text: script!("run.sh"), arguments }, way))
    }

    /// Waits for the command's end; the terminal follows the user's window meanwhile.
    async fn wait(
        &mut self,
        agent: &AgentClient,
        pid: i64,
        way: &Way,
    ) -> Result<GuestExecStatus, GuestError> {
        let ended = agent.wait(pid);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                status = &mut ended => return status.map_err(lost),
                Some(WindowSize { rows, cols }) = self.sizes.recv() => {
                    if let Way::Line(line) = way {
                        let arguments = vec![line.clone(), rows.to_string(), cols.to_string()];
                        // A window of the wrong size is no reason to end a shell.
                        let _ = agent.run(Script { text: script!("resize.sh"), arguments }).await;
                    }
                }
            }
        }
    }

    /// What the agent has collected.
    async fn pass_on(&self, status: GuestExecStatus) {
        let outputs = [
            (OutputStream::Stdout, status.out_data, status.out_truncated),
            (OutputStream::Stderr, status.err_data, status.err_truncated),
        ];
        for (stream, data, is_cut) in outputs {
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                let _ = self.events.send(EventKind::Output(Output { stream, data: Bytes::from(data) })).await;
            }
            if is_cut == Some(true) {
                let message = "the guest agent has cut the output after 16 MiB".to_owned();
                let _ = self.events.send(EventKind::Notice { message }).await;
            }
        }
    }
}

/// What goes wrong when the command runs leaves nothing to be known of it.
fn lost(error: ExecError) -> GuestError {
    GuestError::Lost(io::Error::other(error))
}

fn exit_status(status: &GuestExecStatus) -> Result<ExitStatus, GuestError> {
    let number = |number: i64| i32::try_from(number).ok();
    match (status.exitcode.and_then(number), status.signal.and_then(number)) {
        (_, Some(signal)) => Ok(ExitStatus::Signal(signal)),
        (Some(code), None) => Ok(ExitStatus::Code(code)),
        // Never a pass.
        (None, None) => {
            Err(GuestError::Lost(io::Error::other("the agent does not say how the command ended")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(exitcode: Option<i64>, signal: Option<i64>) -> GuestExecStatus {
        GuestExecStatus {
            exitcode,
            signal,
            exited: true,
            out_data: None,
            err_data: None,
            out_truncated: None,
            err_truncated: None,
        }
    }

    #[test]
    fn a_command_that_a_signal_ended_is_no_success_and_neither_is_an_end_without_a_status() {
        assert_eq!(exit_status(&status(Some(0), None)).unwrap(), ExitStatus::Code(0));
        assert_eq!(exit_status(&status(None, Some(9))).unwrap(), ExitStatus::Signal(9));
        assert_eq!(exit_status(&status(Some(0), Some(9))).unwrap(), ExitStatus::Signal(9));
        assert!(exit_status(&status(None, None)).is_err());
        assert!(exit_status(&status(Some(1 << 40), None)).is_err());
    }

    #[test]
    fn what_the_guest_says_of_itself_is_read_line_by_line() {
        let survey = Survey::parse("tainted 4096\nstdout /dev/vport1p2\nnonsense\n");
        assert_eq!(survey.tainted(), 4096);
        assert_eq!(survey.get(STDOUT_PORT).as_deref(), Some("/dev/vport1p2"));
        assert_eq!(survey.get(STDERR_PORT), None);
    }
}
