//! What a module says about itself in its `.modinfo` section: `key=value` strings with a NUL after each
//! (`include/linux/moduleparam.h`). Total: any bytes give an answer.

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, FileKind};

use super::module_name;

/// The parts of `.modinfo` that loading needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModInfo {
    /// The module's name, in the kernel's spelling.
    pub name: Option<String>,
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules to load before it, where they exist.
    pub softdep_pre: Vec<String>,
    /// Other names that it is loaded by; may have wildcards.
    pub alias: Vec<String>,
}

impl ModInfo {
    /// Reads the section out of a decompressed module; `None` when this is no module.
    pub fn read(image: &[u8]) -> Option<Self> {
        let section = match FileKind::parse(image).ok()? {
            FileKind::Elf64 => section::<FileHeader64<Endianness>>(image),
            FileKind::Elf32 => section::<FileHeader32<Endianness>>(image),
            _ => None,
        };
        section.map(Self::parse)
    }

    fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for entry in section.split(|byte| *byte == 0) {
            let Ok(entry) = std::str::from_utf8(entry) else { continue };
            let Some((key, value)) = entry.split_once('=') else { continue };
            match key {
                "name" => info.name = Some(module_name(value)),
                "depends" => {
                    info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(module_name));
                }
                "softdep" => info.softdep_pre.extend(before(value).map(module_name)),
                "alias" => info.alias.push(value.to_owned()),
                _ => {}
            }
        }
        info
    }
}

/// The words after `pre:` of `pre: a b post: c` (modprobe.d(5)).
fn before(softdep: &str) -> impl Iterator<Item = &str> {
    let mut pre = false;
    softdep.split_whitespace().filter(move |word| {
        match *word {
            "pre:" => pre = true,
            "post:" => pre = false,
            _ => return pre,
        }
        false
    })
}

fn section<Elf: FileHeader<Endian = Endianness>>(image: &[u8]) -> Option<&[u8]> {
    let header = Elf::parse(image).ok()?;
    let endian = header.endian().ok()?;
    let (_, section) = header.sections(endian, image).ok()?.section_by_name(endian, b".modinfo")?;
    section.data(endian, image).ok()
}
