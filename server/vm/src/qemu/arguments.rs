//! QEMU's command line as a typed list. Values are escaped here and nowhere else.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// A list of arguments for QEMU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments(Vec<OsString>);

impl Arguments {
    /// An option without a value, such as `-nodefaults`.
    pub fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    /// An option whose value QEMU takes as it is, such as `-append`.
    pub fn raw(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.as_ref().to_owned());
        self
    }

    /// An option whose value is a list of properties, such as `-device`.
    pub fn list(&mut self, name: &str, properties: Properties) -> &mut Self {
        self.0.push(name.into());
        self.0.push(properties.0);
        self
    }

    /// Words that the user wrote.
    pub fn verbatim<I: IntoIterator<Item = S>, S: Into<OsString>>(&mut self, words: I) -> &mut Self {
        self.0.extend(words.into_iter().map(Into::into));
        self
    }

    /// The words, as execve(2) takes them.
    pub fn words(&self) -> &[OsString] {
        &self.0
    }
}

/// `driver,key=value,…`. QEMU splits it at commas and reads two of them as one (docs/system/qemu-manpage, "Device options").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties(OsString);

impl Properties {
    /// Starts with a word that has no key.
    pub fn new(first: impl AsRef<OsStr>) -> Self {
        Self(escaped(first.as_ref()))
    }

    /// Appends `key=value`; the value may hold any byte but NUL.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        if !self.0.is_empty() {
            self.0.push(",");
        }
        self.0.push(key);
        self.0.push("=");
        self.0.push(escaped(value.as_ref()));
        self
    }

    /// Appends `key=on` or `key=off`.
    #[must_use]
    pub fn switch(self, key: &str, on: bool) -> Self {
        self.with(key, if on { "on" } else { "off" })
    }
}

fn escaped(value: &OsStr) -> OsString {
    let mut bytes = Vec::with_capacity(value.len());
    for byte in value.as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
