use std::fs;
use std::io::Write as _;
use std::path::{Component, PathBuf};

use tempfile::TempDir;
use vmtest_fuzz::{Choices, Fuzzer};

use super::select::Why;
use super::*;
use crate::kernel::{Format, Kernel, KernelConfig};

const RELEASE: &str = "6.1.0-test";

/// An ELF object with these strings in its `.modinfo`.
pub(super) fn module(strings: &[&str]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let info: Vec<u8> = strings.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
    let (names_at, info_at) = (64, 64 + names.len());
    let sections_at = (info_at + info.len()).next_multiple_of(8);
    let mut file = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(1u16.to_le_bytes());
    file.extend(62u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [0u64, 0, sections_at as u64] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 0, 0, 64, 3, 2] {
        file.extend(half.to_le_bytes());
    }
    file.extend(names);
    file.extend(&info);
    file.resize(sections_at, 0);
    let sections = [(0u32, 0u32, 0, 0), (1, 1, info_at, info.len()), (10, 3, names_at, names.len())];
    for (name, kind, offset, size) in sections {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for word in [0u64, 0, offset as u64, size as u64, 0, 1, 0] {
            // Flags, address, offset, size, link and info, alignment, entry size.
            file.extend(word.to_le_bytes());
        }
    }
    file
}

/// Makes `lib/modules/6.1.0-test` with modules: path, and what follows `depends=`, and any softdep.
fn installed(modules: &[(&str, &str, &str)], builtin: Option<&str>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, depends, softdep) in modules {
        let (depends, softdep) = (format!("depends={depends}"), format!("softdep={softdep}"));
        let image = module(&["license=GPL", &depends, &softdep]);
        let place = dir.path().join("lib/modules").join(RELEASE).join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, packed(path, &image)).unwrap();
    }
    if let Some(builtin) = builtin {
        let place = dir.path().join("lib/modules").join(RELEASE);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("modules.builtin"), builtin).unwrap();
    }
    dir
}

fn packed(path: &str, image: &[u8]) -> Vec<u8> {
    let suffix = path.rsplit('.').next();
    if suffix == Some("xz") {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(image).unwrap();
        encoder.finish().unwrap()
    } else if suffix == Some("zst") {
        zstd::encode_all(image, 1).unwrap()
    } else if suffix == Some("gz") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(image).unwrap();
        encoder.finish().unwrap()
    } else {
        image.to_vec()
    }
}

fn open(dir: &TempDir) -> ModuleTree {
    ModuleTree::open(Origin::Host, &dir.path().join("lib/modules").join(RELEASE)).unwrap()
}

fn kernel(modules: Option<ModuleTree>, config: Option<&str>) -> Kernel {
    Kernel {
        file: PathBuf::from("vmlinuz"),
        format: Format::BzImage,
        release: RELEASE.to_owned(),
        modules,
        config: config.map(|text| KernelConfig::parse(text, None).unwrap()),
    }
}

fn names(selection: &Selection) -> Vec<&str> {
    selection.modules.iter().map(|module| module.name.as_str()).collect()
}

/// The shape of a distribution's kernel: what a run needs, and what it does not.
fn stock(suffix: &str) -> TempDir {
    let path = |path: &str| format!("kernel/{path}{suffix}");
    let files = [
        (path("drivers/virtio/virtio.ko"), "", ""),
        (path("drivers/virtio/virtio_ring.ko"), "virtio", ""),
        (path("drivers/virtio/virtio_pci_legacy_dev.ko"), "", ""),
        (path("drivers/virtio/virtio_pci_modern_dev.ko"), "", ""),
        (
            path("drivers/virtio/virtio_pci.ko"),
            "virtio_ring,virtio-pci-modern-dev,virtio_pci_legacy_dev,virtio",
            "",
        ),
        (path("drivers/virtio/virtio_mmio.ko"), "virtio,virtio_ring", ""),
        (path("drivers/char/virtio_console.ko"), "virtio,virtio_ring", ""),
        (path("drivers/char/hw_random/virtio-rng.ko"), "virtio", ""),
        (path("net/9p/9pnet.ko"), "", ""),
        (path("net/9p/9pnet_virtio.ko"), "virtio,9pnet,virtio_ring", ""),
        (path("fs/netfs/netfs.ko"), "", ""),
        (path("fs/fscache/fscache.ko"), "netfs", ""),
        (path("fs/9p/9p.ko"), "9pnet,fscache,netfs", ""),
        (path("fs/overlayfs/overlay.ko"), "", "pre: crc32c crypto-sha256 post: later"),
        (path("crypto/crc32c_generic.ko"), "", ""),
    ];
    let files: Vec<(&str, &str, &str)> =
        files.iter().map(|(path, deps, soft)| (path.as_str(), *deps, *soft)).collect();
    installed(&files, Some("kernel/drivers/virt/vmgenid.ko\n"))
}

#[test]
fn a_stock_kernel_gives_what_a_run_needs_and_nothing_else_dependencies_first() {
    for suffix in ["", ".xz", ".zst", ".gz"] {
        let dir = stock(suffix);
        let kernel = kernel(Some(open(&dir)), None);
        let needs = [
            Feature::VirtioPci.required(),
            Feature::VirtioConsole.required(),
            Feature::NineP.required(),
            Feature::Overlay.required(),
            Feature::VirtioRng.optional(),
            Feature::VmGenId.optional(),
            Feature::Virtiofs.optional(),
        ];
        let selection = select(&kernel, &needs).unwrap();
        assert_eq!(
            names(&selection),
            [
                "virtio",
                "virtio_ring",
                "virtio_pci_modern_dev",
                "virtio_pci_legacy_dev",
                "virtio_pci",
                "virtio_console",
                "9pnet",
                "netfs",
                "fscache",
                "9p",
                "9pnet_virtio",
                "overlay",
                "virtio_rng",
            ]
        );
        assert_eq!(ModInfo::read(&selection.modules[1].image).unwrap().depends, ["virtio"]);
        assert_eq!(selection.features[&Feature::NineP], FeatureState::Modules);
        assert_eq!(selection.features[&Feature::VmGenId], FeatureState::BuiltIn);
        assert_eq!(selection.features[&Feature::Virtiofs], FeatureState::Absent);
        assert!(!selection.has(Feature::Virtiofs) && selection.has(Feature::NineP));
        assert_eq!(selection.absent[0].config, "CONFIG_VIRTIO_FS");
    }
}

#[test]
fn what_a_kernel_certainly_lacks_is_named_by_its_options() {
    let kernel = kernel(None, Some("CONFIG_VIRTIO_PCI=y\nCONFIG_9P_FS=y\n# CONFIG_OVERLAY_FS is not set\n"));
    let needs = [Feature::VirtioPci.required(), Feature::NineP.required(), Feature::Overlay.required()];
    let missing = select(&kernel, &needs).unwrap_err();
    assert_eq!(missing.config_names(), ["CONFIG_NET_9P_VIRTIO", "CONFIG_OVERLAY_FS"]);
    let message = missing.to_string();
    assert!(message.contains("build it with CONFIG_NET_9P_VIRTIO=y CONFIG_OVERLAY_FS=y"), "{message}");
    assert!(message.contains(RELEASE), "{message}");
}

#[test]
fn a_module_whose_file_is_missing_says_to_install_the_modules() {
    let kernel = kernel(None, Some("CONFIG_OVERLAY_FS=m\n"));
    let missing = select(&kernel, &[Feature::Overlay.required()]).unwrap_err().to_string();
    assert!(missing.contains("`overlay.ko` is missing") && missing.contains("modules_install"), "{missing}");
}

#[test]
fn a_list_of_what_is_built_in_settles_what_is_not_a_module() {
    let dir = installed(&[], Some("kernel/fs/overlayfs/overlay.ko\n"));
    let kernel = kernel(Some(open(&dir)), None);
    let selection = select(&kernel, &[Feature::Overlay.required(), Feature::NineP.optional()]).unwrap();
    assert_eq!(selection.features[&Feature::Overlay], FeatureState::BuiltIn);
    assert_eq!(selection.features[&Feature::NineP], FeatureState::Absent);
}

#[test]
fn where_nothing_tells_a_feature_is_taken_as_present() {
    let kernel = kernel(None, None);
    let selection = select(&kernel, &[Feature::NineP.required(), Feature::Initrd.required()]).unwrap();
    assert!(selection.has(Feature::NineP) && selection.modules.is_empty());
    assert_eq!(selection.unknown().collect::<Vec<_>>(), [Feature::NineP, Feature::Initrd]);
    let config = KernelConfig::parse("CONFIG_9P_FS=y\nCONFIG_NET_9P_VIRTIO=y\n", None).unwrap();
    let missing =
        select_with_config(&kernel, Some(&config), &[Feature::NineP.required(), Feature::Initrd.required()]);
    assert_eq!(missing.unwrap_err().config_names(), ["CONFIG_BLK_DEV_INITRD"]);
}

// U2: cycles
#[test]
fn modules_that_depend_on_each_other_are_refused_with_their_circle() {
    let dir = installed(&[("overlay.ko", "a", ""), ("a.ko", "b", ""), ("b.ko", "overlay", "")], None);
    let missing = select(&kernel(Some(open(&dir)), None), &[Feature::Overlay.required()]).unwrap_err();
    assert!(missing.to_string().contains("overlay -> a -> b -> overlay"), "{missing}");
}

// U2
#[test]
fn wishes_that_come_to_nothing_do_not_take_time_without_end() {
    let vain: Vec<_> = (0..24).map(|number| format!("m{number}")).collect();
    let wishes = format!("pre: {}", vain.join(" "));
    let mut modules: Vec<_> =
        vain.iter().map(|name| (format!("{name}.ko"), "gone", wishes.as_str())).collect();
    modules.push(("overlay.ko".to_owned(), "", wishes.as_str()));
    let modules: Vec<_> = modules.iter().map(|(file, hard, soft)| (file.as_str(), *hard, *soft)).collect();
    let dir = installed(&modules, Some(""));
    let selection = select(&kernel(Some(open(&dir)), None), &[Feature::Overlay.required()]).unwrap();
    assert_eq!(names(&selection), ["overlay"]);
}

// U2
#[test]
fn a_chain_of_modules_beyond_all_measure_is_refused() {
    let names: Vec<_> = (0..5000).map(|number| format!("m{number}")).collect();
    let files: Vec<_> = names.iter().map(|name| format!("{name}.ko")).collect();
    let mut modules: Vec<_> =
        files.iter().zip(&names[1..]).map(|(file, next)| (file.as_str(), next.as_str(), "")).collect();
    modules.push(("overlay.ko", "m0", ""));
    let dir = installed(&modules, None);
    let missing = select(&kernel(Some(open(&dir)), None), &[Feature::Overlay.required()]).unwrap_err();
    assert!(missing.to_string().contains("in a row"), "{missing}");
}

#[test]
fn a_dependency_that_is_nowhere_is_named() {
    let dir = installed(&[("overlay.ko", "gone,there", "")], Some("kernel/there.ko\n"));
    let selection = select(&kernel(Some(open(&dir)), None), &[Feature::Overlay.optional()]).unwrap();
    let Why::Broken { reason } = &selection.absent[0].why else { panic!("{:?}", selection.absent) };
    assert!(reason.contains("`gone`"), "{reason}");
    assert!(selection.modules.is_empty());
}

#[test]
fn soft_dependencies_come_first_where_they_can() {
    let modules = [
        ("overlay.ko", "hard", "pre: wished circle gone post: never"),
        ("hard.ko", "", ""),
        ("wished.ko", "hard", ""),
        ("circle.ko", "overlay", ""),
        ("never.ko", "", ""),
    ];
    let dir = installed(&modules, None);
    let selection = select(&kernel(Some(open(&dir)), None), &[Feature::Overlay.required()]).unwrap();
    assert_eq!(names(&selection), ["hard", "wished", "overlay"]);
}

#[test]
fn a_module_that_cannot_be_read_is_refused() {
    let dir = installed(&[("overlay.ko.xz", "", "")], None);
    let kernel = kernel(Some(open(&dir)), None);
    fs::write(open(&dir).file("overlay").unwrap(), b"\xFD7zXZ\0 damaged").unwrap();
    let missing = select(&kernel, &[Feature::Overlay.required()]).unwrap_err().to_string();
    assert!(
        missing.contains("overlay.ko.xz") && missing.contains("install the kernel's modules again"),
        "{missing}"
    );
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let dir = installed(&[], Some(""));
    fs::write(open(&dir).dir.join("overlay.ko"), b"text").unwrap();
    let missing = select(&kernel(Some(open(&dir)), None), &[Feature::Overlay.required()]).unwrap_err();
    assert!(matches!(missing, Missing::Module(ModuleError::NotAModule { .. })), "{missing}");
}

// U2
#[test]
fn a_module_that_unpacks_to_too_much_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = dir.path().join("bomb.ko.zst");
    let file = fs::File::create(&bomb).unwrap();
    zstd::stream::copy_encode(std::io::Read::take(std::io::repeat(0), MODULE_LIMIT + 1), file, 1).unwrap();
    assert!(matches!(module_image(&bomb), Err(ModuleError::TooLarge { .. })));
}

#[test]
fn an_updated_module_comes_before_the_kernels_own() {
    let dir = installed(
        &[
            ("kernel/fs/overlay.ko", "", ""),
            ("updates/dkms/overlay.ko", "", ""),
            ("extra/overlay.ko", "", ""),
        ],
        None,
    );
    assert!(open(&dir).file("overlay").unwrap().ends_with("updates/dkms/overlay.ko"));
}

#[test]
fn a_tree_with_only_links_to_sources_tells_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sources = dir.path().join("sources");
    fs::create_dir_all(&sources).unwrap();
    fs::write(sources.join("overlay.ko"), b"").unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    std::os::unix::fs::symlink(&sources, tree.join("build")).unwrap();
    // A circle of links ends, too.
    std::os::unix::fs::symlink(&tree, tree.join("kernel")).unwrap();
    assert!(ModuleTree::open(Origin::Host, &tree).is_none());
}

#[test]
fn both_spellings_of_a_name_are_one_module() {
    let dir = installed(&[("virtio-rng.ko", "", "")], None);
    let tree = open(&dir);
    assert_eq!(tree.file("virtio_rng"), tree.file("virtio-rng"));
    assert!(tree.file("virtio_rng").is_some());
}

#[test]
fn modinfo_tells_name_dependencies_aliases_and_wishes() {
    let image =
        module(&["name=a-b", "depends=x,y-z", "alias=fs-a", "alias=b:v*", "softdep=pre: p-q post: r", "odd"]);
    let info = ModInfo::read(&image).unwrap();
    assert_eq!(info.name.as_deref(), Some("a_b"));
    assert_eq!(info.depends, ["x", "y_z"]);
    assert_eq!(info.alias, ["fs-a", "b:v*"]);
    assert_eq!(info.softdep_pre, ["p_q"]);
}

// U2
#[test]
fn any_bytes_are_read_as_a_module_with_names_that_the_kernel_has() {
    Fuzzer::new("modinfo")
        .seed(module(&["name=overlay", "depends=a,b", "softdep=pre: c", "alias=fs-x"]))
        .seed(module(&[]))
        .pieces([
            ".modinfo", "depends=", "name=", "softdep=", "pre:", "post:", "alias=", ",", "\0", "-", "=",
            "../",
        ])
        .run(|bytes| {
            let Some(info) = ModInfo::read(bytes) else { return };
            let names = info.name.iter().chain(&info.depends).chain(&info.softdep_pre);
            for name in names {
                assert!(!name.contains(['-', '\0']), "{name:?}");
            }
            assert!(info.depends.iter().all(|name| !name.is_empty() && !name.contains(',')));
        });
}

/// Names of modules in the trees that are made up: what a run needs, and what that may depend on.
const MADE_UP: [&str; 12] = ["overlay", "a", "b", "c", "d-e", "f", "g", "h", "i", "j", "gone", "9p"];

// U2: cycles
#[test]
fn any_dependencies_end_in_an_order_in_which_they_can_be_loaded() {
    let of_names = |choices: &mut Choices<'_>, between: &str| {
        let count = choices.below(4);
        (0..count).map(|_| *choices.of_all(&MADE_UP)).collect::<Vec<_>>().join(between)
    };
    Fuzzer::new("modules").run(|input| {
        let mut choices = Choices::new(input);
        let modules: Vec<_> = MADE_UP
            .iter()
            .filter_map(|name| {
                let is_there = *name != "gone" && choices.below(8) > 0;
                let (pre, hard) = (of_names(&mut choices, " "), of_names(&mut choices, ","));
                is_there.then(|| (format!("{name}.ko"), hard, format!("pre: {pre} post: a")))
            })
            .collect();
        let modules: Vec<_> =
            modules.iter().map(|(file, hard, soft)| (file.as_str(), hard.as_str(), soft.as_str())).collect();
        let builtin = format!("kernel/{}.ko\n", choices.of_all(&MADE_UP));
        let dir = installed(&modules, Some(&builtin));
        let tree = open(&dir);
        let _ = select(&kernel(Some(tree.clone()), None), &[Feature::Overlay.required()]);
        let optional = [Feature::Overlay.optional(), Feature::NineP.optional()];
        let selection = select(&kernel(Some(tree.clone()), None), &optional).unwrap();
        for (at, module) in selection.modules.iter().enumerate() {
            let before = &selection.modules[..at];
            let is_before = |name: &str| before.iter().any(|earlier| earlier.name == module_name(name));
            assert!(!is_before(&module.name), "{} comes twice", module.name);
            for needed in ModInfo::read(&module.image).unwrap().depends {
                assert!(is_before(&needed) || tree.is_builtin(&needed) == Some(true), "{needed} is missing");
            }
        }
    });
}

#[test]
fn any_list_of_modules_names_files_inside_the_tree_only() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/fs")).unwrap();
    for file in ["tree/fs/a.ko", "tree/b.ko", "outside.ko"] {
        fs::write(dir.path().join(file), b"").unwrap();
    }
    let pieces =
        ["fs/a.ko\n", "fs/a.o\n", "kernel/", "../outside.o\n", "/", "..", "b.o", "\n", "\r", ".ko", "\0"];
    Fuzzer::new("module-lists").seed("kernel/fs/a.ko\nb.o\n").pieces(pieces).run(|text| {
        let tree = dir.path().join("tree");
        fs::write(tree.join("modules.order"), text).unwrap();
        fs::write(tree.join("modules.builtin"), text).unwrap();
        for origin in [Origin::BuildTree, Origin::Host] {
            let tree = ModuleTree::open(origin, &tree).unwrap();
            for (name, file) in tree.files() {
                assert!(!name.is_empty() && !name.contains('-'));
                assert!(file.components().all(|part| matches!(part, Component::Normal(_))), "{file:?}");
            }
        }
    });
}
