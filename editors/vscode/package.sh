#!/usr/bin/env bash
# Packages the extension for this platform, with the server inside.
# usage: editors/vscode/package.sh [FILE.vsix]
# VMTEST_BIN names a server that is built already; without it a release build is made.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

case $(uname -m) in
x86_64) platform=linux-x64 ;;
aarch64) platform=linux-arm64 ;;
*) echo "package.sh: VS Code has no platform for $(uname -m)" >&2; exit 1 ;;
esac
if [ -z "${VMTEST_BIN:-}" ]; then
    (cd "$root" && cargo build --release -p vmtest)
    VMTEST_BIN=${CARGO_TARGET_DIR:-$root/target}/release/vmtest
fi
out=${1:-$root/target/vmtest-$platform.vsix}
out=$(mkdir -p "$(dirname "$out")" && cd "$(dirname "$out")" && pwd)/$(basename "$out")

# shellcheck source-path=SCRIPTDIR
. ./prepare.sh
# A new file: one that is being run cannot be written to.
mkdir -p server
strip -o server/vmtest.new "$VMTEST_BIN" || cp "$VMTEST_BIN" server/vmtest.new
chmod 755 server/vmtest.new
mv server/vmtest.new server/vmtest
url=$(node -p 'require("./package.json").repository.url')
npx --no-install vsce package --no-dependencies --target "$platform" --out "$out" \
    --baseContentUrl "$url/blob/HEAD/editors/vscode" --baseImagesUrl "$url/raw/HEAD/editors/vscode"
