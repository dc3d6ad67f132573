use super::*;

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn refusal(bytes: &[u8]) -> String {
    Disk::open(written(bytes).path()).unwrap_err().to_string()
}

/// The bytes of an empty qcow2 file.
fn qcow2(size: u64) -> Vec<u8> {
    let mut overlay = Overlay::new(&std::env::temp_dir(), size).unwrap();
    let mut bytes = Vec::new();
    overlay.file.seek(SeekFrom::Start(0)).unwrap();
    overlay.file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn bootable(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    bytes
}

#[test]
fn the_format_is_told_by_the_first_bytes_and_the_size_by_the_format() {
    let raw = Disk::open(written(&bootable(2048)).path()).unwrap();
    assert_eq!((raw.format.driver, raw.size), (Driver::Raw, 2048));
    let disk = Disk::open(written(&qcow2(5 << 30)).path()).unwrap();
    assert_eq!((disk.format.driver, disk.size), (Driver::Qcow2, 5 << 30));
}

// U2
#[test]
fn qemu_is_told_every_format_and_to_follow_no_name_in_a_file() {
    let disk = Disk::open(written(&qcow2(1 << 20)).path()).unwrap();
    let [file, image, overlay, top] = disk.format.block_nodes("/a,b", "/o");
    assert_eq!((&file["filename"], &file["read-only"]), (&json!("/a,b"), &json!(true)));
    assert_eq!((&image["driver"], &image["read-only"]), (&json!("qcow2"), &json!(true)));
    assert_eq!(image.get("backing"), Some(&Value::Null));
    assert_eq!((&overlay["driver"], &top["backing"]), (&json!("file"), &json!("image")));
    let raw = Disk::open(written(&bootable(512)).path()).unwrap();
    assert_eq!(raw.format.block_nodes("i", "o")[1]["driver"], "raw");
}

#[test]
fn a_file_that_cannot_be_booted_is_refused_with_what_it_is() {
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(&[7; 4096]).contains("55 AA"));
    assert!(refusal(&[b"\xfd7zXZ\0".as_slice(), &[0; 4096]].concat()).contains("xz"));
    assert!(refusal(b"QFI\xfb\0\0\0\x03").contains("ends in its header"));
    let folder = tempfile::tempdir().unwrap();
    assert!(Disk::open(folder.path()).unwrap_err().to_string().contains("is a directory"));
}

// F2
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(Disk::open(&pipe).unwrap_err().to_string().contains("neither a file nor a disk"));
}

// U2
#[test]
fn an_image_that_names_another_file_is_refused_by_that_name() {
    let mut backed = qcow2(1 << 20);
    backed[8..16].copy_from_slice(&200_u64.to_be_bytes());
    backed[16..20].copy_from_slice(&11_u32.to_be_bytes());
    backed[200..211].copy_from_slice(b"/etc/shadow");
    assert!(refusal(&backed).contains("/etc/shadow"));
    let mut external = qcow2(1 << 20);
    external[79] |= 1 << 2;
    assert!(refusal(&external).contains("another file"));
    external[104..108].copy_from_slice(&DATA_FILE_NAME.to_be_bytes());
    external[108..112].copy_from_slice(&5_u32.to_be_bytes());
    external[112..117].copy_from_slice(b"/dev/");
    assert!(refusal(&external).contains("/dev/"));
}

// U2
#[test]
fn any_bytes_are_taken_as_a_disk_that_stands_alone_or_refused() {
    let file = written(b"");
    let mut external = qcow2(1 << 20);
    external[79] |= 1 << 2;
    external[104..108].copy_from_slice(&DATA_FILE_NAME.to_be_bytes());
    let mut huge = qcow2(1 << 20);
    huge[24..32].fill(0xFF);
    vmtest_fuzz::Fuzzer::new("disk")
        .seed(&qcow2(1 << 20)[..512])
        .seed(&external[..512])
        .seed(&huge[..512])
        .seed(bootable(512))
        .pieces([MAGIC, b"\0\0\0\x02", b"\0\0\0\x03", b"\x55\xAA", b"\xFF\xFF\xFF\xFF"])
        .run(|bytes| {
            file.as_file().set_len(bytes.len() as u64).unwrap();
            file.as_file().write_all_at(bytes, 0).unwrap();
            match Disk::open(file.path()) {
                Ok(disk) if disk.format.driver == Driver::Qcow2 => {
                    assert_eq!(bytes[8..16], [0; 8], "it has a backing file");
                    assert!(bytes[7] == 2 || bytes[79] & 1 << 2 == 0, "its data is in another file");
                    let _ = disk.overlay();
                }
                Ok(disk) => {
                    assert!(!bytes.starts_with(MAGIC));
                    assert_eq!(disk.size, bytes.len() as u64);
                }
                Err(error) => assert!(error.to_string().contains(file.path().to_str().unwrap())),
            }
        });
}

#[test]
fn a_layer_for_a_disk_beyond_all_measure_is_refused() {
    assert!(Overlay::new(&std::env::temp_dir(), u64::MAX / 2).is_err());
    assert!(Overlay::new(&std::env::temp_dir(), 64 << 40).is_ok());
}

#[test]
fn a_layer_where_nothing_can_be_written_is_an_error() {
    assert!(Overlay::new(Path::new("/proc"), 1 << 20).is_err());
}
