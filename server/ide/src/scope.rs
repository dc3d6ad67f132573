//! Which table a place of the text is in, as the key table knows it.

use vmtest_config::{KEYS, Key};

use crate::model::Part;

/// A table, by its row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Scope {
    /// None: the top of the file.
    #[default]
    File,
    /// One that the key table has.
    Table(&'static Key),
    /// One that it does not have.
    Unknown,
}

impl Scope {
    /// The table that a key is; unknown where the key is.
    pub(crate) fn of(row: Option<&'static Key>) -> Self {
        row.map_or(Self::Unknown, Self::Table)
    }

    /// Its row; none for the top of the file, too.
    pub(crate) fn row(self) -> Option<&'static Key> {
        match self {
            Self::Table(row) => Some(row),
            Self::File | Self::Unknown => None,
        }
    }

    /// The row of one of its keys.
    pub(crate) fn child(self, name: &str) -> Option<&'static Key> {
        match self {
            Self::File => KEYS.iter().find(|key| key.parent_path().is_none() && key.path == name),
            Self::Table(row) => row.child(name),
            Self::Unknown => None,
        }
    }

    /// The table that a dotted key leads to.
    pub(crate) fn descend<'p>(self, path: impl IntoIterator<Item = &'p Part>) -> Self {
        path.into_iter().fold(self, |scope, part| Self::of(scope.child(&part.name)))
    }
}
