#!/usr/bin/env bash
# Types, lints and formatting of the VS Code extension and of its tests.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/prepare.sh"
for part in "$extension" "$tests"; do
    cd "$part"
    node_modules/.bin/tsc --noEmit
    node_modules/.bin/eslint .
    node_modules/.bin/prettier --check --log-level warn .
done
