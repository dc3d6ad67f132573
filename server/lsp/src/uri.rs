//! Between the URIs of the protocol and the paths of this machine.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use tower_lsp::lsp_types::Uri;

/// The file that a URI names; none for what is no file of this machine, such as `untitled:` and `git:`.
pub(crate) fn file_of(uri: &Uri) -> Option<PathBuf> {
    let is_file = uri.scheme().is_some_and(|scheme| scheme.as_str().eq_ignore_ascii_case("file"));
    let local = uri.authority().is_none_or(|authority| matches!(authority.as_str(), "" | "localhost"));
    let path = PathBuf::from(OsString::from_vec(percent_decoded(uri.path().as_str())));
    (is_file && local && path.is_absolute()).then_some(path)
}

/// The URI of a file; none for a relative path.
pub(crate) fn uri_of(path: &Path) -> Option<Uri> {
    use std::fmt::Write as _;
    if !path.is_absolute() {
        return None;
    }
    let mut uri = String::from("file://");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.parse().ok()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some((&first, rest)) = bytes.split_first() {
        let pair = rest.first().zip(rest.get(1)).and_then(|(high, low)| digit(*high).zip(digit(*low)));
        match pair {
            Some((high, low)) if first == b'%' => {
                decoded.push(high << 4 | low);
                bytes = &rest[2..];
            }
            _ => {
                decoded.push(first);
                bytes = rest;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(uri: &str) -> Option<PathBuf> {
        file_of(&uri.parse().unwrap())
    }

    #[test]
    fn only_files_of_this_machine_have_a_path() {
        assert_eq!(file("file:///a/b%20c/vmtest.toml"), Some("/a/b c/vmtest.toml".into()));
        assert_eq!(file("FILE://localhost/a"), Some("/a".into()));
        assert_eq!(file("file://server/a"), None);
        assert_eq!(file("untitled:Untitled-1"), None);
        assert_eq!(file("git:/a/vmtest.toml?ref"), None);
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_kept() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/caf\xe9"));
        assert_eq!(file_of(&uri_of(path).unwrap()).as_deref(), Some(path));
    }

    proptest! {
        #[test]
        fn a_path_survives_the_way_there_and_back(path in "/\\PC{0,40}") {
            let uri = uri_of(Path::new(&path)).unwrap();
            prop_assert_eq!(file_of(&uri), Some(PathBuf::from(path)));
        }
    }
}
