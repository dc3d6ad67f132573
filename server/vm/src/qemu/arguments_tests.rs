use std::collections::BTreeMap;
use std::path::PathBuf;

use vmtest_fuzz::{Choices, Fuzzer};
use vmtest_guest::wire::{Access, FileSystem};

use super::*;
use crate::event::Accelerator;
use crate::image::{Disk, Firmware, Format};
use crate::qemu::machine::{Boot, BootDescriptors, Descriptors, Machine, Memory, MemoryFile, ShareDevice};

/// Reads a property list as QEMU's `get_opt_value` does: a comma ends a value, two are one.
fn parse(list: &OsStr) -> Vec<Vec<u8>> {
    let bytes = list.as_bytes();
    let (mut values, mut value, mut at) = (Vec::new(), Vec::new(), 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b',', Some(b',')) => {
                value.push(b',');
                at += 1;
            }
            (b',', _) => values.push(std::mem::take(&mut value)),
            (byte, _) => value.push(byte),
        }
        at += 1;
    }
    values.push(value);
    values
}

/// An option of QEMU's command line; none where it takes no value.
type Read<'a> = (&'a str, Option<&'a OsStr>);

/// Takes QEMU's command line apart as its `main` does: an option that takes a value takes the next word, whatever that is. What
/// follows the options of vmtest is the user's.
fn take_apart<'a>(words: &'a [OsString], users: &[String]) -> Vec<Read<'a>> {
    let (own, last) = words.split_at(words.len() - users.len());
    assert!(last.iter().eq(users.iter().map(OsStr::new)), "{last:?}");
    let mut options = Vec::new();
    let mut words = own.iter();
    while let Some(word) = words.next() {
        let name = word.to_str().filter(|name| name.starts_with('-')).expect("it is an option");
        let is_flag = ["-nodefaults", "-no-user-config", "-no-reboot"].contains(&name);
        let value = (!is_flag).then(|| words.next().expect("it has a value").as_os_str());
        options.push((name, value));
    }
    options
}

/// What a property list says: the words without a key, and the last value of each key.
fn properties(list: &OsStr) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let split = |word: Vec<u8>| match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (word[..at].to_vec(), word[at + 1..].to_vec()),
        None => (Vec::new(), word),
    };
    let list = parse(list);
    let count = list.len();
    let read: BTreeMap<_, _> = list.into_iter().map(split).collect();
    assert_eq!(read.len(), count, "a key comes twice");
    read
}

/// Any bytes that a path can have.
fn word(choices: &mut Choices<'_>) -> OsString {
    let count = choices.below(24);
    OsString::from_vec(choices.bytes(count).iter().map(|byte| (*byte).max(1)).collect())
}

fn text(choices: &mut Choices<'_>) -> String {
    word(choices).to_string_lossy().into_owned()
}

fn machine(choices: &mut Choices<'_>, format: Format, firmware: &Firmware) -> (Machine, Descriptors) {
    let is_kernel = choices.below(3) > 0;
    let boot = if is_kernel {
        Boot::Kernel { file: word(choices).into(), command_line: text(choices) }
    } else {
        Boot::Image { format, firmware: Some(firmware.clone()) }
    };
    let share = |number: usize, choices: &mut Choices<'_>| ShareDevice {
        tag: format!("share{number}"),
        path: PathBuf::from(word(choices)),
        file_system: if choices.below(4) > 0 { FileSystem::NineP } else { FileSystem::Virtiofs },
        access: [Access::Overlay, Access::ReadOnly, Access::Writable][choices.below(3)],
    };
    let shares: Vec<_> = (0..choices.below(5)).map(|number| share(number, choices)).collect();
    let machine = Machine {
        accelerator: [None, Some(Accelerator::Tcg)][choices.below(2)],
        cpu: text(choices),
        cpus: 1 + choices.below(8) as u8,
        memory_bytes: 8192 * (1 + choices.below(1 << 20) as u64),
        boot,
        network: choices.below(2) > 0,
        sandbox: choices.below(2) > 0,
        extra_args: (0..choices.below(4)).map(|_| text(choices)).collect(),
        shares,
    };
    let boot = if is_kernel {
        BootDescriptors::Kernel { initramfs: 13, stream: 14, input: 15 }
    } else {
        BootDescriptors::Image { image: 13, overlay: 14, stdout: 15, stderr: 16, input: 17, terminal: 18 }
    };
    let memory = match choices.below(3) {
        0 => Memory::Own,
        1 => Memory::Kept { file: Some(20), folder: 21 },
        _ => Memory::Resumed { file: Some(MemoryFile::Template(20)), state: 21 },
    };
    let file_servers = machine.served().enumerate().map(|(number, _)| 30 + number as i32).collect();
    (machine, Descriptors { boot, console: 10, monitor: 11, agent: 12, memory, file_servers })
}

// U1
#[test]
fn any_paths_and_words_are_read_back_by_qemu_as_they_were_meant() {
    let folder = tempfile::tempdir().unwrap();
    // No whole piece of flash: the file becomes part of a list.
    let bios = folder.path().join("a,b=c,,file=\n.fd");
    std::fs::write(&bios, [0]).unwrap();
    let firmware = Firmware::find(Some(&bios), bios.as_path()).unwrap();
    let disk = folder.path().join("disk");
    std::fs::write(&disk, [&[0; 510][..], &[0x55, 0xAA]].concat()).unwrap();
    let format = Disk::open(&disk).unwrap().format;
    let pieces = [
        ",",
        ",,",
        "=",
        "\n",
        " ",
        "-",
        "--",
        "/",
        "file=",
        ",readonly=off",
        "id=x",
        "\u{ff}",
        "\"",
        "\\",
        "%",
    ];
    Fuzzer::new("arguments").pieces(pieces).run(|input| {
        let (machine, descriptors) = machine(&mut Choices::new(input), format, &firmware);
        let arguments = machine.arguments(&descriptors);
        let options = take_apart(arguments.words(), &machine.extra_args);
        let values = |wanted: &str| -> Vec<&OsStr> {
            options.iter().filter(|(name, _)| *name == wanted).filter_map(|(_, value)| *value).collect()
        };
        assert_eq!(values("-cpu"), [OsStr::new(&machine.cpu)]);
        assert_eq!(values("-m"), [OsStr::new(&format!("{}B", machine.memory_bytes))]);
        match &machine.boot {
            Boot::Kernel { file, command_line } => {
                assert_eq!(values("-kernel"), [file.as_os_str()]);
                assert_eq!(values("-append"), [OsStr::new(command_line)]);
                assert_eq!(values("-initrd"), ["/proc/self/fd/13"]);
            }
            Boot::Image { .. } => {
                let [drive] = values("-drive")[..] else { panic!("{options:?}") };
                let drive = properties(drive);
                assert_eq!(drive[&b"file"[..]], bios.as_os_str().as_bytes());
                assert_eq!(drive[&b"readonly"[..]], b"on");
                assert_eq!((drive.len(), values("-kernel").len()), (5, 0));
            }
        }
        let shares: Vec<_> =
            machine.shares.iter().filter(|share| share.file_system == FileSystem::NineP).collect();
        let exports = values("-fsdev");
        assert_eq!(exports.len(), shares.len());
        for (share, export) in shares.into_iter().zip(exports) {
            let meant = [
                ("", "local".as_bytes()),
                ("id", share.tag.as_bytes()),
                ("path", share.path.as_os_str().as_bytes()),
                ("security_model", b"none"),
                ("multidevs", b"remap"),
                ("readonly", if share.writable() { b"off" } else { b"on" }),
            ];
            let meant = meant.map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec()));
            assert_eq!(properties(export), BTreeMap::from(meant));
        }
        // Nothing that a path says becomes an option.
        let known = [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "-monitor",
            "-sandbox",
            "-m",
            "-machine",
            "-object",
            "-incoming",
            "-accel",
            "-cpu",
            "-smp",
            "-no-reboot",
            "-kernel",
            "-initrd",
            "-append",
            "-drive",
            "-blockdev",
            "-chardev",
            "-serial",
            "-mon",
            "-device",
            "-fsdev",
            "-netdev",
        ];
        assert!(options.iter().all(|(name, _)| known.contains(name)), "{options:?}");
    });
}
