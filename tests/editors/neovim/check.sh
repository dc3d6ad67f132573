#!/usr/bin/env bash
# The Neovim plugin and its tests are formatted and linted.
# usage: tests/editors/neovim/check.sh [--fix]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
bin=$top/target/editors/neovim/bin
"$top/scripts/setup.sh" test
"$here/fetch.sh" stylua luacheck

check=--check
[ "${1:-}" != --fix ] || check=
# shellcheck disable=SC2086
"$bin/stylua" --config-path "$top/editors/neovim/stylua.toml" $check "$top/editors/neovim" "$here"
for folder in "$top/editors/neovim" "$here"; do
    "$bin/luacheck" --quiet --no-cache --config "$folder/.luacheckrc" "$folder"
done
bash -n "$here"/*.sh
