//! What this machine has and lacks for the targets of a document: problems for the list, facts for completion and hover.
//!
//! Everything here looks at the disk, so it runs on a thread that may wait; and only looks: nothing that the file names is
//! executed, and of what it names only regular files are opened.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use vmtest_config::{
    Arch, Firmware, ImageSource, ImageSystem, KernelSource, KernelSystem, Problem, QemuCommand, Resolved,
    Severity, System, check_paths,
};
use vmtest_ide::{DirectoryEntry, KernelFact, Surroundings};
use vmtest_vm::accelerator::{self, KvmMemory};
use vmtest_vm::agent::{Agent, AgentError};
use vmtest_vm::host::{self, Manager};
use vmtest_vm::kernel::{Kernel, ModuleSearch};

use crate::documents::Document;

/// More kernels than any project names; each costs a look at its modules.
const MOST_KERNELS: usize = 64;
/// More entries than anybody scrolls through.
const MOST_ENTRIES: usize = 2000;
/// How long what was found about a directory, or about this machine, is taken for granted.
const FRESH: Duration = Duration::from_secs(5);
/// How long an answer to the user waits for the disk.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is wrong, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What and where.
    pub(crate) problem: Problem,
    /// Whether it only makes runs slower.
    pub(crate) is_hint: bool,
}

/// What was found out, kept while it holds.
pub(crate) struct Environment {
    cache: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kernels: HashMap<Question, Answer>,
    installed: Option<(Instant, Vec<KernelFact>)>,
}

/// A kernel for a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    path: PathBuf,
    arch: Arch,
    rootfs: PathBuf,
    network: bool,
}

#[derive(Debug, Clone)]
struct Answer {
    stamp: Stamp,
    fact: KernelFact,
}

/// What changes when a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    File(Option<SystemTime>, u64),
    /// A directory's own time does not tell of what lies below it.
    Directory(Instant),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        if found.is_dir() {
            Self::Directory(Instant::now())
        } else {
            Self::File(found.modified().ok(), found.len())
        }
    }

    fn still_holds(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Directory(then), Self::Directory(_)) => then.elapsed() < FRESH,
            (then, now) => then == now,
        }
    }
}

impl Environment {
    /// Nothing is known yet; `cache` is where runs remember that KVM is broken.
    pub(crate) fn new(cache: &Path) -> Self {
        Self { cache: cache.to_owned(), state: Mutex::default() }
    }

    /// Looks, on a thread that may wait. None when that failed.
    pub(crate) async fn look(self: &Arc<Self>, document: &Arc<Document>) -> Option<Vec<Finding>> {
        let (environment, document) = (Arc::clone(self), Arc::clone(document));
        tokio::task::spawn_blocking(move || {
            // What is no file has no place that relative paths start at.
            document.file.as_ref()?;
            environment.installed();
            // Where the text has errors, those come first.
            let targets = document.analysis.checked();
            Some(environment.findings(&targets))
        })
        .await
        .ok()
        .flatten()
    }

    /// Facts for an answer at a place of the text: what lies in the directory that is being named, and what is known of
    /// kernels by now. A disk that hangs costs the entries, not the answer.
    pub(crate) async fn surroundings(&self, directory: Option<PathBuf>) -> Surroundings {
        let entries = match directory {
            Some(directory) => {
                let entries = tokio::task::spawn_blocking(move || entries(&directory));
                tokio::time::timeout(PATIENCE, entries).await.ok().and_then(Result::ok).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let state = self.state();
        let kernels = state.installed.as_ref().map(|(_, kernels)| kernels.clone()).unwrap_or_default();
        let named_kernels = state.kernels.values().map(|answer| answer.fact.clone()).collect();
        Surroundings { kernels, entries, named_kernels }
    }

    /// What the targets would stumble over here.
    fn findings(&self, targets: &[Resolved]) -> Vec<Finding> {
        let mut found: Vec<Finding> =
            targets.iter().flat_map(check_paths).map(|problem| Finding { problem, is_hint: false }).collect();
        let manager = Manager::of_this_machine();
        found.extend(missing_qemu(targets, manager));
        found.extend(missing_agent(targets, manager));
        found.extend(self.no_kvm(targets));
        found.extend(self.unsuitable_kernels(targets));
        found.extend(missing_firmware(targets, manager, vmtest_vm::uefi_firmware));
        found.extend(unbootable_images(targets));
        found.sort_by_key(|finding| finding.problem.span.start);
        found
    }

    /// One finding for all targets: it is the machine's, not theirs.
    fn no_kvm(&self, targets: &[Resolved]) -> Option<Finding> {
        let resolved = targets.iter().find(|resolved| {
            let target = &resolved.target;
            target.arch == Arch::host() && accelerator::chosen_by_user(&target.vm.extra_args).is_none()
        })?;
        let target = &resolved.target;
        let qemu = host::find_qemu(target).ok()?;
        let choice = accelerator::choose(&KvmMemory::new(&self.cache, &qemu, &target.kvm_cpu_args));
        let why = choice.why_not_kvm?;
        let problem =
            warning("no_kvm", resolved, format!("targets run without KVM, several times slower: {why}"));
        Some(Finding { problem, is_hint: true })
    }

    fn unsuitable_kernels(&self, targets: &[Resolved]) -> Vec<Finding> {
        let mut asked: HashMap<Question, KernelFact> = HashMap::new();
        let mut found = Vec::new();
        for resolved in targets {
            let Some((path, system)) = kernel_of(resolved) else { continue };
            let target = &resolved.target;
            let question = Question {
                path: path.to_owned(),
                arch: target.arch,
                rootfs: system.rootfs.clone(),
                network: target.vm.network,
            };
            let fact = match asked.get(&question) {
                Some(fact) => fact.clone(),
                None if asked.len() == MOST_KERNELS => continue,
                None => {
                    let Some(fact) = self.kernel(&question, resolved) else { continue };
                    asked.insert(question, fact.clone());
                    fact
                }
            };
            if let (Err(why), Some(place)) = (fact.release, resolved.spans.of("kernel")) {
                let mut problem = warning("unsuitable_kernel", resolved, why);
                problem.severity = Severity::Error;
                problem.span = place.value.clone();
                found.push(Finding { problem, is_hint: false });
            }
        }
        // Kernels that no text names any more are forgotten when there are too many.
        let mut state = self.state();
        if state.kernels.len() > 4 * MOST_KERNELS {
            state.kernels.retain(|question, _| asked.contains_key(question));
        }
        found
    }

    /// What is known of a kernel; none when it is not there, which is told by [`check_paths`].
    fn kernel(&self, question: &Question, resolved: &Resolved) -> Option<KernelFact> {
        let metadata = fs::metadata(&question.path).ok()?;
        let stamp = Stamp::of(&metadata);
        if let Some(known) =
            self.state().kernels.get(question).filter(|known| known.stamp.still_holds(&stamp))
        {
            return Some(known.fact.clone());
        }
        let fact = if metadata.is_file() && metadata.len() == 0 {
            // Also files of /proc: they say that they are empty, and reading one may never end.
            let why = format!("cannot use the kernel `{}`: the file is empty", question.path.display());
            KernelFact { path: question.path.clone(), release: Err(why), features: Vec::new() }
        } else {
            let search = ModuleSearch::new(&question.rootfs);
            let kernel = Kernel::read_for(&question.path, question.arch, &search);
            let unsuitable = kernel.as_ref().ok().and_then(|kernel| {
                (question.arch == Arch::host())
                    .then(|| vmtest_vm::unsuitable(kernel, &resolved.target))
                    .flatten()
            });
            fact(&question.path, kernel.map_err(|error| error.to_string()), unsuitable)
        };
        self.state().kernels.insert(question.clone(), Answer { stamp, fact: fact.clone() });
        Some(fact)
    }

    /// The kernels of this machine, looked for when the last look was a while ago.
    fn installed(&self) {
        let is_fresh = |known: &(Instant, Vec<KernelFact>)| known.0.elapsed() < FRESH;
        if self.state().installed.as_ref().is_some_and(is_fresh) {
            return;
        }
        let search = ModuleSearch::new(Path::new("/"));
        let read = |path: PathBuf| {
            let kernel = Kernel::read_for(&path, Arch::host(), &search).map_err(|error| error.to_string());
            fact(&path, kernel, None)
        };
        let kernels = host::kernel_files(Path::new("/")).into_iter().take(MOST_KERNELS).map(read).collect();
        self.state().installed = Some((Instant::now(), kernels));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fact(path: &Path, kernel: Result<Kernel, String>, unsuitable: Option<String>) -> KernelFact {
    let (release, features) = match kernel {
        Ok(kernel) => {
            let modules = match &kernel.modules {
                Some(tree) => format!("modules in {}", tree.dir.display()),
                None => "no modules found".to_owned(),
            };
            let features = vec![kernel.format.to_string(), modules];
            (unsuitable.map_or(Ok(kernel.release), Err), features)
        }
        Err(why) => (Err(why), Vec::new()),
    };
    KernelFact { path: path.to_owned(), release, features }
}

fn kernel_of(resolved: &Resolved) -> Option<(&Path, &KernelSystem)> {
    match &resolved.target.system {
        System::Kernel(system) => match &system.source {
            KernelSource::Path(path) => Some((path, system)),
            KernelSource::Url(_) | KernelSource::Package(_) => None,
        },
        System::Image(_) => None,
    }
}

/// One finding for each program that is missing, at the first target that needs it.
fn missing_qemu(targets: &[Resolved], manager: Option<Manager>) -> Vec<Finding> {
    let mut known: HashMap<PathBuf, bool> = HashMap::new();
    let mut found = Vec::new();
    for resolved in targets {
        let target = &resolved.target;
        let program = match &target.qemu_command {
            QemuCommand::Default => PathBuf::from(host::qemu_program(target.arch)),
            // A path is looked for with the others that the file names.
            QemuCommand::Custom(program) if program.is_absolute() => continue,
            QemuCommand::Custom(program) => program.clone(),
        };
        if known.contains_key(&program) {
            continue;
        }
        let missing = host::find_qemu(target).is_err();
        if missing {
            let message = format!("there is no program `{}` in PATH", program.display());
            let mut problem = warning("no_qemu", resolved, message);
            problem.help = Some(host::qemu_cure(target, manager));
            if let Some(place) = resolved.spans.of("qemu_command") {
                problem.span = place.value.clone();
            }
            found.push(Finding { problem, is_hint: false });
        }
        known.insert(program, missing);
    }
    found
}

/// One finding for all kernel targets.
fn missing_agent(targets: &[Resolved], manager: Option<Manager>) -> Option<Finding> {
    let resolved = targets.iter().find(|resolved| matches!(resolved.target.system, System::Kernel(_)))?;
    let problem = match Agent::find() {
        Ok(_) => return None,
        Err(AgentError::NotFound) => {
            let message =
                "there is no `qemu-ga` on this machine, the agent that runs in every virtual machine";
            let mut problem = warning("no_agent", resolved, message.to_owned());
            let commands = host::install_commands(&host::AGENT_PACKAGE, manager);
            problem.help = Some(format!("install it: {}", commands.join(" · ")));
            problem
        }
        Err(error) => warning("no_agent", resolved, error.to_string()),
    };
    Some(Finding { problem, is_hint: false })
}

/// One finding for all image targets.
fn missing_firmware(
    targets: &[Resolved],
    manager: Option<Manager>,
    find: impl Fn(&Path) -> Option<PathBuf>,
) -> Option<Finding> {
    let needs_it = |resolved: &&Resolved| matches!(&resolved.target.system, System::Image(image) if image.firmware == Firmware::Uefi { file: None });
    let resolved = targets.iter().find(needs_it)?;
    if find(&host::find_qemu(&resolved.target).ok()?).is_some() {
        return None;
    }
    let message = "there is no UEFI firmware (OVMF) on this machine, which starts the image".to_owned();
    let mut problem = warning("no_firmware", resolved, message);
    problem.help = Some(host::firmware_cure(manager));
    if let Some(place) = resolved.spans.of("uefi") {
        problem.span = place.value.clone();
    }
    Some(Finding { problem, is_hint: false })
}

/// Files that no machine boots from. Only their first bytes are read, and nothing of what is no regular file.
fn unbootable_images(targets: &[Resolved]) -> Vec<Finding> {
    let mut found = Vec::new();
    for resolved in targets {
        let System::Image(ImageSystem { source: ImageSource::Path(image), .. }) = &resolved.target.system
        else {
            continue;
        };
        // What is not there is told with the others that the file names.
        if !image.is_file() {
            continue;
        }
        if let (Some(why), Some(place)) = (vmtest_vm::unbootable(image), resolved.spans.of("image")) {
            let mut problem = warning("unsuitable_image", resolved, why);
            problem.severity = Severity::Error;
            problem.span = place.value.clone();
            found.push(Finding { problem, is_hint: false });
        }
    }
    found
}

/// A problem of the machine, at the target's header.
fn warning(code: &'static str, resolved: &Resolved, message: String) -> Problem {
    Problem::warning(code, resolved.header.clone(), message)
}

/// What lies in a directory, in the order of names.
fn entries(directory: &Path) -> Vec<DirectoryEntry> {
    let entry = |entry: fs::DirEntry| DirectoryEntry {
        directory: entry.file_type().is_ok_and(|kind| kind.is_dir())
            // Through a link.
            || entry.file_type().is_ok_and(|kind| kind.is_symlink()) && entry.path().is_dir(),
        name: entry.file_name().to_string_lossy().into_owned(),
    };
    let found = fs::read_dir(directory).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut entries: Vec<_> = found.map(entry).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::position::Encoding;
    use crate::uri::uri_of;

    struct Project(tempfile::TempDir);

    impl Project {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// The codes and the texts that they stand at.
        fn look(&self, environment: &Arc<Environment>, text: &str) -> Vec<(&'static str, String)> {
            let uri = uri_of(&self.path("vmtest.toml")).unwrap();
            let document = Arc::new(Document::new(uri, 1, text.to_owned(), Encoding::Utf8));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(environment.look(&document)).unwrap();
            let place = |finding: Finding| (finding.problem.code, text[finding.problem.span].to_owned());
            // What this machine lacks is another test's.
            found
                .into_iter()
                .map(place)
                .filter(|(code, _)| !["no_kvm", "no_qemu", "no_agent"].contains(code))
                .collect()
        }
    }

    fn environment() -> Arc<Environment> {
        Arc::new(Environment::new(Path::new("/nonexistent")))
    }

    fn target(kernel: &str) -> String {
        format!("[[target]]\nname = 'n'\ncommand = 'c'\nkernel = '{kernel}'\n")
    }

    #[test]
    fn a_missing_kernel_is_told_once() {
        let project = Project::new();
        assert_eq!(project.look(&environment(), &target("none")), [("missing_file", "'none'".to_owned())]);
    }

    #[test]
    fn a_file_that_is_no_kernel_is_told_at_its_name() {
        let project = Project::new();
        fs::write(project.path("k"), "#!/bin/sh\n").unwrap();
        assert_eq!(project.look(&environment(), &target("k")), [("unsuitable_kernel", "'k'".to_owned())]);
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let (project, environment) = (Project::new(), environment());
        fs::write(project.path("k"), "text").unwrap();
        assert_eq!(project.look(&environment, &target("k")).len(), 1);
        let first = environment.state().kernels.values().next().unwrap().fact.clone();
        fs::write(project.path("k"), "\x7fELF and not the rest").unwrap();
        project.look(&environment, &target("k"));
        assert_ne!(environment.state().kernels.values().next().unwrap().fact, first);
    }

    #[test]
    fn what_is_no_regular_file_is_never_opened() {
        let project = Project::new();
        make_fifo(&project.path("pipe"));
        symlink("/proc/kmsg", project.path("proc")).unwrap();
        symlink("/dev/zero", project.path("zero")).unwrap();
        for name in ["pipe", "proc", "zero"] {
            let found = project.look(&environment(), &target(name));
            assert_eq!(found, [("unsuitable_kernel", format!("'{name}'"))], "{name}");
        }
    }

    #[test]
    fn a_huge_file_is_not_read_into_memory() {
        let project = Project::new();
        fs::File::create(project.path("huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(project.look(&environment(), &target("huge")).len(), 1);
    }

    #[test]
    fn a_program_that_the_file_names_is_looked_for_and_not_started() {
        let project = Project::new();
        let evil = project.path("evil");
        fs::write(&evil, format!("#!/bin/sh\ntouch {}\n", project.path("started").display())).unwrap();
        fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!("{}qemu_command = './evil'\n", target("evil"));
        project.look(&environment(), &text);
        assert!(!project.path("started").exists());
    }

    #[test]
    fn a_missing_program_is_told_once_at_its_name() {
        let text = |name: &str| format!("{}qemu_command = '{name}'\n", target("k"));
        let both = text("no-such-qemu") + &text("no-such-qemu");
        let targets = vmtest_config::load(&both, Path::new("/")).unwrap().targets;
        let found = missing_qemu(&targets, Some(Manager::Apt));
        assert_eq!(found.len(), 1);
        assert_eq!(&both[found[0].problem.span.clone()], "'no-such-qemu'");
    }

    #[test]
    fn a_file_that_is_no_disk_is_told_at_its_name() {
        let project = Project::new();
        fs::write(project.path("disk"), "these are notes").unwrap();
        let text = "[[target]]\nname = 'n'\ncommand = 'c'\nimage = './disk'\n";
        assert_eq!(project.look(&environment(), text), [("unsuitable_image", "'./disk'".to_owned())]);
    }

    #[test]
    fn missing_firmware_is_told_once_where_an_image_asks_for_it() {
        let text = "[[target]]\nname = 'n'\ncommand = 'c'\nimage = './disk'\nqemu_command = '/bin/sh'\n";
        let both = text.to_owned() + &format!("{text}uefi = true\n").repeat(2);
        let targets = vmtest_config::load(&both, Path::new("/")).unwrap().targets;
        let found = missing_firmware(&targets, Some(Manager::Apt), |_| None).unwrap();
        assert_eq!(&both[found.problem.span], "true");
        assert!(found.problem.help.unwrap().contains("apt install ovmf"));
        assert!(missing_firmware(&targets, None, |_| Some(PathBuf::new())).is_none());
    }

    #[test]
    fn links_to_directories_are_directories() {
        let project = Project::new();
        fs::create_dir(project.path("sub")).unwrap();
        symlink("sub", project.path("link")).unwrap();
        fs::write(project.path("file"), "").unwrap();
        let found: Vec<_> =
            entries(project.0.path()).into_iter().map(|entry| (entry.name, entry.directory)).collect();
        assert_eq!(found, [("file".into(), false), ("link".into(), true), ("sub".into(), true)]);
    }

    fn make_fifo(path: &Path) {
        let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(status.success());
    }
}
