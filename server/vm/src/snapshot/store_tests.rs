//! The folder of kept guests, without guests.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use super::*;

struct Bench {
    _folder: tempfile::TempDir,
    snapshots: Snapshots,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path());
    Bench { _folder: folder, snapshots }
}

fn key(digit: char) -> Key {
    Key::of_name(digit.to_string().repeat(32).as_ref()).unwrap()
}

impl Bench {
    fn keep(&self, key: &Key, bytes: u64) {
        let claim = self.snapshots.claim(key.clone()).unwrap();
        let memory = guest_memory(bytes.next_multiple_of(4096) + (1 << 20)).unwrap();
        File::from(memory.try_clone().unwrap()).write_all_at(&vec![7; bytes as usize], 8192).unwrap();
        let template = self.snapshots.write(Parked { memory, state: b"state".to_vec() }).unwrap();
        self.snapshots.publish(&claim, "6.1.0", &template).unwrap();
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.snapshots.dir).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    }

    fn why_not(&self, key: &Key) -> String {
        self.snapshots.find(key).unwrap_err()
    }
}

#[test]
fn what_was_kept_is_found_with_its_holes() {
    let bench = bench();
    assert!(bench.snapshots.find(&key('a')).unwrap().is_none());
    bench.keep(&key('a'), 4096);
    let template = bench.snapshots.find(&key('a')).unwrap().unwrap();
    assert_eq!(template.state, b"state");
    let mut bytes = [0; 3];
    template.memory.read_exact_at(&mut bytes, 8191).unwrap();
    assert_eq!(bytes, [0, 7, 7]);
    let data = template.memory.metadata().unwrap();
    assert_eq!(data.size(), 4096 + (1 << 20));
    assert!(data.blocks() * 512 < 64 << 10, "{} blocks", data.blocks());
}

#[test]
fn one_process_at_a_time_may_keep_a_guest() {
    let bench = bench();
    let claim = bench.snapshots.claim(key('a')).unwrap();
    assert!(bench.snapshots.claim(key('a')).unwrap_err().contains("another run"));
    bench.snapshots.claim(key('b')).unwrap();
    drop(claim);
    bench.snapshots.claim(key('a')).unwrap();
}

#[test]
fn a_guest_that_cannot_be_kept_is_not_tried_again_until_the_host_boots() {
    let bench = bench();
    bench.snapshots.claim(key('a')).unwrap().give_up("QEMU has no such capability");
    assert!(bench.snapshots.claim(key('a')).unwrap_err().contains("no such capability"));
    let lock = bench.snapshots.dir.join(format!("{}.lock", key('a')));
    fs::write(&lock, "another boot\nQEMU has no such capability").unwrap();
    bench.snapshots.claim(key('a')).unwrap();
}

#[test]
fn memory_that_was_written_to_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let memory = &bench.files("memory")[0];
    OpenOptions::new().write(true).open(memory).unwrap().write_all_at(b"!", 0).unwrap();
    assert!(bench.why_not(&key('a')).contains("its memory was changed"));
}

#[test]
fn memory_that_is_another_file_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let memory = &bench.files("memory")[0];
    let modified = fs::metadata(memory).unwrap().modified().unwrap();
    let bytes = fs::read(memory).unwrap();
    fs::rename(memory, memory.with_extension("old")).unwrap();
    fs::write(memory, bytes).unwrap();
    fs::set_permissions(memory, fs::Permissions::from_mode(0o600)).unwrap();
    File::options().write(true).open(memory).unwrap().set_modified(modified).unwrap();
    assert!(bench.why_not(&key('a')).contains("its memory was changed"));
}

#[test]
fn memory_that_is_gone_is_said() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::remove_file(&bench.files("memory")[0]).unwrap();
    assert!(bench.why_not(&key('a')).contains("cannot be read"));
}

#[test]
fn a_guest_under_anothers_name_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::copy(bench.snapshots.state_file(&key('a')), bench.snapshots.state_file(&key('b'))).unwrap();
    assert!(bench.why_not(&key('b')).contains("another guest's"));
}

#[test]
fn what_others_can_write_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::set_permissions(&bench.files("memory")[0], fs::Permissions::from_mode(0o666)).unwrap();
    assert!(bench.why_not(&key('a')).contains("open to others"));
    fs::set_permissions(&bench.snapshots.dir, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(bench.why_not(&key('a')).contains("open to others"));
    assert!(bench.snapshots.claim(key('b')).unwrap_err().contains("open to others"));
}

#[test]
fn the_one_that_was_used_the_longest_time_ago_goes_first() {
    let mut bench = bench();
    bench.snapshots.room = 3 << 20;
    for digit in ['a', 'b'] {
        bench.keep(&key(digit), 1 << 20);
    }
    let long_ago = SystemTime::now() - Duration::from_secs(1000);
    for digit in ['a', 'b'] {
        let file = File::options().write(true).open(bench.snapshots.state_file(&key(digit))).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    // Being used is what counts.
    bench.snapshots.find(&key('a')).unwrap().unwrap();
    bench.keep(&key('c'), 1 << 20);
    let names: Vec<_> = bench.snapshots.list().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&key('a').to_string()) && names.contains(&key('c').to_string()), "{names:?}");
    assert_eq!(bench.files("memory").len(), 2);
}

#[test]
fn what_a_dead_process_left_goes_with_the_next_that_is_kept() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::remove_file(bench.snapshots.state_file(&key('a'))).unwrap();
    assert_eq!(bench.files("memory").len(), 1);
    bench.keep(&key('b'), 4096);
    assert_eq!(bench.files("memory").len(), 1);
    assert!(bench.snapshots.find(&key('b')).unwrap().is_some());
}

#[test]
fn clearing_leaves_nothing_and_is_no_error_where_nothing_is() {
    let bench = bench();
    assert_eq!(bench.snapshots.clear().unwrap(), 0);
    bench.keep(&key('a'), 1 << 20);
    assert!(bench.snapshots.clear().unwrap() >= 1 << 20);
    assert_eq!(bench.snapshots.list(), []);
    assert_eq!(fs::read_dir(&bench.snapshots.dir).unwrap().count(), 0);
}
