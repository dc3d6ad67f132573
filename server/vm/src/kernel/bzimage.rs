//! The x86 boot header of a `bzImage`, by Documentation/arch/x86/boot.rst. Total: any bytes give an answer.

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// `uname -r`, when the version string is there and sane.
    pub(super) release: Option<String>,
    /// Whether the kernel has a 64-bit entry point; `None` before boot protocol 2.12, where the header does not say.
    pub(super) is_64_bit: Option<bool>,
    /// Offset and length of the compressed vmlinux in the file, from boot protocol 2.08 on.
    pub(super) payload: Option<(u64, u64)>,
    /// How long the file is at least.
    pub(super) file_size: u64,
}

const BOOT_SECTOR: usize = 0x200;

impl Header {
    /// Reads the header from the file's first bytes; `None` when there is none, or not all of it.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let u8_at = |offset: usize| head.get(offset).copied();
        let u16_at = |offset| Some(u16::from_le_bytes(head.get(offset..offset + 2)?.try_into().ok()?));
        let u32_at = |offset| Some(u32::from_le_bytes(head.get(offset..offset + 4)?.try_into().ok()?));
        if head.get(0x202..0x206)? != b"HdrS" || u16_at(0x1FE)? != 0xAA55 {
            return None;
        }
        let protocol = u16_at(0x206)?;
        // "If setup_sects contains 0, the real value is 4."
        let setup_sectors = match u64::from(u8_at(0x1F1)?) {
            0 => 4,
            sectors => sectors,
        };
        let code = (setup_sectors + 1) * BOOT_SECTOR as u64;
        // syssize counts 16-byte paragraphs; before 2.04 only its low half is to be trusted.
        let paragraphs = if protocol >= 0x0204 { u32_at(0x1F4)? } else { u32::from(u16_at(0x1F4)?) };
        let payload = if protocol >= 0x0208 {
            let (offset, len) = (u64::from(u32_at(0x248)?), u64::from(u32_at(0x24C)?));
            (len > 0).then_some((code + offset, len))
        } else {
            None
        };
        let is_64_bit = if protocol >= 0x020C { Some(u16_at(0x236)? & 1 != 0) } else { None };
        let release = match usize::from(u16_at(0x20E)?) {
            0 => None,
            offset => head.get(BOOT_SECTOR + offset..).and_then(super::banner::first_word),
        };
        let end_of_payload = payload.map_or(0, |(start, len)| start + len);
        let file_size = (code + u64::from(paragraphs) * 16).max(end_of_payload);
        Some(Self { release, is_64_bit, payload, file_size })
    }
}
