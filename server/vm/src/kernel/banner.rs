//! The kernel's release, as it stands in the kernel's own bytes.

use std::io::{self, Read};

use memchr::memmem;

/// `init/version.c`: the banner that is also the first line on the console.
const BANNER: &[u8] = b"Linux version ";

/// The longest release that `uname` can tell (`__NEW_UTS_LEN`).
const RELEASE_LEN: usize = 64;

/// The word that starts `text`, when it is a release: of `6.1.0-56-amd64 (builder@host) #1 SMP` the first part.
///
/// It becomes part of paths, so nothing that could lead out of a directory counts as one.
pub(super) fn first_word(text: &[u8]) -> Option<String> {
    let end = text.iter().take(RELEASE_LEN + 1).position(|byte| matches!(byte, 0 | b' ' | b'\n'))?;
    release_from(&text[..end])
}

/// The release that these bytes are, if they are one.
pub(super) fn release_from(word: &[u8]) -> Option<String> {
    let starts_well = word.first().is_some_and(u8::is_ascii_digit);
    let all_well =
        word.len() <= RELEASE_LEN && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/');
    (starts_well && all_well).then(|| String::from_utf8_lossy(word).into_owned())
}

/// Finds the banner in uncompressed kernel bytes, in memory that does not grow with them.
pub(super) fn release(reader: &mut impl Read) -> io::Result<Option<String>> {
    const WINDOW: usize = 1 << 20;
    // What is kept of one window for the next: a banner that lies across the border is seen whole in the second.
    const OVERLAP: usize = BANNER.len() + RELEASE_LEN + 1;
    let mut window = Vec::with_capacity(WINDOW + OVERLAP);
    loop {
        let read = reader.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
        let found =
            memmem::find_iter(&window, BANNER).find_map(|at| first_word(&window[at + BANNER.len()..]));
        if found.is_some() || read == 0 {
            return Ok(found);
        }
        window.drain(..window.len().saturating_sub(OVERLAP));
    }
}
