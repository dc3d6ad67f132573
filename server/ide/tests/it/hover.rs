//! What is shown beside the pointer.

use expect_test::{Expect, expect};

use crate::support::{fixture, machine, slice};

fn shown(text: &str) -> Option<(String, String)> {
    let fixture = fixture(text);
    let hover = fixture.analysis.hover(fixture.cursor, &machine())?;
    Some((slice(fixture.analysis.text(), &hover.range).to_owned(), hover.markdown))
}

fn check(text: &str, expected: Expect) {
    let text = match shown(text) {
        Some((range, markdown)) => format!("[{range}]\n{markdown}"),
        None => "nothing".to_owned(),
    };
    expected.assert_eq(&text);
}

/// The first line of what is shown, and what it is about.
#[track_caller]
fn title(text: &str) -> (String, String) {
    let (range, markdown) = shown(text).unwrap_or_else(|| panic!("nothing at {text}"));
    (range, markdown.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_key_tells_everything_about_itself() {
    check(
        "[[target]]\nkernel_$0args = \"ro\"",
        expect![[r#"
            [kernel_args]
            `kernel_args` · string

            Appended to the kernel command line as it is.

            The last `ro` or `rw` in it decides what the guest may do to `rootfs`. Without either, an overlay covers it: writes succeed and are thrown away, and the host cannot be harmed. With `ro`, writes fail. With `rw`, writes reach the host.

            Only for targets that boot a kernel. Needs `kernel`, `kernel_url` or `kernel_package`.

            ```toml
            kernel_args = "loglevel=7 ro"
            ```"#]],
    );
}

#[test]
fn a_key_that_the_original_does_not_know_says_so() {
    check(
        "[[target]]\nimage_ur$0l = \"\"",
        expect![[r#"
            [image_url]
            `image_url` · URL

            Where to download the disk image: `https://`, `http://` or `file:///`. It is fetched once, unpacked when it is packed by gzip, xz or zstd, kept in the cache and used again without a network; what the server has later is not asked. With `image_sha256` it is verified before it is kept.

            Only for targets that boot an image. Not beside `kernel`, `kernel_url`, `kernel_package` or `image`. Not in the original vmtest, which ignores it.

            ```toml
            image_url = "https://example.org/fedora38.qcow2"
            ```"#]],
    );
    let (_, markdown) = shown("[[target]]\nna$0me = \"a\"").unwrap();
    assert!(!markdown.contains("original"), "{markdown}");
}

#[test]
fn every_part_of_a_key_is_known_wherever_it_stands() {
    for (text, range, first) in [
        ("[[tar$0get]]", "target", "`[[target]]`"),
        ("[[target]]\n[tar$0get.vm]", "target", "`[[target]]`"),
        ("[[target]]\n[target.v$0m]", "vm", "`vm` · table"),
        ("[[target]]\n[target.$0vm]", "vm", "`vm` · table"),
        ("[[target]]\n[target.vm.mou$0nts.\"/x\"]", "mounts", "`vm.mounts` · table"),
        ("[[target]]\n[target.vm.mounts.\"/$0x\"]", "\"/x\"", "`/x` in the guest"),
        ("[[target]]\n[target.en$0v", "env", "`env` · table"),
        ("[[target]]\n$0name = 1", "name", "`name` · string, not empty · required"),
        ("[[target]]\nname$0 = 1", "name", "`name` · string, not empty · required"),
        ("[[target]]\nna$0me", "name", "`name` · string, not empty · required"),
        ("[[target]]\n\"na$0me\" = 1", "\"name\"", "`name` · string, not empty · required"),
        ("[[target]]\nv$0m.memory = 1", "vm", "`vm` · table"),
        ("[[target]]\nvm.mem$0ory = 1", "memory", "`vm.memory` · size · default `\"4G\"`"),
        ("[[target]]\nvm = { mem$0ory = 1 }", "memory", "`vm.memory` · size · default `\"4G\"`"),
        ("[[target]]\nvm = { mem$0ory", "memory", "`vm.memory` · size · default `\"4G\"`"),
        (
            "[[target]]\n[target.vm]\nnum_$0cpus = 1",
            "num_cpus",
            "`vm.num_cpus` · integer, 1 to 255 · default `2`",
        ),
        (
            "[[target]]\nvm.mounts.\"/x\".host_$0path = 1",
            "host_path",
            "`vm.mounts.\"<guest path>\".host_path` · path of a directory · required",
        ),
        (
            "[[target]]\nvm.mounts = { \"/x\" = { wri$0table = true } }",
            "writable",
            "`vm.mounts.\"<guest path>\".writable` · boolean · default `false`",
        ),
        ("[[target]]\nenv.RU$0ST = \"1\"", "RUST", "The environment variable `RUST`"),
        ("[[target]]\n[target.env]\n\"A $0B\" = \"1\"", "\"A B\"", "The environment variable `A B`"),
        (
            "[[target]]\nar$0ch = 1",
            "arch",
            "`arch` · string: x86_64, aarch64, riscv64, s390x · default: the host's",
        ),
        ("[[target]]\ntime$0out = 1", "timeout", "`timeout` · time · default: no limit"),
    ] {
        assert_eq!(title(text), (range.to_owned(), first.to_owned()), "{text}");
    }
}

#[test]
fn a_mount_shows_where_it_is_in_the_guest() {
    for (name, shown) in [
        ("\"/mnt/data\"", "`/mnt/data` in the guest"),
        ("\"/mnt/../data//x/\"", "`/data/x` in the guest"),
        ("data", "`/data` in the guest"),
        ("\"\\u002fx\"", "`/x` in the guest"),
        ("'/a`b'", "``/a`b`` in the guest"),
    ] {
        let text = format!("[[target]]\nvm.mounts.{name}$0.host_path = \"x\"");
        assert_eq!(title(&text).1, shown, "{name}");
    }
}

#[test]
fn an_unknown_key_is_told_what_it_may_have_meant() {
    for (text, shown) in [
        ("[[target]]\nna$0em = 1", "`naem`: unknown key; it has no effect. Did you mean `name`?"),
        ("[[target]]\nka$0rgs = 1", "`kargs`: unknown key; it has no effect. Did you mean `kernel_args`?"),
        (
            "[[target]]\nmem$0ory = 1",
            "`memory`: unknown key; it has no effect. Did you mean `vm.memory`? It belongs into `[target.vm]`.",
        ),
        (
            "na$0me = 1",
            "`name`: unknown key; it has no effect. Did you mean `name`? It belongs into `[[target]]`.",
        ),
        ("[[tar$0gets]]", "`targets`: unknown key; it has no effect. Did you mean `[[target]]`?"),
        ("[[target]]\n[target.v$0n]", "`vn`: unknown key; it has no effect. Did you mean `vm`?"),
        ("[[target]]\nfoo$0bar = 1", "`foobar`: unknown key; it has no effect."),
        ("[[target]]\nvm.cp$0us = 1", "`cpus`: unknown key; it has no effect. Did you mean `num_cpus`?"),
        (
            "[[target]]\nvm.mounts.\"/x\".sou$0rce = 1",
            "`source`: unknown key; it has no effect. Did you mean `host_path`?",
        ),
        ("[[target]]\n\"a`b\\n# $0x\" = 1", "``a`b # x``: unknown key; it has no effect."),
        ("[[target]]\n\"[a](https://$0b)\" = 1", "`[a](https://b)`: unknown key; it has no effect."),
    ] {
        assert_eq!(shown_first(text), shown, "{text}");
    }
}

#[track_caller]
fn shown_first(text: &str) -> String {
    shown(text).unwrap_or_else(|| panic!("nothing at {text}")).1
}

#[test]
fn a_key_of_an_unknown_table_says_nothing() {
    for text in ["[[target]]\nfoo.na$0me = 1", "[foo]\nna$0me = 1", "[[target]]\nfoo = { na$0me = 1 }"] {
        assert_eq!(shown(text), None, "{text}");
    }
}

#[test]
fn a_kernel_shows_its_version_and_what_else_is_known() {
    check(
        "[[target]]\nkernel = \"./bz$0Image\"",
        expect![[r#"
            ["./bzImage"]
            **Linux** `6.1.0-44-amd64`
            * `bzImage`
            * `modules in /lib/modules/6.1.0-44-amd64`

            `/project/bzImage`"#]],
    );
}

#[test]
fn a_kernel_is_found_however_its_path_is_written() {
    for path in [
        "\"bzImage\"",
        "'./bzImage'",
        "\"/project/bzImage\"",
        "\".//bzImage\"",
        "\"\"\"bzImage\"\"\"",
        "\"bz\\u0049mage\"",
    ] {
        let text = format!("[[target]]\nkernel = $0{path}");
        assert_eq!(title(&text), (path.to_owned(), "**Linux** `6.1.0-44-amd64`".to_owned()));
    }
}

#[test]
fn a_kernel_that_cannot_be_booted_says_why() {
    check(
        "[[target]]\nkernel = \"brok$0en\"",
        expect![[r#"
            ["broken"]
            **Cannot be booted:** `it is an ELF file, but no kernel`

            `/project/broken`"#]],
    );
}

#[test]
fn a_kernel_of_which_nothing_is_known_shows_its_path() {
    check(
        "[[target]]\nkernel = \"../x$0\"",
        expect![[r#"
            ["../x"]
            `/project/../x`"#]],
    );
}

#[test]
fn paths_show_where_they_lead() {
    for (text, wanted) in [
        ("image = \"a$0.qcow2\"", Some("`/project/a.qcow2`")),
        ("rootfs = \"/$0\"", Some("`/`")),
        ("vm.mounts.\"/x\".host_path = \"./d$0\"", Some("`/project/d`")),
        ("qemu_command = \"./q$0\"", Some("`/project/q`")),
        ("qemu_command = \"q$0\"", None),
        ("image = \"$0\"", None),
        ("kernel = \"$0\"", None),
        ("image = \"a`b$0\"", Some("``/project/a`b``")),
        ("image = \"![x](https://e$0.org/x.png)\"", Some("`/project/![x](https:/e.org/x.png)`")),
        ("image = '<script>$0'", Some("`/project/<script>`")),
        ("image = \"a\\n\\n# b$0\"", Some("`/project/a  # b`")),
    ] {
        assert_eq!(
            shown(&format!("[[target]]\n{text}")).map(|(_, shown)| shown).as_deref(),
            wanted,
            "{text}"
        );
    }
}

#[test]
fn a_size_is_told_in_bytes() {
    for (value, wanted) in [
        ("4G", Some("4 GiB = 4,294,967,296 bytes")),
        ("512M", Some("512 MiB = 536,870,912 bytes")),
        ("512", Some("512 MiB = 536,870,912 bytes")),
        ("1.5g", Some("1.5 GiB = 1,610,612,736 bytes")),
        ("1024M", Some("1 GiB = 1,073,741,824 bytes")),
        ("1T", Some("1 TiB = 1,099,511,627,776 bytes")),
        ("100000K", Some("97.65 MiB = 102,400,000 bytes")),
        ("4GB", None),
        ("", None),
    ] {
        let text = format!("[[target]]\nvm.memory = \"$0{value}\"");
        assert_eq!(shown(&text).map(|(_, shown)| shown).as_deref(), wanted, "{value}");
    }
}

#[test]
fn a_time_is_told_in_words() {
    for (value, wanted) in [
        ("90s", Some("1 min 30 s")),
        ("5m", Some("5 min")),
        ("1h30m", Some("1 h 30 min")),
        ("1.5s", Some("1 s 500 ms")),
        ("500ms", Some("500 ms")),
        ("36h", Some("1 d 12 h")),
        ("0.1ms", Some("less than 1 ms")),
        ("90", None),
        ("soon", None),
    ] {
        for key in ["timeout", "boot_timeout"] {
            let text = format!("[[target]]\n{key} = \"$0{value}\"");
            assert_eq!(shown(&text).map(|(_, shown)| shown).as_deref(), wanted, "{value}");
        }
    }
}

#[test]
fn kernel_parameters_tell_what_becomes_of_writes() {
    for (value, wanted) in [
        ("quiet", "Writes to `rootfs` succeed in the guest and are thrown away."),
        ("quiet ro", "`ro`: writes to `rootfs` fail."),
        ("ro rw", "`rw`: writes to `rootfs` reach the host."),
    ] {
        assert_eq!(shown_first(&format!("[[target]]\nkernel_args = \"$0{value}\"")), wanted);
    }
}

#[test]
fn a_dash_is_a_shell() {
    assert_eq!(shown_first("[[target]]\ncommand = \"-$0\""), "An interactive shell.");
    assert_eq!(shown("[[target]]\ncommand = \"ls$0\""), None);
}

#[test]
fn nothing_is_shown_where_nothing_is_meant() {
    for text in [
        "",
        "$0",
        "# name$0",
        "[[target]]$0",
        "[[target]]\n$0\n",
        "[[target]]\nname = \"na$0me\"",
        "[[target]]\nuefi = tr$0ue",
        "[[target]]\nfoo = \"ba$0r\"",
        "[[target]]\nvm.extra_args = [\"-de$0vice\"]",
        "[[target]]\ncommand = '''\nname$0 = 1\n'''",
        "[[target]]\nvm.memory = 4$0",
        "[[target]]\nname = \"a\" # name$0",
        "[[target]]\nvm.$0",
    ] {
        assert_eq!(shown(text), None, "{text}");
    }
}
