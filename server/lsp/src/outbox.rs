//! What goes to the client, as one small trait: tests record it, and nothing but this file knows how it travels.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use tower_lsp::Client;
use tower_lsp::lsp_types::notification::{self, Notification};
use tower_lsp::lsp_types::request;
use tower_lsp::lsp_types::{
    LogMessageParams, MessageActionItem, MessageType, NumberOrString, ProgressParams,
    PublishDiagnosticsParams, ShowDocumentParams, ShowMessageParams, ShowMessageRequestParams, Uri,
    WorkDoneProgressCreateParams,
};

/// A client that does not answer a request of ours has this long; what hangs on the answer then goes on without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Work that ends when the message is on its way, or answered.
pub(crate) type Sending<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A notification to the client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Notice {
    /// `textDocument/publishDiagnostics`.
    Diagnostics(PublishDiagnosticsParams),
    /// `vmtest/runEvent`.
    RunEvent(Value),
    /// `window/logMessage`.
    Log(MessageType, String),
    /// `window/showMessage`.
    Message(MessageType, String),
    /// `$/progress`.
    Progress(ProgressParams),
}

/// The client does not know how to ask its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAsked;

/// The way to the client. Whoever awaits it waits for a slow client: handlers do not, tasks of their own may.
pub(crate) trait Outbox: Send + Sync + 'static {
    /// Sends a notification; ends when there is room for the next.
    fn notify(&self, notice: Notice) -> Sending<'_>;
    /// Makes a progress token known; whether the client took it.
    fn create_progress(&self, token: String) -> Sending<'_, bool>;
    /// Asks the user to choose one of `actions`; none when nothing was chosen. Waits as long as the user thinks.
    fn ask(&self, message: String, actions: &[&str]) -> Sending<'_, Result<Option<String>, NotAsked>>;
    /// Asks the client to ask for the lenses again.
    fn refresh_lenses(&self) -> Sending<'_>;
    /// Opens a file in the editor; whether that worked.
    fn show_document(&self, uri: Uri) -> Sending<'_, bool>;
}

impl Outbox for Client {
    fn notify(&self, notice: Notice) -> Sending<'_> {
        Box::pin(async move {
            match notice {
                Notice::Diagnostics(params) => {
                    self.send_notification::<notification::PublishDiagnostics>(params).await;
                }
                Notice::RunEvent(event) => self.send_notification::<RunEventNotification>(event).await,
                Notice::Log(typ, message) => {
                    self.send_notification::<notification::LogMessage>(LogMessageParams { typ, message })
                        .await;
                }
                Notice::Message(typ, message) => {
                    let params = ShowMessageParams { typ, message };
                    self.send_notification::<notification::ShowMessage>(params).await;
                }
                Notice::Progress(params) => self.send_notification::<notification::Progress>(params).await,
            }
        })
    }

    fn create_progress(&self, token: String) -> Sending<'_, bool> {
        Box::pin(async move {
            let params = WorkDoneProgressCreateParams { token: NumberOrString::String(token) };
            let answer = self.send_request::<request::WorkDoneProgressCreate>(params);
            matches!(tokio::time::timeout(PATIENCE, answer).await, Ok(Ok(())))
        })
    }

    fn ask(&self, message: String, actions: &[&str]) -> Sending<'_, Result<Option<String>, NotAsked>> {
        let action = |title: &&str| MessageActionItem {
            title: (*title).to_owned(),
            properties: std::collections::HashMap::default(),
        };
        let actions = Some(actions.iter().map(action).collect());
        let params = ShowMessageRequestParams { typ: MessageType::WARNING, message, actions };
        Box::pin(async move {
            let answer = self.send_request::<request::ShowMessageRequest>(params).await;
            answer.map(|chosen| chosen.map(|action| action.title)).map_err(|_| NotAsked)
        })
    }

    fn refresh_lenses(&self) -> Sending<'_> {
        Box::pin(async move {
            let _ = tokio::time::timeout(PATIENCE, self.send_request::<request::CodeLensRefresh>(())).await;
        })
    }

    fn show_document(&self, uri: Uri) -> Sending<'_, bool> {
        Box::pin(async move {
            let params =
                ShowDocumentParams { uri, external: Some(false), take_focus: Some(true), selection: None };
            let answer = self.send_request::<request::ShowDocument>(params);
            matches!(tokio::time::timeout(PATIENCE, answer).await, Ok(Ok(result)) if result.success)
        })
    }
}

/// `vmtest/runEvent`; its parameters are [`crate::protocol::RunEventParams`], serialized once by who sends them.
enum RunEventNotification {}

impl Notification for RunEventNotification {
    type Params = Value;
    const METHOD: &'static str = crate::protocol::RUN_EVENT;
}

#[cfg(test)]
pub(crate) mod testing {
    //! A client that remembers everything, and reads only when it is let.

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Records notices. `stop_reading` makes every further one wait.
    #[derive(Debug, Default)]
    pub(crate) struct Recorder {
        notices: Mutex<Vec<Notice>>,
        arrived: Notify,
        deaf: AtomicBool,
        /// What the user answers.
        pub(crate) answer: Mutex<Option<String>>,
        /// It does not know how to ask.
        pub(crate) cannot_ask: AtomicBool,
        /// What the user was asked.
        pub(crate) asked: Mutex<Vec<String>>,
        /// How often lenses were to be asked for.
        pub(crate) refreshes: Mutex<usize>,
        /// What was opened.
        pub(crate) shown: Mutex<Vec<Uri>>,
    }

    impl Recorder {
        pub(crate) fn notices(&self) -> Vec<Notice> {
            self.notices.lock().unwrap().clone()
        }

        pub(crate) fn stop_reading(&self) {
            self.deaf.store(true, Ordering::SeqCst);
        }

        /// Waits until what arrived satisfies `enough`.
        pub(crate) async fn until(&self, enough: impl Fn(&[Notice]) -> bool) -> Vec<Notice> {
            loop {
                let arrived = self.arrived.notified();
                let notices = self.notices();
                if enough(&notices) {
                    return notices;
                }
                arrived.await;
            }
        }

        /// The run events that arrived.
        pub(crate) fn events(&self) -> Vec<Value> {
            let event = |notice| if let Notice::RunEvent(event) = notice { Some(event) } else { None };
            self.notices().into_iter().filter_map(event).collect()
        }
    }

    impl Outbox for Recorder {
        fn notify(&self, notice: Notice) -> Sending<'_> {
            Box::pin(async move {
                if self.deaf.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                self.notices.lock().unwrap().push(notice);
                self.arrived.notify_waiters();
                // A real client is elsewhere: the sender gives way.
                tokio::task::yield_now().await;
            })
        }

        fn create_progress(&self, _: String) -> Sending<'_, bool> {
            Box::pin(async { true })
        }

        fn ask(&self, message: String, _: &[&str]) -> Sending<'_, Result<Option<String>, NotAsked>> {
            self.asked.lock().unwrap().push(message);
            let answer = self.answer.lock().unwrap().clone();
            let cannot_ask = self.cannot_ask.load(Ordering::SeqCst);
            Box::pin(async move { if cannot_ask { Err(NotAsked) } else { Ok(answer) } })
        }

        fn refresh_lenses(&self) -> Sending<'_> {
            *self.refreshes.lock().unwrap() += 1;
            Box::pin(async {})
        }

        fn show_document(&self, uri: Uri) -> Sending<'_, bool> {
            self.shown.lock().unwrap().push(uri);
            Box::pin(async { true })
        }
    }
}
