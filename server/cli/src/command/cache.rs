//! `vmtest cache`: what was kept: guests, downloads, packages.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use vmtest_vm::shelf::{Item, Shelf};
use vmtest_vm::snapshot::{Entry, Snapshots};
use vmtest_vm::{distribution, download, sanitize};

use crate::args::CacheAction;
use crate::executor;

/// Lists or removes it.
pub(crate) fn cache(action: CacheAction) -> ExitCode {
    let cache = executor::cache();
    let snapshots = Snapshots::new(&cache);
    let shelves = [("download", download::shelf(&cache)), ("package", distribution::shelf(&cache))];
    match action {
        CacheAction::List => {
            let now = SystemTime::now();
            let mut tables = table("guest", snapshots.list().iter().map(guest), snapshots.folder(), now);
            for (what, shelf) in &shelves {
                tables.push_str(&table(what, shelf.list().iter().map(item), shelf.folder(), now));
            }
            crate::print(format_args!("{tables}"))
        }
        CacheAction::Clear => clear(&snapshots, shelves.map(|(_, shelf)| shelf)),
    }
}

fn clear(snapshots: &Snapshots, shelves: [Shelf; 2]) -> ExitCode {
    let (mut bytes, mut in_use, mut failed) = (0, 0, false);
    let mut fail = |folder: &Path, error: std::io::Error| {
        crate::say(format_args!("cannot remove what is in {}: {error}", folder.display()));
        failed = true;
    };
    match snapshots.clear() {
        Ok(freed) => bytes += freed,
        Err(error) => fail(snapshots.folder(), error),
    }
    for shelf in shelves {
        match shelf.clear() {
            Ok(cleared) => (bytes, in_use) = (bytes + cleared.bytes, in_use + cleared.in_use),
            Err(error) => fail(shelf.folder(), error),
        }
    }
    if failed {
        return ExitCode::FAILURE;
    }
    let kept = if in_use > 0 { format!("; {in_use} in use stayed") } else { String::new() };
    crate::print(format_args!("removed {}{kept}\n", size(bytes)))
}

/// A line of a table.
struct Row {
    name: String,
    bytes: u64,
    used: SystemTime,
    /// What tells it from others of its name.
    note: String,
}

fn guest(entry: &Entry) -> Row {
    let Entry { name, kernel, bytes, used } = entry.clone();
    Row { name: kernel, bytes, used, note: name }
}

fn item(item: &Item) -> Row {
    let note = match &item.what {
        Some(_) => item.path.display().to_string(),
        None => "not complete".to_owned(),
    };
    Row { name: sanitize::line(item.name.as_bytes()), bytes: item.bytes, used: item.used, note }
}

fn table(what: &str, rows: impl Iterator<Item = Row>, folder: &Path, now: SystemTime) -> String {
    let (rows, folder) = (rows.collect::<Vec<_>>(), folder.display());
    if rows.is_empty() {
        return format!("no {what} is kept in {folder}\n");
    }
    let width = rows.iter().map(|row| console::measure_text_width(&row.name)).max().unwrap_or(0);
    let mut table = String::new();
    for Row { name, bytes, used, note } in &rows {
        let ago = ago(now.duration_since(*used).unwrap_or_default());
        let _ = writeln!(table, "{name:width$}  {:>7}  used {ago}  {note}", size(*bytes));
    }
    let bytes = rows.iter().map(|row| row.bytes).sum();
    let plural = if rows.len() == 1 { "" } else { "s" };
    let _ = writeln!(table, "{} {what}{plural}, {} in {folder}", rows.len(), size(bytes));
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

    fn shown(what: &str, rows: Vec<Row>) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        table(what, rows.into_iter(), Path::new("/c"), now)
    }

    fn used(age: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)
    }

    #[test]
    fn each_guest_has_its_kernel_its_size_and_its_last_use() {
        let entry = |kernel: &str, bytes, age| {
            guest(&Entry { name: "0123".into(), kernel: kernel.into(), bytes, used: used(age) })
        };
        assert_eq!(
            shown("guest", vec![entry("6.1.0-56-amd64", 150_000_000, 61), entry("6.12", 900, 172_800)]),
            "6.1.0-56-amd64   150 MB  used 1 minute ago  0123\n\
             6.12               1 kB  used 2 days ago  0123\n\
             2 guests, 150 MB in /c\n"
        );
    }

    #[test]
    fn a_download_has_its_url_and_its_file_or_is_not_complete() {
        let download = |what: Option<&str>| {
            item(&Item {
                name: "https://a/k\u{1b}".into(),
                what: what.map(str::to_owned),
                path: "/c/k/k".into(),
                bytes: 2_000_000,
                used: used(0),
            })
        };
        assert_eq!(
            shown("download", vec![download(Some("12ab")), download(None)]),
            "https://a/k     2 MB  used just now  /c/k/k\n\
             https://a/k     2 MB  used just now  not complete\n\
             2 downloads, 4 MB in /c\n"
        );
    }

    #[test]
    fn an_empty_cache_says_where_it_would_be() {
        assert_eq!(shown("guest", Vec::new()), "no guest is kept in /c\n");
    }
}
