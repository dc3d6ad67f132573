#!/usr/bin/env bash
# Unpacks what the Neovim tests need under target/editors/neovim, without root and without installing anything:
#   nvim-0.10    the oldest Neovim that the plugin supports
#   nvim-newest  the newest one in the package sources
#   stylua, luacheck  the formatter and the linter
# Each has its wrapper in target/editors/neovim/bin.
# usage: tests/editors/neovim/fetch.sh nvim-0.10|nvim-newest|stylua|luacheck...
set -euo pipefail

top=$(cd "$(dirname "$0")/../../.." && pwd)
home=$top/target/editors/neovim
mkdir -p "$home/bin"

for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || {
        echo "fetch.sh: this needs $program. Elsewhere, put your own programs as nvim-0.10, nvim-newest, stylua and luacheck into $home/bin" >&2
        exit 1
    }
done

# The machine's own package source with another suite, and lists and caches of its own.
apt_of_suite() {
    local suite=$1 state=$home/.apt-$1
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    if [ ! -s "$state/sources.list" ]; then
        local uri
        uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: '"$(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
        [ -n "$uri" ] || { echo "fetch.sh: run \`apt-get update\` first: no package source is known" >&2; return 1; }
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$state/sources.list"
    fi
    : >"$state/status"
    apt_options=(
        -o "Dir::Etc::SourceList=$state/sources.list" -o "Dir::Etc::SourceParts=/dev/null"
        -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o "Dir::State::Status=$state/status"
        -o "APT::Sandbox::User=" -o "Acquire::Languages=none"
    )
    # The lists of a rolling suite grow old while packages leave the archive.
    if [ -z "$(find "$state/lists" -name '*Packages*' -mtime -1 -print -quit)" ]; then
        apt-get -qq "${apt_options[@]}" update
    fi
}

# The packages whose names match a pattern, out of all that the given ones need, unpacked into a directory.
unpack() {
    local into=$1 pattern=$2 closure
    shift 2
    closure=$(apt-get "${apt_options[@]}" --no-install-recommends -s install "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p' | grep -E "$pattern")
    rm -rf "$into"
    mkdir -p "$into/.packages"
    # shellcheck disable=SC2086
    (cd "$into/.packages" && apt-get -qq "${apt_options[@]}" download $closure)
    local package
    for package in "$into"/.packages/*.deb; do dpkg-deb -x "$package" "$into"; done
    rm -rf "$into/.packages"
}

# A Neovim of another suite runs on that suite's own libraries. Only its own: nothing is put into the environment that
# the programs which it starts would inherit.
neovim() {
    local name=$1 suite=$2
    local root=$home/$name
    apt_of_suite "$suite"
    local version
    version=$(apt-cache "${apt_options[@]}" policy neovim | sed -n 's/^ *Candidate: //p')
    if [ "$(cat "$root/.version" 2>/dev/null)" = "$version" ]; then return; fi
    echo "fetch.sh: unpacking Neovim $version as $name" >&2
    unpack "$root" '^(lib|lua-|neovim|patchelf$)' neovim patchelf
    local libraries loader
    libraries=$(find "$root" -name libc.so.6 -printf '%h\n' | head -n 1)
    loader=$(find "$root" -name 'ld-linux-*' | head -n 1)
    local path=$libraries:$root/usr/lib/$(basename "$libraries")
    "$loader" --library-path "$path" "$root/usr/bin/patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$path" "$root/usr/bin/nvim"
    cat >"$home/bin/$name" <<TEXT
#!/bin/sh
export VIMRUNTIME='$root/usr/share/nvim/runtime'
exec '$root/usr/bin/nvim' "\$@"
TEXT
    chmod +x "$home/bin/$name"
    "$home/bin/$name" --version | head -n 1 >&2
    echo "$version" >"$root/.version"
}

# The linter is written in Lua, and the oldest Neovim runs it: its suite's library for files is made for that one.
luacheck() {
    local root=$home/luacheck
    if [ -e "$root/.complete" ]; then return; fi
    "$0" nvim-0.10
    echo "fetch.sh: unpacking luacheck" >&2
    apt_of_suite trixie
    unpack "$root" '^lua-' lua-check
    local native
    native=$(dirname "$(find "$root" -path '*/lua/5.1/lfs.so')")
    cat >"$root/main.lua" <<TEXT
package.path = '$root/usr/share/lua/5.1/?.lua;$root/usr/share/lua/5.1/?/init.lua;' .. package.path
package.cpath = '$native/?.so;' .. package.cpath
require('luacheck.main')
TEXT
    cat >"$home/bin/luacheck" <<TEXT
#!/bin/sh
exec '$home/bin/nvim-0.10' --clean --headless -l '$root/main.lua' "\$@"
TEXT
    chmod +x "$home/bin/luacheck"
    touch "$root/.complete"
}

# The formatter has no package; cargo builds it. Unoptimized, it takes one minute instead of four, and formats what is
# here in less than a second all the same.
stylua() {
    local root=$home/stylua version=2.6.0
    if [ "$(cat "$root/.version" 2>/dev/null)" = "$version" ]; then return; fi
    echo "fetch.sh: building stylua $version" >&2
    env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug \
        --no-default-features --features luajit --root "$root" --version "$version" stylua
    ln -sf "$root/bin/stylua" "$home/bin/stylua"
    echo "$version" >"$root/.version"
}

for name in "$@"; do
    apt_options=()
    # What the user put there is the user's.
    if [ -x "$home/bin/$name" ] && [ ! -d "$home/$name" ]; then continue; fi
    case $name in
    nvim-0.10) neovim nvim-0.10 trixie ;;
    nvim-newest) neovim nvim-newest sid ;;
    luacheck) luacheck ;;
    stylua) stylua ;;
    *) echo "fetch.sh: there is no $name" >&2; exit 2 ;;
    esac
done
