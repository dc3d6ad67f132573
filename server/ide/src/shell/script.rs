//! A script as a list of statements: enough of a shell's grammar to tell whose exit status is lost.

use std::ops::Range;

use super::lex::{Heredoc, Token, lex};

/// A script.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) statements: Vec<Statement>,
    pub(super) heredocs: Vec<Heredoc>,
}

/// What stands between two `;`, `&` or line breaks, outside every compound command.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub(super) span: Range<usize>,
    pub(super) commands: Vec<Simple>,
    /// Whether it is or has a loop, a condition, a group or a function: nothing is said of those.
    compound: bool,
    /// Whether it ends with `&`.
    background: bool,
}

/// A command with its arguments.
#[derive(Debug, Default)]
pub(super) struct Simple {
    /// Its words; redirections left out.
    pub(super) words: Vec<Range<usize>>,
    /// What joins it to the command before.
    joint: Joint,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Joint {
    #[default]
    First,
    And,
    Or,
    Pipe,
}

/// Commands that prepare or show something: that one of them fails is seldom the point of a test.
const HARMLESS: &[&str] = &[
    ":", "[", "[[", "alias", "apk", "apt", "apt-get", "awk", "cat", "cd", "chgrp", "chmod", "chown", "clear",
    "column", "cp", "cut", "date", "dd", "declare", "df", "dmesg", "dnf", "du", "echo", "env", "ethtool",
    "export", "false", "file", "find", "free", "gunzip", "gzip", "head", "hostname", "id", "ip", "iptables",
    "kill", "killall", "let", "ln", "local", "losetup", "ls", "lsblk", "lscpu", "lsmod", "lspci", "mkdir",
    "mkfs", "mknod", "mkswap", "modprobe", "mount", "mv", "nft", "nproc", "pacman", "pkill", "popd",
    "poweroff", "printenv", "printf", "ps", "pushd", "pwd", "readonly", "reboot", "reset", "rm", "rmmod",
    "sed", "set", "shopt", "sleep", "sort", "source", "stty", "swapon", "sync", "sysctl", "tail", "tar",
    "tc", "test", "touch", "tput", "tr", "trap", "true", "udevadm", "ulimit", "umount", "uname", "uniq",
    "unset", "wait", "wc", "which", "whoami", "yum", "zcat",
];

impl Script {
    /// Reads a script.
    pub(super) fn read(script: &str) -> Self {
        let lexed = lex(script);
        let mut reader = Reader::default();
        for token in &lexed.tokens {
            reader.token(script, token);
        }
        reader.end_statement(false);
        Self { statements: reader.statements, heredocs: lexed.heredocs }
    }

    /// The first statement whose failure ends the script; the number of statements where there is none.
    pub(super) fn first_that_stops(&self, script: &str) -> usize {
        let flag = |word: &str| {
            word == "errexit" || (word.starts_with('-') && !word.starts_with("--") && word[1..].contains('e'))
        };
        let set = self.statements.iter().position(|statement| statement.sets(script, flag));
        set.unwrap_or(self.statements.len())
    }

    /// Whether an option is set anywhere.
    pub(super) fn has_option(&self, script: &str, name: &str) -> bool {
        self.statements.iter().any(|statement| statement.sets(script, |word| word == name))
    }

    /// Whether the statement after this one looks at how it ended.
    pub(super) fn is_asked_about(&self, script: &str, at: usize) -> bool {
        let next = self.statements.get(at + 1).map_or("", |next| next.text(script));
        next.contains("$?") || next.contains("PIPESTATUS")
    }

    /// Whether the script deals with failures in a way of its own.
    pub(super) fn traps_errors(&self, script: &str) -> bool {
        let off = |word: &str| word.starts_with('+') && word[1..].contains('e');
        if self.statements.iter().any(|statement| statement.sets(script, off)) {
            return true;
        }
        let trap = |command: &Simple| {
            command.program(script) == Some("trap")
                && command.words.iter().any(|word| matches!(&script[word.clone()], "ERR" | "EXIT"))
        };
        self.statements.iter().any(|statement| statement.commands.iter().any(trap))
    }
}

impl Statement {
    pub(super) fn text<'s>(&self, script: &'s str) -> &'s str {
        &script[self.span.clone()]
    }

    /// Whether its only command is this one.
    pub(super) fn runs(&self, script: &str, program: &str) -> bool {
        matches!(self.commands.as_slice(), [only] if only.program(script) == Some(program))
    }

    fn sets(&self, script: &str, option: impl Fn(&str) -> bool) -> bool {
        self.commands.iter().any(|command| {
            command.program(script) == Some("set")
                && command.words.iter().any(|word| option(&script[word.clone()]))
        })
    }

    /// Whether what it says of a failure is its own doing: `… || …`.
    pub(super) fn handles_failure(&self) -> bool {
        self.compound || self.background || self.commands.iter().any(|command| command.joint == Joint::Or)
    }

    /// Whether its exit status is one that a test could fail by.
    pub(super) fn decides(&self, script: &str) -> bool {
        !self.handles_failure()
            && self.commands.first().is_some_and(|first| !first.is_negated(script))
            && self.commands.iter().any(|command| !command.is_harmless(script))
    }

    /// The commands of its last pipeline; none when it has no simple one.
    pub(super) fn last_pipeline(&self) -> Option<&[Simple]> {
        if self.compound {
            return None;
        }
        let start = self.commands.iter().rposition(|command| command.joint != Joint::Pipe)?;
        Some(&self.commands[start..])
    }
}

impl Simple {
    /// From its first word to its last.
    pub(super) fn span(&self) -> Range<usize> {
        let start = self.words.first().map_or(0, |word| word.start);
        start..self.words.last().map_or(start, |word| word.end)
    }

    fn is_negated(&self, script: &str) -> bool {
        self.words.first().is_some_and(|word| &script[word.clone()] == "!")
    }

    /// The name of what it runs, without its directory; none for a mere assignment.
    pub(super) fn program<'s>(&self, script: &'s str) -> Option<&'s str> {
        let mut words = self.words.iter().map(|word| &script[word.clone()]);
        let program = words.find(|word| !is_assignment(word) && !matches!(*word, "!" | "sudo" | "time"))?;
        Some(program.rsplit('/').next().unwrap_or(program))
    }

    /// Whether its failure is seldom the point.
    pub(super) fn is_harmless(&self, script: &str) -> bool {
        let words = || self.words.iter().map(|word| &script[word.clone()]);
        if words().next().is_some_and(|first| first.starts_with("((")) {
            return true;
        }
        self.program(script).is_none_or(|program| match program {
            "." | "exec" | "exit" | "journalctl" => true,
            // Without `-q` it shows something.
            "grep" => !words().any(|word| word.starts_with('-') && word.contains('q')),
            _ => HARMLESS.contains(&program) || program.starts_with("mkfs."),
        })
    }
}

/// `NAME=value`.
pub(super) fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let name = name.strip_suffix('+').unwrap_or(name);
    let name = name.split('[').next().unwrap_or(name);
    is_name(name)
}

/// A variable's name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Puts tokens together.
#[derive(Debug, Default)]
struct Reader {
    statements: Vec<Statement>,
    current: Statement,
    command: Simple,
    /// What the compound commands that are open end with.
    open: Vec<&'static str>,
    /// The next word is a file of a redirection.
    file_follows: bool,
    /// Whether a command's first word may come next.
    at_start: bool,
}

impl Reader {
    fn token(&mut self, script: &str, token: &Token) {
        match token {
            Token::Word(word) => self.word(script, word),
            Token::Redirection(redirection) => {
                self.touch(redirection);
                // `2>&1` is followed by a word, too: the `1`.
                self.file_follows = true;
            }
            Token::Operator(operator) => self.operator(script, operator),
        }
    }

    /// Makes a range part of the statement.
    fn touch(&mut self, range: &Range<usize>) {
        if self.current.span == (0..0) {
            self.current.span = range.clone();
            self.at_start = true;
        }
        self.current.span.end = range.end;
    }

    fn word(&mut self, script: &str, word: &Range<usize>) {
        self.touch(word);
        if std::mem::take(&mut self.file_follows) {
            return;
        }
        let text = &script[word.clone()];
        // `function name {`
        let named = matches!(self.command.words.as_slice(), [word, _] if &script[word.clone()] == "function");
        if std::mem::take(&mut self.at_start) || self.command.words.is_empty() || named {
            let closes = self.open.last() == Some(&text);
            let opens = match text {
                "if" => Some("fi"),
                "for" | "while" | "until" | "select" => Some("done"),
                "case" => Some("esac"),
                "{" => Some("}"),
                _ => None,
            };
            if closes {
                self.open.pop();
            }
            if let Some(end) = opens {
                self.open.push(end);
            }
            let inner = matches!(text, "then" | "do" | "else" | "elif");
            self.current.compound |= closes || opens.is_some() || inner || text == "function";
            if opens.is_some_and(|end| end != "done" && end != "esac") || inner {
                self.at_start = true;
                return;
            }
        }
        self.command.words.push(word.clone());
    }

    fn operator(&mut self, script: &str, operator: &Range<usize>) {
        self.file_follows = false;
        let text = &script[operator.clone()];
        match text {
            "(" => {
                self.touch(operator);
                self.current.compound = true;
                self.open.push(")");
                self.at_start = true;
            }
            ")" => {
                self.touch(operator);
                // The `)` of a pattern of `case` closes nothing.
                if self.open.last() == Some(&")") {
                    self.open.pop();
                } else {
                    self.end_command(Joint::First);
                }
            }
            "&&" => self.join(operator, Joint::And),
            "||" => self.join(operator, Joint::Or),
            "|" | "|&" => self.join(operator, Joint::Pipe),
            "\n" if self.command.words.is_empty()
                && self.current.commands.last().is_some_and(|_| self.joined()) => {}
            _ => {
                self.end_command(Joint::First);
                if self.open.is_empty() {
                    self.end_statement(text == "&");
                } else {
                    self.at_start = true;
                }
            }
        }
    }

    /// Whether the last thing was a `&&`, `||` or `|`, so that the statement goes on after a line break.
    fn joined(&self) -> bool {
        self.command.joint != Joint::First
    }

    fn join(&mut self, operator: &Range<usize>, joint: Joint) {
        self.touch(operator);
        self.end_command(joint);
        self.at_start = true;
    }

    fn end_command(&mut self, next: Joint) {
        let command = std::mem::replace(&mut self.command, Simple { words: Vec::new(), joint: next });
        if !command.words.is_empty() {
            self.current.commands.push(command);
        }
    }

    fn end_statement(&mut self, background: bool) {
        self.end_command(Joint::First);
        let mut statement = std::mem::take(&mut self.current);
        statement.background = background;
        statement.compound |= !self.open.is_empty();
        if statement.span != (0..0) {
            self.statements.push(statement);
        }
    }
}
