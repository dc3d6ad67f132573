//! A kernel's loadable modules: where they are, what they need, and which of them a run needs.
//!
//! No depmod files are needed: names come from a directory walk, dependencies from each module's own `.modinfo`.

mod feature;
mod file;
pub mod index;
mod modinfo;
mod select;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use self::feature::{Feature, Need};
pub use self::file::{MODULE_LIMIT, ModuleError, module_image};
pub use self::index::{Index, Links, index};
pub use self::modinfo::ModInfo;
pub use self::select::{FeatureState, Lack, Missing, Module, Selection, select, select_with_config};

/// Where a module tree was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The kernel's build tree; not laid out as `lib/modules/<release>`.
    BuildTree,
    /// Beside the kernel file.
    BesideKernel,
    /// The guest's root directory.
    Rootfs,
    /// This machine.
    Host,
}

/// The modules of one kernel release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleTree {
    /// Where it was found.
    pub origin: Origin,
    /// The directory that holds the modules: `lib/modules/<release>`, or the build tree.
    pub dir: PathBuf,
    /// Files by module name, relative to `dir`.
    files: BTreeMap<String, PathBuf>,
    /// Names of what is built in, when the tree tells.
    builtin: Option<BTreeSet<String>>,
}

impl ModuleTree {
    /// The first of these places that tells something about modules. A directory with only a `build` link, as the
    /// packages with kernel headers make it, tells nothing.
    pub fn find(places: &[(Origin, PathBuf)]) -> Option<Self> {
        places.iter().find_map(|(origin, dir)| Self::open(*origin, dir))
    }

    /// Reads the tree at `dir`; `None` when it tells nothing about modules.
    pub fn open(origin: Origin, dir: &Path) -> Option<Self> {
        if !dir.is_dir() {
            return None;
        }
        let files = if origin == Origin::BuildTree { walk::build_tree(dir) } else { walk::installed(dir) };
        let builtin = walk::builtin(dir);
        let told = !files.is_empty() || builtin.is_some();
        told.then(|| Self { origin, dir: dir.to_owned(), files, builtin })
    }

    /// The file of a module, by its name in either spelling.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.files.get(&module_name(name)).map(|file| self.dir.join(file))
    }

    /// Whether a module is part of the kernel; `None` when the tree does not tell.
    pub fn is_builtin(&self, name: &str) -> Option<bool> {
        self.builtin.as_ref().map(|names| names.contains(&module_name(name)))
    }

    /// Every module's name and file, relative to the tree, in the order of names.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &Path)> {
        self.files.iter().map(|(name, file)| (name.as_str(), file.as_path()))
    }
}

/// The kernel treats `-` and `_` in module names as one; its own spelling is `_`.
pub(crate) fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests;
