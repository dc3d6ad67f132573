//! From bytes to lines, and from a line to what the kernel's `printk` put in front of it.

/// The longest line; a longer one becomes several.
pub(super) const LINE_LIMIT: usize = 4096;

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    text: String,
    /// Whether it begins where a line begins, and not in the middle of one that was too long.
    whole: bool,
    /// Where the message starts in the text.
    message: usize,
}

impl Line {
    fn new(bytes: &[u8], whole: bool) -> Self {
        let end = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let message = if whole { prefix(&text) } else { 0 };
        Self { text, whole, message }
    }

    /// The line without what `printk` puts in front: level, time, caller.
    pub(super) fn message(&self) -> &str {
        &self.text[self.message..]
    }

    /// Whether `printk` put something in front of it.
    pub(super) fn is_stamped(&self) -> bool {
        self.message > 0
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Puts pieces together to lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// Whether `pending` goes on with a line whose start has been given away.
    continues: bool,
}

impl Lines {
    pub(super) fn push(&mut self, mut bytes: &[u8], lines: &mut Vec<Line>) {
        while !bytes.is_empty() {
            let room = LINE_LIMIT - self.pending.len();
            let reach = &bytes[..bytes.len().min(room)];
            if let Some(end) = memchr::memchr(b'\n', reach) {
                self.pending.extend(&bytes[..end]);
                bytes = &bytes[end + 1..];
                lines.push(Line::new(&self.pending, !self.continues));
                self.pending.clear();
                self.continues = false;
            } else {
                self.pending.extend(reach);
                bytes = &bytes[reach.len()..];
                if self.pending.len() == LINE_LIMIT {
                    let rest = self.pending.split_off(character_end(&self.pending));
                    lines.push(Line::new(&self.pending, !self.continues));
                    self.pending = rest;
                    self.continues = true;
                }
            }
        }
    }

    pub(super) fn finish(&mut self, lines: &mut Vec<Line>) {
        if !self.pending.is_empty() {
            lines.push(Line::new(&self.pending, !self.continues));
            self.pending.clear();
        }
        self.continues = false;
    }
}

/// Where to cut, so that no character that is whole so far is split: before an unfinished one at the end.
fn character_end(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(4);
    if std::str::from_utf8(&bytes[from..]).is_ok() {
        return bytes.len();
    }
    let lead = bytes[from..].iter().rposition(|byte| *byte >= 0xC0).map(|at| from + at);
    let unfinished = lead.filter(|at| {
        let needed = match bytes[*at] {
            0xF0.. => 4,
            0xE0.. => 3,
            _ => 2,
        };
        bytes.len() - at < needed
    });
    unfinished.unwrap_or(bytes.len())
}

/// How much of a line is `printk`'s: `<6>`, `[    1.234567]`, `[    T1]` or `[   C12]`, each where it is switched on
/// (Documentation/admin-guide/kernel-parameters.txt: `printk.time`; `CONFIG_PRINTK_CALLER`), and the space after them. The
/// first line on a serial port can have the firmware's control sequences in front of all that.
fn prefix(line: &str) -> usize {
    let start = control_sequences(line);
    let mut rest = &line[start..];
    if let Some(after) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        let (level, after) = after;
        if !level.is_empty() && level.len() <= 3 && level.bytes().all(|byte| byte.is_ascii_digit()) {
            rest = after;
        }
    }
    let unstamped = rest.len();
    rest = bracketed(rest, |inner| {
        inner.split_once('.').is_some_and(|(seconds, fraction)| is_number(seconds) && is_number(fraction))
    });
    rest = bracketed(rest, |inner| inner.strip_prefix(['T', 'C']).is_some_and(is_number));
    if rest.len() < unstamped {
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    let end = line.len() - rest.len();
    // Control sequences alone are nothing of printk's.
    if end == start { 0 } else { end }
}

/// The rest after `[  inner]`, when `inner` is what is asked for.
fn bracketed(text: &str, wanted: impl Fn(&str) -> bool) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, after)) if wanted(inner.trim_start()) => after,
        _ => text,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The length of the control sequences (`ESC [ … letter`, `ESC c`) that a line starts with.
fn control_sequences(line: &str) -> usize {
    let bytes = line.as_bytes();
    let mut at = 0;
    while bytes.get(at) == Some(&0x1B) {
        at = match bytes.get(at + 1) {
            Some(b'[') => match bytes[at + 2..].iter().position(|byte| (0x40..=0x7E).contains(byte)) {
                Some(end) => at + 2 + end + 1,
                None => return at,
            },
            Some(byte) if byte.is_ascii() => at + 2,
            _ => return at,
        };
    }
    at
}
