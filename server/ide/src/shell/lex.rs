//! Words and operators of a shell script, with their places. No recursion: what nests is on a stack of its own.

use std::ops::Range;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word as it is written, quotes included.
    Word(Range<usize>),
    /// `;`, `&`, `&&`, `||`, `|`, `(`, `)`, `;;` or a line break.
    Operator(Range<usize>),
    /// `<`, `>>`, `2>&1` and their like, without the word that follows.
    Redirection(Range<usize>),
}

/// `<<END` and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// From `<<` to the end of the delimiter.
    pub(super) operator: Range<usize>,
    /// What its last line must be.
    pub(super) delimiter: String,
    /// Whether tabs before it are ignored: `<<-`.
    pub(super) strips_tabs: bool,
    /// Where its text starts, if that has no end.
    pub(super) unclosed_from: Option<usize>,
}

/// Everything in a script.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    pub(super) heredocs: Vec<Heredoc>,
}

/// Reads a script.
pub(super) fn lex(script: &str) -> Lexed {
    let mut lexer = Lexer { script, bytes: script.as_bytes(), at: 0, lexed: Lexed::default(), waiting: 0 };
    while lexer.at < lexer.bytes.len() {
        lexer.token();
    }
    // A here-document on the last line has no text at all.
    let end = script.len();
    let waiting = lexer.waiting;
    for heredoc in lexer.lexed.heredocs.iter_mut().rev().take(waiting) {
        heredoc.unclosed_from = Some(end);
    }
    lexer.lexed
}

struct Lexer<'s> {
    script: &'s str,
    bytes: &'s [u8],
    at: usize,
    lexed: Lexed,
    /// How many of the last here-documents have their text after the next line break.
    waiting: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn token(&mut self) {
        let start = self.at;
        match self.peek(0) {
            b' ' | b'\t' | b'\r' => self.at += 1,
            b'\\' if self.peek(1) == b'\n' => self.at += 2,
            b'#' => self.at = self.line_end(self.at),
            b'\n' => {
                self.at += 1;
                self.lexed.tokens.push(Token::Operator(start..self.at));
                self.bodies();
            }
            b'<' | b'>' => self.redirection(start),
            b'(' if self.peek(1) == b'(' && self.arithmetic() => {
                self.lexed.tokens.push(Token::Word(start..self.at));
            }
            b'&' if self.peek(1) == b'>' => self.redirection(start),
            b';' | b'&' | b'|' | b'(' | b')' => {
                let double =
                    matches!((self.peek(0), self.peek(1)), (b';', b';') | (b'&', b'&') | (b'|', b'|' | b'&'));
                self.at += if double { 2 } else { 1 };
                self.lexed.tokens.push(Token::Operator(start..self.at));
            }
            _ => {
                self.word();
                let digits = self.bytes[start..self.at].iter().all(u8::is_ascii_digit);
                if digits && matches!(self.peek(0), b'<' | b'>') {
                    self.redirection(start);
                } else {
                    self.lexed.tokens.push(Token::Word(start..self.at));
                }
            }
        }
    }

    fn line_end(&self, from: usize) -> usize {
        self.script[from..].find('\n').map_or(self.bytes.len(), |newline| from + newline)
    }

    fn redirection(&mut self, start: usize) {
        let sign = self.at;
        while matches!(self.peek(0), b'<' | b'>' | b'&' | b'|') && self.at < sign + 3 {
            self.at += 1;
        }
        let text = &self.bytes[sign..self.at];
        if text == b"<<" {
            let strips_tabs = self.peek(0) == b'-';
            self.at += usize::from(strips_tabs);
            while matches!(self.peek(0), b' ' | b'\t') {
                self.at += 1;
            }
            let word = self.at;
            self.word();
            let delimiter: String =
                self.script[word..self.at].chars().filter(|c| !matches!(c, '"' | '\'' | '\\')).collect();
            if !delimiter.is_empty() {
                self.lexed.heredocs.push(Heredoc {
                    operator: sign..self.at,
                    delimiter,
                    strips_tabs,
                    unclosed_from: None,
                });
                self.waiting += 1;
            }
            return;
        }
        self.lexed.tokens.push(Token::Redirection(start..self.at));
    }

    /// Goes over the texts of the here-documents whose line has just ended.
    fn bodies(&mut self) {
        let first = self.lexed.heredocs.len() - std::mem::take(&mut self.waiting);
        for heredoc in &mut self.lexed.heredocs[first..] {
            let start = self.at;
            let mut closed = false;
            while !closed && self.at < self.bytes.len() {
                let end =
                    self.script[self.at..].find('\n').map_or(self.bytes.len(), |newline| self.at + newline);
                let line = self.script[self.at..end].trim_end_matches('\r');
                let line = if heredoc.strips_tabs { line.trim_start_matches('\t') } else { line };
                closed = line == heredoc.delimiter;
                self.at = (end + 1).min(self.bytes.len());
            }
            if !closed {
                heredoc.unclosed_from = Some(start);
            }
        }
    }

    /// Goes over `((…))`, where `<<` shifts; false, without a step, for a group in a group.
    fn arithmetic(&mut self) -> bool {
        // Nobody calculates more; so groups in groups are not searched to their ends again and again.
        const LONGEST: usize = 256;
        let mut depth = 0_usize;
        for (at, byte) in self.bytes[self.at..].iter().take(LONGEST).enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let closed = self.bytes[self.at..=self.at + at].ends_with(b"))");
                self.at += if closed { at + 1 } else { 0 };
                return closed;
            }
        }
        false
    }

    /// Goes over a word, quoted parts and expansions included.
    fn word(&mut self) {
        // The closing signs that are waited for.
        let mut nest: Vec<u8> = Vec::new();
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            let top = nest.last().copied();
            match (top, byte) {
                (_, b'\\') => {
                    self.at += 1 + self.script[self.at + 1..].chars().next().map_or(0, char::len_utf8);
                    continue;
                }
                (Some(close), byte) if byte == close => {
                    nest.pop();
                }
                (_, b'$') if matches!(self.peek(1), b'(' | b'{') => {
                    nest.push(if self.peek(1) == b'(' { b')' } else { b'}' });
                    self.at += 1;
                }
                (Some(b')'), b'(') => nest.push(b')'),
                (_, b'`') => nest.push(b'`'),
                (Some(b'"'), _) => {}
                (_, b'"') => nest.push(b'"'),
                (_, b'\'') => {
                    let end = self.script[self.at + 1..].find('\'');
                    self.at = end.map_or(self.bytes.len(), |end| self.at + 1 + end + 1);
                    continue;
                }
                (None, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>') => {
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.at = self.at.min(self.bytes.len());
    }
}
