# Sourced by run.sh and check.sh: the packages of the extension, which are also those of its tests.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
extension=$root/editors/vscode
tests=$root/tests/editors/vscode
if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; then
    echo "the tools of the VS Code extension need Node 20.19 or newer, and npm" >&2
    exit 1
fi
if ! cmp -s "$extension/package-lock.json" "$extension/node_modules/.locked"; then
    (cd "$extension" && npm ci --no-fund --no-audit)
    cp "$extension/package-lock.json" "$extension/node_modules/.locked"
fi
ln -sfn "$extension/node_modules" "$tests/node_modules"
