#!/usr/bin/env bash
# Builds what a release consists of, for this machine's architecture, under target/release-files; publishes nothing.
#   vmtest-<arch>-linux.tar.gz   the static binary, with licence and documentation
#   vmtest-<platform>.vsix       the VS Code extension with that binary inside
#   vmtest-neovim.tar.gz         the Neovim plugin
#   SHA256SUMS                   of all of them
# usage: scripts/release.sh [binary|vsix|neovim|sums]...
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
arch=$(uname -m)
target=$arch-unknown-linux-musl
build=${CARGO_TARGET_DIR:-$top/target}
files=$top/target/release-files
binary=$build/$target/release/vmtest

# An archive that is the same whenever and by whomever it is made.
archive() {
    local name=$1 folder=$2
    tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -cf - "$name" |
        gzip -n >"$files/$name.tar.gz"
}

build_binary() {
    scripts/setup.sh release
    rustup target add "$target"
    # C code of libraries is compiled against the same C library as the rest.
    env "CC_${target//-/_}=musl-gcc" cargo build --release --locked --target "$target" -p vmtest
    # A loader's name in the file would mean that it needs one.
    if LC_ALL=C readelf --program-headers "$binary" | grep -q INTERP; then
        echo "release.sh: $binary is not static" >&2
        exit 1
    fi
    "$binary" --version
}

pack_binary() {
    local name=vmtest-$arch-linux work
    work=$(mktemp -d)
    mkdir -p "$work/$name"
    strip -o "$work/$name/vmtest" "$binary"
    cp -r LICENSE README.md CHANGELOG.md docs "$work/$name"
    archive "$name" "$work"
    rm -rf "$work"
}

pack_neovim() {
    local work
    work=$(mktemp -d)
    mkdir -p "$work/vmtest-neovim"
    # What is not in the repository is not in the plugin.
    git archive HEAD:editors/neovim | tar -xf - -C "$work/vmtest-neovim"
    cp LICENSE "$work/vmtest-neovim"
    archive vmtest-neovim "$work"
    rm -rf "$work"
}

pack_vsix() {
    local platform=x64
    [ "$arch" = x86_64 ] || platform=arm64
    VMTEST_BIN=$binary editors/vscode/package.sh "$files/vmtest-linux-$platform.vsix"
}

mkdir -p "$files"
[ $# -gt 0 ] || set -- binary vsix neovim sums
for part in "$@"; do
    case $part in
    binary) build_binary && pack_binary ;;
    vsix) pack_vsix ;;
    neovim) pack_neovim ;;
    sums) (cd "$files" && rm -f SHA256SUMS && sha256sum -- * >SHA256SUMS && cat SHA256SUMS) ;;
    *) echo "release.sh: there is no part called $part" >&2; exit 2 ;;
    esac
done
