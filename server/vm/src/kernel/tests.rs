use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use proptest::prelude::*;
use tempfile::TempDir;
use vmtest_fuzz::Fuzzer;

use super::*;

const RELEASE: &str = "6.1.0-test";
const OPTIONS: &str =
    "CONFIG_9P_FS=y\nCONFIG_OVERLAY_FS=m\n# CONFIG_VIRTIO_FS is not set\nCONFIG_CMDLINE=\"\"\n";

/// A bzImage of boot protocol 2.15 with this release and payload.
fn bzimage(release: &str, payload: &[u8]) -> Vec<u8> {
    const SETUP_SECTORS: usize = 4;
    const CODE: usize = (SETUP_SECTORS + 1) * 512;
    let mut image = vec![0; CODE];
    image[0x1F1] = SETUP_SECTORS as u8;
    let paragraphs = payload.len().div_ceil(16) as u32;
    image[0x1F4..0x1F8].copy_from_slice(&paragraphs.to_le_bytes());
    image[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020F_u16.to_le_bytes());
    image[0x20E..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
    image[0x236] = 1;
    image[0x24C..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let text = format!("{release} (builder@host) #1 SMP\0");
    image[0x500..0x500 + text.len()].copy_from_slice(text.as_bytes());
    image.extend(payload);
    image.resize(CODE + paragraphs as usize * 16, 0);
    image
}

/// A vmlinux with one loaded segment and, if asked for, the PVH note.
fn vmlinux(machine: u16, pvh: bool, content: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4u32, 8, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(0x100_0000_u64.to_le_bytes());
    let (notes_at, content_at) = (64 + 2 * 56, 64 + 2 * 56 + note.len());
    let mut file = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let notes = (if pvh { 4u32 } else { 0 }, notes_at, note.len());
    for (kind, offset, len) in [(1u32, content_at, content.len()), notes] {
        file.extend(kind.to_le_bytes());
        file.extend(4u32.to_le_bytes());
        for word in [offset, offset, offset, len, len, 4] {
            file.extend((word as u64).to_le_bytes());
        }
    }
    file.extend(note);
    file.extend(content);
    file
}

/// What `kernel/configs.c` leaves in a kernel, with other bytes around it.
fn with_config(options: &str) -> Vec<u8> {
    let mut bytes = b"text IKCFG_ST is a word \0".to_vec();
    bytes.extend(b"IKCFG_ST");
    bytes.extend(gzip(options.as_bytes()));
    bytes.extend(b"IKCFG_ED and more");
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A directory with files in it; a path that ends in `/` is a directory.
fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let place = dir.path().join(path);
        if path.ends_with('/') {
            fs::create_dir_all(place).unwrap();
        } else {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
    }
    dir
}

/// Reads a kernel where neither root directory has anything in it.
fn read(dir: &TempDir, path: &str) -> Result<Kernel, KernelError> {
    let search = ModuleSearch { rootfs: dir.path().join("rootfs"), host: dir.path().join("host") };
    Kernel::read(&dir.path().join(path), &search)
}

#[track_caller]
fn refused(files: &[(&str, &[u8])], path: &str, words: &[&str]) {
    let message = read(&tree(files), path).unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn a_bzimage_tells_its_release() {
    let kernel = read(&tree(&[("bzImage", &bzimage(RELEASE, b"payload"))]), "bzImage").unwrap();
    assert_eq!((kernel.format, kernel.release.as_str()), (Format::BzImage, RELEASE));
    assert!(kernel.modules.is_none() && kernel.config.is_none());
}

#[test]
fn a_vmlinux_with_a_pvh_entry_tells_its_release() {
    let mut content = b"Linux version %s ".to_vec();
    // The banner lies across the border between two windows of the search.
    content.resize((1 << 20) - 5, 0);
    content.extend(b"Linux version 6.1.0-test (builder@host)");
    let kernel = read(&tree(&[("vmlinux", &vmlinux(62, true, &content))]), "vmlinux").unwrap();
    assert_eq!((kernel.format, kernel.release.as_str()), (Format::Vmlinux, RELEASE));
}

#[test]
fn a_vmlinux_without_a_pvh_entry_is_refused_with_its_option() {
    let elf = vmlinux(62, false, b"Linux version 6.1.0 (");
    refused(&[("vmlinux", &elf)], "vmlinux", &["CONFIG_PVH", "bzImage"]);
}

#[test]
fn kernels_for_other_machines_are_refused_by_name() {
    let image = |magic: &[u8]| {
        let mut bytes = vec![0; 0x38];
        bytes.extend(magic);
        bytes.resize(4096, 0);
        bytes
    };
    refused(&[("k", &image(b"ARM\x64"))], "k", &["aarch64", "`arch`"]);
    refused(&[("k", &image(b"RSC\x05"))], "k", &["riscv64", "`arch`"]);
    refused(&[("k", &vmlinux(183, true, b""))], "k", &["aarch64"]);
    refused(&[("k", &vmlinux(8, true, b""))], "k", &["MIPS"]);
    let mut narrow = bzimage(RELEASE, b"");
    narrow[0x236] = 0;
    refused(&[("k", &narrow)], "k", &["32-bit x86"]);
}

#[test]
fn an_arm_image_is_read_for_an_arm_guest() {
    let mut image = vec![0; 0x38];
    image.extend(b"ARM\x64");
    image.extend(b"....Linux version 6.1.0-test (builder@host)\0");
    let dir = tree(&[("Image", &image)]);
    let search = ModuleSearch { rootfs: dir.path().join("rootfs"), host: dir.path().join("host") };
    let kernel = Kernel::read_for(&dir.path().join("Image"), Arch::Aarch64, &search).unwrap();
    assert_eq!((kernel.format, kernel.release.as_str()), (Format::Image, RELEASE));
}

// U2: a kernel of 0 bytes
#[test]
fn every_file_that_is_no_kernel_is_refused_with_a_cure() {
    refused(&[], "gone", &["no such file", "vmtest.toml"]);
    refused(&[("k", b"")], "k", &["empty"]);
    refused(&[("k", b"#!/bin/sh\necho hello\n")], "k", &["a text file", "bzImage"]);
    refused(&[("k", &[1, 2, 3, 0, 5, 0, 7])], "k", &["no kernel"]);
    refused(&[("k", b"QFI\xFB\0\0\0\x03")], "k", &["qcow2", "`image`"]);
    refused(&[("k", &gzip(&[0; 4096]))], "k", &["gzip", "gunzip"]);
    refused(&[("k", b"!<arch>\ndebian-binary   ")], "k", &["Debian package", "dpkg-deb"]);
    let mut disk = vec![0; 512];
    disk[510..].copy_from_slice(&[0x55, 0xAA]);
    refused(&[("k", &[disk, vec![0; 4096]].concat())], "k", &["disk image", "`image`"]);
}

// U2: a lying header
#[test]
fn a_kernel_that_is_cut_off_is_refused() {
    let whole = bzimage(RELEASE, &[7; 4096]);
    refused(&[("k", &whole[..whole.len() - 100])], "k", &["cut off", "of 6656"]);
    refused(&[("k", &whole[..0x230])], "k", &["cut off"]);
    let elf = vmlinux(62, true, &[7; 4096]);
    refused(&[("k", &elf[..1000])], "k", &["cut off"]);
    refused(&[("k", &elf[..40])], "k", &["cut off"]);
}

// U2
#[test]
fn a_file_of_4_gb_is_refused_without_being_read() {
    let dir = tree(&[("k", b"\0\0\0\0")]);
    fs::File::options().write(true).open(dir.path().join("k")).unwrap().set_len(4 << 30).unwrap();
    let message = read(&dir, "k").unwrap_err().to_string();
    assert!(message.contains("4.0 GiB") && message.contains("`image`"), "{message}");
}

#[test]
fn a_kernel_that_may_not_be_read_says_how_to_allow_it() {
    let error = io::Error::from(io::ErrorKind::PermissionDenied);
    let message = KernelError::Unreadable { path: "vmlinuz".into(), source: error }.to_string();
    assert!(message.contains("chmod a+r"), "{message}");
    let dir = tree(&[("k", &bzimage(RELEASE, b""))]);
    fs::set_permissions(dir.path().join("k"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads it all the same.
    assert!(matches!(read(&dir, "k"), Ok(_) | Err(KernelError::Unreadable { .. })));
}

// F2
#[test]
fn a_pipe_is_refused_without_waiting_for_its_writer() {
    let dir = tree(&[]);
    nix::unistd::mkfifo(&dir.path().join("k"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(read(&dir, "k"), Err(KernelError::NotAFile { .. })));
}

#[test]
fn a_release_that_leads_out_of_a_directory_is_none() {
    for release in ["../../etc", "6.1/x", "rc", "", &"6".repeat(65)] {
        refused(&[("k", &bzimage(release, b""))], "k", &["version"]);
    }
}

#[test]
fn directories_without_a_kernel_say_what_is_missing() {
    refused(&[("dir/readme", b"")], "dir", &["build tree", "name the kernel file"]);
    refused(&[("dir/Kbuild", b"")], "dir", &["make -C", "arch/x86/boot/bzImage"]);
    refused(
        &[("dir/boot/vmlinuz-1", b""), ("dir/boot/vmlinuz-2", b"")],
        "dir",
        &["vmlinuz-1`, `", "name one"],
    );
}

#[test]
fn a_build_tree_gives_kernel_modules_and_configuration() {
    let image = bzimage(RELEASE, b"");
    let dir = tree(&[
        ("linux/arch/x86/boot/bzImage", &image),
        ("linux/include/config/kernel.release", b"6.1.0-test\n"),
        ("linux/.config", OPTIONS.as_bytes()),
        ("linux/modules.order", b"fs/overlayfs/overlay.o\n../outside.o\n"),
        ("linux/fs/overlayfs/overlay.ko", b""),
        ("linux/modules.builtin", b"kernel/fs/9p/9p.ko\n"),
    ]);
    for path in ["linux", "linux/arch/x86/boot/bzImage"] {
        let kernel = read(&dir, path).unwrap();
        let modules = kernel.modules.unwrap();
        assert_eq!(modules.origin, Origin::BuildTree);
        assert_eq!(modules.files().map(|(name, _)| name).collect::<Vec<_>>(), ["overlay"]);
        assert_eq!(modules.is_builtin("9p"), Some(true));
        assert_eq!(kernel.config.unwrap().get("CONFIG_9P_FS"), Setting::BuiltIn);
    }
}

#[test]
fn modules_of_another_build_in_the_tree_are_left_alone() {
    let image = bzimage(RELEASE, b"");
    let dir = tree(&[
        ("linux/arch/x86/boot/bzImage", &image),
        ("linux/include/config/kernel.release", b"6.1.0-other\n"),
        ("linux/fs/overlay.ko", b""),
    ]);
    assert!(read(&dir, "linux").unwrap().modules.is_none());
}

#[test]
fn an_unpacked_package_gives_kernel_modules_and_configuration() {
    let image = bzimage(RELEASE, b"");
    let dir = tree(&[
        ("deb/boot/vmlinuz-6.1.0-test", &image),
        ("deb/boot/config-6.1.0-test", OPTIONS.as_bytes()),
        ("deb/lib/modules/6.1.0-test/kernel/fs/overlay.ko.xz", b""),
        ("fedora/lib/modules/6.1.0-test/vmlinuz", &image),
        ("fedora/lib/modules/6.1.0-test/config", OPTIONS.as_bytes()),
        ("fedora/lib/modules/6.1.0-test/kernel/fs/overlay.ko.zst", b""),
    ]);
    for path in ["deb", "deb/boot/vmlinuz-6.1.0-test", "fedora", "fedora/lib/modules/6.1.0-test/vmlinuz"] {
        let kernel = read(&dir, path).unwrap();
        assert!(kernel.modules.unwrap().file("overlay").is_some(), "{path}");
        assert_eq!(kernel.config.unwrap().get("CONFIG_OVERLAY_FS"), Setting::Module, "{path}");
    }
}

#[test]
fn modules_beside_the_kernel_come_before_those_of_the_rootfs_and_the_host() {
    let image = bzimage(RELEASE, b"");
    let places = ["lib/modules", "rootfs/usr/lib/modules", "host/lib/modules"];
    for (first, expected) in places.iter().zip([Origin::BesideKernel, Origin::Rootfs, Origin::Host]) {
        let dir = tree(&[("boot/vmlinuz", &image), ("lib/modules/6.1.0-test/build/", b"")]);
        for place in &places[places.iter().position(|place| place == first).unwrap()..] {
            let kernel = dir.path().join(place).join(RELEASE).join("kernel");
            fs::create_dir_all(&kernel).unwrap();
            fs::write(kernel.join("overlay.ko"), b"").unwrap();
        }
        assert_eq!(read(&dir, "boot/vmlinuz").unwrap().modules.unwrap().origin, expected);
    }
}

#[test]
fn the_configuration_inside_the_kernel_is_found_in_every_format() {
    let elf = vmlinux(62, true, &with_config(OPTIONS));
    let size = (elf.len() as u32).to_le_bytes();
    let tail = |packed: Vec<u8>| [packed, size.to_vec()].concat();
    let images = [
        bzimage(RELEASE, &gzip(&elf)),
        bzimage(RELEASE, &tail(xz(&elf))),
        bzimage(RELEASE, &tail(zstd::encode_all(&elf[..], 1).unwrap())),
    ];
    for image in images {
        let kernel = read(&tree(&[("k", &image)]), "k");
        assert!(kernel.is_ok());
        assert_eq!(payload(&image).unwrap(), elf);
        let dir = tree(&[("k", &image)]);
        let config = read(&dir, "k").unwrap().embedded_config().unwrap();
        assert_eq!(config.get("CONFIG_9P_FS"), Setting::BuiltIn);
        assert_eq!(config.get("CONFIG_OVERLAY_FS"), Setting::Module);
        assert_eq!(config.get("CONFIG_VIRTIO_FS"), Setting::Off);
    }
    let plain = vmlinux(62, true, &[&b"Linux version 6.1.0-test ("[..], &with_config(OPTIONS)].concat());
    let dir = tree(&[("vmlinux", &plain)]);
    assert_eq!(
        read(&dir, "vmlinux").unwrap().embedded_config().unwrap().get("CONFIG_9P_FS"),
        Setting::BuiltIn
    );
}

#[test]
fn a_kernel_packed_in_an_unknown_way_has_no_configuration_to_tell() {
    let image = bzimage(RELEASE, b"\x02\x21\x4C\x18 lz4");
    assert!(read(&tree(&[("k", &image)]), "k").unwrap().embedded_config().is_none());
    assert!(matches!(payload(&image), Err(PayloadError::UnknownCompression)));
    assert!(matches!(payload(b"text"), Err(PayloadError::NotThere)));
}

/// Damaged kernels of every format.
fn fuzzer() -> Fuzzer {
    let elf = vmlinux(62, true, &[&b"Linux version 6.1.0-test ("[..], &with_config(OPTIONS)].concat());
    let mut arm = vec![0; 0x38];
    arm.extend(b"ARM\x64....Linux version 6.1.0-test (builder@host)\0");
    Fuzzer::new("kernel")
        .seed(bzimage(RELEASE, &gzip(&elf)))
        .seed(bzimage(RELEASE, &xz(&elf)))
        .seed(bzimage(RELEASE, &zstd::encode_all(&elf[..], 1).unwrap()))
        .seed(elf)
        .seed(vmlinux(183, false, b""))
        .seed(with_config(OPTIONS))
        .seed(arm)
        .pieces([
            &b"HdrS"[..],
            b"Linux version 6.1 ",
            b"\x7FELF\x02\x01\x01",
            b"Xen\0",
            b"ARM\x64",
            b"RSC\x05",
        ])
        .pieces([&b"IKCFG_ST\x1F\x8B\x08"[..], b"\xFD7zXZ\0", b"\x28\xB5\x2F\xFD", b"\x5D\0\0", b"../../x "])
}

// U2
#[test]
fn any_bytes_are_read_as_a_kernel_or_refused_in_little_memory() {
    let dir = tree(&[("k", b"")]);
    let path = dir.path().join("k");
    let file = File::options().write(true).open(&path).unwrap();
    fuzzer().run(|bytes| {
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        for arch in [Arch::X86_64, Arch::Aarch64] {
            match inspect(&path, arch) {
                Ok((format, release)) => {
                    // It becomes part of paths.
                    assert!(banner::release_from(release.as_bytes()).is_some() && !release.contains('/'));
                    let header = bzimage::Header::parse(bytes).filter(|_| format == Format::BzImage);
                    assert!(header.is_none_or(|header| header.file_size <= bytes.len() as u64));
                    let file = path.clone();
                    let _ = Kernel { file, format, release, modules: None, config: None }.embedded_config();
                }
                Err(error) => assert!(error.to_string().contains(path.to_str().unwrap())),
            }
        }
        let _ = payload(bytes);
        let _ = vmlinux::layout(bytes);
        let _ = config::embedded(bytes);
    });
}

proptest! {
    #[test]
    fn a_configuration_has_what_was_written(
        options in proptest::collection::btree_map("CONFIG_[A-Z0-9_]{1,20}", 0..3u8, 1..50)
    ) {
        let text: String = options
            .iter()
            .map(|(name, value)| match value {
                0 => format!("# {name} is not set\n"),
                1 => format!("{name}=m\n"),
                _ => format!("{name}=y\n"),
            })
            .collect();
        let config = KernelConfig::parse(&text, None).unwrap();
        for (name, value) in options {
            prop_assert_eq!(config.get(&name), [Setting::Off, Setting::Module, Setting::BuiltIn][usize::from(value)]);
        }
    }
}
