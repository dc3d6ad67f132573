//! The rules between the keys of one target, and its defaults.

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::file;
use crate::key::{Applies, SYSTEM_KEYS};
use crate::mounts;
use crate::problem::Problem;
use crate::resolve::absolute;
use crate::spans::RawSpans;
use crate::value::{check_env_name, parse_duration, parse_kernel_args, parse_memory, parse_sha256};
use crate::walk::value_problem;
use crate::{
    Arch, Command, Download, Firmware, ImageSource, ImageSystem, InheritEnv, KEYS, KernelSource,
    KernelSystem, Key, Memory, QemuCommand, RootAccess, System, Target, Vm,
};

const DEFAULT_MEMORY: Memory = Memory { bytes: 4 << 30 };
const DEFAULT_CPUS: NonZeroU8 = NonZeroU8::new(2).unwrap();
const DEFAULT_CPU_ARGS: &str = "host";

/// One target on its way from what is written to what runs.
pub(crate) struct Rules<'r> {
    pub(crate) base: &'r Path,
    pub(crate) host: Arch,
    /// Whether it is about to run.
    pub(crate) run: bool,
    pub(crate) header: Range<usize>,
    pub(crate) model: &'r file::Target,
    pub(crate) spans: &'r RawSpans,
    pub(crate) problems: &'r mut Vec<Problem>,
}

impl Rules<'_> {
    /// Every rule, then the target; none where it cannot run. `names` holds the names of the targets before it.
    pub(crate) fn apply(mut self, names: &mut HashMap<String, Range<usize>>) -> Option<Target> {
        self.unique_name(names);
        self.required();
        self.one_system();
        self.needs();
        let arch = self.arch();
        self.no_effect(arch);
        self.env_names();
        let mounts = mounts::resolve(self.base, &self.model.vm.mounts, self.spans, self.problems);
        self.target(arch?, mounts)
    }

    fn given(&self, path: &str) -> bool {
        self.spans.has(path)
    }

    fn unique_name(&mut self, names: &mut HashMap<String, Range<usize>>) {
        let Some(name) = &self.model.name else { return };
        let Some(first) = names.get(name.get_ref()) else {
            names.insert(name.get_ref().clone(), name.span());
            return;
        };
        if *first != name.span() {
            self.problems.push(Problem::duplicate_name(name.get_ref(), name.span(), first.clone()));
        }
    }

    fn required(&mut self) {
        for path in ["name", "command"] {
            if !self.given(path) {
                let row = row(path);
                let message = match (&self.model.name, path) {
                    (Some(name), "command") => format!("the target {:?} has no `command`", name.get_ref()),
                    _ => format!("the target has no `{path}`"),
                };
                let problem = Problem::error("missing_key", self.header.clone(), message);
                self.problems.push(problem.help(format!("add {path} = {}", row.example)));
            }
        }
    }

    /// Exactly one key says what boots.
    fn one_system(&mut self) {
        let mut given: Vec<(&str, Range<usize>)> =
            SYSTEM_KEYS.iter().filter_map(|key| Some((*key, self.spans.key(key)?))).collect();
        given.sort_by_key(|(_, span)| span.start);
        let Some(((_, span), others)) = given.split_last() else {
            let problem =
                Problem::error("missing_system", self.header.clone(), "the target has nothing to boot");
            self.problems.push(problem.help(format!("add one of {}", or(SYSTEM_KEYS.iter().copied()))));
            return;
        };
        if others.is_empty() {
            return;
        }
        let all = and(given.iter().map(|(key, _)| *key));
        let mut problem = Problem::error(
            "several_systems",
            span.clone(),
            format!("the target has {all}, but it can boot only one thing"),
        )
        .help("keep one and remove the rest");
        for (key, span) in others {
            problem = problem.related(span.clone(), format!("`{key}` is given here"));
        }
        self.problems.push(problem);
    }

    /// What the key table says that a key needs beside it.
    fn needs(&mut self) {
        let has_system = SYSTEM_KEYS.iter().any(|key| self.given(key));
        for (row, span) in self.spans.keys() {
            let path = row.in_target();
            if row.needs.is_empty() {
                continue;
            }
            let met = match path {
                "uefi" if self.model.uefi.as_ref().is_none_or(|uefi| !uefi.get_ref()) => true,
                // A `uefi` of the wrong type has its own problem.
                "vm.bios" => {
                    self.given("uefi") && self.model.uefi.as_ref().is_none_or(|uefi| *uefi.get_ref())
                }
                _ => row.needs.iter().any(|key| self.given(key)),
            };
            // Without any system, that is the one thing to say.
            let about_system = row.needs.iter().any(|key| SYSTEM_KEYS.contains(key));
            let optional_source = path.ends_with("_sha256");
            if met || (about_system && !has_system && !optional_source) {
                continue;
            }
            let needed = match path {
                "vm.bios" => "`uefi = true`".to_owned(),
                _ => or(row.needs.iter().copied()),
            };
            let why = match row.applies {
                Applies::Kernel if !optional_source => ": it is for targets that boot a kernel",
                Applies::Image if path == "uefi" => ": it is for targets that boot a disk image",
                _ => "",
            };
            self.problems.push(
                Problem::error("missing_companion", span, format!("`{path}` needs {needed}{why}"))
                    .help(format!("add {needed}, or remove `{path}`")),
            );
        }
    }

    /// The guest's architecture; none where vmtest does not know it.
    fn arch(&mut self) -> Option<Arch> {
        let Some(arch) = &self.model.arch else { return Some(self.host) };
        let known = arch.get_ref().parse();
        if known.is_err() {
            let message = format!("unknown architecture {:?}", arch.get_ref());
            let known = or(Arch::ALL.iter().map(|arch| arch.name()));
            let problem = if self.run {
                Problem::error("unknown_arch", arch.span(), message)
                    .help(format!("write {known}; vmtest cannot boot another"))
            } else {
                Problem::warning("unknown_arch", arch.span(), message)
                    .help(format!("write {known}; as it is, the target cannot run"))
            };
            let problem = match other_name(arch.get_ref()) {
                Some(meant) => problem.help(format!("write \"{meant}\", QEMU's name for it")).fix(
                    format!("Change it to `{meant}`"),
                    arch.span(),
                    format!("\"{meant}\""),
                ),
                None => problem,
            };
            self.problems.push(problem);
        }
        known.ok()
    }

    fn no_effect(&mut self, arch: Option<Arch>) {
        let image = self.given("image") || self.given("image_url");
        let kernel = ["kernel", "kernel_url", "kernel_package"].iter().any(|key| self.given(key));
        let foreign = arch.is_some_and(|arch| arch != self.host);
        for (path, hit, why) in [
            ("rootfs", image && !kernel, "an image brings its own root"),
            ("kvm_cpu_args", foreign, "a guest of a foreign architecture runs without KVM"),
        ] {
            if let Some(span) = self.spans.key(path).filter(|_| hit) {
                self.problems.push(
                    Problem::warning("no_effect", span, format!("`{path}` has no effect: {why}"))
                        .help(format!("remove `{path}`")),
                );
            }
        }
    }

    fn env_names(&mut self) {
        for name in self.model.env.keys() {
            if let Err(error) = check_env_name(name.get_ref()) {
                let label = "the name of an environment variable";
                self.problems.push(value_problem("invalid_env_name", name.span(), label, error));
            }
        }
    }

    /// The target with its defaults; none where something that it cannot be without is missing or wrong.
    fn target(self, arch: Arch, mounts: Vec<crate::Mount>) -> Option<Target> {
        let model = self.model;
        let system = self.system()?;
        let inherit_env = match &model.inherit_env {
            Some(file::InheritEnv::Switch(true)) => InheritEnv::All,
            Some(file::InheritEnv::Names(names)) => {
                InheritEnv::Only(names.iter().map(|name| name.get_ref().clone()).collect())
            }
            None if matches!(system, System::Kernel(_)) => InheritEnv::All,
            Some(file::InheritEnv::Switch(false)) | None => InheritEnv::None,
        };
        let command = Command::new(model.command.as_ref()?.get_ref());
        let qemu_command = match text(model.qemu_command.as_ref()) {
            None => QemuCommand::Default,
            Some(path) if path.contains('/') => QemuCommand::Custom(absolute(self.base, path)),
            Some(name) => QemuCommand::Custom(PathBuf::from(name)),
        };
        let duration =
            |value: &Option<file::Text>| text(value.as_ref()).and_then(|text| parse_duration(text).ok());
        let env =
            model.env.iter().map(|(name, value)| (name.get_ref().clone(), value.get_ref().clone())).collect();
        let vm = Vm {
            num_cpus: value(model.vm.num_cpus.as_ref()).and_then(NonZeroU8::new).unwrap_or(DEFAULT_CPUS),
            memory: text(model.vm.memory.as_ref())
                .and_then(|text| parse_memory(text).ok())
                .unwrap_or(DEFAULT_MEMORY),
            mounts,
            extra_args: model.vm.extra_args.iter().map(|arg| arg.get_ref().clone()).collect(),
            network: value(model.vm.network.as_ref()).unwrap_or(false),
        };
        Some(Target {
            name: model.name.as_ref()?.get_ref().clone(),
            system,
            command,
            arch,
            kvm_cpu_args: text(model.kvm_cpu_args.as_ref()).unwrap_or(DEFAULT_CPU_ARGS).to_owned(),
            qemu_command,
            timeout: duration(&model.timeout),
            boot_timeout: duration(&model.boot_timeout),
            env,
            inherit_env,
            fail_on_kernel_bug: value(model.fail_on_kernel_bug.as_ref()).unwrap_or(true),
            project_dir: self.base.to_owned(),
            discards_writes: false,
            vm,
        })
    }

    fn system(&self) -> Option<System> {
        let model = self.model;
        let path = |value: &file::Text| absolute(self.base, value.get_ref());
        let download = |url: &file::Text, sha256: &Option<file::Text>| Download {
            url: url.get_ref().clone(),
            sha256: text(sha256.as_ref()).and_then(|text| parse_sha256(text).ok()),
        };
        let image = if let Some(image) = &model.image {
            Some(ImageSource::Path(path(image)))
        } else {
            model.image_url.as_ref().map(|url| ImageSource::Url(download(url, &model.image_sha256)))
        };
        if let Some(source) = image {
            let firmware = match value(model.uefi.as_ref()) {
                Some(true) => Firmware::Uefi { file: model.vm.bios.as_ref().map(path) },
                _ => Firmware::Bios,
            };
            return Some(System::Image(ImageSystem { source, firmware }));
        }
        let source = if let Some(kernel) = &model.kernel {
            KernelSource::Path(path(kernel))
        } else if let Some(url) = &model.kernel_url {
            KernelSource::Url(download(url, &model.kernel_sha256))
        } else {
            KernelSource::Package(model.kernel_package.as_ref()?.get_ref().clone())
        };
        let args = text(model.kernel_args.as_ref()).and_then(|text| parse_kernel_args(text).ok());
        let args = args.unwrap_or_default().to_owned();
        Some(System::Kernel(KernelSystem {
            source,
            root_access: RootAccess::from_kernel_args(&args),
            args,
            rootfs: model.rootfs.as_ref().map_or_else(|| PathBuf::from("/"), path),
        }))
    }
}

/// The architecture behind a name that other programs have for it.
fn other_name(name: &str) -> Option<Arch> {
    match name.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" | "amd64" | "x64" => Some(Arch::X86_64),
        "aarch64" | "arm64" => Some(Arch::Aarch64),
        "riscv64" | "riscv" | "rv64" | "rv64gc" => Some(Arch::Riscv64),
        "s390x" | "s390" => Some(Arch::S390x),
        _ => None,
    }
}

fn text(value: Option<&file::Text>) -> Option<&str> {
    value.map(|text| text.get_ref().as_str())
}

fn value<T: Copy>(value: Option<&toml::Spanned<T>>) -> Option<T> {
    value.map(|value| *value.get_ref())
}

fn row(path: &str) -> &'static Key {
    KEYS.iter().find(|key| key.in_target() == path).unwrap_or(&KEYS[0])
}

fn or<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    join(keys, "or")
}

fn and<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    join(keys, "and")
}

/// "`a`, `b` or `c`".
fn join<'k>(keys: impl Iterator<Item = &'k str>, word: &str) -> String {
    let mut keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
    match keys.pop() {
        None => String::new(),
        Some(last) if keys.is_empty() => last,
        Some(last) => format!("{} {word} {last}", keys.join(", ")),
    }
}
