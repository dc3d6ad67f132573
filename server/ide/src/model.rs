//! What a piece of the file says, with the place of everything: plain values, made from the syntax tree at once, because
//! its nodes cannot leave their thread and its DOM takes quadratic time.

use std::ops::Range;

use taplo::rowan::NodeOrToken;
use taplo::syntax::{SyntaxKind as Kind, SyntaxNode, SyntaxToken};
use vmtest_config::Key;

use crate::scan::Piece;
use crate::scope::Scope;

/// A piece of the file: a target, or what stands before the first.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// All of it, up to the next target.
    pub(crate) range: Range<usize>,
    /// Its tables; the first is the target itself, or what has no header.
    pub(crate) tables: Vec<Table>,
    /// The comments.
    pub(crate) comments: Vec<Range<usize>>,
}

/// A table: its header, if it has one, and what stands below.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) header: Option<Header>,
    pub(crate) entries: Vec<Entry>,
    /// From the header to the next; what follows the last entry included.
    pub(crate) range: Range<usize>,
}

/// `[target.vm]` or `[[target]]`.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) path: Vec<Part>,
    /// Whether it has double brackets.
    pub(crate) array: bool,
    /// Brackets included.
    pub(crate) range: Range<usize>,
}

/// One part of a dotted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Without quotes and escapes.
    pub(crate) name: String,
    /// Quotes included.
    pub(crate) range: Range<usize>,
}

/// `key = value`, or as much of it as there is.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<Part>,
    /// The `=`.
    pub(crate) equals: Option<usize>,
    pub(crate) value: Option<Value>,
    /// From the key to the end of the value.
    pub(crate) range: Range<usize>,
}

/// What stands after the `=`.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) range: Range<usize>,
    pub(crate) kind: ValueKind,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum ValueKind {
    String(Text),
    Bool(bool),
    Number,
    Date,
    Array(Vec<Value>),
    Table(Vec<Entry>),
    /// Something without a meaning.
    Invalid,
}

/// A string.
#[derive(Debug)]
pub(crate) struct Text {
    /// What it means: escapes resolved.
    pub(crate) value: String,
    /// What stands between the quotes.
    pub(crate) content: Range<usize>,
    /// Whether what stands there is what it means, byte for byte.
    pub(crate) verbatim: bool,
}

/// A key that is given somewhere, with everything that a feature wants to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Field<'m> {
    /// The row of the key table; none for an unknown key.
    pub(crate) row: Option<&'static Key>,
    /// The row of the table that it stands in; none outside the targets.
    pub(crate) parent: Option<&'static Key>,
    /// Its own part of the dotted key.
    pub(crate) part: &'m Part,
    /// The name of the mount or whatever else the user called the table above it.
    pub(crate) map_name: Option<&'m str>,
    /// What it is set to; none for a table's header and for the first parts of a dotted key.
    pub(crate) value: Option<&'m Value>,
    /// The line that gives it; none where it is a header.
    pub(crate) entry: Option<&'m Entry>,
    /// How many inline tables it is in.
    pub(crate) inline: usize,
}

/// How often reading starts anew: nobody types more headers at once.
const MOST_BROKEN_HEADERS: usize = 16;

impl Section {
    /// Reads one piece of `text`; empty where it is too deep to be read.
    pub(crate) fn read(text: &str, piece: &Piece) -> Self {
        let mut section = Self { range: piece.range.clone(), ..Self::default() };
        let first = piece.range.start..piece.range.start;
        section.tables.push(Table { range: first, ..Table::default() });
        let Some(own) = piece.parsable(text) else { return section };
        let mut from = 0;
        for _ in 0..MOST_BROKEN_HEADERS {
            let reader = Reader { text, start: piece.range.start + from, piece };
            match section.read_on(&reader, &own[from..]) {
                Some(next) => from += next,
                None => break,
            }
        }
        section.comments.extend(piece.hidden_comments(text));
        section.comments.sort_unstable_by_key(|comment| comment.start);
        // The parser saw what follows a broken header twice.
        section.comments.dedup();
        section.last_table().range.end = piece.range.end;
        section
    }

    /// Reads `own`, the rest of the piece. Gives where reading must start anew: the parser loses the line that follows
    /// the header that is being typed.
    fn read_on(&mut self, reader: &Reader<'_>, own: &str) -> Option<usize> {
        let tree = taplo::parser::parse(own).into_syntax();
        for element in tree.children_with_tokens() {
            match element {
                NodeOrToken::Node(node) => match node.kind() {
                    Kind::TABLE_HEADER | Kind::TABLE_ARRAY_HEADER => {
                        reader.comments(&node, &mut self.comments);
                        self.header(reader.header(&node));
                        let mut tokens = node.children_with_tokens().filter_map(NodeOrToken::into_token);
                        let lost = tokens.find(|token| {
                            token.kind() == Kind::ERROR && token.text().starts_with(['\r', '\n'])
                        });
                        if let Some(newline) = lost {
                            return Some(usize::from(newline.text_range().start()));
                        }
                    }
                    Kind::ENTRY => {
                        reader.comments(&node, &mut self.comments);
                        self.last_table().entries.push(reader.entry(&node));
                    }
                    _ => {}
                },
                NodeOrToken::Token(token) if token.kind() == Kind::COMMENT => {
                    self.comments.push(reader.range(&token));
                }
                NodeOrToken::Token(_) => {}
            }
        }
        None
    }

    fn header(&mut self, header: Header) {
        let start = header.range.start;
        let last = self.last_table();
        last.range.end = start;
        if last.header.is_none() && last.entries.is_empty() {
            self.tables.clear();
        }
        let range = start..start;
        self.tables.push(Table { header: Some(header), entries: Vec::new(), range });
    }

    fn last_table(&mut self) -> &mut Table {
        if self.tables.is_empty() {
            self.tables.push(Table::default());
        }
        let last = self.tables.len() - 1;
        &mut self.tables[last]
    }

    /// The header of the target; empty for what stands before the first.
    pub(crate) fn header_range(&self) -> Range<usize> {
        let header = self.tables.first().and_then(|table| table.header.as_ref());
        header.map_or(self.range.start..self.range.start, |header| header.range.clone())
    }

    /// Every key that is given, in the order of the text.
    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let mut fields = Vec::new();
        for table in &self.tables {
            let mut place = Place::default();
            if let Some(header) = &table.header {
                for part in &header.path {
                    place.enter(part, None, None, &mut fields);
                }
            }
            for entry in &table.entries {
                place.clone().entry(entry, &mut fields);
            }
        }
        fields
    }

    /// The value of a key, by its path in the target: `vm.memory`.
    pub(crate) fn value(&self, path: &str) -> Option<&Value> {
        let of = |field: &Field<'_>| field.row.is_some_and(|row| row.in_target() == path);
        self.fields().into_iter().find(of).and_then(|field| field.value)
    }

    /// The string that a key is set to.
    pub(crate) fn string(&self, path: &str) -> Option<&Text> {
        self.value(path).and_then(Value::text)
    }

    /// What the target is called; empty where it has no name.
    pub(crate) fn name(&self) -> &str {
        self.string("name").map_or("", |text| &text.value)
    }

    /// Where the last thing in it ends: blank lines and comments that follow are the next target's.
    pub(crate) fn end(&self) -> usize {
        let ends = self.tables.iter().flat_map(|table| {
            let header = table.header.as_ref().map(|header| header.range.end);
            header.into_iter().chain(table.entries.last().map(|entry| entry.range.end))
        });
        ends.max().unwrap_or(self.range.start)
    }
}

impl Table {
    /// Where its last line ends.
    pub(crate) fn end(&self) -> usize {
        let header = self.header.as_ref().map(|header| header.range.end);
        self.entries.last().map(|entry| entry.range.end).or(header).unwrap_or(self.range.start)
    }

    /// What it is.
    pub(crate) fn scope(&self) -> Scope {
        Scope::File.descend(self.header.iter().flat_map(|header| &header.path))
    }
}

impl Value {
    /// The string that it is.
    pub(crate) fn text(&self) -> Option<&Text> {
        match &self.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Where a walk over keys is in the key table.
#[derive(Debug, Clone, Default)]
struct Place<'m> {
    scope: Scope,
    map_name: Option<&'m str>,
    inline: usize,
}

impl<'m> Place<'m> {
    /// Goes down one part of a dotted key, and notes it.
    fn enter(
        &mut self,
        part: &'m Part,
        value: Option<&'m Value>,
        entry: Option<&'m Entry>,
        fields: &mut Vec<Field<'m>>,
    ) {
        let row = self.scope.child(&part.name);
        if row.is_some_and(|row| row.name() == "*") {
            self.map_name = Some(&part.name);
        }
        fields.push(Field {
            row,
            parent: self.scope.row(),
            part,
            map_name: self.map_name,
            value,
            entry,
            inline: self.inline,
        });
        self.scope = Scope::of(row);
    }

    fn entry(mut self, entry: &'m Entry, fields: &mut Vec<Field<'m>>) {
        let Some((last, parents)) = entry.path.split_last() else { return };
        for part in parents {
            self.enter(part, None, Some(entry), fields);
        }
        self.enter(last, entry.value.as_ref(), Some(entry), fields);
        if let Some(Value { kind: ValueKind::Table(entries), .. }) = &entry.value {
            self.inline += 1;
            for entry in entries {
                self.clone().entry(entry, fields);
            }
        }
    }
}

/// Makes plain values of syntax nodes.
struct Reader<'r> {
    text: &'r str,
    start: usize,
    piece: &'r Piece,
}

impl Reader<'_> {
    fn range(&self, token: &SyntaxToken) -> Range<usize> {
        let range = token.text_range();
        self.start + usize::from(range.start())..self.start + usize::from(range.end())
    }

    /// The range of a node without the white space and comments at its ends.
    fn trimmed(&self, node: &SyntaxNode) -> Range<usize> {
        let is_blank = |token: &SyntaxToken| match token.kind() {
            Kind::WHITESPACE | Kind::NEWLINE | Kind::COMMENT => true,
            // A line break where something was still to come: it ends what it stands after.
            Kind::ERROR => token.text().trim().is_empty(),
            _ => false,
        };
        let mut range: Option<Range<usize>> = None;
        for token in node.descendants_with_tokens().filter_map(NodeOrToken::into_token) {
            if !is_blank(&token) {
                let own = self.range(&token);
                range = Some(range.map_or(own.start, |range| range.start)..own.end);
            }
        }
        range.unwrap_or_else(|| {
            let start = self.start + usize::from(node.text_range().start());
            start..start
        })
    }

    fn comments(&self, node: &SyntaxNode, comments: &mut Vec<Range<usize>>) {
        let tokens = node.descendants_with_tokens().filter_map(NodeOrToken::into_token);
        comments.extend(tokens.filter(|token| token.kind() == Kind::COMMENT).map(|token| self.range(&token)));
    }

    fn header(&self, node: &SyntaxNode) -> Header {
        let mut range = self.trimmed(node);
        // The parser sees blanks between brackets and name before both.
        let line = self.text[..range.start].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = self.text[line..].find('[').unwrap_or_default();
        range.start = range.start.min(line + indent);
        // Where a part of it is missing, the parser looks for that on the lines below, and takes what is another's.
        if let Some(length) = self.text[range.clone()].find(['\n', '\r']) {
            range.end = range.start + length;
        }
        let key = node.children().find(|child| child.kind() == Kind::KEY);
        let mut path = key.map(|key| self.path(&key)).unwrap_or_default();
        path.retain(|part| part.range.end <= range.end);
        Header { path, array: node.kind() == Kind::TABLE_ARRAY_HEADER, range }
    }

    fn path(&self, key: &SyntaxNode) -> Vec<Part> {
        let tokens = key.children_with_tokens().filter_map(NodeOrToken::into_token);
        let named = tokens.filter(|token| {
            !matches!(
                token.kind(),
                Kind::PERIOD | Kind::WHITESPACE | Kind::NEWLINE | Kind::COMMENT | Kind::ERROR
            )
        });
        named
            .map(|token| {
                let range = self.range(&token);
                Part { name: unquote(&self.text[range.clone()]), range }
            })
            .collect()
    }

    fn entry(&self, node: &SyntaxNode) -> Entry {
        let mut entry = Entry { path: Vec::new(), equals: None, value: None, range: self.trimmed(node) };
        for element in node.children_with_tokens() {
            match element {
                NodeOrToken::Node(child) if child.kind() == Kind::KEY => entry.path = self.path(&child),
                NodeOrToken::Node(child) if child.kind() == Kind::VALUE => entry.value = self.value(&child),
                NodeOrToken::Token(token) if token.kind() == Kind::EQ => {
                    entry.equals = Some(self.range(&token).start);
                }
                _ => {}
            }
        }
        entry
    }

    /// None where nothing stands after the `=`.
    fn value(&self, node: &SyntaxNode) -> Option<Value> {
        let range = self.trimmed(node);
        if range.is_empty() {
            return None;
        }
        if let Some(open) = self.open_string_at(range.start) {
            return Some(Value { range: open.clone(), kind: ValueKind::String(self.open_string(open)) });
        }
        let kind = node.children_with_tokens().find_map(|element| match element {
            NodeOrToken::Node(node) => match node.kind() {
                Kind::ARRAY => {
                    let values = node.children().filter(|child| child.kind() == Kind::VALUE);
                    Some(ValueKind::Array(values.filter_map(|value| self.value(&value)).collect()))
                }
                Kind::INLINE_TABLE => {
                    let entries = node.children().filter(|child| child.kind() == Kind::ENTRY);
                    Some(ValueKind::Table(entries.map(|entry| self.entry(&entry)).collect()))
                }
                _ => None,
            },
            NodeOrToken::Token(token) => self.scalar(&token),
        });
        Some(Value { range, kind: kind.unwrap_or(ValueKind::Invalid) })
    }

    fn scalar(&self, token: &SyntaxToken) -> Option<ValueKind> {
        Some(match token.kind() {
            Kind::STRING
            | Kind::STRING_LITERAL
            | Kind::MULTI_LINE_STRING
            | Kind::MULTI_LINE_STRING_LITERAL => {
                let range = self.range(token);
                let raw = &self.text[range.clone()];
                let content = content(raw);
                let content = range.start + content.start..range.start + content.end;
                let value = unquote(raw);
                let verbatim = self.text[content.clone()] == value;
                ValueKind::String(Text { value, content, verbatim })
            }
            Kind::BOOL => ValueKind::Bool(token.text() == "true"),
            Kind::INTEGER | Kind::INTEGER_HEX | Kind::INTEGER_OCT | Kind::INTEGER_BIN | Kind::FLOAT => {
                ValueKind::Number
            }
            Kind::DATE | Kind::TIME | Kind::DATE_TIME_LOCAL | Kind::DATE_TIME_OFFSET => ValueKind::Date,
            _ => return None,
        })
    }

    fn open_string_at(&self, offset: usize) -> Option<&Range<usize>> {
        let open = &self.piece.open_strings;
        open.binary_search_by_key(&offset, |open| open.start).ok().map(|at| &open[at])
    }

    fn open_string(&self, open: &Range<usize>) -> Text {
        let raw = &self.text[open.clone()];
        let quotes = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
        let content = (open.start + quotes).min(open.end)..open.end;
        Text { value: self.text[content.clone()].to_owned(), content, verbatim: true }
    }
}

/// The range of what stands between the quotes of a string; a key may have lost the one at its end.
fn content(raw: &str) -> Range<usize> {
    let is_long = |quotes: &str| raw.len() >= 6 && raw.starts_with(quotes) && raw.ends_with(quotes);
    if is_long("\"\"\"") || is_long("'''") {
        // The line break after the opening quotes is not part of the text.
        let skip = if raw[3..].starts_with("\r\n") { 2 } else { usize::from(raw[3..].starts_with('\n')) };
        return 3 + skip.min(raw.len() - 6)..raw.len() - 3;
    }
    let closed = raw.len() >= 2 && raw.ends_with(&raw[..1]);
    1..if closed { raw.len() - 1 } else { raw.len() }
}

/// What a string or a quoted key means. One with a wrong escape means itself.
fn unquote(raw: &str) -> String {
    if !raw.starts_with(['"', '\'']) {
        return raw.to_owned();
    }
    let plain = || raw[content(raw)].to_owned();
    if raw.starts_with('\'') || !raw.contains('\\') {
        return plain();
    }
    taplo::util::unescape(&raw[content(raw)]).unwrap_or_else(|_| plain())
}
