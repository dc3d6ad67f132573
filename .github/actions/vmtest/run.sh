#!/usr/bin/env bash
# Runs what the inputs say. Each reaches vmtest as one argument, as it is: nothing here, and no file, is made of them. The target
# that they describe is a file of one empty target on standard input, so the project is the working directory.
set -euo pipefail

fail() {
    echo "::error title=vmtest::$1"
    exit 78
}

arguments=()
text() { arguments+=(--set-text "$1=$2"); }
option() { if [ -n "$2" ]; then arguments+=("$1" "$2"); fi; }

# A key of vmtest.toml, from an input that may be empty.
key() { if [ -n "$2" ]; then text "$1" "$2"; fi; }

# What may be a URL as well as a path, as in danobi/vmtest-action.
path_or_url() { if [[ $2 == *://* ]]; then text "$1_url" "$2"; else key "$1" "$2"; fi; }

one_target() {
    [ -n "$INPUT_COMMAND" ] || fail "give \`command\` with a kernel or an image, or \`config\`"
    [ -z "$INPUT_FILTER$INPUT_PARTITION" ] || fail "\`filter\` and \`partition\` choose targets of a \`config\`"
    text name "${INPUT_NAME:-vmtest-action target}"
    path_or_url image "$INPUT_IMAGE"
    key image_url "$INPUT_IMAGE_URL"
    key image_sha256 "$INPUT_IMAGE_SHA256"
    if [ "$INPUT_UEFI" = true ]; then arguments+=(--set uefi=true); fi
    path_or_url kernel "$INPUT_KERNEL"
    key kernel_url "$INPUT_KERNEL_URL"
    key kernel_sha256 "$INPUT_KERNEL_SHA256"
    key kernel_package "$INPUT_KERNEL_PACKAGE"
    key kernel_args "$INPUT_KERNEL_ARGS"
    text command "$INPUT_COMMAND"
}

targets_of_file() {
    local name
    for name in NAME IMAGE IMAGE_URL IMAGE_SHA256 KERNEL KERNEL_URL KERNEL_SHA256 KERNEL_PACKAGE KERNEL_ARGS COMMAND; do
        name=INPUT_$name
        [ -z "${!name}" ] || fail "\`config\` names the targets: leave out \`$(tr '[:upper:]' '[:lower:]' <<<"${name#INPUT_}")\`"
    done
    [ "$INPUT_UEFI" != true ] || fail "\`config\` names the targets: leave out \`uefi\`"
    option --filter "$INPUT_FILTER"
    option --partition "$INPUT_PARTITION"
}

environment() {
    local line
    while IFS= read -r line; do
        line=${line%$'\r'}
        [ -n "$line" ] || continue
        [[ $line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || fail "\`env\` has a line that is not NAME=VALUE"
        text "env.${line%%=*}" "${line#*=}"
    done <<<"$INPUT_ENV"
}

# The files by which a step tells the runner something. They lie outside the workspace, where writes would be lost.
command_files() {
    local name file folder shared=
    for name in GITHUB_OUTPUT GITHUB_ENV GITHUB_PATH GITHUB_STEP_SUMMARY GITHUB_STATE; do
        file=${!name:-}
        [ -n "$file" ] || continue
        folder=$(dirname "$file")
        [[ $folder != *[\'$'\n']* ]] || fail "the folder of $name has a name that cannot be shared with a guest"
        text "env.$name" "$file"
        [ "$folder" != "$shared" ] || continue
        text "vm.mounts.'$folder'.host_path" "$folder"
        arguments+=(--set "vm.mounts.'$folder'.writable=true")
        shared=$folder
    done
}

environment
if [ "$INPUT_UNTRUSTED" = true ]; then arguments+=(--untrusted); else command_files; fi
option --timeout "$INPUT_TIMEOUT"
option --jobs "$INPUT_JOBS"
option --junit "$INPUT_JUNIT"
if [ -n "$INPUT_CONFIG" ]; then
    targets_of_file
    exec "$VMTEST" --config "$INPUT_CONFIG" "${arguments[@]}"
fi
one_target
exec "$VMTEST" --config - "${arguments[@]}" < <(printf '[[target]]\n')
