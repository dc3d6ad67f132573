//! Targets without a machine.

use std::path::PathBuf;

use tower_lsp::lsp_types::{Position, Range};
use vmtest_config::{self as config, Target};

use super::{Chosen, Request, TargetKey};

pub(crate) fn target(name: &str) -> Target {
    let text = format!("[[target]]\nname = {name:?}\nkernel = 'k'\ncommand = 'true'\n");
    let mut target = config::load(&text, "/project".as_ref()).unwrap().targets.remove(0).target;
    target.project_dir = PathBuf::from("/project");
    target
}

/// A request for targets of these names, one on every tenth line of `/project/vmtest.toml`.
pub(crate) fn request(names: &[&str]) -> Request {
    let chosen = |(index, key): (usize, TargetKey)| {
        let mut target = target("x");
        target.name.clone_from(&key.name);
        Chosen { key, target, header: header(index) }
    };
    let keys = TargetKey::all(names.iter().copied());
    Request {
        uri: "file:///project/vmtest.toml".parse().unwrap(),
        targets: keys.into_iter().enumerate().map(chosen).collect(),
    }
}

pub(crate) fn header(index: usize) -> Range {
    let line = 10 * index as u32;
    Range::new(Position::new(line, 0), Position::new(line, 10))
}
