//! One whole, clean line: what form it has, and what it says.

use super::{Context, FRAMES, GO_LINES, Kind, Place, cut};

/// A line number above this is a number of something else.
const MOST_LINES: u32 = 10_000_000;
/// Places taken from one line.
const PER_LINE: usize = 8;

/// `path:12:3`, and where it stands in its line.
#[derive(Debug, Clone, Copy)]
struct Spot<'l> {
    path: &'l str,
    line: u32,
    column: Option<u32>,
    /// Where the path begins.
    start: usize,
    /// What follows the numbers.
    rest: &'l str,
}

impl Spot<'_> {
    fn place(&self, kind: Kind, message: &str) -> Place {
        Place {
            path: self.path.to_owned(),
            also: Vec::new(),
            line: self.line,
            column: self.column,
            kind,
            message: cut(message),
            trace: None,
        }
    }
}

impl Context {
    pub(super) fn whole_line(&mut self, line: &str, found: &mut dyn FnMut(Place)) {
        let text = line.trim_start();
        if self.continue_pending(line, found) || self.continue_traceback(line, text, found) {
            return;
        }
        if let Some(place) = panic(text) {
            self.pending = Some((place, false));
            return;
        }
        if let Some(place) = one_line_panic(text) {
            return found(place);
        }
        if let Some(frame) = python_frame(text) {
            self.frames.push(frame);
            return;
        }
        if text.starts_with("Traceback (most recent call last)") {
            self.frames.clear();
            return;
        }
        if let Some(place) = self.rustc_arrow(text) {
            return found(place);
        }
        if let Some(place) = self.stack_frame(text) {
            return found(place);
        }
        if let Some(place) = named_line(text) {
            return found(place);
        }
        if self.go_line(line, text, found) {
            return;
        }
        if self.spots(line, text, found) {
            return;
        }
        self.remember(text);
    }

    /// The message of a Rust panic stands on the lines after its place.
    fn continue_pending(&mut self, line: &str, found: &mut dyn FnMut(Place)) -> bool {
        let Some((mut place, started)) = self.pending.take() else { return false };
        // `assert_eq!` says its two sides on lines of their own.
        let side = started && ["left:", "right:"].iter().any(|side| line.trim_start().starts_with(side));
        if started && !side {
            found(place);
            return false;
        }
        if line.trim().is_empty() || place.message.len() > super::MESSAGE {
            found(place);
            return true;
        }
        let separator = if place.message.is_empty() { "" } else { "\n" };
        place.message = cut(&format!("{}{separator}{}", place.message, line.trim()));
        self.pending = Some((place, true));
        true
    }

    /// Code and carets are indented; the first line that is not says what happened.
    fn continue_traceback(&mut self, line: &str, text: &str, found: &mut dyn FnMut(Place)) -> bool {
        if self.frames.is_empty() {
            return false;
        }
        if let Some(frame) = python_frame(text) {
            if self.frames.len() == FRAMES {
                // The innermost frames are the ones that tell.
                self.frames.remove(0);
            }
            self.frames.push(frame);
        } else if line.is_empty() {
            self.end_traceback("", found);
        } else if !line.starts_with([' ', '\t']) {
            self.end_traceback(text, found);
        }
        true
    }

    /// ` --> src/main.rs:3:5` below `error[E0308]: mismatched types`.
    fn rustc_arrow(&mut self, text: &str) -> Option<Place> {
        let (arrow, path) = text.split_once(' ')?;
        if !matches!(arrow, "-->" | ":::") {
            return None;
        }
        let spot = whole_spot(path.trim())?;
        let (kind, message) = match arrow {
            "-->" => self.headline.take().unwrap_or((Kind::Note, String::new())),
            _ => (Kind::Note, String::new()),
        };
        Some(spot.place(kind, &message))
    }

    /// `at f (file.js:1:2)`, `at file.js:1:2`, `at com.foo.Bar.baz(Bar.java:12)`.
    fn stack_frame(&mut self, text: &str) -> Option<Place> {
        let frame = text.strip_prefix("at ")?;
        let inside = match frame.rfind('(') {
            Some(open) => frame[open + 1..].strip_suffix(')')?,
            None => frame.strip_prefix("async ").unwrap_or(frame),
        };
        let spot = whole_spot(inside.strip_prefix("file://").unwrap_or(inside))?;
        let trace = match self.stack {
            Some(trace) => trace,
            None => self.trace(),
        };
        self.stack = Some(trace);
        let (kind, message) = match &self.exception {
            Some(exception) => (Kind::Error, exception.as_str()),
            None => (Kind::Mention, text),
        };
        let mut place = spot.place(kind, message);
        place.trace = Some(trace);
        place.also = java_paths(frame, spot.path);
        Some(place)
    }

    /// `    foo_test.go:12: message`: the package, and with it the directory, is named when its tests are over.
    fn go_line(&mut self, line: &str, text: &str, found: &mut dyn FnMut(Place)) -> bool {
        if let Some(test) = text.strip_prefix("--- ") {
            self.go_failed = test.starts_with("FAIL: ");
            return self.go_failed || test.starts_with("PASS: ") || test.starts_with("SKIP: ");
        }
        let verdict = text
            .strip_prefix("FAIL\t")
            .or_else(|| text.strip_prefix("FAIL "))
            .or_else(|| text.strip_prefix("ok "));
        if let Some(package) = verdict.and_then(|rest| rest.split_whitespace().next()) {
            for mut place in std::mem::take(&mut self.go) {
                // `example.com/repo/pkg/foo`: as many parts as are not directories here are dropped.
                let parts: Vec<_> = package.split('/').take(32).collect();
                place.also = (1..parts.len())
                    .map(|skip| format!("{}/{}", parts[skip..].join("/"), place.path))
                    .collect();
                found(place);
            }
            self.go_failed = false;
            return true;
        }
        if !line.starts_with("    ") {
            return false;
        }
        let Some(spot) = spots(text).next().filter(|spot| spot.start == 0) else { return false };
        if !spot.path.ends_with("_test.go") || spot.path.contains('/') || spot.column.is_some() {
            return false;
        }
        let kind = if self.go_failed { Kind::Error } else { Kind::Mention };
        let place = spot.place(kind, spot.rest.trim_start_matches(':'));
        if self.go.len() < GO_LINES {
            self.go.push(place.clone());
        }
        found(place);
        true
    }

    /// `path:12:3: error: message` and its many relatives.
    fn spots(&mut self, line: &str, text: &str, found: &mut dyn FnMut(Place)) -> bool {
        let mut any = false;
        for spot in spots(text).take(PER_LINE) {
            any = true;
            let mut place = self.judge(text, &spot);
            let before = text[..spot.start].trim_start();
            let is_headed = spot.rest.starts_with(':') && !line.starts_with(' ');
            if is_headed && !before.is_empty() && place.kind > Kind::Note {
                // A path with blanks: everything from the line's beginning.
                place.also.push(text[..spot.start + spot.path.len()].to_owned());
            }
            found(place);
        }
        any
    }

    /// What the text around a spot says about it.
    fn judge(&mut self, text: &str, spot: &Spot<'_>) -> Place {
        let message = spot.rest.trim_start_matches([':', ',', ')', ']', '!', '.']).trim();
        let has_colon = spot.rest.starts_with(':');
        if has_colon && is_exception(message) {
            // pytest: the place comes after what went wrong there.
            let said = self.assertion.take();
            let warning = message.split(':').next().is_some_and(|name| name.ends_with("Warning"));
            let kind = if warning { Kind::Warning } else { Kind::Error };
            return spot.place(kind, said.as_deref().unwrap_or(message));
        }
        if let Some((kind, message)) = has_colon.then(|| severity(message)).flatten() {
            return spot.place(kind, message);
        }
        let go = std::path::Path::new(spot.path).extension().is_some_and(|extension| extension == "go");
        let kernel = text.contains("kernel BUG at ") || text.contains("WARNING: ");
        let kind = match () {
            () if has_colon && says_failure(message) => Kind::Error,
            () if has_colon && go && spot.column.is_some() => Kind::Error,
            () if kernel => {
                if text.contains("kernel BUG at ") {
                    Kind::Error
                } else {
                    Kind::Warning
                }
            }
            () => Kind::Mention,
        };
        let message = if has_colon && !message.is_empty() { message } else { text };
        spot.place(kind, message)
    }

    /// A line without a place that a later place may refer to.
    fn remember(&mut self, text: &str) {
        if let Some(said) = text.strip_prefix("E  ") {
            self.assertion.get_or_insert_with(|| cut(said));
            return;
        }
        if let Some((kind, message)) = headline(text) {
            self.headline = Some((kind, cut(message)));
            return;
        }
        if is_exception(text) {
            self.exception = Some(cut(text));
            self.stack = None;
        }
    }
}

/// `thread 'main' panicked at src/main.rs:3:5:`; the message is on the next line.
fn panic(text: &str) -> Option<Place> {
    let at = text.find("panicked at ")?;
    let spot = whole_spot(text[at + "panicked at ".len()..].strip_suffix(':')?)?;
    Some(spot.place(Kind::Error, ""))
}

/// `thread 'main' panicked at 'message', src/main.rs:3:5`, before Rust 1.73.
fn one_line_panic(text: &str) -> Option<Place> {
    let at = text.find("panicked at '")?;
    let (message, path) = text[at + "panicked at '".len()..].rsplit_once("', ")?;
    Some(whole_spot(path)?.place(Kind::Error, message))
}

/// `File "x.py", line 3, in f`.
fn python_frame(text: &str) -> Option<Place> {
    let (path, rest) = text.strip_prefix("File \"")?.split_once("\", line ")?;
    let (line, rest) = number(rest)?;
    let is_frame = rest.is_empty() || rest.starts_with(", in ");
    let spot = Spot { path, line, column: None, start: 0, rest };
    (is_frame && is_path(path)).then(|| spot.place(Kind::Error, text))
}

/// `./t.sh: line 3: cmd: not found` (bash), `t.sh: 3: cmd: not found` (dash), `message at t.pl line 3.` (Perl).
fn named_line(text: &str) -> Option<Place> {
    if let Some((path, rest)) = text.split_once(": ") {
        let rest = rest.strip_prefix("line ").unwrap_or(rest);
        if let Some((line, rest)) = number(rest)
            && let Some(message) = rest.strip_prefix(": ")
            && is_path(path)
            && !path.contains([' ', ':'])
        {
            let spot = Spot { path, line, column: None, start: 0, rest: "" };
            return Some(spot.place(Kind::Error, message));
        }
    }
    text.match_indices(" line ")
        .take(PER_LINE)
        .find_map(|(at, words)| perl(&text[..at], &text[at + words.len()..]))
}

/// `message at t.pl`, `3.` or `3, <STDIN> line 1.`
fn perl(before: &str, rest: &str) -> Option<Place> {
    let (line, rest) = number(rest)?;
    let at = before.rfind("at ").filter(|at| *at == 0 || before[..*at].ends_with(' '))?;
    let path = &before[at + 3..];
    let is_perl = matches!(rest, "" | ".") || rest.starts_with(", <");
    let spot = Spot { path, line, column: None, start: 0, rest: "" };
    (is_perl && is_path(path)).then(|| spot.place(Kind::Mention, before[..at].trim_start_matches('#')))
}

/// `com.foo.Bar.baz` in `Bar.java` is `com/foo/Bar.java` below one of the usual roots.
fn java_paths(frame: &str, file: &str) -> Vec<String> {
    let is_java = [".java", ".kt", ".scala", ".groovy"].iter().any(|end| file.ends_with(end));
    let Some(method) = frame.split('(').next().filter(|_| is_java && !file.contains('/')) else {
        return Vec::new();
    };
    // The last two parts are the class and the method; a module may come first: `java.base/java.util.List.of`.
    let class = method.rsplit('/').next().unwrap_or(method);
    let parts: Vec<_> = class.split('.').take(32).collect();
    let folder = parts[..parts.len().saturating_sub(2)].join("/");
    ["src/test/java", "src/main/java", "src/test/kotlin", "src/main/kotlin", "src", "."]
        .iter()
        .map(|root| format!("{root}/{folder}/{file}"))
        .collect()
}

/// `error[E0308]: mismatched types`.
fn headline(text: &str) -> Option<(Kind, &str)> {
    let (word, message) = text.split_once(": ")?;
    let kind = match word.split('[').next()? {
        "error" => Kind::Error,
        "warning" => Kind::Warning,
        "note" | "help" => Kind::Note,
        _ => return None,
    };
    (word.ends_with(']') || !word.contains('[')).then_some((kind, message))
}

/// `error: message` and the like after a place.
fn severity(message: &str) -> Option<(Kind, &str)> {
    const WORDS: [(&str, Kind); 9] = [
        ("fatal error", Kind::Error),
        ("internal compiler error", Kind::Error),
        ("error", Kind::Error),
        ("Error", Kind::Error),
        ("ERROR", Kind::Error),
        ("warning", Kind::Warning),
        ("Warning", Kind::Warning),
        ("note", Kind::Note),
        ("help", Kind::Note),
    ];
    let (_, kind, rest) =
        WORDS.iter().find_map(|(word, kind)| message.strip_prefix(word).map(|rest| (word, *kind, rest)))?;
    let said = match rest.strip_prefix(['[', '(', ' ']) {
        // `error[E1]: …`, `warning (W1): …`, `error TS2304: …`.
        Some(_) => rest.split_once(": ")?.1,
        None => rest.strip_prefix(':')?,
    };
    Some((kind, said.trim()))
}

/// `ValueError: bad`, `AssertionError`, `java.lang.IllegalStateException: x`, `Uncaught TypeError: y`.
fn is_exception(text: &str) -> bool {
    let text = text.strip_prefix("Uncaught ").unwrap_or(text);
    let text = text.strip_prefix("Exception in thread \"main\" ").unwrap_or(text);
    let name = text.split(':').next().unwrap_or_default();
    let name = name.split(" [").next().unwrap_or_default().trim();
    !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'))
        && ["Error", "Exception", "Warning", "Failed"].iter().any(|end| name.ends_with(end))
        && name.rsplit('.').next().is_some_and(|last| last.starts_with(char::is_uppercase))
}

/// What linkers, `assert`, kselftest, googletest and Catch2 say has failed.
fn says_failure(message: &str) -> bool {
    ["undefined reference to", "multiple definition of", "Assertion ", "Expected "]
        .iter()
        .any(|words| message.contains(words))
        || ["Failure", "FAILED"].iter().any(|word| message.starts_with(word))
}

/// The whole of `text` is one spot.
fn whole_spot(text: &str) -> Option<Spot<'_>> {
    // From the end, so that the path may have blanks in it.
    let (head, last) = text.rsplit_once(':')?;
    let (last, rest) = number(last)?;
    if !rest.is_empty() {
        return None;
    }
    let two = head
        .rsplit_once(':')
        .and_then(|(path, line)| Some((path, number(line).filter(|(_, rest)| rest.is_empty())?.0)));
    let (path, line, column) = match two {
        Some((path, line)) => (path, line, Some(last)),
        None => (head, last, None),
    };
    is_path(path).then_some(Spot { path, line, column, start: 0, rest: "" })
}

/// Every `path:12` or `path:12:3` in a line.
fn spots(text: &str) -> impl Iterator<Item = Spot<'_>> {
    let mut done = 0;
    memchr::memchr_iter(b':', text.as_bytes()).filter_map(move |colon| {
        if colon < done {
            return None;
        }
        let (line, mut rest) = number(&text[colon + 1..])?;
        let mut column = None;
        if let Some((number, after)) = rest.strip_prefix(':').and_then(number) {
            column = Some(number);
            rest = after;
        }
        // Only what was not read before, so that a line is read once.
        let start = done
            + text[done..colon]
                .rfind(is_delimiter)
                .map_or(0, |at| at + text[done + at..].chars().next().map_or(1, char::len_utf8));
        done = text.len() - rest.len();
        let mut path = &text[start..colon];
        let mut begin = start;
        if let Some(local) = path.strip_prefix("//") {
            // What is left of `file:///path`; other URLs are no files.
            if !text[..start].ends_with("file:") || !local.starts_with('/') {
                return None;
            }
            path = local;
            begin += 2;
        }
        (ends_here(rest) && is_path(path)).then_some(Spot { path, line, column, start: begin, rest })
    })
}

/// What cannot be part of a path in the middle of a line.
fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || "\"'`()[]{}<>,;=|:*?".contains(c)
}

/// Whether a number may end before this: not in `10.5`, `12px`, `80/`.
fn ends_here(rest: &str) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        None => true,
        Some('.') => !chars.next().is_some_and(char::is_alphanumeric),
        Some(c) => !(c.is_alphanumeric() || matches!(c, '/' | '_' | '@' | '%' | '\\')),
    }
}

/// Whether a text looks like the path of a file: a slash in it, a dot inside its name, or a name that every tool knows.
fn is_path(path: &str) -> bool {
    const KNOWN: [&str; 6] = ["Makefile", "makefile", "GNUmakefile", "Kbuild", "Kconfig", "Dockerfile"];
    let name = path.rsplit('/').next().unwrap_or_default();
    let has_dot = name.find('.').is_some_and(|dot| dot > 0) && !name.ends_with('.');
    path.len() <= 4096
        && !path.contains("::")
        && !path.contains("//")
        && name.contains(char::is_alphabetic)
        && (path.contains('/') || has_dot || KNOWN.contains(&name))
}

/// A number from 1 and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take(9).take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok().filter(|number| (1..=MOST_LINES).contains(number))?;
    let rest = &text[digits..];
    (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some((number, rest))
}
