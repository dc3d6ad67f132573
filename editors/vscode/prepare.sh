# Sourced, with `root` set: Node on PATH, and the extension's packages as the lock file says, once for each state of it.
. "$root/scripts/node.sh"
(
    cd "$root/editors/vscode"
    if ! cmp -s package-lock.json node_modules/.locked; then
        npm ci --no-fund --no-audit
        cp package-lock.json node_modules/.locked
    fi
)
