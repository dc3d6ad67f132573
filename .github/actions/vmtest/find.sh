#!/usr/bin/env bash
# Writes to the step's outputs:
#   source     names the source of this action's vmtest by what is in it
#   built      where a vmtest that is built from it lies
#   wanted     names what the run may download from URLs; empty when that is nothing
#   downloads  where vmtest keeps it
set -euo pipefail
top=$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)

source=$(cd "$top" && find Cargo.toml Cargo.lock server -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
wanted=
# A file may name downloads in any of its targets.
if [ -n "$INPUT_CONFIG" ]; then
    wanted=$(cd "$GITHUB_WORKSPACE" && sha256sum <"$INPUT_CONFIG")
elif [[ -n $INPUT_IMAGE_URL$INPUT_KERNEL_URL || $INPUT_IMAGE$INPUT_KERNEL == *://* ]]; then
    wanted=$(printf '%s\0' "$INPUT_IMAGE" "$INPUT_IMAGE_URL" "$INPUT_KERNEL" "$INPUT_KERNEL_URL" | sha256sum)
fi
{
    echo "source=${source%% *}"
    echo "built=$RUNNER_TEMP/vmtest-built"
    echo "wanted=${wanted%% *}"
    echo "downloads=${XDG_CACHE_HOME:-$HOME/.cache}/vmtest/downloads"
} >>"$GITHUB_OUTPUT"
