//! What the tests need of this machine. What is missing fails them, with the command that gets it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};

use nix::unistd::{Gid, Uid, User};

/// An ordinary user who runs `vmtest` instead of root.
#[derive(Debug, Clone)]
pub struct TestUser {
    /// What `VMTEST_TEST_USER` says.
    pub name: String,
    /// The user's number.
    pub uid: Uid,
    /// The number of the user's group.
    pub gid: Gid,
}

/// `VMTEST_TEST_USER`, if it is set.
pub fn test_user() -> Option<&'static TestUser> {
    static USER: OnceLock<Option<TestUser>> = OnceLock::new();
    USER.get_or_init(|| {
        let name = std::env::var("VMTEST_TEST_USER").ok().filter(|name| !name.is_empty())?;
        assert!(Uid::effective().is_root(), "only root can run the tests as {name} (VMTEST_TEST_USER)");
        let user = User::from_name(&name).expect("the users can be listed").unwrap_or_else(|| {
            panic!("there is no user {name} (VMTEST_TEST_USER); get one: useradd --create-home {name}")
        });
        needs("setpriv", "util-linux");
        Some(TestUser { name, uid: user.uid, gid: user.gid })
    })
    .as_ref()
}

/// Whether `vmtest` itself runs as root. A test that needs this prints that it does nothing otherwise.
pub fn vmtest_is_root() -> bool {
    Uid::effective().is_root() && test_user().is_none()
}

/// Whether the user who runs `vmtest` may use KVM, be it broken or not.
pub fn has_kvm() -> bool {
    let mut test = as_test_user(Path::new("test"));
    test.args(["-r", "/dev/kvm", "-a", "-w", "/dev/kvm"]).status().is_ok_and(|status| status.success())
}

/// The user who runs `vmtest`.
pub(super) fn user() -> Uid {
    test_user().map_or_else(Uid::effective, |user| user.uid)
}

/// A program that the user who runs `vmtest` starts with that user's rights.
pub(super) fn as_test_user(program: &Path) -> Command {
    let Some(user) = test_user() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups", "--"])
        .arg(program);
    command
}

/// Panics unless `program` is installed; `package` is Debian's name.
pub fn needs(program: &str, package: &str) {
    let dirs = PATH.split(':').map(Path::new);
    assert!(
        dirs.into_iter().any(|dir| dir.join(program).exists()),
        "this test needs {program}: sudo apt-get install {package}"
    );
}

/// The top of this repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the tests lie in it")
}

/// The `PATH` of every run.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every run needs.
pub(super) fn check() {
    static CHECK: Once = Once::new();
    CHECK.call_once(|| {
        needs("qemu-system-x86_64", "qemu-system-x86");
        needs("qemu-ga", "qemu-guest-agent");
        needs("depmod", "kmod");
        needs("bash", "bash");
    });
}

/// An unpacked distribution kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its bzImage.
    pub image: PathBuf,
    /// What `uname -r` says under it.
    pub release: String,
}

/// One of the kernels that `scripts/kernels.sh` unpacks: `stable`, `cloud` or `newer`.
pub fn kernel(name: &str) -> Kernel {
    let root = kernels().join(name);
    assert!(
        root.join(".complete").exists(),
        "there is no kernel in {}: run scripts/kernels.sh {name} (or set VMTEST_KERNELS)",
        root.display()
    );
    let release = ["lib/modules", "usr/lib/modules"]
        .iter()
        .filter_map(|dir| fs::read_dir(root.join(dir)).ok()?.next()?.ok())
        .map(|entry| entry.file_name().into_string().expect("a release is text"))
        .next()
        .unwrap_or_else(|| panic!("{} has no modules", root.display()));
    Kernel { image: root.join("boot/vmlinuz"), release }
}

/// One of the disk images that `scripts/images.sh` builds, such as `small.qcow2`.
pub fn image(name: &str) -> PathBuf {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    let images = IMAGES.get_or_init(|| {
        std::env::var_os("VMTEST_IMAGES").map_or_else(|| target_dir().join("images"), PathBuf::from)
    });
    let image = images.join(name);
    assert!(image.is_file(), "there is no {}: run scripts/images.sh (or set VMTEST_IMAGES)", image.display());
    readable(&image.canonicalize().expect("it is a file"))
}

/// Where the kernels are, readable by the user who runs `vmtest`.
pub(super) fn kernels() -> &'static Path {
    static KERNELS: OnceLock<PathBuf> = OnceLock::new();
    KERNELS.get_or_init(|| {
        let dir =
            std::env::var_os("VMTEST_KERNELS").map_or_else(|| target_dir().join("kernels"), PathBuf::from);
        assert!(
            dir.is_dir(),
            "there are no kernels in {}: run scripts/kernels.sh (or set VMTEST_KERNELS)",
            dir.display()
        );
        readable(&dir.canonicalize().expect("it is a directory"))
    })
}

/// A folder with a newer QEMU and a newer virtiofsd than the machine's own, for the front of a `PATH`.
pub fn newer_qemu() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let root = std::env::var_os("VMTEST_NEWER_QEMU");
        let mut root = root.map_or_else(|| target_dir().join("qemu/newer"), PathBuf::from);
        assert!(
            root.join("usr/bin").is_dir(),
            "there is no newer QEMU in {}: run scripts/qemu.sh (or set VMTEST_NEWER_QEMU)",
            root.display()
        );
        if !can_reach(&root.join("usr/bin/virtiofsd")) {
            // Its programs know where their libraries are: a copy would not find them.
            root = area().join("copies/qemu-newer");
            let unpack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/qemu.sh");
            let unpacked = Command::new(unpack).arg(&root).status();
            assert!(unpacked.is_ok_and(|status| status.success()), "cannot unpack {}", root.display());
        }
        root.join("usr/bin")
    })
}

/// The binary under test, readable by the user who runs it.
pub fn vmtest() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary =
            std::env::var_os("VMTEST_BIN").map_or_else(|| profile_dir().join("vmtest"), PathBuf::from);
        let release = if profile_dir().ends_with("release") { " --release" } else { "" };
        assert!(
            binary.is_file(),
            "there is no {}: run cargo build -p vmtest{release} (or set VMTEST_BIN)",
            binary.display()
        );
        readable(&binary)
    })
}

/// A program of this package, readable by the user who runs `vmtest`.
pub fn helper(name: &str) -> PathBuf {
    let program = profile_dir().join(name);
    assert!(program.is_file(), "there is no {}: run cargo build -p vmtest-tests", program.display());
    readable(&program)
}

/// `target/debug` or `target/release`: the test programs are in `deps` below it.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a program knows its file");
    let parent = test.parent().expect("a file is in a directory");
    let profile = if parent.ends_with("deps") { parent.parent() } else { Some(parent) };
    profile.expect("deps is in a directory").to_owned()
}

fn target_dir() -> PathBuf {
    profile_dir().parent().expect("the profile is in the target directory").to_owned()
}

/// Where the tests keep their own things, writable by the user who runs `vmtest`.
fn area() -> &'static Path {
    static AREA: OnceLock<PathBuf> = OnceLock::new();
    AREA.get_or_init(|| {
        let name = test_user().map_or("caller", |user| &user.name);
        let mut area = target_dir().join("e2e").join(name);
        fs::create_dir_all(&area).unwrap_or_else(|error| panic!("{}: {error}", area.display()));
        if !can_reach(&area) {
            area = PathBuf::from("/var/tmp/vmtest-e2e").join(name);
            fs::create_dir_all(&area).unwrap_or_else(|error| panic!("{}: {error}", area.display()));
        }
        area
    })
}

/// Where slots are locked: one place for all users and builds of this machine.
pub(super) fn slot_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("vmtest-e2e-slots-{}", Uid::effective()));
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        dir
    })
}

/// The cache that all runs of this process share, so that broken KVM is found once.
pub(super) fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let caches = area().join("cache");
        // Those of processes that are gone: a cache of another build would hide faults of this one.
        for old in fs::read_dir(&caches).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let cache = caches.join(std::process::id().to_string());
        fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
        give(&cache);
        cache
    })
}

/// Gives a file to the user who runs `vmtest`.
pub fn give(path: &Path) {
    if let Some(user) = test_user() {
        nix::unistd::chown(path, Some(user.uid), Some(user.gid))
            .unwrap_or_else(|error| panic!("cannot give {} to {}: {error}", path.display(), user.name));
    }
}

fn can_reach(path: &Path) -> bool {
    let mut test = as_test_user(Path::new("test"));
    test.arg("-r").arg(path).status().is_ok_and(|status| status.success())
}

/// `path`, or a copy of it that the user who runs `vmtest` can read.
fn readable(path: &Path) -> PathBuf {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

    if test_user().is_none() || can_reach(path) {
        return path.to_owned();
    }
    let _one = ONE_AT_A_TIME.lock().expect("no holder panics");
    let area = area().join("copies");
    fs::create_dir_all(&area).expect("the area is writable");
    let copy = area.join(path.file_name().expect("it is not the root"));
    // Hard links where that is possible: a kernel with its modules is large.
    let copied = ["-alT", "-aT"].iter().any(|options| {
        let _ = fs::remove_dir_all(&copy).or_else(|_| fs::remove_file(&copy));
        Command::new("cp").arg(options).arg(path).arg(&copy).status().is_ok_and(|status| status.success())
    });
    assert!(copied, "cannot copy {} to {}", path.display(), copy.display());
    if path.is_dir() {
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("the copy is ours");
    }
    copy
}
