//! The files that every reader of a vmtest.toml is tried on.

use std::fs;
use std::path::{Path, PathBuf};

/// Every vmtest.toml of tests/fixtures/config/`name`.
pub(crate) fn files(name: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/config").join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What a vmtest.toml is made of, whole and broken.
pub(crate) const PIECES: [&str; 66] = [
    "[[target]]\n",
    "[[target]]\n",
    "[target.vm]\n",
    "[ target.vm ]\n",
    "[target.vm.mounts.\"/x\"]\n",
    "[target]\n",
    "[other]\n",
    "target = 1\n",
    "[[",
    "]]",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\r\n",
    "\r",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "=",
    ".",
    ",",
    "#",
    " ",
    "\t",
    "ä",
    "𝄞",
    "\u{301}",
    "\u{feff}",
    "\0",
    "1",
    "true",
    "-",
    "/",
    "name",
    "name='a'\n",
    "name = \"ä\\n\"\n",
    "  kernel = 'k' # c\n",
    "kernel = \"",
    "memory = \"4G\"\n",
    "memory = 1\n",
    "vm = { ",
    "vm.mounts.\"/x\" = {host_path='/y'}\n",
    "host_path = \"./",
    "env = {A='1', # c\nB='2'\n}\n",
    "vm.extra_args = [\n'a', # x\n 'b' ]\n",
    "x = [\n",
    "x = '''\n",
    "command = 'c'\n",
    "command = '''\n x  \n\n'''\n",
    "command = '''\n./a.sh\n./b.sh | tee x\n'''\n",
    "command=\"\"\"a \\\n  b\"\"\"\n",
    "command = \"cat <<EOF\\nhello\\n\"\n",
    "bash -c \"$x\"",
    "timeout = ",
    "timeout = '90s'\n",
    "# x\n",
    "1979-05-27",
    "0x1F\n",
    "1.5",
    "a.b.c = 1\n",
    "\"\\ud800\"",
    "🦀",
];
