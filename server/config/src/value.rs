//! The little languages inside strings: sizes, times, URLs, checksums, guest paths.

use std::path::PathBuf;
use std::time::Duration;

use crate::Memory;

/// What is wrong with a value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {help}")]
pub struct ValueError {
    /// What is wrong, as the end of the sentence "`key` …".
    pub message: String,
    /// What to write.
    pub help: String,
}

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError { message: message.into(), help: help.into() })
}

/// The pattern of a memory size.
pub const MEMORY_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?[bBkKmMgGtT]?$";
/// The pattern of a duration.
pub const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$";
/// The pattern of a URL.
pub const URL_PATTERN: &str = r"^([hH][tT][tT][pP][sS]?|[fF][iI][lL][eE])://\S+$";
/// The pattern of a checksum.
pub const SHA256_PATTERN: &str = r"^[0-9a-fA-F]{64}$";

const MEMORY_HELP: &str = "write a number with a unit, such as \"512M\" or \"4G\"; a bare number is MiB";
const DURATION_HELP: &str =
    "write a number with a unit (ms, s, m, h, d), such as \"90s\", \"5m\" or \"1h30m\"";
const MIB: u64 = 1 << 20;
/// Below it not even the guest init and its agent fit beside a kernel.
const LEAST_MEMORY: u64 = 32 * MIB;
/// No machine that QEMU emulates addresses more.
const MOST_MEMORY: u64 = 64 << 40;
/// Longer than any test, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A decimal number as it was written: digits before and after the point.
struct Decimal<'t> {
    whole: &'t str,
    fraction: &'t str,
}

impl<'t> Decimal<'t> {
    /// Takes `[0-9]+(\.[0-9]+)?` off the front of a text.
    fn take(text: &'t str) -> Option<(Self, &'t str)> {
        let digits = |text: &str| text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let (whole, rest) = text.split_at(digits(text));
        if whole.is_empty() {
            return None;
        }
        let Some(after) = rest.strip_prefix('.') else {
            return Some((Self { whole, fraction: "" }, rest));
        };
        let (fraction, rest) = after.split_at(digits(after));
        (!fraction.is_empty()).then_some((Self { whole, fraction }, rest))
    }

    /// The number times `unit`, rounded down; none when it is beyond all bounds.
    fn times(&self, unit: u64) -> Option<u64> {
        let whole = self.whole.parse::<u64>().ok()?.checked_mul(unit)?;
        // Twelve digits are finer than a byte of a tebibyte.
        let fraction = &self.fraction[..self.fraction.len().min(12)];
        if fraction.is_empty() {
            return Some(whole);
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / scale;
        whole.checked_add(u64::try_from(part).ok()?)
    }
}

/// Reads an amount of guest memory, such as `512M`, `1.5G` or `4096` (MiB).
pub fn parse_memory(text: &str) -> Result<Memory, ValueError> {
    let Some((number, unit)) = Decimal::take(text) else {
        return wrong(format!("is not a memory size: {text:?}"), MEMORY_HELP);
    };
    let unit = match unit {
        "b" | "B" => 1,
        "k" | "K" => 1 << 10,
        "" | "m" | "M" => MIB,
        "g" | "G" => 1 << 30,
        "t" | "T" => 1 << 40,
        _ => return wrong(format!("is not a memory size: {text:?}"), MEMORY_HELP),
    };
    match number.times(unit) {
        Some(0) => wrong("is zero", MEMORY_HELP),
        Some(bytes) if bytes < LEAST_MEMORY => wrong(
            format!("is too small for a guest to boot: {text:?}"),
            format!("give it at least 32M; {MEMORY_HELP}"),
        ),
        Some(bytes) if bytes <= MOST_MEMORY => Ok(Memory { bytes }),
        _ => wrong(format!("is more than a machine can have: {text:?}"), "the most is 64T"),
    }
}

/// Reads a time, such as `90s`, `5m`, `1h30m`, `1.5s` or `500ms`.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let no_duration = || wrong(format!("is not a time: {text:?}"), DURATION_HELP);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong(format!("has no unit: {text:?}"), format!("write \"{text}s\" for seconds"));
    }
    let mut nanos: Option<u64> = Some(0);
    let mut rest = text;
    loop {
        let Some((number, after)) = Decimal::take(rest) else { return no_duration() };
        let length = after.bytes().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        let unit = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return no_duration(),
        };
        nanos = nanos.and_then(|sum| sum.checked_add(number.times(unit)?));
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    match nanos.map(Duration::from_nanos) {
        Some(Duration::ZERO) => wrong("is zero", "leave the key out for no limit of your own"),
        Some(time) if time <= LONGEST => Ok(time),
        _ => wrong(format!("is too long: {text:?}"), "the most is 365d; leave the key out for no limit"),
    }
}

/// Checks that a URL is one that vmtest can fetch.
pub fn check_url(text: &str) -> Result<(), ValueError> {
    const HELP: &str = "write a URL that starts with https://, http:// or file:///";
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong(format!("is not a URL: {text:?}"), HELP);
    };
    let known = ["http", "https", "file"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
    let Some(known) = known else {
        return wrong(format!("has a scheme that vmtest cannot fetch: {scheme:?}"), HELP);
    };
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("has a blank or a control character in it", "write a blank as %20");
    }
    if known == "file" {
        if !rest.starts_with('/') || rest.len() == 1 {
            return wrong("names no file", "write an absolute path: file:///path/to/file");
        }
    } else if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
        return wrong("names no host", format!("write {known}://host/path"));
    }
    Ok(())
}

/// Reads a SHA-256 in hexadecimal; gives it back in lower case.
pub fn parse_sha256(text: &str) -> Result<String, ValueError> {
    const HELP: &str = "write what `sha256sum` prints for the file: 64 hexadecimal digits";
    if let Some(other) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
        return wrong(format!("has a character that is no hexadecimal digit: {other:?}"), HELP);
    }
    if text.len() != 64 {
        return wrong(format!("has {} digits, not 64", text.len()), HELP);
    }
    Ok(text.to_ascii_lowercase())
}

/// Checks the name of an environment variable.
pub fn check_env_name(name: &str) -> Result<(), ValueError> {
    const HELP: &str = "use letters, digits and underscores";
    if name.is_empty() {
        return wrong("is empty", HELP);
    }
    if name.contains('=') {
        return wrong(format!("has a `=` in it: {name:?}"), HELP);
    }
    if name.contains('\0') {
        return wrong("has a NUL character in it", HELP);
    }
    Ok(())
}

/// Checks the name of a distribution's kernel package.
pub fn check_package(name: &str) -> Result<(), ValueError> {
    const HELP: &str = "write the package's name, such as \"linux-image-amd64\"";
    if name.is_empty() {
        return wrong("is empty", HELP);
    }
    if name.starts_with('-') {
        return wrong(format!("starts with `-`, like an option: {name:?}"), HELP);
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong(format!("has a blank in it: {name:?}"), HELP);
    }
    Ok(())
}

/// Checks text for the kernel command line; gives it back without line breaks around it.
pub fn parse_kernel_args(text: &str) -> Result<&str, ValueError> {
    let text = text.trim_matches(['\n', '\r']);
    if text.contains('\0') {
        return wrong("has a NUL character in it", "remove it: the kernel would not see what follows");
    }
    if text.contains(['\n', '\r']) {
        return wrong("has a line break in it", "write it as one line, with blanks between the parameters");
    }
    if text.matches('"').count() % 2 == 1 {
        return wrong(
            "has a `\"` that is never closed",
            "close it: the kernel would take everything that follows as one parameter",
        );
    }
    Ok(text)
}

/// A path in the guest: absolute, with `.`, `..` and repeated slashes gone.
pub fn normalize_guest_path(text: &str) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in text.split('/') {
        match part {
            "" | "." => {}
            // Popping the root leaves the root, as the kernel does.
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(text: &str) -> u64 {
        parse_memory(text).unwrap().bytes
    }

    fn millis(text: &str) -> u128 {
        parse_duration(text).unwrap().as_millis()
    }

    #[test]
    fn a_bare_number_is_mebibytes() {
        assert_eq!(memory("64"), 64 * MIB);
        assert_eq!(memory("064"), 64 * MIB);
    }

    #[test]
    fn every_unit_is_binary_in_either_case() {
        for (text, bytes) in [
            ("67108864b", 64 * MIB),
            ("67108864B", 64 * MIB),
            ("65536k", 64 * MIB),
            ("65536K", 64 * MIB),
            ("64m", 64 * MIB),
            ("64M", 64 * MIB),
            ("4g", 4096 * MIB),
            ("4G", 4096 * MIB),
            ("1t", 1 << 40),
            ("1T", 1 << 40),
        ] {
            assert_eq!(memory(text), bytes, "{text}");
        }
    }

    #[test]
    fn fractions_are_exact_and_rounded_down_to_a_byte() {
        assert_eq!(memory("1.5G"), 1536 * MIB);
        assert_eq!(memory("0.1G"), 107_374_182);
        assert_eq!(memory("100.000000000000000000000000000001M"), 100 * MIB);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "G", "4GB", "4 G", " 4G", "-1G", "4,5G", ".5G", "5.G", "4E", "٤G", "0x10", "64M,maxmem=1G"]
        {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_that_cannot_work_are_refused() {
        for text in ["0", "0G", "0.0G", "1", "31M", "65T", "99999999999999999999999", "18446744073709551615T"]
        {
            assert!(parse_memory(text).is_err(), "{text}");
        }
        assert!(parse_memory("32M").is_ok());
        assert!(parse_memory("64T").is_ok());
    }

    #[test]
    fn durations_add_up_their_parts() {
        for (text, wanted) in [
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("500ms", 500),
            ("1d", 86_400_000),
            ("1h2m3s4ms", 3_723_004),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(millis(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "90 s", "90sec", "-1s", "1h 30m", "1.s", ".5s", "5S", "5µs", "1h30"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_no_duration_and_the_help_gives_it_a_unit() {
        assert_eq!(parse_duration("90").unwrap_err().help, "write \"90s\" for seconds");
    }

    #[test]
    fn durations_of_nothing_or_beyond_a_year_are_refused() {
        for text in ["0s", "0ms", "0h0m", "366d", "99999999999999999999s", "18446744073709551615s1000ms"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn guest_paths_lose_dots_and_double_slashes() {
        for (text, wanted) in [
            ("/a/b", "/a/b"),
            ("/a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("a", "/a"),
            ("../../a", "/a"),
            ("/", "/"),
            ("", "/"),
            ("..", "/"),
            ("/a/..", "/"),
        ] {
            assert_eq!(normalize_guest_path(text), PathBuf::from(wanted), "{text}");
        }
    }

    #[test]
    fn urls_need_a_scheme_we_fetch_and_a_place() {
        for text in ["https://a/b", "http://localhost:8080/x", "HTTPS://a", "file:///x", "https://[::1]/x"] {
            assert!(check_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a",
            "/x",
            "ftp://a/b",
            "https://",
            "https:///x",
            "https:/a",
            "file://x/y",
            "file:///",
            "http://a b",
            "http://a\n",
        ] {
            assert!(check_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_patterns_agree_with_the_readers() {
        let texts = [
            "64",
            "64M",
            "1.5G",
            "G",
            "4GB",
            "",
            "90s",
            "1h30m",
            "90",
            "1.5s",
            "5S",
            "https://a/b",
            "file:///x",
            "a://b",
            "http://a b",
            &"a".repeat(64),
            &"g".repeat(64),
            "FILE:///x",
        ];
        let patterns = [MEMORY_PATTERN, DURATION_PATTERN, URL_PATTERN, SHA256_PATTERN]
            .map(|pattern| regex::Regex::new(pattern).unwrap());
        for text in texts {
            let read = [
                parse_memory(text).is_ok(),
                parse_duration(text).is_ok(),
                check_url(text).is_ok(),
                parse_sha256(text).is_ok(),
            ];
            for (pattern, read) in patterns.iter().zip(read) {
                assert_eq!(pattern.is_match(text), read, "{text:?} by {pattern}");
            }
        }
    }
}
