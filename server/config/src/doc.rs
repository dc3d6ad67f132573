//! The key table as `docs/config.md`.

use std::fmt::{self, Write};

use crate::key::{Applies, Default, Key};
use crate::table::KEYS;

/// The reference of every key, in Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write(&mut text);
    text
}

fn write(out: &mut String) -> fmt::Result {
    out.push_str(INTRO);
    writeln!(out, "| key | type | default | targets |\n|---|---|---|---|")?;
    for key in &KEYS[1..] {
        let path = shown(key);
        let kind = key.value.to_string();
        let default = default(key);
        writeln!(out, "| [`{path}`](#{}) | {kind} | {default} | {} |", anchor(key), targets(key))?;
    }
    out.push_str(VALUES);
    for key in &KEYS[1..] {
        section(out, key)?;
    }
    out.push_str(DIFFERENCES);
    Ok(())
}

fn section(out: &mut String, key: &Key) -> fmt::Result {
    writeln!(out, "\n### <a id=\"{}\"></a>`{}`\n\n{}\n", anchor(key), shown(key), key.doc)?;
    writeln!(out, "* Type: {}", key.value)?;
    writeln!(out, "* Default: {}", default(key))?;
    if key.applies != Applies::All {
        writeln!(out, "* Targets: {}", targets(key))?;
    }
    if !key.needs.is_empty() {
        writeln!(out, "* Needs: {}", list(key.needs, "or"))?;
    }
    if !key.excludes.is_empty() {
        writeln!(out, "* Not beside: {}", list(key.excludes, "or"))?;
    }
    if !key.original {
        writeln!(out, "* The original vmtest ignores it")?;
    }
    if key.example.starts_with("[target") {
        return Ok(());
    }
    let (header, name) = match key.path.rsplit_once(".*") {
        Some(("target.env", "")) => ("[target.env]".to_owned(), "RUST_BACKTRACE"),
        Some((table, "")) => (format!("[{table}]"), "\"/mnt/data\""),
        Some((table, _)) => (format!("[{table}.\"/mnt/data\"]"), key.name()),
        None => (key.header(), key.name()),
    };
    writeln!(out, "\n```toml\n{header}\n{name} = {}\n```", key.example)
}

/// A path as a reader writes it.
fn shown(key: &Key) -> String {
    key.in_target().replace("mounts.*", "mounts.\"<guest path>\"").replace("env.*", "env.<name>")
}

fn anchor(key: &Key) -> String {
    key.in_target().replace(".*", "-entry").replace('.', "-")
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Required => "required".to_owned(),
        Default::Absent => "none".to_owned(),
        Default::Value(value) => format!("`{value}`"),
        Default::Depends(words) => words.to_owned(),
    }
}

fn targets(key: &Key) -> &'static str {
    match key.applies {
        Applies::All => "all",
        Applies::Kernel => "kernel",
        Applies::Image => "image",
    }
}

fn list(keys: &[&str], word: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match keys.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
        None => String::new(),
    }
}

const INTRO: &str = r#"<!-- Generated from the key table in server/config/src/table.rs: UPDATE_EXPECT=1 cargo test -p vmtest-config -->

# vmtest.toml

`vmtest.toml` lies at the top of a project and names its targets: what to boot, and what to run in it. It is
[TOML](https://toml.io). A file of the original vmtest works as it is.

```toml
# The project's tests under the kernel that is being built.
[[target]]
name = "my kernel"
kernel = "./linux/arch/x86/boot/bzImage"
command = "make test"
timeout = "5m"

# The same under a distribution's kernel, with more processors and a directory of test data.
[[target]]
name = "stock kernel"
kernel_package = "linux-image-amd64"
command = "make test"

[target.vm]
num_cpus = 4
memory = "2G"

[target.vm.mounts."/mnt/data"]
host_path = "./data"

# In a whole distribution.
[[target]]
name = "fedora"
image = "./fedora38.qcow2"
uefi = true
command = "cd /mnt/vmtest && make test"
```

`vmtest check` looks a file over without running anything; `vmtest schema` prints a
[JSON Schema](vmtest.schema.json) for editors that do not speak to `vmtest lsp`.

## Keys

A target has exactly one of `kernel`, `kernel_url`, `kernel_package`, `image` and `image_url`. The first three make it
a *kernel target*, whose root is a directory of the host; the others an *image target*, which brings its own.

"#;

const VALUES: &str = r#"
**Paths.** A relative path starts at the directory of vmtest.toml; with `-k`, at the working directory. `~` and
variables are not expanded.

**Sizes** match `^[0-9]+(\.[0-9]+)?[bBkKmMgGtT]?$`: `"512M"`, `"1.5G"`. The units are powers of 1024, and a bare number
is MiB.

**Times** are numbers with a unit, one after the other: `"500ms"`, `"90s"`, `"1.5s"`, `"1h30m"`, `"2d"`.

**On the command line**, `--set KEY=VALUE` sets a key in every target that runs: `--set vm.memory=1G`. The value is
TOML; where the key takes a string, quotes can be left out. Rules are checked after that, so `--set` can complete a
target. `--set-text KEY=TEXT` is for programs that pass a string on: the text is used as it is, whatever is in it.

**Unknown keys** are warnings, with the key that was probably meant, and have no effect.

## Each key
"#;

const DIFFERENCES: &str = r"
## Differences from the original vmtest

A file that the original accepts runs here with the same meaning, with these exceptions. Each is there for a reason.

* **The root is covered by an overlay.** In the original, a kernel target's writes reach the host's `/`. Here they
  succeed and are thrown away, unless `kernel_args` has `rw` in it: a test must not be able to harm the machine that
  it runs on. What a run wrote outside the project and lost is named at its end. The project's directory is writable
  as ever.
* **Image files are never changed.** A run writes into a temporary overlay, so that each one starts from the same image.
* **A filter that matches no target is an error,** which lists the names that there are. A run of nothing must not look
  like a success.
* **Exit statuses tell more.** One target: its command's own; 128 + N when signal N killed it; 124 for a timeout, 70 for
  a kernel bug, 69 when the guest did not boot or was lost, 130 when the user stopped it. Several targets: how many did
  not pass, at most 125. A configuration that is wrong: 78. The original takes a command that a signal killed for a
  success.
* **A kernel bug fails the target** even when the command succeeds; `fail_on_kernel_bug = false` brings the original's
  behaviour back.
* **`command` runs in bash,** or in sh where there is no bash, for kernels and images alike, so that pipes, variables
  and `&&` work.
* **An unknown `arch` is a warning** as long as the target does not run, and an error when it is asked to: the file
  still loads, its other targets still run, and nobody waits for a boot that cannot succeed.
* **Every problem is reported,** not only the first, each with its place and its cure. Errors of targets that a filter
  leaves out count too: a target that lost its name must not silently drop out of a run.
* **What could never have worked is an error before anything boots:** a `memory` that is no size, zero or less than
  32M, `num_cpus = 0`, an empty `rootfs`, `bios` or `host_path`, a `kernel_args` with an open quote, a NUL character
  anywhere, a mount on `/`, over `/mnt/vmtest` or inside `/proc`, `/sys` or `/dev`, two mounts on one place.
* **A writable mount does not lead through the project and out of it** by a symbolic link, nor does a `rootfs` with `rw`: a
  guest that ran before may have put the link there. Name the directory itself.
* **A line break inside `kernel_args` is an error.** Line breaks around it are dropped, so triple-quoted text works.
* **Files larger than 1 MiB, or nested deeper than 128 levels, are refused.** Reading them could exhaust the stack.

Warnings, where the original says nothing: unknown keys, two targets of one name, a mount point that is not absolute (it
is taken from `/`), keys that have no effect, such as `rootfs` beside an image.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect_file;

    use super::*;
    use crate::Document;
    use crate::resolve::Purpose;

    #[test]
    fn the_page_in_the_tree_is_the_tables() {
        expect_file!["../../../docs/config.md"].assert_eq(&markdown());
    }

    #[test]
    fn the_pages_links_have_their_anchors() {
        let text = markdown();
        for link in regex::Regex::new(r"\]\(#([^)]*)\)").unwrap().captures_iter(&text) {
            assert!(text.contains(&format!("<a id=\"{}\"></a>", &link[1])), "{}", &link[1]);
        }
    }

    #[test]
    fn the_pages_first_example_loads_without_a_problem() {
        let text = markdown();
        let example = text.split("```").nth(1).and_then(|text| text.strip_prefix("toml\n")).unwrap();
        let loaded = Document::parse(example, Path::new("/p"))
            .and_then(|document| document.resolve(Purpose::Run))
            .unwrap();
        assert_eq!((loaded.targets.len(), loaded.warnings.len()), (3, 0));
    }

    #[test]
    fn every_keys_example_is_a_right_value() {
        for key in
            KEYS.iter().filter(|key| !key.example.starts_with("[target") && !key.example.starts_with("[["))
        {
            let name = key.in_target().replace("mounts.*", "mounts.\"/mnt/data\"").replace("env.*", "env.A");
            let needed: String = match key.path {
                "target.kernel_sha256" => "kernel_url = 'https://a/b'".into(),
                "target.image_sha256" => "image_url = 'https://a/b'".into(),
                "target.uefi" => "image = 'a'".into(),
                "target.vm.bios" => "image = 'a'\nuefi = true".into(),
                "target.vm.mounts.*.writable" => {
                    "kernel = 'a'\nvm.mounts.\"/mnt/data\".host_path = 'b'".into()
                }
                path if key.excludes.is_empty() => format!("kernel = 'a' # {path}"),
                _ => String::new(),
            };
            let others: String = [("name", "'a'"), ("command", "'a'")]
                .iter()
                .filter(|(other, _)| *other != name)
                .fold(String::new(), |text, (key, value)| text + key + " = " + value + "\n");
            let text = format!("[[target]]\n{others}{needed}\n{name} = {}\n", key.example);
            let document = Document::parse(&text, Path::new("/p")).unwrap();
            let loaded = document.with_host(crate::Arch::Aarch64).resolve(Purpose::Run);
            assert!(loaded.as_ref().is_ok_and(|loaded| loaded.warnings.is_empty()), "{text}\n{loaded:?}");
        }
    }
}
