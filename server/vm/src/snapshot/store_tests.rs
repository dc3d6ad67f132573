//! The folder of kept guests, without guests.

use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

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
        let claim = self.claim(key).unwrap();
        claim.memory().unwrap().write_all_at(&vec![7; bytes as usize], 8192).unwrap();
        let saved = SavedState { bytes: b"state".to_vec(), memory: MemoryIs::InFile };
        let mut template = claim.template(saved).unwrap();
        claim.write(&mut template).unwrap();
        self.snapshots.publish(&claim, "6.1.0", &template).unwrap();
    }

    fn claim(&self, key: &Key) -> Result<Claim, String> {
        self.snapshots.claim(key.clone(), MEMORY)
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.snapshots.dir).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    }

    fn why_not(&self, key: &Key) -> String {
        self.snapshots.find(key).unwrap_err().reason
    }

    fn find(&self, key: &Key) -> Option<Template> {
        self.snapshots.find(key).unwrap()
    }
}

const MEMORY: u64 = 4 << 20;

#[test]
fn what_was_kept_is_found_with_its_holes() {
    let bench = bench();
    assert!(bench.find(&key('a')).is_none());
    bench.keep(&key('a'), 4096);
    let template = bench.find(&key('a')).unwrap();
    assert_eq!(template.state, b"state");
    let mut bytes = [0; 3];
    let memory = template.memory.unwrap();
    memory.read_exact_at(&mut bytes, 8191).unwrap();
    assert_eq!(bytes, [0, 7, 7]);
    let data = memory.metadata().unwrap();
    assert_eq!(data.size(), MEMORY);
    assert!(data.blocks() * 512 < 64 << 10, "{} blocks", data.blocks());
}

#[test]
fn a_guest_whose_memory_is_in_its_state_is_one_file() {
    let bench = bench();
    let claim = bench.claim(&key('a')).unwrap();
    let saved = SavedState { bytes: b"devices and memory".to_vec(), memory: MemoryIs::InState };
    let mut template = claim.template(saved).unwrap();
    claim.write(&mut template).unwrap();
    bench.snapshots.publish(&claim, "6.1.0", &template).unwrap();
    assert_eq!(bench.files("memory"), Vec::<PathBuf>::new());
    let found = bench.find(&key('a')).unwrap();
    assert_eq!((found.state.as_slice(), found.memory.is_none()), (b"devices and memory".as_slice(), true));
    assert!(bench.snapshots.list()[0].bytes > 0);
}

// S1
#[test]
fn one_process_at_a_time_may_keep_a_guest() {
    let bench = bench();
    let claim = bench.claim(&key('a')).unwrap();
    assert!(bench.claim(&key('a')).unwrap_err().contains("another run"));
    bench.claim(&key('b')).unwrap();
    drop(claim);
    bench.claim(&key('a')).unwrap();
}

#[test]
fn a_guest_that_cannot_be_kept_is_not_tried_again_until_the_host_boots() {
    let bench = bench();
    bench.claim(&key('a')).unwrap();
    bench.snapshots.strike(&key('a'), Strike::Refused, "QEMU has no such capability");
    assert!(bench.claim(&key('a')).unwrap_err().contains("no such capability"));
    let lock = bench.snapshots.dir.join(format!("{}.lock", key('a')));
    fs::write(&lock, fs::read_to_string(&lock).unwrap().replace(&host::boot_id(), "another-boot")).unwrap();
    bench.claim(&key('a')).unwrap();
}

#[test]
fn a_guest_that_hung_once_is_tried_again_and_then_no_more() {
    let bench = bench();
    for _ in 0..2 {
        bench.claim(&key('a')).unwrap();
        bench.snapshots.strike(&key('a'), Strike::Hung, "it did not answer");
    }
    assert!(bench.claim(&key('a')).unwrap_err().contains("did not answer"));
}

#[test]
fn only_what_was_looked_at_is_removed() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let old = bench.find(&key('a')).unwrap().file.unwrap();
    bench.keep(&key('a'), 4096);
    bench.snapshots.remove(&key('a'), old);
    let new = bench.find(&key('a')).unwrap().file.unwrap();
    assert_ne!(old, new);
    bench.snapshots.remove(&key('a'), new);
    assert!(bench.find(&key('a')).is_none());
    assert_eq!(bench.files("memory"), Vec::<PathBuf>::new());
}

#[test]
fn a_process_that_stands_still_with_the_lock_is_not_waited_for() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let file = bench.find(&key('a')).unwrap().file.unwrap();
    let order = bench.snapshots.order().unwrap();
    let started = Instant::now();
    bench.snapshots.remove(&key('a'), file);
    assert!(started.elapsed() < ORDER_LIMIT);
    assert!(bench.snapshots.clear().unwrap_err().to_string().contains("another process holds"));
    drop(order);
    bench.snapshots.remove(&key('a'), file);
    assert!(bench.find(&key('a')).is_none());
}

#[test]
fn a_socket_that_a_dead_process_left_goes_with_the_next_claim() {
    let bench = bench();
    let claim = bench.claim(&key('a')).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    std::mem::forget(claim.meeting_place.open().unwrap());
    assert_eq!(bench.files("socket").len(), 1);
    drop(claim);
    let _meeting = bench.claim(&key('a')).unwrap().meeting_place.open().unwrap();
    assert_eq!(bench.files("socket").len(), 1);
    bench.claim(&key('a')).unwrap();
    assert_eq!(bench.files("socket").len(), 0);
}

/// A header that names a file elsewhere, as somebody with another user's rights might plant it.
// S8
#[test]
fn nothing_outside_the_folder_is_ever_touched() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let victim = bench.snapshots.dir.parent().unwrap().join("victim");
    fs::write(&victim, "precious").unwrap();
    let file = bench.snapshots.state_file(&key('a'));
    let bytes = fs::read(&file).unwrap();
    let (header, state) = state::from_bytes(&bytes).unwrap();
    for memory in [victim.to_str().unwrap(), "../victim"] {
        let mut forged = header.clone();
        forged.memory.as_mut().unwrap().name = memory.to_owned();
        fs::write(&file, state::to_bytes(&forged, state)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let unusable = bench.snapshots.find(&key('a')).unwrap_err();
        bench.snapshots.remove(&key('a'), unusable.damaged.unwrap());
        assert!(!file.exists());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}

// S8
#[test]
fn nobody_else_can_read_or_write_what_is_kept() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    bench.snapshots.strike(&key('b'), Strike::Hung, "it did not answer");
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&bench.snapshots.dir), 0o700);
    for file in fs::read_dir(&bench.snapshots.dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// Into what a link leads to nothing is written, not even why a guest could not be kept.
// S8
#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let victim = bench.snapshots.dir.parent().unwrap().join("victim");
    fs::write(&victim, "precious").unwrap();
    for name in [format!("{}.lock", key('b')), ORDER.to_owned()] {
        let lock = bench.snapshots.dir.join(name);
        let _ = fs::remove_file(&lock);
        std::os::unix::fs::symlink(&victim, &lock).unwrap();
    }
    bench.snapshots.strike(&key('b'), Strike::Hung, "it did not answer");
    assert!(bench.claim(&key('b')).is_err());
    assert!(bench.snapshots.clear().is_err());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

// S8
#[test]
fn a_folder_that_is_a_link_is_not_cleared() {
    let bench = bench();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join(format!("{}.state", key('a')));
    fs::write(&file, "precious").unwrap();
    fs::create_dir_all(bench.snapshots.dir.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &bench.snapshots.dir).unwrap();
    assert!(bench.why_not(&key('a')).contains("not this user's alone"));
    assert!(bench.claim(&key('b')).unwrap_err().contains("not this user's alone"));
    assert!(bench.snapshots.clear().is_err());
    assert!(bench.snapshots.list().is_empty());
    assert!(file.exists());
}

// S3
#[test]
fn memory_that_was_written_to_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    let memory = &bench.files("memory")[0];
    let before = fs::metadata(memory).unwrap();
    // The clock of a file system may stand still for some milliseconds.
    while fs::metadata(memory).unwrap().ctime_nsec() == before.ctime_nsec() {
        let file = OpenOptions::new().write(true).open(memory).unwrap();
        file.write_all_at(b"!", 0).unwrap();
        // As if nothing had been.
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    assert!(bench.why_not(&key('a')).contains("its memory was changed"));
}

// S3
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

// S3
#[test]
fn memory_that_is_gone_is_said() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::remove_file(&bench.files("memory")[0]).unwrap();
    assert!(bench.why_not(&key('a')).contains("cannot be read"));
}

// S5
#[test]
fn a_guest_under_anothers_name_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::copy(bench.snapshots.state_file(&key('a')), bench.snapshots.state_file(&key('b'))).unwrap();
    assert!(bench.why_not(&key('b')).contains("another guest's"));
}

// S8
#[test]
fn what_others_can_write_is_not_used() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::set_permissions(&bench.files("memory")[0], fs::Permissions::from_mode(0o666)).unwrap();
    assert!(bench.why_not(&key('a')).contains("not this user's alone"));
    fs::set_permissions(&bench.snapshots.dir, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(bench.why_not(&key('a')).contains("not this user's alone"));
    assert!(bench.claim(&key('b')).unwrap_err().contains("not this user's alone"));
}

// S7
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
    bench.find(&key('a')).unwrap();
    bench.keep(&key('c'), 1 << 20);
    let names: Vec<_> = bench.snapshots.list().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&key('a').to_string()) && names.contains(&key('c').to_string()), "{names:?}");
    assert_eq!(bench.files("memory").len(), 2);
}

// S4
#[test]
fn what_a_dead_process_left_goes_with_the_next_that_is_kept() {
    let bench = bench();
    bench.keep(&key('a'), 4096);
    fs::remove_file(bench.snapshots.state_file(&key('a'))).unwrap();
    assert_eq!(bench.files("memory").len(), 1);
    bench.keep(&key('b'), 4096);
    assert_eq!(bench.files("memory").len(), 1);
    assert!(bench.find(&key('b')).is_some());
}

// S7
#[test]
fn clearing_leaves_no_guest_and_what_is_not_ours() {
    let bench = bench();
    assert_eq!(bench.snapshots.clear().unwrap(), 0);
    bench.keep(&key('a'), 1 << 20);
    let claim = bench.claim(&key('b')).unwrap();
    fs::write(bench.snapshots.dir.join("notes.txt"), "mine").unwrap();
    assert!(bench.snapshots.clear().unwrap() >= 1 << 20);
    assert_eq!(bench.snapshots.list(), []);
    let mut left: Vec<_> =
        fs::read_dir(&bench.snapshots.dir).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    // A claim that is held is not taken away.
    assert_eq!(left, [format!("{}.lock", claim.key()).as_str(), "notes.txt", ORDER]);
}
