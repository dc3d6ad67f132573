//! An ELF `vmlinux`: whether QEMU can start it, and its release.
//!
//! Only the program headers are read: a vmlinux with debug information has gigabytes of sections.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use object::elf::{FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadRef};

use super::{KernelError, banner};

/// `XEN_ELFNOTE_PHYS32_ENTRY` of the kernel's `include/xen/interface/elfnote.h`; QEMU starts a vmlinux there (its
/// `hw/i386/x86.c`, `load_elfboot`).
const PHYS32_ENTRY: u32 = 18;

/// A real vmlinux has fewer than ten program headers and a few hundred bytes of notes.
const MAX_HEADERS: u16 = 256;
const MAX_NOTES: u64 = 1 << 20;

/// What the program headers of an ELF file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Whether there is a PVH entry point.
    pub(super) pvh: bool,
    /// File offsets and lengths of what is loaded.
    pub(super) loads: Vec<(u64, u64)>,
}

/// Reads the program headers; `None` when they are not a 64-bit ELF file's, or not all there.
pub(super) fn layout<'data, R: ReadRef<'data>>(data: R) -> Option<Layout> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    // More than this is announced through a section, which would have to be read first.
    if header.e_phnum(endian) > MAX_HEADERS {
        return None;
    }
    let mut layout = Layout::default();
    for segment in header.program_headers(endian, data).ok()? {
        match segment.p_type(endian) {
            PT_NOTE => layout.pvh |= has_pvh(segment, endian, data),
            PT_LOAD => layout.loads.push(segment.file_range(endian)),
            _ => {}
        }
    }
    Some(layout)
}

fn has_pvh<'data, R: ReadRef<'data>>(
    segment: &ProgramHeader64<Endianness>,
    endian: Endianness,
    data: R,
) -> bool {
    if segment.p_filesz(endian) > MAX_NOTES {
        return false;
    }
    let Ok(Some(mut notes)) = segment.notes(endian, data) else { return false };
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY {
            return true;
        }
    }
    false
}

/// The release of a vmlinux that QEMU can start; `None` when it does not tell.
pub(super) fn inspect(mut file: &File, size: u64, path: &Path) -> Result<Option<String>, KernelError> {
    let truncated = |expected| KernelError::Truncated { path: path.to_owned(), size, expected };
    let unreadable = |source| KernelError::Unreadable { path: path.to_owned(), source };
    let layout = layout(&ReadCache::new(file)).ok_or_else(|| truncated(None))?;
    let end = layout.loads.iter().map(|(offset, len)| offset.saturating_add(*len)).max().unwrap_or(0);
    if size < end {
        return Err(truncated(Some(end)));
    }
    if !layout.pvh {
        return Err(KernelError::NoPvh { path: path.to_owned() });
    }
    for (offset, len) in layout.loads {
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        if let Some(release) = banner::release(&mut file.take(len)).map_err(unreadable)? {
            return Ok(Some(release));
        }
    }
    Ok(None)
}
