//! QEMU's whole command line, for paths and names that would like to be more than that.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::*;

/// Bytes that mean something to a shell, to QEMU's lists, to options or to readers of text.
const HOSTILE: [&[u8]; 7] = [
    b"/a,b=c,readonly=off",
    b"/a b\nc\td",
    b"/\xff\xfe\x80",
    b"/-kernel -append",
    b"/'\"$(x)`y`\\",
    b"/,,,",
    b"/id=project,path=/",
];

fn machine(path: &OsStr, command_line: &str) -> Machine {
    let share = |tag: &str, access| ShareDevice {
        tag: tag.into(),
        path: path.into(),
        file_system: FileSystem::NineP,
        access,
    };
    Machine {
        accelerator: Some(Accelerator::Tcg),
        cpu: "max".into(),
        cpus: 2,
        memory_bytes: 1 << 30,
        boot: Boot::Kernel { file: path.into(), command_line: command_line.into() },
        shares: vec![share(ROOT_TAG, Access::Overlay), share("project", Access::Writable)],
        network: true,
        sandbox: true,
        extra_args: Vec::new(),
    }
}

/// The options, each with its value. QEMU takes the word after an option for its value, whatever it is.
fn options(words: &[OsString]) -> Vec<(&str, Option<&OsStr>)> {
    let mut words = words.iter();
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        let name = word.to_str().filter(|name| name.starts_with('-')).unwrap_or_else(|| panic!("{word:?}"));
        let value = (!["-nodefaults", "-no-user-config", "-no-reboot"].contains(&name))
            .then(|| words.next().expect("it has a value").as_os_str());
        options.push((name, value));
    }
    options
}

/// A list of properties, as QEMU's `get_opt_value` reads it: a comma ends a value, two are one.
fn properties(list: &OsStr) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut bytes = list.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b',' || bytes.next_if_eq(&b',').is_some() {
            all.last_mut().unwrap().push(byte);
        } else {
            all.push(Vec::new());
        }
    }
    all
}

// U1
#[test]
fn a_path_changes_nothing_of_the_command_line_but_itself() {
    let plain = machine(OsStr::new("/plain"), "quiet").arguments(&Descriptors::none());
    let plain = options(plain.words());
    for path in HOSTILE.map(OsStr::from_bytes) {
        let command_line = "quiet init=/x,y -append \"a b\"";
        let arguments = machine(path, command_line).arguments(&Descriptors::none());
        let hostile = options(arguments.words());
        assert_eq!(hostile.len(), plain.len(), "{path:?}");
        for ((name, value), (plain_name, plain_value)) in hostile.iter().zip(&plain) {
            assert_eq!(name, plain_name);
            let expected = plain_value.map(|value| match *name {
                "-kernel" => vec![path.as_bytes().to_vec()],
                "-append" => vec![command_line.as_bytes().to_vec()],
                _ => properties(value),
            });
            let expected = expected.map(|all| {
                let meant = [b"path=", path.as_bytes()].concat();
                all.into_iter()
                    .map(|one| if one == b"path=/plain" { meant.clone() } else { one })
                    .collect::<Vec<_>>()
            });
            let found = value.map(|value| match *name {
                "-kernel" | "-append" => vec![value.as_bytes().to_vec()],
                _ => properties(value),
            });
            assert_eq!(found, expected, "{name} for {path:?}");
        }
    }
}

// U1
#[test]
fn memory_is_a_number_of_bytes_and_nothing_else() {
    let arguments = machine(OsStr::new("/"), "").arguments(&Descriptors::none());
    let all = options(arguments.words());
    let (_, memory) = all.iter().find(|(name, _)| *name == "-m").unwrap();
    assert_eq!(*memory, Some(OsStr::new("1073741824B")));
}
