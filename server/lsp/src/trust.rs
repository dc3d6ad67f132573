//! Whether the user lets this workspace run anything. The server decides, not the client: without a word nothing runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::outbox::{NotAsked, Outbox};
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
    granted: watch::Sender<bool>,
    /// Counts what was to run; the last one is the user's wish.
    last: AtomicU64,
}

impl Trust {
    /// Whether what a vmtest.toml says may be run.
    pub(crate) fn is_granted(&self) -> bool {
        *self.granted.borrow()
    }

    /// `initializationOptions.trusted`, or `vmtest/didChangeTrust`.
    pub(crate) fn set(&self, granted: bool) {
        self.granted.send_replace(granted);
    }

    /// Tells of every change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.granted.subscribe()
    }

    /// The question that a run needs; none where trust is granted. It replaces the one before, whether that was answered
    /// or not: not every client answers when its user turns away from a question, so waiting for an answer would be
    /// waiting forever, and a user who asks for a run anew means that one. What a replaced question was about is not run
    /// any more, because its answer may come when the same has long run, or with the text of an hour ago; a yes to it is
    /// told so.
    pub(crate) fn question(self: &Arc<Self>, request: &Request) -> Option<Question> {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        (!self.is_granted()).then(|| Question { trust: self.clone(), number, message: message(request) })
    }
}

/// What the user wants of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Run it.
    Yes,
    /// Anything but a yes.
    No,
    /// A yes that came after another run was asked for.
    Late,
    /// The client does not know how to ask.
    Unasked,
}

/// A question about one run.
#[derive(Debug)]
pub(crate) struct Question {
    trust: Arc<Trust>,
    number: u64,
    message: String,
}

impl Question {
    /// Asks the user. Waits for the answer as long as it takes.
    pub(crate) async fn ask(self, outbox: &dyn Outbox) -> Answer {
        let answer = outbox.ask(self.message, &[ONCE, ALWAYS, NOT]).await;
        let is_last = self.trust.last.load(Ordering::SeqCst) == self.number;
        match answer.as_ref().map(Option::as_deref) {
            Ok(Some(word @ (ONCE | ALWAYS))) => {
                if word == ALWAYS {
                    // About the workspace and no run, so it counts whenever it comes.
                    self.trust.set(true);
                }
                if is_last { Answer::Yes } else { Answer::Late }
            }
            Err(NotAsked) if is_last => Answer::Unasked,
            _ => Answer::No,
        }
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

    fn client(answer: Option<&str>) -> Recorder {
        let client = Recorder::default();
        *client.answer.lock().unwrap() = answer.map(str::to_owned);
        client
    }

    fn question(trust: &Arc<Trust>) -> Question {
        trust.question(&request(&["a"])).unwrap()
    }

    async fn answer(trust: &Arc<Trust>, answer: Option<&str>) -> Answer {
        question(trust).ask(&client(answer)).await
    }

    #[tokio::test]
    async fn only_a_yes_is_one() {
        let trust = Arc::new(Trust::default());
        for no in [None, Some(NOT), Some("anything")] {
            assert_eq!(answer(&trust, no).await, Answer::No);
        }
        assert_eq!(answer(&trust, Some(ONCE)).await, Answer::Yes);
        assert!(!trust.is_granted());
        assert_eq!(answer(&trust, Some(ALWAYS)).await, Answer::Yes);
        assert!(trust.is_granted());
    }

    #[tokio::test]
    async fn a_question_replaces_the_one_before() {
        let trust = Arc::new(Trust::default());
        let (first, second) = (question(&trust), question(&trust));
        assert_eq!(first.ask(&client(Some(ONCE))).await, Answer::Late);
        assert_eq!(second.ask(&client(Some(ONCE))).await, Answer::Yes);
    }

    #[tokio::test]
    async fn a_run_that_needs_no_question_replaces_one_too() {
        let trust = Arc::new(Trust::default());
        let open = question(&trust);
        trust.set(true);
        assert!(trust.question(&request(&["a"])).is_none());
        assert_eq!(open.ask(&client(Some(ONCE))).await, Answer::Late);
    }

    #[tokio::test]
    async fn trust_in_the_workspace_counts_whenever_it_is_granted() {
        let trust = Arc::new(Trust::default());
        let (first, second) = (question(&trust), question(&trust));
        assert_eq!(second.ask(&client(Some(NOT))).await, Answer::No);
        assert_eq!(first.ask(&client(Some(ALWAYS))).await, Answer::Late);
        assert!(trust.is_granted());
    }

    #[tokio::test]
    async fn that_a_client_cannot_ask_is_no_answer_and_known_once() {
        let trust = Arc::new(Trust::default());
        let client = Recorder::default();
        client.cannot_ask.store(true, Ordering::SeqCst);
        let (first, second) = (question(&trust), question(&trust));
        assert_eq!(first.ask(&client).await, Answer::No);
        assert_eq!(second.ask(&client).await, Answer::Unasked);
        assert!(!trust.is_granted());
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
