#!/usr/bin/env bash
# Puts `vmtest` on the PATH of this and later steps, and its path into the step's output `vmtest`: the one that is named, the
# one of a release, or one built from the source of this action.
set -euo pipefail
top=$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)

fail() {
    echo "::error title=vmtest::$1"
    exit 1
}

download() {
    local repository name folder=$RUNNER_TEMP/vmtest-release
    repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' "$top/Cargo.toml")
    name=vmtest-$(uname -m)-linux
    rm -rf "$folder"
    mkdir -p "$folder"
    cd "$folder"
    local file
    for file in "$name.tar.gz" SHA256SUMS; do
        curl --fail --silent --show-error --location --retry 3 --output "$file" "$repository/releases/download/$INPUT_VERSION/$file" ||
            fail "cannot download $file of release $INPUT_VERSION"
    done
    grep -F " $name.tar.gz" SHA256SUMS | sha256sum --check --strict --status || fail "$name.tar.gz is not what SHA256SUMS says"
    tar -xzf "$name.tar.gz" --strip-components 1 "$name/vmtest"
    vmtest=$folder/vmtest
}

build() {
    if [ ! -x "$BUILT/bin/vmtest" ]; then
        command -v cargo >/dev/null || fail "there is no cargo on this runner to build vmtest with: give \`version\` or \`binary\`"
        # Nothing is written beside the source.
        cargo install --locked --quiet --path "$top/server/cli" --root "$BUILT" --target-dir "$RUNNER_TEMP/vmtest-target"
        rm -rf "$RUNNER_TEMP/vmtest-target"
    fi
    vmtest=$BUILT/bin/vmtest
}

if [ -n "$INPUT_BINARY" ]; then
    vmtest=$(cd "$GITHUB_WORKSPACE" && realpath -e -- "$INPUT_BINARY") || fail "there is no $INPUT_BINARY"
elif [ -n "$INPUT_VERSION" ]; then
    download
else
    build
fi
"$vmtest" --version
echo "vmtest=$vmtest" >>"$GITHUB_OUTPUT"
dirname "$vmtest" >>"$GITHUB_PATH"
