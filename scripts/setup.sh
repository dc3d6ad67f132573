#!/usr/bin/env bash
# Installs the system packages that vmtest, its demo and its tests need; only what is missing.
# usage: scripts/setup.sh run|uefi|demo|test|node|vscode|release
set -euo pipefail

# program or file to look for, and Debian's package for it
case $(uname -m) in
aarch64) qemu="qemu-system-aarch64=qemu-system-arm" firmware="/usr/share/AAVMF=qemu-efi-aarch64" ;;
*) qemu="qemu-system-x86_64=qemu-system-x86" firmware="/usr/share/OVMF=ovmf" ;;
esac
run="$qemu qemu-ga=qemu-guest-agent"
demo="$run depmod=kmod cc=build-essential"
test="$demo git=git python3=python3 ip=iproute2 setpriv=util-linux unshare=util-linux"
# The BPF example and the GitHub Action, which are among the tests.
test+=" clang=clang /usr/include/bpf/libbpf.h=libbpf-dev curl=curl shellcheck=shellcheck"
# What scripts/images.sh builds disk images with.
test+=" busybox=busybox-static cpio=cpio sfdisk=fdisk mke2fs=e2fsprogs mcopy=mtools mformat=mtools qemu-img=qemu-utils
    mmdebstrap=mmdebstrap grub-mkimage=grub-common /usr/lib/grub/i386-pc/boot.img=grub-pc-bin
    /usr/lib/grub/x86_64-efi/kernel.img=grub-efi-amd64-bin /usr/share/OVMF/OVMF_CODE_4M.fd=ovmf"
node="npm=npm"
release="cc=build-essential musl-gcc=musl-tools git=git"
# The editor itself is built in part where it is installed.
vscode="chromium=chromium make=make g++=g++ python3=python3 unzip=unzip"

case ${1:-} in
run) wanted=$run ;;
uefi) wanted=$firmware ;;
demo) wanted=$demo ;;
test) wanted=$test ;;
node) wanted=$node ;;
vscode) wanted=$vscode ;;
release) wanted=$release ;;
*) echo "usage: scripts/setup.sh run|uefi|demo|test|node|vscode|release" >&2; exit 2 ;;
esac

export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing() {
    for entry in $wanted; do
        command -v "${entry%%=*}" >/dev/null || [ -e "${entry%%=*}" ] || printf ' %s' "${entry#*=}"
    done
}
packages=$(missing)

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
    apt_install() {
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
    }
    # shellcheck disable=SC2086
    apt_install $packages
    # A tool of another version of QEMU goes when QEMU comes.
    removed=$(missing)
    # shellcheck disable=SC2086
    [ -z "$removed" ] || apt_install $removed
fi
# That is all for a vmtest which is there.
case $1 in run | uefi) exit ;; esac

if [ -z "$packages" ] && command -v apt-get >/dev/null && [ -z "$(apt-cache policy linux-image-amd64 2>/dev/null | sed -n 's/.*Candidate: \([0-9].*\)/\1/p')" ]; then
    # The stock kernel is fetched with the package lists.
    $([ "$(id -u)" -eq 0 ] || echo sudo) apt-get -qq update
fi

if ! command -v cargo >/dev/null; then
    echo "setup.sh: there is no cargo. Debian 13 and later: apt install rustup && rustup default stable; elsewhere see https://rustup.rs" >&2
    exit 1
fi
