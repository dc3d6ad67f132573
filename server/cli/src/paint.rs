//! Colours, where they are wanted.

/// Paints text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub(crate) fn off() -> Self {
        Self { on: false }
    }

    /// Colours on a terminal, unless the user asked for none (<https://no-color.org>).
    pub(crate) fn for_terminal(is_terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            on: is_terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// Whether there are colours.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// It went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// It did not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// It goes on.
    pub(crate) fn running(self, text: &str) -> String {
        self.with("36", text)
    }

    /// Look here.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}
