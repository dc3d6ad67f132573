//! `vmtest cache`: the guests that were kept.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use vmtest_vm::snapshot::{Entry, Snapshots};

use crate::args::CacheAction;
use crate::executor;

/// Lists or removes them.
pub(crate) fn cache(action: CacheAction) -> ExitCode {
    let snapshots = Snapshots::new(&executor::cache());
    match action {
        CacheAction::List => {
            let now = SystemTime::now();
            let folder = snapshots.folder().display();
            crate::print(format_args!("{}", table(&snapshots.list(), &folder.to_string(), now)))
        }
        CacheAction::Clear => match snapshots.clear() {
            Ok(bytes) => crate::print(format_args!("removed {}\n", size(bytes))),
            Err(error) => {
                eprintln!("vmtest: cannot remove what is in {}: {error}", snapshots.folder().display());
                ExitCode::FAILURE
            }
        },
    }
}

fn table(entries: &[Entry], folder: &str, now: SystemTime) -> String {
    if entries.is_empty() {
        return format!("no guest is kept in {folder}\n");
    }
    let width = entries.iter().map(|entry| entry.kernel.chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for Entry { name, kernel, bytes, used } in entries {
        let ago = ago(now.duration_since(*used).unwrap_or_default());
        let _ = writeln!(table, "{kernel:width$}  {:>7}  used {ago}  {name}", size(*bytes));
    }
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    let guests = if entries.len() == 1 { "guest" } else { "guests" };
    let _ = writeln!(table, "{} {guests}, {} in {folder}", entries.len(), size(bytes));
    table
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86400 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_has_its_kernel_its_size_and_its_last_use() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let entry = |kernel: &str, bytes, age| Entry {
            name: "0123".into(),
            kernel: kernel.into(),
            bytes,
            used: now - Duration::from_secs(age),
        };
        let entries = [entry("6.1.0-56-amd64", 150_000_000, 61), entry("6.12", 900, 172_800)];
        assert_eq!(
            table(&entries, "/c", now),
            "6.1.0-56-amd64   150 MB  used 1 minute ago  0123\n\
             6.12               1 kB  used 2 days ago  0123\n\
             2 guests, 150 MB in /c\n"
        );
    }

    #[test]
    fn an_empty_cache_says_where_it_would_be() {
        assert_eq!(table(&[], "/c", SystemTime::now()), "no guest is kept in /c\n");
    }
}
