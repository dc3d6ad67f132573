use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::*;

const X86_64: u16 = 62;
const INTERPRETER: &str = "/lib64/ld-linux-x86-64.so.2";

/// What a synthetic ELF file asks for.
#[derive(Default)]
struct Elf<'a> {
    machine: u16,
    interpreter: Option<&'a str>,
    needed: &'a [&'a str],
    rpath: Option<&'a str>,
    runpath: Option<&'a str>,
}

impl Elf<'_> {
    /// One segment that maps the whole file to address 0x1000, one for the interpreter, one for the dynamic table.
    fn bytes(&self) -> Vec<u8> {
        const BASE: u64 = 0x1000;
        let mut strings = vec![0u8];
        let mut string = |text: &str| {
            let at = strings.len() as u64;
            strings.extend(text.as_bytes());
            strings.push(0);
            at
        };
        let interpreter = self.interpreter.map(&mut string);
        let mut entries: Vec<(u64, u64)> = self.needed.iter().map(|name| (1, string(name))).collect();
        entries.extend(self.rpath.map(|path| (15, string(path))));
        entries.extend(self.runpath.map(|path| (29, string(path))));
        let strings_at = 64 + 3 * 56;
        let dynamic_at = (strings_at + strings.len()).next_multiple_of(8);
        entries.extend([(5, BASE + strings_at as u64), (0, 0)]);
        let len = dynamic_at + entries.len() * 16;

        let mut file = Vec::new();
        file.extend(b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.extend(3u16.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        for word in [0u64, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 3, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let interpreter_segment = match (interpreter, self.interpreter) {
            (Some(at), Some(text)) => (3u32, strings_at as u64 + at, text.len() as u64 + 1),
            _ => (0, 0, 0),
        };
        let dynamic_segment = (2u32, dynamic_at as u64, (entries.len() * 16) as u64);
        for (kind, offset, size) in [(1u32, 0, len as u64), interpreter_segment, dynamic_segment] {
            file.extend(kind.to_le_bytes());
            file.extend(4u32.to_le_bytes());
            for word in [offset, BASE + offset, BASE + offset, size, size, 8] {
                file.extend(word.to_le_bytes());
            }
        }
        file.extend(&strings);
        file.resize(dynamic_at, 0);
        for (tag, value) in entries {
            file.extend(tag.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file
    }
}

/// A root directory with a loader that has `/lib/x86_64-linux-gnu` and `/usr/lib/x86_64-linux-gnu` built in.
fn system(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let loader = b"code/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0more".to_vec();
    let loader = [(INTERPRETER, loader)];
    for (path, bytes) in loader.iter().chain(files) {
        let place = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
    root
}

fn program(needed: &[&str]) -> Vec<u8> {
    Elf { machine: X86_64, interpreter: Some(INTERPRETER), needed, ..Elf::default() }.bytes()
}

fn library(needed: &[&str]) -> Vec<u8> {
    Elf { machine: X86_64, needed, ..Elf::default() }.bytes()
}

fn open(root: &tempfile::TempDir) -> Result<Agent, AgentError> {
    Agent::open_in(root.path(), Path::new("/usr/sbin/qemu-ga"))
}

fn guest_paths(agent: &Agent) -> Vec<&str> {
    agent.files.iter().map(|(guest, _)| guest.to_str().unwrap()).collect()
}

#[test]
fn this_machines_agent_needs_what_ldd_says() {
    let agent = Agent::find().expect("this test needs qemu-ga: apt-get install qemu-guest-agent");
    let output = Command::new("ldd")
        .arg(&agent.files[0].1)
        .output()
        .expect("this test needs ldd: apt-get install libc-bin");
    let said = String::from_utf8(output.stdout).unwrap();
    // "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", "/lib64/ld-linux-x86-64.so.2 (0x…)"; the vdso has no path.
    let expected: BTreeSet<PathBuf> =
        said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    let found: BTreeSet<PathBuf> = agent.files[1..].iter().map(|(_, host)| host.clone()).collect();
    assert_eq!(found, expected, "{said}");
}

#[test]
fn a_static_program_is_alone() {
    let root = system(&[("/usr/sbin/qemu-ga", Elf { machine: X86_64, ..Elf::default() }.bytes())]);
    assert_eq!(guest_paths(&open(&root).unwrap()), ["/usr/sbin/qemu-ga"]);
}

#[test]
fn libraries_of_libraries_come_along_each_once() {
    let root = system(&[
        ("/usr/sbin/qemu-ga", program(&["liba.so.1", "libc.so.6"])),
        ("/lib/x86_64-linux-gnu/liba.so.1", library(&["libb.so.2", "libc.so.6"])),
        ("/usr/lib/x86_64-linux-gnu/libb.so.2", library(&["libc.so.6", "liba.so.1"])),
        ("/lib/x86_64-linux-gnu/libc.so.6", library(&["ld-linux-x86-64.so.2"])),
    ]);
    assert_eq!(
        guest_paths(&open(&root).unwrap()),
        [
            "/usr/sbin/qemu-ga",
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/liba.so.1",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/usr/lib/x86_64-linux-gnu/libb.so.2",
        ]
    );
}

#[test]
fn a_missing_library_is_named_with_who_needs_it() {
    let root = system(&[
        ("/usr/sbin/qemu-ga", program(&["liba.so.1"])),
        ("/lib/x86_64-linux-gnu/liba.so.1", library(&["libgone.so.3"])),
    ]);
    let message = open(&root).unwrap_err().to_string();
    assert!(message.contains("`libgone.so.3`") && message.contains("liba.so.1`"), "{message}");
}

#[test]
fn a_missing_agent_names_its_package_for_every_distribution() {
    let message = AgentError::NotFound.to_string();
    for installer in ["apt install", "dnf install", "pacman -S", "zypper install"] {
        assert!(message.contains(&format!("{installer} qemu-guest-agent")), "{message}");
    }
}

#[test]
fn a_script_is_no_agent() {
    let root = system(&[("/usr/sbin/qemu-ga", b"#!/bin/sh\nexec real\n".to_vec())]);
    assert!(matches!(open(&root), Err(AgentError::NotAProgram { .. })));
}

#[test]
fn a_runpath_counts_from_where_the_program_really_is() {
    let elf = Elf {
        machine: X86_64,
        interpreter: Some(INTERPRETER),
        needed: &["liba.so.1"],
        runpath: Some("$ORIGIN/../lib:/nowhere"),
        ..Elf::default()
    };
    let root = system(&[
        ("/opt/qemu/bin/qemu-ga", elf.bytes()),
        ("/opt/qemu/lib/liba.so.1", library(&[])),
        ("/usr/sbin/other", Vec::new()),
    ]);
    std::os::unix::fs::symlink("../../opt/qemu/bin/qemu-ga", root.path().join("usr/sbin/qemu-ga")).unwrap();
    let agent = open(&root).unwrap();
    assert_eq!(agent.program, Path::new("/opt/qemu/bin/qemu-ga"));
    assert!(guest_paths(&agent).contains(&"/opt/qemu/lib/liba.so.1"));
}

#[test]
fn an_rpath_counts_for_libraries_of_libraries_and_a_runpath_does_not() {
    let elf = |rpath, runpath| Elf {
        machine: X86_64,
        interpreter: Some(INTERPRETER),
        needed: &["liba.so.1"],
        rpath,
        runpath,
    };
    let libraries = [("/opt/lib/liba.so.1", library(&["libb.so.1"])), ("/opt/lib/libb.so.1", library(&[]))];
    let with = |program: Vec<u8>| {
        let mut files = libraries.to_vec();
        files.push(("/usr/sbin/qemu-ga", program));
        system(&files)
    };
    assert!(open(&with(elf(Some("/opt/lib"), None).bytes())).is_ok());
    let missing = open(&with(elf(None, Some("/opt/lib")).bytes()));
    assert!(matches!(missing, Err(AgentError::MissingLibrary { library, .. }) if library == "libb.so.1"));
}

#[test]
fn a_library_of_a_configured_directory_moves_to_one_that_the_guests_loader_knows() {
    let root = system(&[
        ("/usr/sbin/qemu-ga", program(&["liba.so.1"])),
        ("/etc/ld.so.conf", b"# local\ninclude ld.so.conf.d/*.conf\n".to_vec()),
        ("/etc/ld.so.conf.d/50-local.conf", b"/opt/local/lib\n".to_vec()),
        ("/etc/ld.so.conf.d/README", b"/opt/wrong/lib\n".to_vec()),
        ("/opt/local/lib/liba.so.1", library(&[])),
    ]);
    let agent = open(&root).unwrap();
    let (guest, host) = agent.files.last().unwrap();
    assert_eq!(guest, Path::new("/lib/x86_64-linux-gnu/liba.so.1"));
    assert!(host.ends_with("opt/local/lib/liba.so.1"));
}

#[test]
fn a_library_for_another_machine_is_passed_over() {
    let foreign = Elf { machine: 183, ..Elf::default() }.bytes();
    let root = system(&[
        ("/usr/sbin/qemu-ga", program(&["liba.so.1"])),
        ("/lib/x86_64-linux-gnu/liba.so.1", foreign),
        ("/usr/lib/x86_64-linux-gnu/liba.so.1", library(&[])),
    ]);
    assert!(guest_paths(&open(&root).unwrap()).contains(&"/usr/lib/x86_64-linux-gnu/liba.so.1"));
}

#[test]
fn configuration_that_includes_itself_ends() {
    let root = system(&[
        ("/usr/sbin/qemu-ga", program(&["liba.so.1"])),
        ("/etc/ld.so.conf", b"include /etc/ld.so.conf\n".to_vec()),
    ]);
    assert!(open(&root).is_err());
}

// U2
#[test]
fn any_bytes_are_read_as_a_program_with_names_without_nul() {
    let seed = Elf {
        machine: X86_64,
        interpreter: Some(INTERPRETER),
        needed: &["liba.so.1", "libb.so.2"],
        rpath: Some("/a:$ORIGIN/b"),
        runpath: Some("/c"),
    }
    .bytes();
    assert_eq!(Binary::parse(&seed).unwrap().needed, ["liba.so.1", "libb.so.2"]);
    vmtest_fuzz::Fuzzer::new("elf").seed(seed).seed(program(&[])).run(|bytes| {
        let Some(binary) = Binary::parse(bytes) else { return };
        let names = binary.needed.iter().chain(&binary.rpath).chain(&binary.runpath);
        assert!(names.chain(&binary.interpreter).all(|name| !name.contains('\0')));
    });
}
