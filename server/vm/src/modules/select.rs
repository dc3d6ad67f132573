//! Which modules a run loads, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

use super::feature::Part;
use super::{Feature, ModInfo, ModuleError, ModuleTree, Need, module_image, module_name};
use crate::kernel::{Kernel, KernelConfig, Setting};

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, in the kernel's spelling.
    pub name: String,
    /// Where it was read from.
    pub file: PathBuf,
    /// The bytes that `finit_module` takes.
    pub image: Bytes,
}

/// How a kernel has a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureState {
    /// All of it is part of the kernel.
    BuiltIn,
    /// Some of it is in modules; the selection has them.
    Modules,
    /// The kernel certainly has not got it.
    Absent,
    /// Nothing tells. Taken as present: the guest init says what is missing.
    Unknown,
}

/// What a run loads, and what it can count on.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Modules in the order to load them: each after what it depends on.
    pub modules: Vec<Module>,
    /// Every feature that was asked for.
    pub features: BTreeMap<Feature, FeatureState>,
    /// Optional features that are absent, each with its reason.
    pub absent: Vec<Lack>,
}

impl Selection {
    /// Whether a run may count on a feature: true unless it is certainly absent. A feature that was not asked for is
    /// not there.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.get(&feature).is_some_and(|state| *state != FeatureState::Absent)
    }

    /// Features about which nothing tells: what [`Kernel::embedded_config`] could answer.
    pub fn unknown(&self) -> impl Iterator<Item = Feature> {
        self.features
            .iter()
            .filter(|(_, state)| **state == FeatureState::Unknown)
            .map(|(feature, _)| *feature)
    }
}

/// One option that a kernel lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What it would be for.
    pub feature: Feature,
    /// The option's name.
    pub config: &'static str,
    /// Why it is out of reach.
    pub why: Why,
}

/// Why an option is out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The kernel was built without it.
    Off,
    /// The kernel was built with it as a module, and the module's file is nowhere.
    NoModuleFile {
        /// The module's name.
        module: &'static str,
    },
    /// Modules depend on each other in a circle, or on one that is not there.
    Broken {
        /// A clause: what is wrong.
        reason: String,
    },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feature, config, why } = self;
        match why {
            Why::Off => write!(f, "{config} ({feature}) is off"),
            Why::NoModuleFile { module } => {
                write!(f, "{config} ({feature}) is a module, and `{module}.ko` is missing")
            }
            Why::Broken { reason } => write!(f, "{config} ({feature}) cannot be loaded: {reason}"),
        }
    }
}

/// The kernel lacks what a run cannot be without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// Options are off, or their modules are not there.
    #[error("kernel {release} cannot run this target: {}; {}", join(lacks), cure(lacks))]
    Features {
        /// The kernel.
        release: String,
        /// What it lacks, in the order that was asked in.
        lacks: Vec<Lack>,
    },
    /// A module's file is unusable.
    #[error(transparent)]
    Module(#[from] ModuleError),
}

impl Missing {
    /// The options that have to be switched on, by name.
    pub fn config_names(&self) -> Vec<&'static str> {
        match self {
            Self::Features { lacks, .. } => lacks.iter().map(|lack| lack.config).collect(),
            Self::Module(_) => Vec::new(),
        }
    }
}

fn join(lacks: &[Lack]) -> String {
    lacks.iter().map(Lack::to_string).collect::<Vec<_>>().join("; ")
}

fn cure(lacks: &[Lack]) -> String {
    if lacks.iter().all(|lack| lack.why != Why::Off) {
        return "install the kernel's modules beside it (`make modules_install`, or its package)".to_owned();
    }
    let off: Vec<_> =
        lacks.iter().filter(|lack| lack.why == Why::Off).map(|lack| format!("{}=y", lack.config)).collect();
    format!("build it with {}, or use a kernel that has it", off.join(" "))
}

/// Decides which modules `kernel` has to load for `needs`. Modules and the configuration that is in a file are looked
/// at; the compressed image is not.
pub fn select(kernel: &Kernel, needs: &[Need]) -> Result<Selection, Missing> {
    select_with_config(kernel, kernel.config.as_ref(), needs)
}

/// As [`select`], with a configuration from elsewhere: [`Kernel::embedded_config`].
pub fn select_with_config(
    kernel: &Kernel,
    config: Option<&KernelConfig>,
    needs: &[Need],
) -> Result<Selection, Missing> {
    let evidence = Evidence { tree: kernel.modules.as_ref(), config };
    let mut selection = Selection::default();
    let mut plan = Plan::new(evidence.tree);
    let mut missing = Vec::new();
    for need in needs {
        let lacks = decide(need.feature, &evidence, &mut plan, &mut selection)?;
        if need.required { &mut missing } else { &mut selection.absent }.extend(lacks);
    }
    if !missing.is_empty() {
        return Err(Missing::Features { release: kernel.release.clone(), lacks: missing });
    }
    selection.modules = plan.ordered;
    Ok(selection)
}

/// Settles one feature; gives what it lacks.
fn decide(
    feature: Feature,
    evidence: &Evidence<'_>,
    plan: &mut Plan<'_>,
    selection: &mut Selection,
) -> Result<Vec<Lack>, ModuleError> {
    let mut lacks = Vec::new();
    let (mut unknown, mut modules) = (false, Vec::new());
    for part in feature.parts() {
        match evidence.part(part) {
            PartState::BuiltIn => {}
            PartState::Unknown => unknown = true,
            PartState::Module(name) => modules.push((part.config, name)),
            PartState::Absent(why) => lacks.push(Lack { feature, config: part.config, why }),
        }
    }
    if lacks.is_empty() {
        // All or nothing: half a feature would only cost memory.
        let before = plan.ordered.len();
        for (config, name) in &modules {
            if let Err(trouble) = plan.add(name) {
                plan.forget_from(before);
                match trouble {
                    Trouble::File(error) => return Err(error),
                    Trouble::Broken(reason) => {
                        lacks.push(Lack { feature, config, why: Why::Broken { reason } });
                        break;
                    }
                }
            }
        }
    }
    let state = match (lacks.is_empty(), unknown, modules.is_empty()) {
        (false, ..) => FeatureState::Absent,
        (true, _, false) => FeatureState::Modules,
        (true, true, true) => FeatureState::Unknown,
        (true, false, true) => FeatureState::BuiltIn,
    };
    selection.features.insert(feature, state);
    Ok(lacks)
}

/// What there is to tell about a kernel.
struct Evidence<'a> {
    tree: Option<&'a ModuleTree>,
    config: Option<&'a KernelConfig>,
}

enum PartState {
    BuiltIn,
    Module(&'static str),
    Absent(Why),
    Unknown,
}

impl Evidence<'_> {
    /// Files come first: a configuration can be newer than the kernel that was built from it.
    fn part(&self, part: &Part) -> PartState {
        let setting = self.config.map(|config| config.get(part.config));
        let Some(module) = part.module else {
            return match setting {
                None => PartState::Unknown,
                Some(Setting::Off) => PartState::Absent(Why::Off),
                Some(Setting::BuiltIn | Setting::Module) => PartState::BuiltIn,
            };
        };
        let builtin = self.tree.and_then(|tree| tree.is_builtin(module));
        // A build that went from `m` to `y` leaves the old file behind.
        if builtin != Some(true) && self.tree.is_some_and(|tree| tree.file(module).is_some()) {
            return PartState::Module(module);
        }
        match (builtin, setting) {
            (Some(true), _) | (None, Some(Setting::BuiltIn)) => PartState::BuiltIn,
            // A package may split off modules that the configuration still knows.
            (_, Some(Setting::Module)) => PartState::Absent(Why::NoModuleFile { module }),
            // The list of what is built in is complete, also where a configuration has moved on.
            (Some(false), _) | (None, Some(Setting::Off)) => PartState::Absent(Why::Off),
            (None, None) => PartState::Unknown,
        }
    }
}

enum Trouble {
    File(ModuleError),
    Broken(String),
}

/// More modules in a row than any kernel has; deeper ones would overflow the stack.
const DEEPEST: usize = 100;
/// Wishes that come to nothing are tried again on each way to them: without a limit that takes time without end.
const MOST_VAIN: usize = 32;

/// Modules in load order, as they come together.
struct Plan<'a> {
    tree: Option<&'a ModuleTree>,
    ordered: Vec<Module>,
    done: BTreeSet<String>,
    /// How many wishes came to nothing.
    vain: usize,
}

impl<'a> Plan<'a> {
    fn new(tree: Option<&'a ModuleTree>) -> Self {
        Self { tree, ordered: Vec::new(), done: BTreeSet::new(), vain: 0 }
    }

    fn add(&mut self, name: &str) -> Result<(), Trouble> {
        self.visit(name, &mut Vec::new())
    }

    /// Adds a module after everything that it depends on. `path` is the way here: a name twice on it is a circle.
    fn visit(&mut self, name: &str, path: &mut Vec<String>) -> Result<(), Trouble> {
        let name = module_name(name);
        if self.done.contains(&name) {
            return Ok(());
        }
        let Some(tree) = self.tree else { return Ok(()) };
        if path.len() > DEEPEST {
            return Err(Trouble::Broken(format!(
                "more than {DEEPEST} modules depend on each other in a row"
            )));
        }
        if path.contains(&name) {
            path.push(name);
            return Err(Trouble::Broken(format!("its modules depend on each other: {}", path.join(" -> "))));
        }
        let Some(file) = tree.file(&name) else {
            // Built in, or in a tree that does not tell: then the kernel has the last word when it resolves symbols.
            if tree.is_builtin(&name) == Some(false) {
                let user = path.last().map_or("it", String::as_str);
                return Err(Trouble::Broken(format!("`{user}` needs the module `{name}`, which is missing")));
            }
            return Ok(());
        };
        let image = module_image(&file).map_err(Trouble::File)?;
        let info = ModInfo::read(&image)
            .ok_or_else(|| Trouble::File(ModuleError::NotAModule { path: file.clone() }))?;
        path.push(name.clone());
        // A soft dependency is a wish: only a module of that very name counts (most are aliases of crypto algorithms),
        // and one that leads back here is dropped, as modprobe does.
        for wish in &info.softdep_pre {
            if tree.file(wish).is_some() && !path.contains(wish) && self.vain < MOST_VAIN {
                let before = self.ordered.len();
                match self.visit(wish, path) {
                    Ok(()) => {}
                    Err(Trouble::Broken(_)) => {
                        self.vain += 1;
                        path.truncate(path.iter().position(|step| *step == name).map_or(0, |at| at + 1));
                        self.forget_from(before);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for dependency in &info.depends {
            self.visit(dependency, path)?;
        }
        path.pop();
        self.done.insert(name.clone());
        self.ordered.push(Module { name, file, image: image.into() });
        Ok(())
    }

    /// Undoes additions: nothing before them depends on them.
    fn forget_from(&mut self, start: usize) {
        for module in self.ordered.drain(start..) {
            self.done.remove(&module.name);
        }
    }
}
