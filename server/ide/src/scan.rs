//! Cuts a text into pieces, one for each `[[target]]`, before anything parses it.
//!
//! A slip in one target then stays there: each piece is parsed alone. Strings that nobody closed are found here too, so
//! that the parser never sees one; it would search the rest of the file for the end of each.

use std::borrow::Cow;
use std::ops::Range;

/// The longest number, or anything else without quotes and blanks, that is worth reading, and the longest string without an
/// end, which becomes a number for the parser: its lexer recurses over each digit, unless it is optimized.
const LONGEST_WORD: usize = 2 << 10;
/// The same for empty lines.
const LONGEST_GAP: usize = 16 << 10;

/// A part of the text that can be parsed alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it lies.
    pub(crate) range: Range<usize>,
    /// The strings in it that have no end, from their first quote to where they must have ended.
    pub(crate) open_strings: Vec<Range<usize>>,
    /// Line breaks and comments within inline tables: TOML 1.1 has them there, the parser does not know them yet.
    blanks: Vec<Range<usize>>,
    /// How deep its brackets nest.
    depth: usize,
    /// How long what stands without quotes is at most.
    longest_word: usize,
    /// How many bytes of line breaks follow each other at most.
    longest_gap: usize,
}

impl Piece {
    /// Whether the strings without an end are at the same places, counted from the start. What follows the piece decides where
    /// the last of them ends.
    pub(crate) fn same_strings(&self, other: &Self) -> bool {
        self.strings_within().eq(other.strings_within())
    }

    fn strings_within(&self) -> impl Iterator<Item = Range<usize>> {
        let start = self.range.start;
        self.open_strings.iter().map(move |open| open.start - start..open.end - start)
    }

    /// Its text for the parser, where strings without an end are digits. None where it nests too deeply, or something
    /// in it is too long: parsers recurse.
    pub(crate) fn parsable<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        let open = self.open_strings.iter().map(Range::len);
        let too_long = open.chain([self.longest_word]).any(|length| length > LONGEST_WORD)
            || self.longest_gap > LONGEST_GAP;
        if self.depth > vmtest_config::MAX_DEPTH || too_long {
            return None;
        }
        let own = text.get(self.range.clone())?;
        let blanks = blanks_in_header(own);
        if self.open_strings.is_empty() && self.blanks.is_empty() && blanks.is_empty() {
            return Some(Cow::Borrowed(own));
        }
        let mut masked = own.as_bytes().to_vec();
        // taplo (0.14) takes blanks there for a mistake, and before the brackets for what they are.
        masked[blanks.start.saturating_sub(2)..blanks.end].rotate_right(blanks.len());
        for (ranges, mask) in [(&self.open_strings, b'1'), (&self.blanks, b' ')] {
            for range in ranges {
                masked[range.start - self.range.start..range.end - self.range.start].fill(mask);
            }
        }
        String::from_utf8(masked).ok().map(Cow::Owned)
    }

    /// Whether a line ends, or a comment stands, in an inline table that starts and ends here.
    pub(crate) fn is_of_lines(&self, table: &Range<usize>) -> bool {
        let first = self.blanks.partition_point(|blank| blank.start < table.start);
        self.blanks.get(first).is_some_and(|blank| blank.start < table.end)
    }

    /// The comments that the parser does not see.
    pub(crate) fn hidden_comments<'p>(&'p self, text: &'p str) -> impl Iterator<Item = Range<usize>> + 'p {
        self.blanks.iter().filter(|range| text[range.start..].starts_with('#')).cloned()
    }
}

/// Quotes in a row of which a string can still be made: three before, three after, and two that belong to it. For each of more,
/// the parser looks at all that follow.
const MOST_QUOTES: usize = 8;

/// Cuts `text`: the first piece is what stands before the first `[[target]]`, and may be empty; each other one goes from
/// a `[[target]]` to the next. Linear in the length of the text.
pub(crate) fn scan(text: &str) -> Vec<Piece> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: start, unclosed: [false; 2] };
    let mut pieces = Vec::new();
    let mut piece = Piece { range: start..start, ..Piece::default() };
    let mut depth = 0_usize;
    let mut inline = Inline::default();
    let mut gap = 0..0;
    while scanner.at < scanner.bytes.len() {
        if scanner.is_target_header() {
            piece.range.end = scanner.at;
            let next = Piece { range: scanner.at..scanner.at, ..Piece::default() };
            pieces.push(std::mem::replace(&mut piece, next));
            depth = 0;
            inline = Inline::default();
        }
        // The rest of the line, and of the strings that start on it.
        while let Some(&byte) = scanner.bytes.get(scanner.at) {
            match byte {
                b'\n' | b'\r' => {
                    inline.note(scanner.at..scanner.at + 1);
                    gap = if gap.end == scanner.at { gap.start } else { scanner.at }..scanner.at + 1;
                    piece.longest_gap = piece.longest_gap.max(gap.len());
                    scanner.at += 1;
                    if byte == b'\n' {
                        break;
                    }
                }
                b'#' => {
                    let start = scanner.at;
                    scanner.at = scanner.line_end(start);
                    inline.note(start..scanner.at);
                }
                b'"' | b'\'' => {
                    if let Some(open) = scanner.string(byte) {
                        piece.open_strings.push(open);
                        if scanner.at_line_start() {
                            break;
                        }
                    }
                }
                b'[' | b'{' => {
                    inline.depth += usize::from(byte == b'{');
                    depth += 1;
                    piece.depth = piece.depth.max(depth);
                    scanner.at += 1;
                }
                b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    if byte == b'}' {
                        piece.blanks.append(&mut inline.close());
                    }
                    scanner.at += 1;
                }
                _ => {
                    let start = scanner.at;
                    scanner.at = scanner.word_end(start);
                    piece.longest_word = piece.longest_word.max(scanner.at - start);
                }
            }
        }
    }
    piece.range.end = text.len();
    pieces.push(piece);
    pieces
}

/// The inline table that is being read.
#[derive(Default)]
struct Inline {
    depth: usize,
    /// What to blank once it turns out to have an end; one without goes on to the end of its line.
    noted: Vec<Range<usize>>,
}

impl Inline {
    fn note(&mut self, range: Range<usize>) {
        if self.depth > 0 {
            self.noted.push(range);
        }
    }

    /// Leaves a table; gives what must be blanked, where that was the outermost.
    fn close(&mut self) -> Vec<Range<usize>> {
        if self.depth == 1 {
            self.depth = 0;
            return std::mem::take(&mut self.noted);
        }
        self.depth = self.depth.saturating_sub(1);
        Vec::new()
    }
}

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    /// Whether `"""` and `'''` are known to have no end any more.
    unclosed: [bool; 2],
}

impl Scanner<'_> {
    fn at_line_start(&self) -> bool {
        self.at == 0 || self.bytes[self.at - 1] == b'\n'
    }

    fn line_end(&self, from: usize) -> usize {
        self.text[from..].find('\n').map_or(self.bytes.len(), |newline| from + newline)
    }

    /// Where a number that starts here ends; the next byte where none does.
    fn word_end(&self, from: usize) -> usize {
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-_.:,*?".contains(byte);
        let more = self.bytes[from + 1..].iter().take_while(|byte| is_of_word(byte)).count();
        from + 1 + more
    }

    /// Whether the line that starts here is the header of a target, whole or still being typed.
    fn is_target_header(&self) -> bool {
        is_target_header(&self.text[self.at..])
    }

    /// Goes over the string that starts here; gives its range when it has no end.
    fn string(&mut self, quote: u8) -> Option<Range<usize>> {
        let start = self.at;
        if self.bytes[start..].starts_with(&[quote; MOST_QUOTES + 1]) {
            self.at = self.line_end(start);
            return Some(start..self.at);
        }
        if self.bytes[start..].starts_with(&[quote; 3]) {
            return self.long_string(quote);
        }
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => break,
                b'\\' if quote == b'"' && self.bytes.get(self.at + 1).is_some_and(|next| *next != b'\n') => {
                    self.at += 1 + self.text[self.at + 1..].chars().next().map_or(0, char::len_utf8);
                }
                byte if byte == quote => {
                    self.at += 1;
                    return None;
                }
                _ => self.at += 1,
            }
        }
        // A line break is one or two bytes; the carriage return is not part of the string.
        let end = if self.bytes[start..self.at].ends_with(b"\r") { self.at - 1 } else { self.at };
        Some(start..end)
    }

    fn long_string(&mut self, quote: u8) -> Option<Range<usize>> {
        let start = self.at;
        let kind = usize::from(quote == b'\'');
        if !self.unclosed[kind] {
            let mut at = start + 3;
            while at < self.bytes.len() {
                if self.bytes[at] == b'\\' && quote == b'"' {
                    at += 2;
                } else if self.bytes[at..].starts_with(&[quote; 3]) {
                    // Up to two more quotes belong to the text.
                    let more = self.bytes[at + 3..].iter().take(2).take_while(|byte| **byte == quote).count();
                    self.at = at + 3 + more;
                    return None;
                } else {
                    at += 1;
                }
            }
            self.unclosed[kind] = true;
        }
        // It must have ended before the next target.
        let mut line = self.line_end(start);
        while line < self.bytes.len() && !is_target_header(&self.text[line + 1..]) {
            line = self.line_end(line + 1);
        }
        self.at = (line + 1).min(self.bytes.len());
        Some(start..line)
    }
}

fn is_target_header(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t']);
    let Some(name) = line.strip_prefix("[[") else { return false };
    let name = name.trim_start_matches([' ', '\t']);
    let after = ["target", "\"target\"", "'target'"].iter().find_map(|known| name.strip_prefix(known));
    after.is_some_and(|rest| {
        let rest = rest.trim_start_matches([' ', '\t']);
        rest.is_empty() || rest.starts_with([']', '\n', '\r', '#'])
    })
}

/// The blanks between the brackets and the name of a target's header.
fn blanks_in_header(piece: &str) -> Range<usize> {
    let line = piece.trim_start_matches([' ', '\t']);
    let Some(name) = line.strip_prefix("[[").filter(|_| is_target_header(piece)) else { return 0..0 };
    let end = piece.len() - name.trim_start_matches([' ', '\t']).len();
    piece.len() - name.len()..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        scan(text).into_iter().map(|piece| &text[piece.range]).collect()
    }

    fn open(text: &str) -> Vec<&str> {
        scan(text).into_iter().flat_map(|piece| piece.open_strings).map(|range| &text[range]).collect()
    }

    #[test]
    fn each_target_is_a_piece() {
        assert_eq!(
            pieces("# x\n[[target]]\na = 1\n [[ target ]] # c\n[target.vm]\n"),
            ["# x\n", "[[target]]\na = 1\n", " [[ target ]] # c\n[target.vm]\n"]
        );
    }

    #[test]
    fn a_header_in_a_string_or_a_comment_is_none() {
        assert_eq!(pieces("[[target]]\na = '''\n[[target]]\n'''\n# [[target]]\n").len(), 2);
        assert_eq!(pieces("[[target]]\na = \"\"\"\\\"\"\"\n[[target]]\n\"\"\"\n").len(), 2);
    }

    #[test]
    fn a_header_that_is_being_typed_is_one() {
        assert_eq!(pieces("[[target\n[[target]\n[[\"target\"]]\n[[targets]]\n[[target.x]]\n").len(), 4);
    }

    #[test]
    fn a_string_without_an_end_ends_at_its_line() {
        assert_eq!(open("a = \"b\nc = 'd\r\ne = \"\\\""), ["\"b", "'d", "\"\\\""]);
        assert_eq!(pieces("[[target]]\na = \"b\n[[target]]\n").len(), 3);
    }

    #[test]
    fn a_long_string_without_an_end_ends_at_the_next_target() {
        let text = "[[target]]\na = '''\nb\n[[target]]\nc = \"\"\"\"x\"\"\"\"\"\n";
        assert_eq!(open(text), ["'''\nb"]);
        assert_eq!(pieces(text).len(), 3);
    }

    #[test]
    fn an_inline_table_of_several_lines_is_one_line_for_the_parser() {
        let parsable = |text: &str| scan(text)[1].parsable(text).unwrap().into_owned();
        assert_eq!(
            parsable("[[target]]\nvm = {\r\n a = 1, # ä}\n}\nb = 1\n"),
            "[[target]]\nvm = {   a = 1,       }\nb = 1\n"
        );
        let open = "[[target]]\nvm = {\n a = { b = 1 },\nc = 1\n";
        assert_eq!(parsable(open), open);
    }

    #[test]
    fn brackets_that_nest_too_deeply_are_not_for_the_parser() {
        let text = format!("[[target]]\na = {}", "[".repeat(1000));
        let scan = scan(&text);
        assert_eq!(scan[1].parsable(&text), None);
        let text = format!("[[target]]\na = '{}'", "[".repeat(1000));
        assert!(super::scan(&text)[1].parsable(&text).is_some());
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole_text_and_masks_keep_its_length(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("[[target]]\n"), Just("\n"), Just("\""), Just("'"), Just("\"\"\""), Just("'''"), Just("\\"),
                    Just("ä"), Just("a = "), Just("\r\n"), Just("#"), Just("[["), Just("]"), Just("\u{feff}"),
                ],
                0..40,
            )
        ) {
            let text = words.concat();
            let bom = if text.starts_with('\u{feff}') { 3 } else { 0 };
            prop_assert_eq!(pieces(&text).concat(), &text[bom..]);
            for piece in scan(&text) {
                prop_assert_eq!(piece.parsable(&text).unwrap().len(), piece.range.len());
            }
        }
    }
}
