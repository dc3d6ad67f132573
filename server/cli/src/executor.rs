//! Who carries out targets.

use std::path::PathBuf;
use std::sync::Arc;

use vmtest_vm::QemuExecutor;
use vmtest_vm::event::ShareKind;
use vmtest_vm::executor::Executor;

use crate::args::{GuestArgs, ShareBy};

/// The executor of this build.
pub(crate) fn executor(guests: &GuestArgs) -> Arc<dyn Executor> {
    let mut executor = QemuExecutor::new(&cache());
    if guests.cold {
        executor = executor.cold();
    }
    if let Some(how) = guests.share {
        executor = executor.share_by(match how {
            ShareBy::NineP => ShareKind::NineP,
            ShareBy::Virtiofs => ShareKind::Virtiofs,
            ShareBy::Mixed => ShareKind::Mixed,
        });
    }
    Arc::new(executor)
}

/// Where what can be made again is kept.
pub(crate) fn cache() -> PathBuf {
    cache_folder(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from), std::env::home_dir())
}

fn cache_folder(cache_home: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    // The specification says to ignore a relative path.
    cache_home
        .filter(|path| path.is_absolute())
        .or_else(|| home.filter(|path| path.is_absolute()).map(|home| home.join(".cache")))
        // A service has no home; where it may not write there either, nothing is kept.
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("vmtest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_platforms() {
        assert_eq!(cache_folder(Some("/c".into()), None), PathBuf::from("/c/vmtest"));
        assert_eq!(cache_folder(Some("c".into()), Some("/h".into())), PathBuf::from("/h/.cache/vmtest"));
        assert_eq!(cache_folder(None, None), PathBuf::from("/var/cache/vmtest"));
    }
}
