//! The short ways in: a whole file at once, and a target made of options.

use std::path::Path;

use crate::document::Document;
use crate::problem::Problem;
use crate::resolve::{Loaded, Purpose};
use crate::syntax;

/// Reads, checks and resolves every target of a text; relative paths start at `base`. Pure: no file is looked at.
pub fn load(text: &str, base: &Path) -> Result<Loaded, Vec<Problem>> {
    Document::parse(text, base)?.resolve(Purpose::Check)
}

/// The same from a file's bytes, whatever they are.
pub fn load_bytes(bytes: &[u8], base: &Path) -> Result<Loaded, Vec<Problem>> {
    load(syntax::decode(bytes).map_err(|problem| vec![problem])?, base)
}

/// What `vmtest -k KERNEL … COMMAND` says: a target without a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelOptions<'t> {
    /// `--kernel`; its file name names the target.
    pub kernel: &'t str,
    /// `--kargs`.
    pub kernel_args: Option<&'t str>,
    /// `--kvm-cpu-args`.
    pub kvm_cpu_args: Option<&'t str>,
    /// `--rootfs`.
    pub rootfs: Option<&'t str>,
    /// `--arch`.
    pub arch: Option<&'t str>,
    /// `--qemu-command`.
    pub qemu_command: Option<&'t str>,
    /// The words after the options, joined by blanks; `-` alone is an interactive shell.
    pub command: &'t str,
}

impl<'t> Document<'t> {
    /// A document of one target that has no file; relative paths start at `base`, the working directory.
    ///
    /// Its problems point into the options' values. [`Document::set`] works as with a file.
    pub fn from_options(options: &KernelOptions<'t>, base: &Path) -> Self {
        let mut document = Self::empty("", base);
        document.push_target();
        let name = Path::new(options.kernel).file_name().and_then(|name| name.to_str());
        let mut put = |option, key, text: Option<&'t str>| {
            if let Some(text) = text {
                document.put(option, key, text, text.to_owned());
            }
        };
        put("--kernel", "kernel", Some(options.kernel));
        put("--kargs", "kernel_args", options.kernel_args);
        put("--kvm-cpu-args", "kvm_cpu_args", options.kvm_cpu_args);
        put("--rootfs", "rootfs", options.rootfs);
        put("--arch", "arch", options.arch);
        put("--qemu-command", "qemu_command", options.qemu_command);
        document.put("COMMAND", "command", options.command, options.command.to_owned());
        // An empty kernel is the problem then, not an empty name.
        let name = name.or(Some(options.kernel)).filter(|name| !name.is_empty()).unwrap_or("kernel");
        document.put("--kernel", "name", options.kernel, name.to_owned());
        document
    }
}
