#!/usr/bin/env bash
# Unpacks what the Neovim tests need under target/editors/neovim, without root and without installing anything:
#   nvim-0.10    the oldest Neovim that the plugin supports
#   nvim-newest  the newest one in the package sources
#   stylua, luacheck  the formatter and the linter
# Each has its wrapper in target/editors/neovim/bin.
# usage: tests/editors/neovim/fetch.sh nvim-0.10|nvim-newest|stylua|luacheck...
set -euo pipefail

. "$(dirname "$0")/../../../scripts/suite.sh"
home=$top/target/editors/neovim
mkdir -p "$home/bin"

for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || {
        complain "this needs $program. Elsewhere, put your own programs as nvim-0.10, nvim-newest, stylua and luacheck into $home/bin"
        exit 1
    }
done

neovim() {
    local name=$1 suite=$2
    local root=$home/$name
    apt_of_suite "$suite"
    local version
    version=$(version_of neovim)
    if [ "$(cat "$root/.version" 2>/dev/null)" = "$version" ]; then return; fi
    complain "unpacking Neovim $version as $name"
    unpack "$root" '^(lib|lua-|neovim|patchelf$)' neovim patchelf
    own_libraries "$root" usr/bin/nvim
    cat >"$home/bin/$name" <<TEXT
#!/bin/sh
export VIMRUNTIME='$root/usr/share/nvim/runtime'
exec '$root/usr/bin/nvim' "\$@"
TEXT
    chmod +x "$home/bin/$name"
    "$home/bin/$name" --version | head -n 1 >&2
    rm -r "$root/.packages"
    echo "$version" >"$root/.version"
}

# The linter is written in Lua, and the oldest Neovim runs it: its suite's library for files is made for that one.
luacheck() {
    local root=$home/luacheck
    if [ -e "$root/.complete" ]; then return; fi
    "$0" nvim-0.10
    complain "unpacking luacheck"
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
    rm -r "$root/.packages"
    touch "$root/.complete"
}

# The formatter has no package; cargo builds it. Unoptimized, it takes one minute instead of four, and formats what is
# here in less than a second all the same.
stylua() {
    local root=$home/stylua version=2.6.0
    if [ "$(cat "$root/.version" 2>/dev/null)" = "$version" ]; then return; fi
    complain "building stylua $version"
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
    *) complain "there is no $name"; exit 2 ;;
    esac
done
