//! Which targets of a text are to run.

use std::path::Path;

use tower_lsp::lsp_types::{Range, Uri};
use vmtest_config::{Command, Document, Purpose, Target, line_column};
use vmtest_vm::sanitize;

use super::{Refusal, TargetKey};
use crate::position::{Encoding, Lines};
use crate::protocol::TargetRef;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Every target but interactive shells.
    All,
    /// These.
    Some(Vec<TargetRef>),
}

impl Choice {
    /// Of `vmtest/run`, where no list and an empty one mean everything.
    pub(crate) fn of(targets: Option<Vec<TargetRef>>) -> Self {
        targets.filter(|targets| !targets.is_empty()).map_or(Self::All, Self::Some)
    }

    /// The one that a lens names.
    pub(crate) fn one(name: String, index: usize) -> Self {
        Self::Some(vec![TargetRef::Place { name, index }])
    }
}

/// A target that is to run, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// Its name in the document.
    pub(crate) key: TargetKey,
    /// Itself.
    pub(crate) target: Target,
    /// Its `[[target]]` header.
    pub(crate) header: Range,
}

/// What is to run, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The vmtest.toml.
    pub(crate) uri: Uri,
    /// In the order of the file; at least one.
    pub(crate) targets: Vec<Chosen>,
}

impl Request {
    /// Reads the chosen targets out of the text that the user sees; relative paths start at `base`.
    pub(crate) fn new(
        uri: Uri,
        text: &str,
        base: &Path,
        encoding: Encoding,
        choice: &Choice,
    ) -> Result<Self, Refusal> {
        let broken = |problems: Vec<vmtest_config::Problem>| broken(text, &problems);
        let mut document = Document::parse(text, base).map_err(broken)?;
        let names: Vec<String> = document.names().map(str::to_owned).collect();
        let wanted = wanted(&names, choice)?;
        document.retain(|index, _| wanted[index]);
        let loaded = document.resolve(Purpose::Run).map_err(broken)?;
        let keys = TargetKey::all(names.iter().map(String::as_str));
        let lines = Lines::new(text, encoding);
        let mut targets = Vec::with_capacity(loaded.targets.len());
        for resolved in loaded.targets {
            if resolved.target.command == Command::Interactive {
                if *choice == Choice::All {
                    continue;
                }
                return Err(interactive(&resolved.target.name));
            }
            let header = lines.range(text, &resolved.header);
            targets.push(Chosen { key: keys[resolved.index].clone(), target: resolved.target, header });
        }
        match (targets.is_empty(), names.first()) {
            (false, _) => Ok(Self { uri, targets }),
            (true, Some(name)) => Err(interactive(name)),
            (true, None) => Err(Refusal::Sentence("there is no target to run".to_owned())),
        }
    }
}

/// Which targets are meant, by their place in the file.
fn wanted(names: &[String], choice: &Choice) -> Result<Vec<bool>, Refusal> {
    let Choice::Some(refs) = choice else { return Ok(vec![true; names.len()]) };
    let mut wanted = vec![false; names.len()];
    for one in refs {
        match one {
            TargetRef::Name(name) => {
                let mut found = false;
                for (wanted, _) in wanted.iter_mut().zip(names).filter(|(_, other)| *other == name) {
                    *wanted = true;
                    found = true;
                }
                if !found {
                    return Err(Refusal::Sentence(format!("there is no target `{}`", sanitize::name(name))));
                }
            }
            TargetRef::Place { name, index } => {
                if names.get(*index) != Some(name) {
                    let name = sanitize::name(name);
                    return Err(Refusal::Sentence(format!(
                        "target {} is not `{name}` any more: the text has changed since; run it again",
                        index + 1
                    )));
                }
                wanted[*index] = true;
            }
        }
    }
    Ok(wanted)
}

fn interactive(name: &str) -> Refusal {
    let name = sanitize::name(name);
    // The sentence is there to be copied into a shell.
    let word = name.replace('\'', r"'\''");
    Refusal::Sentence(format!(
        "target `{name}` is an interactive shell, which needs a terminal: run `vmtest shell '{word}'` in one"
    ))
}

fn broken(text: &str, problems: &[vmtest_config::Problem]) -> Refusal {
    let errors: Vec<_> = problems.iter().filter(|problem| problem.is_error()).collect();
    let Some(first) = errors.first() else {
        return Refusal::Sentence("vmtest.toml cannot be read".to_owned());
    };
    let (line, _) = line_column(text, first.span.start);
    let more = match errors.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Refusal::Sentence(format!("nothing was run: line {line}: {}{more}", sanitize::name(&first.message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[target]]\nname = 'a'\nkernel = 'k'\ncommand = 'true'\n\
                        [[target]]\nname = 'sh'\nkernel = 'k'\ncommand = '-'\n\
                        [[target]]\nname = 'a'\nkernel = 'k'\ncommand = 'false'\n";

    fn request(text: &str, choice: &Choice) -> Result<Request, String> {
        let uri = "file:///p/vmtest.toml".parse().unwrap();
        Request::new(uri, text, Path::new("/p"), Encoding::Utf16, choice)
            .map_err(|refusal| refusal.to_string())
    }

    fn keys(choice: &Choice) -> Vec<(String, usize)> {
        let targets = request(TEXT, choice).unwrap().targets;
        targets.into_iter().map(|chosen| (chosen.key.name, chosen.key.nth)).collect()
    }

    #[test]
    fn everything_is_everything_but_interactive_shells() {
        assert_eq!(keys(&Choice::of(None)), [("a".into(), 0), ("a".into(), 1)]);
        assert_eq!(keys(&Choice::of(Some(vec![]))), keys(&Choice::All));
    }

    #[test]
    fn a_name_is_every_target_of_that_name_and_a_place_is_one() {
        assert_eq!(keys(&Choice::Some(vec![TargetRef::Name("a".into())])).len(), 2);
        assert_eq!(keys(&Choice::one("a".into(), 2)), [("a".into(), 1)]);
    }

    #[test]
    fn a_place_that_is_another_targets_now_is_refused() {
        let refusal = request(TEXT, &Choice::one("b".into(), 0)).unwrap_err();
        assert_eq!(refusal, "target 1 is not `b` any more: the text has changed since; run it again");
        assert!(request(TEXT, &Choice::one("a".into(), 9)).is_err());
    }

    #[test]
    fn an_interactive_shell_is_refused_with_the_way_to_it() {
        let refusal = request(TEXT, &Choice::one("sh".into(), 1)).unwrap_err();
        assert_eq!(
            refusal,
            "target `sh` is an interactive shell, which needs a terminal: run `vmtest shell 'sh'` in one"
        );
    }

    #[test]
    fn a_text_with_errors_runs_nothing_and_says_where() {
        let refusal = request("[[target]]\nname = 'a'\nkernel = 3\n", &Choice::All).unwrap_err();
        assert!(refusal.starts_with("nothing was run: line "), "{refusal}");
        let refusal = request("[[target]\n", &Choice::All).unwrap_err();
        assert!(refusal.starts_with("nothing was run: line 1: "), "{refusal}");
    }

    #[test]
    fn the_header_is_where_the_target_stands() {
        let request = request(TEXT, &Choice::one("a".into(), 2)).unwrap();
        assert_eq!(request.targets[0].header.start.line, 8);
    }
}
