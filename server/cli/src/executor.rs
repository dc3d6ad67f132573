//! Who carries out targets.

use std::path::PathBuf;
use std::sync::Arc;

use vmtest_vm::QemuExecutor;
use vmtest_vm::executor::Executor;

/// The executor of this build; a cold one boots every guest.
pub(crate) fn executor(cold: bool) -> Arc<dyn Executor> {
    let executor = QemuExecutor::new(&cache());
    Arc::new(if cold { executor.cold() } else { executor })
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
