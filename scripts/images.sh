#!/usr/bin/env bash
# Builds bootable disk images under target/images from the distribution's packages, without root.
#   small.raw     busybox, bash and the real guest agent under the stable kernel; boots by BIOS and by UEFI
#   small.qcow2   the same, in QEMU's own format
#   systemd.qcow2 a minimal installation of the distribution with systemd, under the same kernel; its root is read-only, as that of
#                 a distribution that is replaced as a whole
# usage: scripts/images.sh [small|systemd]...
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
images=${VMTEST_IMAGES:-$top/target/images}
kernels=${VMTEST_KERNELS:-$top/target/kernels}
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Where the partitions are, in sectors of 512 bytes.
core_start=2048
esp_start=4096
esp_size=64M

# What the machine, its shares and the root of an installation need of the kernel's modules.
modules=(
    drivers/virtio drivers/block/virtio_blk.ko drivers/char/virtio_console.ko
    fs/9p fs/fscache fs/netfs net/9p fs/fuse drivers/net/virtio_net.ko drivers/net/net_failover.ko net/core/failover.ko
    fs/ext4 fs/jbd2 fs/mbcache.ko lib/crc16.ko lib/libcrc32c.ko crypto/crc32c_generic.ko arch/x86/crypto/crc32c-intel.ko
)

# A program with the libraries that it is linked to.
add_program() {
    local root=$1 program=$2 library
    mkdir -p "$root/bin"
    cp -L "$program" "$root/bin/"
    for library in $(ldd "$program" | grep -o '/[^ ]*'); do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
}

small_root() {
    local root=$1 release=$2
    mkdir -p "$root"/{bin,sbin,proc,sys,dev,run,tmp,mnt,etc,root,var,usr/bin,usr/sbin,lib,lib64}
    cp "$(command -v busybox)" "$root/bin/busybox"
    local applet
    for applet in $(busybox --list | grep -vx busybox); do
        ln -sf busybox "$root/bin/$applet"
    done
    ln -sf /bin/busybox "$root/sbin/modprobe"
    add_program "$root" "$(command -v bash)"
    add_program "$root" "$(command -v qemu-ga)"
    add_modules "$root" "$release"
    echo "root:x:0:0:root:/root:/bin/sh" >"$root/etc/passwd"
    install -m 755 "$top/scripts/images/init" "$top/scripts/images/pivot" "$root/"
}

add_modules() {
    local root=$1 release=$2 tree=lib/modules/$2
    mkdir -p "$root/$tree"
    (cd "$kernels/stable/$tree" && cp -r --parents modules.builtin* modules.order "${modules[@]/#/kernel/}" "$root/$tree/")
    depmod -b "$root" "$release"
}

# A disk that starts by BIOS and by UEFI: both find the kernel on the one FAT file system. Its first process is a file of the small
# root; the last partition holds a file of our own, or nothing.
disk() {
    local first=$1 root=${2:-}
    local where='search --no-floppy --file --set=root /vmlinuz'
    local start="linux /vmlinuz console=ttyS0 loglevel=7 rdinit=/$first; initrd /initrd; boot"
    echo "$where; $start" | tr ';' '\n' >"$work/grub.cfg"
    local grub_modules="part_gpt fat search search_fs_file linux normal"
    # shellcheck disable=SC2086
    grub-mkimage -O x86_64-efi -p /grub -c "$work/grub.cfg" -o "$work/bootx64.efi" $grub_modules
    # shellcheck disable=SC2086
    grub-mkimage -O i386-pc -p /grub -c "$work/grub.cfg" -o "$work/core.img" biosdisk $grub_modules
    small_root "$work/root" "$release"
    (cd "$work/root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/initrd"

    local size=1048576
    [ -z "$root" ] || size=$(stat -c %s "$root")
    rm -f "$work/disk" "$work/esp"
    truncate -s $((size + 72 * 1048576)) "$work/disk"
    sfdisk --quiet "$work/disk" <<TABLE
label: gpt
start=$core_start, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=$esp_start, size=$esp_size, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
size=$((size / 512))
TABLE
    install_grub "$work/disk" "$work/core.img"
    truncate -s "$esp_size" "$work/esp"
    mformat -i "$work/esp" -F ::
    mmd -i "$work/esp" ::/EFI ::/EFI/BOOT
    mcopy -i "$work/esp" "$work/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
    mcopy -i "$work/esp" "$kernels/stable/boot/vmlinuz" "$work/initrd" ::/
    dd if="$work/esp" of="$work/disk" bs=1M seek=2 conv=notrunc,sparse status=none
    [ -z "$root" ] || dd if="$root" of="$work/disk" bs=1M seek=66 conv=notrunc,sparse status=none
    qemu-img convert -q -f raw -O qcow2 "$work/disk" "$work/qcow2"
    chmod 644 "$work/disk" "$work/qcow2"
}

small() {
    disk init
    mv "$work/disk" "$images/small.raw"
    mv "$work/qcow2" "$images/small.qcow2"
}

systemd() {
    [ -x "$(command -v mmdebstrap)" ] || { echo "images.sh: install mmdebstrap" >&2; return 1; }
    local suite options=()
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    for what in doc man locale; do
        options+=("--dpkgopt=path-exclude=/usr/share/$what/*")
    done
    mkdir -p "$work/modules"
    add_modules "$work/modules" "$release"
    # In an ordinary user's namespace its root is somebody else, who needs a place to write.
    chmod 755 "$work"
    install -d -m 1777 "$work/out"
    # All that is done to its root is done while it has its owners; without what is mounted in it.
    mmdebstrap --quiet --variant=minbase --include=systemd-sysv,udev,dbus,qemu-guest-agent,kmod "${options[@]}" \
        --customize-hook="cp -r '$work/modules/lib/modules' \"\$1/lib/\"" \
        --customize-hook="cp -ax \"\$1\" '$work/out/tree'" \
        --customize-hook="mke2fs -q -t ext4 -d '$work/out/tree' '$work/out/installation' 400M" \
        --customize-hook="rm -rf '$work/out/tree'" \
        "$suite" /dev/null
    disk pivot "$work/out/installation"
    mv "$work/qcow2" "$images/systemd.qcow2"
}

is_newer() {
    local file=$1 than
    for than in "$0" "$top"/scripts/images/*; do
        [ "$file" -nt "$than" ] || return 1
    done
}

# The boot sector and the core behind it, each told where the rest is: at 0x5c and 0x1f4, in sectors.
install_grub() {
    python3 - "$1" "$2" "$core_start" /usr/lib/grub/i386-pc/boot.img <<'PYTHON'
import struct, sys
disk, core, start, boot = sys.argv[1], bytearray(open(sys.argv[2], "rb").read()), int(sys.argv[3]), open(sys.argv[4], "rb").read()
core[0x1F4:0x1FC] = struct.pack("<Q", start + 1)
with open(disk, "r+b") as disk:
    # The table of partitions, behind these bytes, stays.
    disk.write(boot[:0x5C] + struct.pack("<QB", start, 0xFF) + boot[0x65:0x1B8])
    disk.seek(start * 512)
    disk.write(core)
PYTHON
}

mkdir -p "$images"
work=$(mktemp -d "$images/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT
[ -e "$kernels/stable/.complete" ] || "$top/scripts/kernels.sh" stable
release=$(ls "$kernels/stable/lib/modules")
[ $# -gt 0 ] || set -- small systemd
for name in "$@"; do
    is_newer "$images/$name.qcow2" && continue
    echo "images.sh: building $name" >&2
    case $name in
    small) small ;;
    systemd) systemd ;;
    *) echo "images.sh: there is no image called $name" >&2; exit 2 ;;
    esac
done
