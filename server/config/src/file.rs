//! The file as it was written: serde's view of one target, before any default or rule.
//!
//! Every field is optional, so that a missing key is found by the rules beside all other problems and not by the
//! first failing deserializer. [`crate::walk`] has dropped unknown keys and wrong types before.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor};
use toml::Spanned;

/// A string and where it stands.
pub(crate) type Text = Spanned<String>;

/// The whole file; the loader takes it apart target by target, so that one broken target hides no other.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the key table is held to it")]
pub(crate) struct File {
    pub(crate) target: Vec<Target>,
}

/// One `[[target]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Target {
    pub(crate) name: Option<Text>,
    pub(crate) kernel: Option<Text>,
    pub(crate) kernel_url: Option<Text>,
    pub(crate) kernel_sha256: Option<Text>,
    pub(crate) kernel_package: Option<Text>,
    pub(crate) kernel_args: Option<Text>,
    pub(crate) rootfs: Option<Text>,
    pub(crate) image: Option<Text>,
    pub(crate) image_url: Option<Text>,
    pub(crate) image_sha256: Option<Text>,
    pub(crate) uefi: Option<Spanned<bool>>,
    pub(crate) arch: Option<Text>,
    pub(crate) kvm_cpu_args: Option<Text>,
    pub(crate) qemu_command: Option<Text>,
    pub(crate) command: Option<Text>,
    pub(crate) timeout: Option<Text>,
    pub(crate) boot_timeout: Option<Text>,
    pub(crate) env: BTreeMap<Text, Text>,
    pub(crate) inherit_env: Option<InheritEnv>,
    pub(crate) fail_on_kernel_bug: Option<Spanned<bool>>,
    pub(crate) vm: Vm,
}

/// `[target.vm]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Vm {
    pub(crate) num_cpus: Option<Spanned<u8>>,
    pub(crate) memory: Option<Text>,
    pub(crate) mounts: BTreeMap<Text, Mount>,
    pub(crate) bios: Option<Text>,
    pub(crate) extra_args: Vec<Text>,
    pub(crate) network: Option<Spanned<bool>>,
}

/// One entry of `[target.vm.mounts]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mount {
    pub(crate) host_path: Option<Text>,
    pub(crate) writable: Option<Spanned<bool>>,
}

/// `inherit_env`: a switch or a list.
#[derive(Debug)]
pub(crate) enum InheritEnv {
    Switch(bool),
    Names(Vec<Text>),
}

impl<'de> Deserialize<'de> for InheritEnv {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = InheritEnv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean or a list of names")
            }

            fn visit_bool<E>(self, value: bool) -> Result<InheritEnv, E> {
                Ok(InheritEnv::Switch(value))
            }

            // Not `#[serde(untagged)]`: that buffers the value and loses every span in it.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<InheritEnv, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(InheritEnv::Names(names))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
