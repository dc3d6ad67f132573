#!/usr/bin/env bash
# Installs the system packages that vmtest, its demo and its tests need; only what is missing.
# usage: scripts/setup.sh demo|test|node|vscode
set -euo pipefail

# program to look for, and Debian's package for it
demo="qemu-system-x86_64=qemu-system-x86 qemu-ga=qemu-guest-agent depmod=kmod cc=build-essential"
test="$demo git=git python3=python3 ip=iproute2 setpriv=util-linux unshare=util-linux"
# What scripts/images.sh builds disk images with; a path is looked for as it is.
test="$test busybox=busybox-static cpio=cpio sfdisk=fdisk mke2fs=e2fsprogs mcopy=mtools mformat=mtools qemu-img=qemu-utils
    mmdebstrap=mmdebstrap grub-mkimage=grub-common /usr/lib/grub/i386-pc/boot.img=grub-pc-bin
    /usr/lib/grub/x86_64-efi/kernel.img=grub-efi-amd64-bin /usr/share/OVMF/OVMF_CODE_4M.fd=ovmf"
node="npm=npm"
# The editor itself is built in part where it is installed.
vscode="chromium=chromium make=make g++=g++ python3=python3 unzip=unzip"

case ${1:-} in
demo) wanted=$demo ;;
test) wanted=$test ;;
node) wanted=$node ;;
vscode) wanted=$vscode ;;
*) echo "usage: scripts/setup.sh demo|test|node|vscode" >&2; exit 2 ;;
esac

export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
packages=
for entry in $wanted; do
    command -v "${entry%%=*}" >/dev/null || [ -e "${entry%%=*}" ] || packages+=" ${entry#*=}"
done

if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null; then
        cat >&2 <<'TEXT'
setup.sh: this machine has no apt-get. Install QEMU, its guest agent, kmod and a C compiler yourself:
  dnf install qemu-kvm qemu-guest-agent kmod gcc
  pacman -S qemu-system-x86 qemu-guest-agent kmod gcc
  zypper install qemu-x86 qemu-guest-agent kmod gcc
TEXT
        echo "setup.sh: Debian's names of what is missing:$packages" >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup.sh: run this as root, or install sudo; missing:$packages" >&2; exit 1; }
        sudo=sudo
    fi
    echo "setup.sh: installing$packages" >&2
    # Lists may be missing or old; a machine without a network may still have the packages.
    $sudo apt-get -qq update || true
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages >&2
elif command -v apt-get >/dev/null && [ -z "$(apt-cache policy linux-image-amd64 2>/dev/null | sed -n 's/.*Candidate: \([0-9].*\)/\1/p')" ]; then
    # The stock kernel is fetched with the package lists.
    $([ "$(id -u)" -eq 0 ] || echo sudo) apt-get -qq update
fi

if ! command -v cargo >/dev/null; then
    echo "setup.sh: there is no cargo. Debian 13 and later: apt install rustup && rustup default stable; elsewhere see https://rustup.rs" >&2
    exit 1
fi
