//! The tokens of progress. Some clients show them to the user (Helix 25.01: `[token] booting`), so they are words.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;
use vmtest_vm::sanitize;

/// The tokens that are in use, and what each of them stops.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, CancellationToken>>);

impl Tokens {
    /// A token for a target of this name. Nobody else gets it while it is there.
    pub(super) fn take(self: &Arc<Self>, name: &str, cancel: CancellationToken) -> Token {
        let mut used = self.lock();
        let first = format!("vmtest: {}", label(name));
        let mut text = first.clone();
        let mut number = 2;
        while used.contains_key(&text) {
            text = format!("{first} ({number})");
            number += 1;
        }
        used.insert(text.clone(), cancel);
        drop(used);
        Token { tokens: self.clone(), text }
    }

    /// Stops what a token is of; one that is not in use is nothing to stop.
    pub(super) fn cancel(&self, token: &str) {
        if let Some(cancel) = self.lock().get(token) {
            cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.0.lock().expect("no holder panics")
    }
}

/// A token that is in use until it is dropped; a string, because not every client takes numbers.
#[derive(Debug)]
pub(super) struct Token {
    tokens: Arc<Tokens>,
    text: String,
}

impl Token {
    /// For the wire.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.tokens.lock().remove(&self.text);
    }
}

/// A target's name as a few words on one line.
pub(super) fn label(name: &str) -> String {
    const MOST: usize = 40;
    let name = sanitize::name(name);
    let name = name.trim();
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None if name.is_empty() => "a target without a name".to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(tokens: &Arc<Tokens>, name: &str) -> (Token, CancellationToken) {
        let cancel = CancellationToken::new();
        (tokens.take(name, cancel.clone()), cancel)
    }

    #[test]
    fn a_token_is_a_few_plain_words() {
        let long = "x".repeat(300);
        for (name, words) in [
            ("passes", "vmtest: passes"),
            (" a\nb\r\u{1b}[2Jc ", "vmtest: a b c"),
            ("\n", "vmtest: a target without a name"),
            (&long, &format!("vmtest: {}…", "x".repeat(40))),
        ] {
            assert_eq!(take(&Arc::default(), name).0.text(), words);
        }
    }

    #[test]
    fn tokens_in_use_are_unlike_each_other_whatever_the_names_are() {
        let tokens = Arc::default();
        let taken = ["a", "a (2)", "a", "a\n", "a (2)"].map(|name| take(&tokens, name));
        let texts = taken.each_ref().map(|(token, _)| token.text());
        assert_eq!(
            texts,
            ["a", "a (2)", "a (3)", "a (4)", "a (2) (2)"].map(|text| format!("vmtest: {text}"))
        );
        drop(taken);
        assert_eq!(take(&tokens, "a").0.text(), "vmtest: a");
    }

    #[test]
    fn a_token_stops_its_own_target_while_it_is_in_use() {
        let tokens = Arc::default();
        let [(first, stops_first), (second, stops_second)] = ["a", "a"].map(|name| take(&tokens, name));
        tokens.cancel(second.text());
        assert!(stops_second.is_cancelled() && !stops_first.is_cancelled());
        drop(first);
        tokens.cancel("vmtest: a");
        assert!(!stops_first.is_cancelled());
    }
}
