#!/usr/bin/env bash
# Tests the Neovim plugin in real Neovims, the oldest that it supports and the newest there is, with the real server; some
# tests boot a real virtual machine.
# usage: tests/editors/neovim/run.sh [words that the names of the tests to run contain]
#   VMTEST_BIN  the vmtest to test; built when it is not set
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
bin=$top/target/editors/neovim/bin

"$top/scripts/setup.sh" test
"$here/fetch.sh" nvim-0.10 nvim-newest
"$top/scripts/kernels.sh" stable
if [ -z "${VMTEST_BIN:-}" ]; then
    (cd "$top" && cargo build -p vmtest)
    VMTEST_BIN=${CARGO_TARGET_DIR:-$top/target}/debug/vmtest
fi
VMTEST_BIN=$(realpath "$VMTEST_BIN")
export VMTEST_BIN VMTEST_KERNELS="${VMTEST_KERNELS:-$top/target/kernels}" VMTEST_TOP="$top"
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

(cd "$top" && cargo build -p vmtest-tests --bin clean-run)
clean=${CARGO_TARGET_DIR:-$top/target}/debug/clean-run

status=0
for nvim in nvim-0.10 nvim-newest; do
    # Every wait has a limit of its own. Should one be forgotten, there is still an end.
    VMTEST_NVIM=$bin/$nvim "$clean" -- timeout --kill-after=10 1800 "$bin/$nvim" --clean --headless -l "$here/driver.lua" "$nvim" "$*" || status=1
done
exit $status
