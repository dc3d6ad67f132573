//! Between byte offsets and the protocol's positions, in each of its three encodings.
//!
//! A place that does not exist is moved to the nearest before it: past the end of a line to the line's end, past the last
//! line to the end of the text, inside a character (half a surrogate pair) to its start.

use std::ops::Range;

use tower_lsp::lsp_types::{Position, PositionEncodingKind, Range as LspRange};

/// What a position's `character` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// Bytes.
    Utf8,
    /// UTF-16 code units, what a client that does not say anything counts.
    #[default]
    Utf16,
    /// Characters.
    Utf32,
}

impl Encoding {
    /// The best of those that the client offers: bytes cost nothing to count.
    pub(crate) fn negotiate(offered: &[PositionEncodingKind]) -> Self {
        [Self::Utf8, Self::Utf32]
            .into_iter()
            .find(|encoding| offered.contains(&encoding.kind()))
            .filter(|encoding| *encoding == Self::Utf8 || !offered.contains(&Self::Utf16.kind()))
            .unwrap_or_default()
    }

    /// Its name in the protocol.
    pub(crate) fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
            Self::Utf32 => PositionEncodingKind::UTF32,
        }
    }

    fn width(self, character: char) -> usize {
        match self {
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
            Self::Utf32 => 1,
        }
    }

    fn length(self, text: &str) -> usize {
        match self {
            Self::Utf8 => text.len(),
            _ => text.chars().map(|character| self.width(character)).sum(),
        }
    }
}

/// The lines of one text.
#[derive(Debug)]
pub(crate) struct Lines {
    encoding: Encoding,
    /// Where each line starts.
    starts: Vec<usize>,
    /// How many units come before each [`STEP`]th byte, so that a long line is not counted anew for each of its
    /// positions; empty where units are bytes.
    counts: Vec<usize>,
}

const STEP: usize = 512;

impl Lines {
    /// Reads the text once. Every method takes the same text.
    pub(crate) fn new(text: &str, encoding: Encoding) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            // A line ends with \n, \r\n, or \r alone.
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                starts.push(at + 1);
            }
        }
        let mut counts = Vec::new();
        if encoding != Encoding::Utf8 && !text.is_ascii() {
            let mut count = 0;
            for (at, character) in text.char_indices() {
                // The first character that starts at or after the step counts for it.
                while counts.len() * STEP <= at {
                    counts.push(count);
                }
                count += encoding.width(character);
            }
        }
        Self { encoding, starts, counts }
    }

    /// The position of a byte.
    pub(crate) fn position(&self, text: &str, offset: usize) -> Position {
        let offset = floor(text, offset);
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let column = self.units(text, offset) - self.units(text, self.starts[line]);
        Position::new(line as u32, column as u32)
    }

    /// The byte at a position.
    pub(crate) fn offset(&self, text: &str, position: Position) -> usize {
        let Some(&start) = self.starts.get(position.line as usize) else { return text.len() };
        let end = self.line_end(text, position.line as usize);
        let wanted = self.units(text, start) + position.character as usize;
        if self.counts.is_empty() {
            return floor(text, wanted.min(end));
        }
        // Start at the last step that is not past the place, but never before the line.
        let step = self.counts.partition_point(|count| *count <= wanted).saturating_sub(1);
        let mut at = ceil(text, step * STEP).clamp(start, end);
        let mut count = self.units(text, at);
        for character in text[at..end].chars() {
            count += self.encoding.width(character);
            if count > wanted {
                break;
            }
            at += character.len_utf8();
        }
        at
    }

    /// The range of bytes as positions.
    pub(crate) fn range(&self, text: &str, range: &Range<usize>) -> LspRange {
        LspRange::new(self.position(text, range.start), self.position(text, range.end.max(range.start)))
    }

    /// The positions as a range of bytes; one that is upside down is empty.
    pub(crate) fn bytes(&self, text: &str, range: LspRange) -> Range<usize> {
        let start = self.offset(text, range.start);
        start..self.offset(text, range.end).max(start)
    }

    /// How many units a piece of text is long.
    pub(crate) fn length(&self, text: &str) -> usize {
        self.encoding.length(text)
    }

    /// Where a line ends, without what ends it.
    fn line_end(&self, text: &str, line: usize) -> usize {
        let Some(&next) = self.starts.get(line + 1) else { return text.len() };
        let is_two = text[self.starts[line]..next].ends_with("\r\n");
        next - if is_two { 2 } else { 1 }
    }

    /// How many units come before a byte that starts a character.
    fn units(&self, text: &str, offset: usize) -> usize {
        if self.counts.is_empty() {
            return offset;
        }
        // No character starts at the last steps when the text ends with a long one.
        let step = (offset / STEP).min(self.counts.len() - 1);
        let from = ceil(text, step * STEP).min(offset);
        self.counts[step] + self.encoding.length(&text[from..offset])
    }
}

/// The nearest place at or before `offset` where a character starts or the text ends.
fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The nearest such place at or after `offset`.
fn ceil(text: &str, offset: usize) -> usize {
    (offset..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Utf8, Encoding::Utf16, Encoding::Utf32];

    fn at(line: u32, character: u32) -> Position {
        Position::new(line, character)
    }

    #[test]
    fn each_encoding_counts_its_own_units() {
        let text = "aä😀b";
        let columns = ALL.map(|encoding| Lines::new(text, encoding).position(text, 7).character);
        assert_eq!(columns, [7, 4, 3]);
    }

    #[test]
    fn bytes_are_preferred_and_utf_16_is_the_default() {
        let kinds =
            |encodings: &[Encoding]| encodings.iter().map(|encoding| encoding.kind()).collect::<Vec<_>>();
        assert_eq!(Encoding::negotiate(&[]), Encoding::Utf16);
        assert_eq!(Encoding::negotiate(&kinds(&[Encoding::Utf16, Encoding::Utf8])), Encoding::Utf8);
        assert_eq!(Encoding::negotiate(&kinds(&[Encoding::Utf32])), Encoding::Utf32);
        assert_eq!(Encoding::negotiate(&kinds(&[Encoding::Utf32, Encoding::Utf16])), Encoding::Utf16);
        assert_eq!(Encoding::negotiate(&["utf-7".to_owned().into()]), Encoding::Utf16);
    }

    #[test]
    fn half_a_surrogate_pair_is_its_characters_start() {
        let text = "a😀b";
        assert_eq!(Lines::new(text, Encoding::Utf16).offset(text, at(0, 2)), 1);
        assert_eq!(Lines::new(text, Encoding::Utf8).offset(text, at(0, 3)), 1);
    }

    #[test]
    fn past_the_end_of_a_line_is_its_end_whatever_ends_it() {
        let text = "ab\r\ncd\nef\rgh";
        let lines = Lines::new(text, Encoding::Utf16);
        assert_eq!([0, 1, 2, 3].map(|line| lines.offset(text, at(line, 99))), [2, 6, 9, 12]);
        assert_eq!(lines.offset(text, at(99, 0)), text.len());
        assert_eq!(lines.offset(text, at(u32::MAX, u32::MAX)), text.len());
    }

    #[test]
    fn a_range_upside_down_is_empty() {
        let text = "abc";
        let lines = Lines::new(text, Encoding::Utf16);
        assert_eq!(lines.bytes(text, LspRange::new(at(0, 2), at(0, 1))), 2..2);
    }

    #[test]
    fn a_long_line_is_counted_in_steps() {
        let text = "ä😀x".repeat(2000) + "\n" + &"é".repeat(700);
        for encoding in ALL {
            let lines = Lines::new(&text, encoding);
            for (offset, _) in text.char_indices().step_by(7) {
                assert_eq!(lines.offset(&text, lines.position(&text, offset)), offset);
            }
        }
    }

    proptest! {
        #[test]
        fn an_offset_survives_the_way_there_and_back(text in "[aä😀€\r\n]{0,700}", which in 0usize..3) {
            let lines = Lines::new(&text, ALL[which]);
            for (offset, _) in text.char_indices() {
                let back = lines.offset(&text, lines.position(&text, offset));
                // Between \r and \n is no place: that is the end of the line.
                let between = text[..offset].ends_with('\r') && text[offset..].starts_with('\n');
                prop_assert_eq!(back, if between { offset - 1 } else { offset });
            }
        }

        #[test]
        fn every_position_is_some_place(
            text in "[aä😀€\r\n]{0,60}", which in 0usize..3, line in 0u32..80, character in 0u32..80
        ) {
            let lines = Lines::new(&text, ALL[which]);
            let offset = lines.offset(&text, at(line, character));
            prop_assert!(text.is_char_boundary(offset));
            prop_assert!(lines.position(&text, offset) <= at(line, character));
        }

        #[test]
        fn every_offset_has_a_position(text in "[aä😀€\r\n]{0,60}", which in 0usize..3, offset in 0usize..300) {
            let lines = Lines::new(&text, ALL[which]);
            let position = lines.position(&text, offset);
            prop_assert!((position.line as usize) < lines.starts.len());
        }
    }
}
