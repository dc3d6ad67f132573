#!/usr/bin/env bash
# Unpacks a later suite's QEMU and virtiofsd, without root and without installing anything. Both are in the folder's usr/bin, and
# run on that suite's libraries, so the folder cannot be moved.
# usage: scripts/qemu.sh [folder, else target/qemu/newer]
set -euo pipefail

. "$(dirname "$0")/suite.sh"
suite=trixie
root=$(realpath -m "${1:-$top/target/qemu/newer}")

# A release's QEMU hardly changes: one that is there will do.
if [ -s "$root/.version" ]; then exit; fi
# What the user put there is the user's.
if [ -d "$root/usr" ] && [ ! -e "$root/.packages" ]; then exit; fi
for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || {
        complain "this needs $program. Elsewhere, put a newer QEMU with its firmware and a newer virtiofsd under $root/usr"
        exit 1
    }
done

apt_options=()
apt_of_suite "$suite"
version=$(version_of qemu-system-x86)
complain "unpacking QEMU $version"
unpack "$root" '^(lib|qemu-system|seabios$|virtiofsd$|patchelf$)' qemu-system-x86 virtiofsd patchelf
ln -s ../libexec/virtiofsd "$root/usr/bin/virtiofsd"
own_libraries "$root" usr/bin/qemu-system-x86_64 usr/libexec/virtiofsd
"$root/usr/bin/qemu-system-x86_64" --version | head -n 1 >&2
"$root/usr/bin/virtiofsd" --version | head -n 1 >&2
rm -r "$root/.packages"
echo "$version" >"$root/.version"
