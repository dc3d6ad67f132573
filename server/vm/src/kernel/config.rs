//! What a kernel was built with.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::regular;

/// A kernel configuration: only what is `y` or `m`; everything else is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelConfig {
    /// The file that it was read from; `None` for the one inside the kernel.
    pub file: Option<PathBuf>,
    settings: HashMap<String, Setting>,
}

/// How an option is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `y`, or a value.
    BuiltIn,
    /// `m`.
    Module,
    /// `n`, or not mentioned: an option whose dependencies are not met does not appear.
    Off,
}

/// The largest configurations have about 300 KB.
const CONFIG_LIMIT: u64 = 8 << 20;

impl KernelConfig {
    /// Reads a configuration; `None` when the text has no option at all, so that something else can tell more.
    pub fn parse(text: &str, file: Option<PathBuf>) -> Option<Self> {
        let mut settings = HashMap::new();
        let mut mentioned = false;
        for line in text.lines() {
            let line = line.trim();
            if let Some(off) = line.strip_prefix("# CONFIG_") {
                mentioned |= off.ends_with(" is not set");
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|(name, _)| name.starts_with("CONFIG_"))
            else {
                continue;
            };
            mentioned = true;
            // As in the kernel's own reader, the last one wins.
            match value {
                "n" => settings.remove(name),
                "m" => settings.insert(name.to_owned(), Setting::Module),
                _ => settings.insert(name.to_owned(), Setting::BuiltIn),
            };
        }
        mentioned.then_some(Self { file, settings })
    }

    /// How an option is set, by its full name: `CONFIG_OVERLAY_FS`.
    pub fn get(&self, name: &str) -> Setting {
        self.settings.get(name).copied().unwrap_or(Setting::Off)
    }

    /// The first of these files that is a configuration.
    pub(super) fn find(places: &[PathBuf]) -> Option<Self> {
        places.iter().find_map(|place| Self::parse(&read_text(place)?, Some(place.clone())))
    }
}

fn read_text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    regular::open(path).ok()?.take(CONFIG_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds the configuration in uncompressed kernel bytes: gzip between two marks (`kernel/configs.c`). The first mark alone
/// is not enough, since tools in a kernel may name it; so the gzip header is part of it.
pub(super) fn embedded(mut kernel: impl Read) -> Option<KernelConfig> {
    const START: &[u8] = b"IKCFG_ST\x1F\x8B\x08";
    let rest = skip_to(&mut kernel, START).ok()??;
    let gzip = &START[b"IKCFG_ST".len()..];
    let compressed = io::Cursor::new(gzip).chain(io::Cursor::new(rest)).chain(kernel).take(CONFIG_LIMIT);
    let mut text = Vec::new();
    // A gzip stream knows its own end; damage after the first lines must not pass for a configuration.
    flate2::bufread::GzDecoder::new(io::BufReader::new(compressed))
        .take(CONFIG_LIMIT)
        .read_to_end(&mut text)
        .ok()?;
    KernelConfig::parse(&String::from_utf8_lossy(&text), None)
}

/// Reads until `needle`; gives what was read after it. Memory does not grow with the input.
fn skip_to(reader: &mut impl Read, needle: &[u8]) -> io::Result<Option<Vec<u8>>> {
    const WINDOW: usize = 1 << 20;
    let finder = memmem::Finder::new(needle);
    let mut window = Vec::with_capacity(WINDOW + needle.len());
    loop {
        let read = reader.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
        if let Some(at) = finder.find(&window) {
            return Ok(Some(window.split_off(at + needle.len())));
        }
        if read == 0 {
            return Ok(None);
        }
        window.drain(..window.len().saturating_sub(needle.len() - 1));
    }
}
