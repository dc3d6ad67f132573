//! Makes foreign bytes harmless: what a guest prints may not steer the user's terminal, a log viewer or an XML parser.

/// The text of one line as a terminal would leave it, with nothing in it that a terminal obeys: no escape sequence, no
/// control character, no change of writing direction; a tab becomes spaces.
pub fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n']);
    // A carriage return starts the line over, as progress bars do: the last state is the one to show.
    let text = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("");
    let mut clean = String::with_capacity(text.len());
    let mut column = 0;
    for c in Printable::new(text) {
        if c == '\n' {
            clean.push(' ');
            column += 1;
        } else if c == '\t' {
            let spaces = 8 - column % 8;
            clean.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else {
            clean.push(c);
            column += 1;
        }
    }
    clean
}

/// A text that is no output, such as a target's name, on one line: nothing of it is hidden by a carriage return.
pub fn name(text: &str) -> String {
    line(text.replace(['\r', '\n'], " ").as_bytes())
}

/// Text that XML 1.0 allows, without escape sequences; escaping is the writer's.
pub fn xml(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    Printable::new(&text).map(|c| if matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c }).collect()
}

/// The characters of a text without control characters and without the sequences that they start; keeps tab and newline.
struct Printable<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Printable<'a> {
    fn new(text: &'a str) -> Self {
        Self { chars: text.chars().peekable() }
    }

    /// After `ESC [`: parameters, intermediates, one final character.
    fn skip_csi(&mut self) {
        while let Some(c) = self.chars.peek().copied() {
            match c {
                ' '..='?' => {
                    self.chars.next();
                }
                '@'..='~' => {
                    self.chars.next();
                    return;
                }
                // Not a sequence after all: what follows is text, or starts a sequence of its own.
                _ => return,
            }
        }
    }

    /// After `ESC ]`, `ESC P` and the like: everything up to BEL or ST. An unterminated one ends at the line's end, so
    /// that it cannot swallow what follows.
    fn skip_string(&mut self) {
        while let Some(c) = self.chars.peek().copied() {
            if c == '\n' {
                return;
            }
            self.chars.next();
            match c {
                '\u{7}' | '\u{9c}' => return,
                '\u{1b}' => {
                    if self.chars.peek() == Some(&'\\') {
                        self.chars.next();
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    fn skip_escape(&mut self) {
        match self.chars.peek().copied() {
            Some('[') => {
                self.chars.next();
                self.skip_csi();
            }
            Some(']' | 'P' | 'X' | '^' | '_') => {
                self.chars.next();
                self.skip_string();
            }
            // Intermediates and a final character, such as `ESC ( B`; or a single final character.
            Some(' '..='~') => {
                while matches!(self.chars.peek(), Some(' '..='/')) {
                    self.chars.next();
                }
                if matches!(self.chars.peek(), Some('0'..='~')) {
                    self.chars.next();
                }
            }
            _ => {}
        }
    }
}

impl Iterator for Printable<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            match self.chars.next()? {
                '\u{1b}' => self.skip_escape(),
                '\u{9b}' => self.skip_csi(),
                '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => self.skip_string(),
                c @ ('\t' | '\n') => return Some(c),
                c if c.is_control() || is_invisible_steering(c) => {}
                c => return Some(c),
            }
        }
    }
}

/// Characters that reorder or hide their neighbours: overrides, isolates, marks and line separators.
fn is_invisible_steering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use vmtest_fuzz::Fuzzer;

    use super::*;

    #[test]
    fn colours_titles_and_clipboard_writes_are_removed() {
        assert_eq!(line(b"\x1b[1;31mred\x1b[0m"), "red");
        assert_eq!(line(b"\x1b]0;title\x07text"), "text");
        assert_eq!(line(b"\x1b]52;c;ZXZpbA==\x1b\\text"), "text");
        assert_eq!(line(b"\x1b[2J\x1b[Htext\x1b(B"), "text");
        assert_eq!(line("\u{9b}31mtext\u{9d}0;x\u{9c}".as_bytes()), "text");
    }

    #[test]
    fn a_progress_bar_shows_its_last_state() {
        assert_eq!(line(b" 10%\r 50%\r100%\r\n"), "100%");
    }

    #[test]
    fn an_unterminated_sequence_ends_with_its_line() {
        assert_eq!(xml("a\x1b]0;never closed\nb"), "a\nb");
    }

    #[test]
    fn a_name_is_one_line_with_all_of_its_text() {
        assert_eq!(name("a\rb\nc\n"), "a b c ");
        assert_eq!(name("\u{1b}[2Ja\u{202e}b"), "ab");
    }

    #[test]
    fn text_survives() {
        assert_eq!(line("a\tb Ünï 漢字 🦀".as_bytes()), "a       b Ünï 漢字 🦀");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(line(b"a\xffb\0"), "a\u{fffd}b");
    }

    #[test]
    fn xml_loses_what_xml_forbids_and_keeps_lines() {
        assert_eq!(xml("a\0b\u{fffe}\u{ffff}\x1b[31mc\nd\te]]>"), "ab\u{fffd}\u{fffd}c\nd\te]]>");
    }

    fn is_xml(c: char) -> bool {
        matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    }

    // G6
    #[test]
    fn any_bytes_lose_all_that_a_terminal_or_xml_would_obey() {
        Fuzzer::new("sanitize")
            .pieces([
                "\x1b",
                "\x1b[",
                "\x1b]0;",
                "\x1b]52;c;",
                "\x1bP",
                "\x1b\\",
                "\x07",
                "\r",
                "\n",
                "\t",
                "\\",
                "[",
                "]",
            ])
            .pieces([
                "\u{9b}", "\u{9d}", "\u{90}", "\u{9c}", "\u{202e}", "\u{feff}", "\u{fffe}", "31m", "2J", ";",
                "]]>", "é",
            ])
            .run(|bytes| {
                let clean = line(bytes);
                assert!(clean.chars().all(|c| !c.is_control() && !is_invisible_steering(c)), "{clean:?}");
                assert_eq!(line(clean.as_bytes()), clean);
                let text = String::from_utf8_lossy(bytes);
                assert!(name(&text).chars().all(|c| !c.is_control() && !is_invisible_steering(c)));
                assert!(xml(&text).chars().all(is_xml));
            });
    }
}
