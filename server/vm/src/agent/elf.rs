//! What an ELF program or library asks of its loader. Total: any bytes give an answer.

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, FileHeader64, PT_LOAD};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// The dynamic part of an ELF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Binary {
    /// `e_machine`.
    pub(super) machine: u16,
    /// `PT_INTERP`: none in a static program.
    pub(super) interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub(super) needed: Vec<String>,
    /// `DT_RPATH`, taken apart.
    pub(super) rpath: Vec<String>,
    /// `DT_RUNPATH`, taken apart.
    pub(super) runpath: Vec<String>,
}

impl Binary {
    /// Reads a 64-bit ELF file; `None` when it is none, or not a whole one.
    pub(super) fn parse(image: &[u8]) -> Option<Self> {
        let header = FileHeader64::<Endianness>::parse(image).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, image).ok()?;
        let mut binary = Self { machine: header.e_machine(endian), ..Self::default() };

        for segment in segments {
            if let Ok(Some(path)) = segment.interpreter(endian, image) {
                binary.interpreter = Some(String::from_utf8_lossy(path).into_owned());
            }
        }
        let Some(dynamic) = segments.iter().find_map(|segment| segment.dynamic(endian, image).ok()?) else {
            return Some(binary);
        };
        let address = dynamic.iter().find(|entry| entry.d_tag(endian) == u64::from(DT_STRTAB))?.d_val(endian);
        // The table's address is one in memory; a segment tells where that is in the file.
        let strings =
            segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
                let inside = address.checked_sub(segment.p_vaddr(endian))?;
                let data = segment.data(endian, image).ok()?;
                data.get(usize::try_from(inside).ok()?..).filter(|rest| !rest.is_empty())
            })?;
        let string = |at: u64| {
            let rest = strings.get(usize::try_from(at).ok()?..)?;
            let end = memchr::memchr(0, rest)?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        for entry in dynamic {
            let text = || string(entry.d_val(endian));
            match u32::try_from(entry.d_tag(endian)) {
                Ok(DT_NEEDED) => binary.needed.push(text()?),
                Ok(DT_RPATH) => binary.rpath = split(&text()?),
                Ok(DT_RUNPATH) => binary.runpath = split(&text()?),
                _ => {}
            }
        }
        Some(binary)
    }
}

fn split(path: &str) -> Vec<String> {
    path.split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect()
}
