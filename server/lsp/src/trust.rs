//! Whether the user lets this workspace run anything. The server decides, not the client: without a word nothing runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::outbox::Outbox;
use crate::runs::Request;
use vmtest_vm::sanitize;

/// Says how to grant trust.
pub(crate) const HOW_TO: &str = "vmtest runs the commands of a vmtest.toml only in a workspace that you trust: set \
    `trusted` in the initialization options, or trust the workspace in your editor";

const ONCE: &str = "Run once";
const ALWAYS: &str = "Trust until the server ends";
const NOT: &str = "Cancel";

/// The user's word.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    granted: AtomicBool,
    asking: AtomicBool,
}

impl Trust {
    /// Whether what a vmtest.toml says may be run.
    pub(crate) fn is_granted(&self) -> bool {
        self.granted.load(Ordering::SeqCst)
    }

    /// `initializationOptions.trusted`, or `vmtest/didChangeTrust`.
    pub(crate) fn set(&self, granted: bool) {
        self.granted.store(granted, Ordering::SeqCst);
    }

    /// A question about a run; none while another is open.
    pub(crate) fn question(self: &Arc<Self>, request: &Request) -> Option<Question> {
        let was_asking = self.asking.swap(true, Ordering::SeqCst);
        (!was_asking).then(|| Question { trust: self.clone(), message: message(request) })
    }
}

/// A question that is open until it is dropped.
#[derive(Debug)]
pub(crate) struct Question {
    trust: Arc<Trust>,
    message: String,
}

impl Question {
    /// Asks the user; whether to run. Waits for the answer as long as it takes.
    pub(crate) async fn ask(self, outbox: &dyn Outbox) -> bool {
        let answer = outbox.ask(self.message.clone(), &[ONCE, ALWAYS, NOT]).await;
        match answer.as_deref() {
            Some(ONCE) => true,
            Some(ALWAYS) => {
                self.trust.set(true);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.trust.asking.store(false, Ordering::SeqCst);
    }
}

/// Names what would run. A name is text: nothing in it reaches further than its quotes.
fn message(request: &Request) -> String {
    const SHOWN: usize = 3;
    let clean = |text: &str| sanitize::name(text).chars().take(80).collect::<String>();
    let names: Vec<_> =
        request.targets.iter().take(SHOWN).map(|chosen| format!("`{}`", clean(&chosen.key.name))).collect();
    let more = match request.targets.len().saturating_sub(SHOWN) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let folder =
        request.targets.first().map(|chosen| chosen.target.project_dir.to_string_lossy().into_owned());
    format!(
        "Do you trust {}? vmtest is about to run {}{more} from its vmtest.toml in a virtual machine that can write to \
         this folder.",
        clean(&folder.unwrap_or_default()),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::testing::Recorder;
    use crate::runs::testing::request;

    async fn answer(trust: &Arc<Trust>, answer: Option<&str>) -> bool {
        let client = Recorder::default();
        *client.answer.lock().unwrap() = answer.map(str::to_owned);
        trust.question(&request(&["a"])).unwrap().ask(&client).await
    }

    #[tokio::test]
    async fn only_a_yes_is_one() {
        let trust = Arc::new(Trust::default());
        for no in [None, Some(NOT), Some("anything")] {
            assert!(!answer(&trust, no).await);
        }
        assert!(answer(&trust, Some(ONCE)).await);
        assert!(!trust.is_granted());
        assert!(answer(&trust, Some(ALWAYS)).await);
        assert!(trust.is_granted());
    }

    #[test]
    fn one_question_is_open_at_a_time() {
        let trust = Arc::new(Trust::default());
        let first = trust.question(&request(&["a"]));
        assert!(first.is_some() && trust.question(&request(&["a"])).is_none());
        drop(first);
        assert!(trust.question(&request(&["a"])).is_some());
    }

    #[test]
    fn a_name_is_text() {
        let text = message(&request(&["a\n\u{1b}[2J$(reboot)", "b", "c", "d"]));
        assert_eq!(
            text,
            "Do you trust /project? vmtest is about to run `a $(reboot)`, `b`, `c` and 1 more from its vmtest.toml in a \
             virtual machine that can write to this folder."
        );
    }
}
