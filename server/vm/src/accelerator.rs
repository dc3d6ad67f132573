//! KVM where it works, else TCG, and the sentence that says why.
//!
//! `/dev/kvm` may exist and be forbidden, make QEMU abort, or run guests that never get anywhere. What is forbidden is asked
//! for again each time; what is broken is remembered until the host boots again.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::event::Accelerator;
use crate::host;

/// Which accelerator to try, and why not the better one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// To be tried first.
    pub accelerator: Accelerator,
    /// One sentence, when it is not KVM.
    pub why_not_kvm: Option<String>,
}

/// Remembers that KVM is broken for one QEMU with one kind of processor.
#[derive(Debug, Clone)]
pub struct KvmMemory {
    file: PathBuf,
    boot_id: String,
}

/// Begins the name of a file that is not yet written.
const DRAFT: &str = ".new-";

impl KvmMemory {
    /// The memory for `qemu` with `cpu` (QEMU's `-cpu`), kept under the cache directory.
    pub fn new(cache: &Path, qemu: &Path, cpu: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (qemu, cpu).hash(&mut hasher);
        let file = cache.join("kvm-broken").join(format!("{:016x}", hasher.finish()));
        Self { file, boot_id: host::boot_id() }
    }

    /// Why KVM does not work, if that was found since the host's boot.
    pub fn broken(&self) -> Option<String> {
        let text = fs::read_to_string(&self.file).ok()?;
        let (boot_id, reason) = text.split_once('\n')?;
        (boot_id == self.boot_id && !boot_id.is_empty()).then(|| reason.to_owned())
    }

    /// Remembers the reason. A cache that cannot be written costs the next run a new attempt, no more.
    pub fn remember(&self, reason: &str) {
        let write = || {
            let parent = self.file.parent()?;
            fs::create_dir_all(parent).ok()?;
            forget_drafts(parent);
            let mut file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(parent).ok()?;
            std::io::Write::write_all(&mut file, format!("{}\n{reason}", self.boot_id).as_bytes()).ok()?;
            file.persist(&self.file).ok()
        };
        if write().is_none() {
            tracing::debug!(file = %self.file.display(), "cannot remember that KVM is broken");
        }
    }
}

/// Removes what processes that died had begun to write. One that lives writes for a moment, and then has to ask again.
fn forget_drafts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Asks the host.
pub fn choose(memory: &KvmMemory) -> Choice {
    if let Some(reason) = memory.broken() {
        return emulate(format!("{reason} (found before, since this machine started)"));
    }
    choose_by_device(Path::new("/dev/kvm"))
}

/// The accelerator that the user's own arguments choose: the first of a list, as QEMU tries them in order.
pub fn chosen_by_user(extra_args: &[String]) -> Option<Accelerator> {
    let named = |name: &str| if name == "kvm" { Accelerator::Kvm } else { Accelerator::Tcg };
    extra_args.iter().enumerate().find_map(|(number, word)| {
        let mut value = extra_args.get(number + 1).map_or("", String::as_str).split(',');
        match word.trim_start_matches('-') {
            "enable-kvm" => Some(Accelerator::Kvm),
            "accel" => value.next().filter(|name| !name.is_empty()).map(named),
            "machine" | "M" => {
                let list = value.find_map(|property| property.strip_prefix("accel="))?;
                list.split(':').next().map(named)
            }
            _ => None,
        }
    })
}

fn choose_by_device(device: &Path) -> Choice {
    match File::options().read(true).write(true).open(device) {
        Ok(_) => Choice { accelerator: Accelerator::Kvm, why_not_kvm: None },
        Err(error) => emulate(match error.kind() {
            ErrorKind::NotFound => "this machine has no /dev/kvm".to_owned(),
            ErrorKind::PermissionDenied => {
                "/dev/kvm is not open to you; `sudo usermod -aG kvm $USER` and a new login change that"
                    .to_owned()
            }
            _ => format!("/dev/kvm cannot be opened: {error}"),
        }),
    }
}

fn emulate(reason: String) -> Choice {
    Choice { accelerator: Accelerator::Tcg, why_not_kvm: Some(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_that_died_had_begun_to_write_is_gone_with_the_next_reason() {
        let cache = tempfile::tempdir().unwrap();
        let memory = KvmMemory::new(cache.path(), Path::new("/usr/bin/qemu"), "host");
        let folder = cache.path().join("kvm-broken");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".new-abcdef"), "").unwrap();
        memory.remember("no");
        assert_eq!(folder.read_dir().unwrap().count(), 1);
        assert_eq!(memory.broken().as_deref(), Some("no"));
    }

    #[test]
    fn a_missing_device_is_emulated_and_said() {
        let choice = choose_by_device(Path::new("/nonexistent/kvm"));
        assert_eq!(choice.accelerator, Accelerator::Tcg);
        assert!(choice.why_not_kvm.unwrap().contains("no /dev/kvm"));
    }

    #[test]
    fn broken_kvm_is_remembered_for_this_boot_only() {
        let cache = tempfile::tempdir().unwrap();
        let memory = KvmMemory::new(cache.path(), Path::new("/usr/bin/qemu"), "host");
        assert_eq!(memory.broken(), None);
        memory.remember("QEMU died");
        assert_eq!(memory.broken().as_deref(), Some("QEMU died"));
        let after_reboot = KvmMemory { boot_id: "another".to_owned(), ..memory.clone() };
        assert_eq!(after_reboot.broken(), None);
    }

    #[test]
    fn another_cpu_model_is_another_question() {
        let cache = tempfile::tempdir().unwrap();
        KvmMemory::new(cache.path(), Path::new("/usr/bin/qemu"), "host").remember("no");
        assert_eq!(KvmMemory::new(cache.path(), Path::new("/usr/bin/qemu"), "qemu64").broken(), None);
    }

    #[test]
    fn the_users_own_arguments_choose_the_accelerator() {
        let chosen =
            |words: &[&str]| chosen_by_user(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(chosen(&["-device", "vmgenid"]), None);
        assert_eq!(chosen(&["-accel", "tcg,thread=single"]), Some(Accelerator::Tcg));
        assert_eq!(chosen(&["-enable-kvm"]), Some(Accelerator::Kvm));
        assert_eq!(chosen(&["-machine", "q35"]), None);
        assert_eq!(chosen(&["-M", "q35,accel=kvm:tcg"]), Some(Accelerator::Kvm));
        assert_eq!(chosen(&["-accel", "tcg,thread=kvm"]), Some(Accelerator::Tcg));
        assert_eq!(chosen(&["-accel"]), None);
    }
}
