//! Values that open something.

use std::path::Path;

use vmtest_ide::LinkTarget;

use crate::support::{analysis, slice};

fn links(text: &str) -> Vec<(String, String)> {
    let analysis = analysis(text);
    let shown = |target: LinkTarget| match target {
        LinkTarget::File(path) => {
            assert!(Path::new(&path).is_absolute());
            path.to_str().unwrap().to_owned()
        }
        LinkTarget::Url(url) => url,
    };
    analysis
        .links()
        .into_iter()
        .map(|link| (slice(text, &link.range).to_owned(), shown(link.target)))
        .collect()
}

#[test]
fn paths_open_the_file_that_they_name() {
    for (line, range, target) in [
        ("kernel = \"./bzImage\"", "./bzImage", "/project/bzImage"),
        ("kernel = 'bzImage'", "bzImage", "/project/bzImage"),
        ("kernel = \"/boot/vmlinuz\" # x", "/boot/vmlinuz", "/boot/vmlinuz"),
        ("image = \"../a b.qcow2\"", "../a b.qcow2", "/project/../a b.qcow2"),
        ("rootfs = \"/\"", "/", "/"),
        ("vm.bios = \"fw\"", "fw", "/project/fw"),
        ("[target.vm]\nbios = \"fw\"", "fw", "/project/fw"),
        ("vm = { bios = \"fw\" }", "fw", "/project/fw"),
        ("vm.mounts.\"/x\".host_path = \"d\"", "d", "/project/d"),
        ("[target.vm.mounts]\n\"/x\" = { host_path = \"d\" }", "d", "/project/d"),
        ("qemu_command = \"./qemu\"", "./qemu", "/project/qemu"),
        ("kernel = \"b\\u007a\"", "b\\u007a", "/project/bz"),
        ("kernel = \"\"\"bz\"\"\"", "bz", "/project/bz"),
        ("kernel = \"bz", "bz", "/project/bz"),
    ] {
        assert_eq!(links(&format!("[[target]]\n{line}")), [(range.to_owned(), target.to_owned())], "{line}");
    }
}

#[test]
fn pages_open_in_a_browser() {
    for (line, url) in [
        ("kernel_url = \"https://example.org/a\"", "https://example.org/a"),
        ("image_url = \"HTTP://example.org/a?b#c\"", "HTTP://example.org/a?b#c"),
    ] {
        assert_eq!(links(&format!("[[target]]\n{line}")), [(url.to_owned(), url.to_owned())], "{line}");
    }
}

#[test]
fn nothing_else_is_a_link() {
    for line in [
        "name = \"./x\"",
        "command = \"./x\"",
        "command = \"https://example.org\"",
        "qemu_command = \"qemu-kvm\"",
        "kernel = \"\"",
        "kernel = \"\"\"x\ny\"\"\"",
        "kernel = \"a\\u0000b\"",
        "kernel = 1",
        "kernel = [\"x\"]",
        "kernel = ",
        "kernel_url = \"file:///etc/passwd\"",
        "kernel_url = \"command:x\"",
        "kernel_url = \"javascript:alert(1)\"",
        "kernel_url = \"vscode://x\"",
        "kernel_url = \"https://\"",
        "kernel_url = \"https://a b\"",
        "kernel_url = \"//example.org\"",
        "foo = \"./x\"",
        "foo.kernel = \"./x\"",
        "# kernel = \"./x\" https://example.org",
        "vm.kernel = \"./x\"",
    ] {
        assert_eq!(links(&format!("[[target]]\n{line}")), [], "{line}");
    }
    assert_eq!(links("kernel = \"./x\"\n"), []);
}

#[test]
fn every_target_has_its_links_in_order() {
    let text = "[[target]]\nkernel = \"a\"\nrootfs = \"b\"\n[[target]]\nimage = \"c\"\n";
    let shown: Vec<_> = links(text).into_iter().map(|(range, _)| range).collect();
    assert_eq!(shown, ["a", "b", "c"]);
}
