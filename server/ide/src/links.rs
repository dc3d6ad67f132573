//! Values that open something.

use std::ops::Range;
use std::path::PathBuf;

use vmtest_config::value::check_url;
use vmtest_config::{PathKind, ValueType};

use crate::analysis::Analysis;
use crate::model::{Field, Section};

/// A value that opens something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The value without its quotes.
    pub range: Range<usize>,
    /// What it opens.
    pub target: LinkTarget,
}

/// What a link opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// A file of this machine: an absolute path.
    File(PathBuf),
    /// A page.
    Url(String),
}

impl Analysis {
    /// Every path and URL.
    pub fn links(&self) -> Vec<Link> {
        self.sections().flat_map(Section::fields).filter_map(|field| self.link(&field)).collect()
    }

    fn link(&self, field: &Field<'_>) -> Option<Link> {
        let text = field.value?.text()?;
        let value = text.value.as_str();
        // A link is on one line; one of nothing leads nowhere.
        if value.is_empty()
            || value.contains('\0')
            || self.text()[text.content.clone()].contains(['\n', '\r'])
        {
            return None;
        }
        let target = match field.row?.value {
            ValueType::Path(PathKind::Program) if !value.contains('/') => return None,
            ValueType::Path(_) => LinkTarget::File(self.absolute(value)),
            ValueType::Url => LinkTarget::Url(web_page(value)?),
            _ => return None,
        };
        Some(Link { range: text.content.clone(), target })
    }
}

/// A URL that an editor may open: a file is not opened by what looks like a page.
fn web_page(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once("://")?;
    let is_page = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (is_page && check_url(url).is_ok()).then(|| url.to_owned())
}
