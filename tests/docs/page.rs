//! The documents of this repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use vmtest_tests::machine::repository;

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A document, as far as it is looked at.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// What its links and pictures lead to.
    pub(crate) links: Vec<String>,
    /// What a link can name behind `#`.
    pub(crate) anchors: BTreeSet<String>,
    /// Blocks of code, each with its language.
    pub(crate) blocks: Vec<(String, String)>,
}

impl Page {
    /// Reads a document.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut page = Self::default();
        let mut same: BTreeMap<String, usize> = BTreeMap::new();
        let mut heading: Option<String> = None;
        let mut block: Option<(String, String)> = None;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().expect("it has begun"));
                    let count = same.entry(slug.clone()).or_default();
                    page.anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
                    *count += 1;
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some((language, String::new()));
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                    if let Some((_, code)) = &mut block {
                        code.push_str(&words);
                    }
                }
                Event::InlineHtml(html) => {
                    page.anchors.extend(
                        html.strip_prefix("<a id=\"").and_then(|id| Some(id.split_once('"')?.0.to_owned())),
                    );
                }
                _ => {}
            }
        }
        page
    }
}

/// All documents that are in the repository, relative to it.
pub(crate) fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![repository()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !["target", "node_modules", ".git"].iter().any(|other| name == *other) {
                dirs.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "md") {
                found.push(path.strip_prefix(repository()).unwrap().to_owned());
            }
        }
    }
    assert!(found.len() > 10, "these are not all: {found:?}");
    found
}

/// The name by which GitHub links a heading.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
