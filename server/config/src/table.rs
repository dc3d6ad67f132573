//! The key table: every key that a vmtest.toml may have, once.
//!
//! Checking, completion, hover, `docs/config.md` and the JSON Schema are all made from it.

use crate::key::{Applies, Default, Key, PathKind, ValueType};

/// A key that every target may have, that needs and excludes nothing, and that the original knows.
const PLAIN: Key = Key {
    path: "",
    value: ValueType::Text,
    default: Default::Absent,
    applies: Applies::All,
    needs: &[],
    excludes: &[],
    original: true,
    aliases: &[],
    example: "",
    doc: "",
};

/// Every key, each after the table that it stands in.
pub const KEYS: &[Key] = &[
    Key {
        path: "target",
        value: ValueType::Tables,
        default: Default::Required,
        example: "[[target]]",
        doc: "A thing to test: a system to boot and a command to run in it. Write one `[[target]]` for each; \
              there must be at least one.",
        ..PLAIN
    },
    Key {
        path: "target.name",
        value: ValueType::NonEmptyText,
        default: Default::Required,
        aliases: &["title", "id"],
        example: "\"linux 6.1\"",
        doc: "What the target is called in every report, in the editor, and by `vmtest -f`. Two targets of one \
              name are accepted, with a warning: nobody could tell their results apart.",
        ..PLAIN
    },
    Key {
        path: "target.kernel",
        value: ValueType::Path(PathKind::Any),
        applies: Applies::Kernel,
        excludes: &["kernel_url", "kernel_package", "image", "image_url"],
        aliases: &["vmlinuz", "bzimage", "kernel_path"],
        example: "\"./bzImage\"",
        doc: "The kernel to boot: a `bzImage`, `vmlinuz`, `vmlinux` or `Image` file, or a kernel build tree. \
              A relative path starts at the directory of vmtest.toml.\n\nA target has exactly one of `kernel`, \
              `kernel_url`, `kernel_package`, `image` and `image_url`.",
        ..PLAIN
    },
    Key {
        path: "target.kernel_url",
        value: ValueType::Url,
        applies: Applies::Kernel,
        excludes: &["kernel", "kernel_package", "image", "image_url"],
        original: false,
        example: "\"https://example.org/bzImage-v6.1\"",
        doc: "Where to download the kernel: `https://`, `http://` or `file:///`. It is fetched once, unpacked when \
              it is packed by gzip, xz or zstd, kept in the cache and used again without a network; what the \
              server has later is not asked. With `kernel_sha256` it is verified before it is kept. Modules do not \
              come along: use a kernel that has what it needs built in, or `kernel_package`.",
        ..PLAIN
    },
    Key {
        path: "target.kernel_sha256",
        value: ValueType::Sha256,
        applies: Applies::Kernel,
        needs: &["kernel_url"],
        original: false,
        aliases: &["sha256", "checksum", "kernel_checksum"],
        example: "\"b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c\"",
        doc: "The SHA-256 that the file behind `kernel_url` must have, as `sha256sum` prints it for the file as it is \
              served, before it is unpacked. A download that differs is thrown away and the target does not run.",
        ..PLAIN
    },
    Key {
        path: "target.kernel_package",
        value: ValueType::Package,
        applies: Applies::Kernel,
        excludes: &["kernel", "kernel_url", "image", "image_url"],
        original: false,
        aliases: &["package"],
        example: "\"linux-image-amd64\"",
        doc: "A kernel package of the distribution; `vmtest kernels` lists them. It is fetched by apt, once, and \
              unpacked into the cache, not installed; it brings its modules along, and root is not needed. \
              `vmtest kernels fetch` brings it up to date. Other package clients than apt are not supported: unpack \
              the package yourself, and name its folder with `kernel`.",
        ..PLAIN
    },
    Key {
        path: "target.kernel_args",
        value: ValueType::KernelArgs,
        applies: Applies::Kernel,
        needs: &["kernel", "kernel_url", "kernel_package"],
        aliases: &["kargs", "cmdline", "append", "kernel_cmdline", "kernel_params"],
        example: "\"loglevel=7 ro\"",
        doc: "Appended to the kernel command line as it is.\n\nThe last `ro` or `rw` in it decides what the guest \
              may do to `rootfs`. Without either, an overlay covers it: writes succeed and are thrown away, \
              and the host cannot be harmed. With `ro`, writes fail. With `rw`, writes reach the host.",
        ..PLAIN
    },
    Key {
        path: "target.rootfs",
        value: ValueType::Path(PathKind::Directory),
        default: Default::Value("\"/\""),
        applies: Applies::Kernel,
        aliases: &["root"],
        example: "\"./rootfs\"",
        doc: "The directory of the host that the guest sees as its `/`. With the default, the guest has the \
              host's own programs and files. An image brings its own root, so the key has no effect there. A \
              relative path starts at the directory of vmtest.toml.",
        ..PLAIN
    },
    Key {
        path: "target.image",
        value: ValueType::Path(PathKind::File),
        applies: Applies::Image,
        excludes: &["kernel", "kernel_url", "kernel_package", "image_url"],
        aliases: &["disk", "drive", "hda", "qcow2"],
        example: "\"./fedora38.qcow2\"",
        doc: "A bootable disk image with qemu-guest-agent inside, raw or qcow2; docs/images.md says what else it \
              needs. A run writes into a temporary overlay: the file itself is never changed. A relative path \
              starts at the directory of vmtest.toml.",
        ..PLAIN
    },
    Key {
        path: "target.image_url",
        value: ValueType::Url,
        applies: Applies::Image,
        excludes: &["kernel", "kernel_url", "kernel_package", "image"],
        original: false,
        example: "\"https://example.org/fedora38.qcow2\"",
        doc: "Where to download the disk image: `https://`, `http://` or `file:///`. It is fetched once, unpacked \
              when it is packed by gzip, xz or zstd, kept in the cache and used again without a network; what the \
              server has later is not asked. With `image_sha256` it is verified before it is kept.",
        ..PLAIN
    },
    Key {
        path: "target.image_sha256",
        value: ValueType::Sha256,
        applies: Applies::Image,
        needs: &["image_url"],
        original: false,
        aliases: &["image_checksum"],
        example: "\"7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730\"",
        doc: "The SHA-256 that the file behind `image_url` must have, as `sha256sum` prints it for the file as it is \
              served, before it is unpacked. A download that differs is thrown away and the target does not run.",
        ..PLAIN
    },
    Key {
        path: "target.uefi",
        value: ValueType::Bool,
        default: Default::Value("false"),
        applies: Applies::Image,
        needs: &["image", "image_url"],
        aliases: &["efi"],
        example: "true",
        doc: "Boot the image with UEFI firmware (OVMF) in place of the BIOS.",
        ..PLAIN
    },
    Key {
        path: "target.arch",
        value: ValueType::Choice(&["x86_64", "aarch64", "riscv64", "s390x"]),
        default: Default::Depends("the host's"),
        aliases: &["architecture", "machine"],
        example: "\"aarch64\"",
        doc: "The guest's architecture, by QEMU's name for it. One that is not the host's is emulated, and \
              needs a `rootfs` of that architecture. A name that vmtest does not know is a warning, and an \
              error once that target is asked to run.",
        ..PLAIN
    },
    Key {
        path: "target.kvm_cpu_args",
        value: ValueType::NonEmptyText,
        default: Default::Value("\"host\""),
        aliases: &["cpu"],
        example: "\"host,-avx512f\"",
        doc: "QEMU's `-cpu` when the guest runs under KVM. Without KVM, and for a foreign `arch`, vmtest \
              chooses the processor itself and the key has no effect.",
        ..PLAIN
    },
    Key {
        path: "target.qemu_command",
        value: ValueType::Path(PathKind::Program),
        default: Default::Depends("`qemu-system-<arch>`"),
        aliases: &["qemu", "qemu_binary", "qemu_path"],
        example: "\"qemu-kvm\"",
        doc: "The program to start in place of `qemu-system-<arch>`. A name is looked up in `PATH`; one with a \
              `/` in it is a path, and a relative path starts at the directory of vmtest.toml. \
              A wrapper should become QEMU (`exec`): when vmtest is killed by SIGKILL, a QEMU that is its child goes on.",
        ..PLAIN
    },
    Key {
        path: "target.command",
        value: ValueType::NonEmptyText,
        default: Default::Required,
        aliases: &["cmd", "run", "script", "exec"],
        example: "\"cargo test\"",
        doc: "What to run in the guest, by `bash -c` (by `sh` where there is no bash). Its exit status is the \
              target's. A `-` alone is an interactive shell.\n\nThe project's directory, where vmtest.toml \
              lies, is writable in the guest, at `/mnt/vmtest` and, when `rootfs` is `/`, at its own path. The \
              command starts at its own path; with another `rootfs`, and in an image, in `/`.",
        ..PLAIN
    },
    Key {
        path: "target.timeout",
        value: ValueType::Duration,
        default: Default::Depends("no limit"),
        original: false,
        aliases: &["time_limit", "max_time"],
        example: "\"5m\"",
        doc: "The longest time that the command may take, in `ms`, `s`, `m`, `h` and `d`: `\"90s\"`, \
              `\"1h30m\"`. After it the target has timed out: exit status 124.",
        ..PLAIN
    },
    Key {
        path: "target.boot_timeout",
        value: ValueType::Duration,
        default: Default::Depends("by accelerator"),
        original: false,
        example: "\"2m\"",
        doc: "The longest time until the command starts. Without the key, vmtest waits longer for an emulated \
              guest than for one under KVM.",
        ..PLAIN
    },
    Key {
        path: "target.env",
        value: ValueType::Map,
        original: false,
        aliases: &["environment", "environ"],
        example: "{ RUST_BACKTRACE = \"1\" }",
        doc: "Environment variables for the command, on top of what `inherit_env` lets through.",
        ..PLAIN
    },
    Key {
        path: "target.env.*",
        original: false,
        example: "\"1\"",
        doc: "The value of one variable. The name must not be empty or have a `=` in it.",
        ..PLAIN
    },
    Key {
        path: "target.inherit_env",
        value: ValueType::BoolOrNames,
        default: Default::Depends("`true` for kernels, `false` for images"),
        original: false,
        aliases: &["pass_env"],
        example: "[\"HOME\", \"CI\"]",
        doc: "Which of the host's environment variables the command gets: all (`true`), none (`false`), or \
              those named, where they are set.",
        ..PLAIN
    },
    Key {
        path: "target.fail_on_kernel_bug",
        value: ValueType::Bool,
        default: Default::Value("true"),
        original: false,
        example: "false",
        doc: "Whether a panic, oops, BUG, KASAN report or lockup on the console fails the target, whatever the \
              command's exit status was: exit status 70.",
        ..PLAIN
    },
    Key {
        path: "target.vm",
        value: ValueType::Table,
        aliases: &["qemu_options"],
        example: "[target.vm]",
        doc: "The virtual machine's hardware and shares.",
        ..PLAIN
    },
    Key {
        path: "target.vm.num_cpus",
        value: ValueType::Integer(1, 255),
        default: Default::Value("2"),
        aliases: &["cpus", "smp", "num_cpu", "vcpus", "cores", "ncpus"],
        example: "4",
        doc: "How many processors the guest has.",
        ..PLAIN
    },
    Key {
        path: "target.vm.memory",
        value: ValueType::Memory,
        default: Default::Value("\"4G\""),
        aliases: &["mem", "ram", "memory_size"],
        example: "\"512M\"",
        doc: "How much memory the guest has: a number with `B`, `K`, `M`, `G` or `T`. A bare number is MiB. At \
              least 32M.",
        ..PLAIN
    },
    Key {
        path: "target.vm.mounts",
        value: ValueType::Map,
        aliases: &["mount", "shares", "volumes"],
        example: "{ \"/mnt/data\" = { host_path = \"./data\" } }",
        doc: "More directories of the host to share, by their path in the guest.",
        ..PLAIN
    },
    Key {
        path: "target.vm.mounts.*",
        value: ValueType::Table,
        example: "{ host_path = \"./data\" }",
        doc: "One share: the name is an absolute path in the guest. Not `/`, not over `/mnt/vmtest`, and not in \
              `/proc`, `/sys` or `/dev`.",
        ..PLAIN
    },
    Key {
        path: "target.vm.mounts.*.host_path",
        value: ValueType::Path(PathKind::Directory),
        default: Default::Required,
        aliases: &["source", "src", "path", "host"],
        example: "\"./data\"",
        doc: "The directory of the host. A relative path starts at the directory of vmtest.toml.",
        ..PLAIN
    },
    Key {
        path: "target.vm.mounts.*.writable",
        value: ValueType::Bool,
        default: Default::Value("false"),
        aliases: &["write", "rw"],
        example: "true",
        doc: "Whether the guest's writes reach the host. Without it they fail.",
        ..PLAIN
    },
    Key {
        path: "target.vm.bios",
        value: ValueType::Path(PathKind::File),
        default: Default::Depends("the distribution's OVMF"),
        applies: Applies::Image,
        needs: &["uefi"],
        aliases: &["firmware", "ovmf"],
        example: "\"/usr/share/OVMF/OVMF_CODE.fd\"",
        doc: "The firmware file for `uefi`. A relative path starts at the directory of vmtest.toml.",
        ..PLAIN
    },
    Key {
        path: "target.vm.extra_args",
        value: ValueType::Strings,
        default: Default::Value("[]"),
        aliases: &["qemu_args", "args", "extra"],
        example: "[\"-device\", \"virtio-rng-pci\"]",
        doc: "Appended to QEMU's arguments as they are, one string for one argument. A target that uses it runs \
              without QEMU's seccomp sandbox.",
        ..PLAIN
    },
    Key {
        path: "target.vm.network",
        value: ValueType::Bool,
        default: Default::Value("false"),
        original: false,
        aliases: &["net", "networking", "internet"],
        example: "true",
        doc: "Whether the guest gets a user-mode network card. In a kernel target, address, routes and name \
              server are set up too; an image does that by itself.",
        ..PLAIN
    },
];
