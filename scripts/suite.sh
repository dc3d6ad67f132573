# Sourced by scripts that unpack packages of a distribution's suite, without root and without installing anything.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# complain WORD...
complain() { echo "$(basename "$0"): $*" >&2; }

# apt_of_suite SUITE: makes `apt_options` those for the machine's own package source with another suite, and lists and caches of
# its own.
apt_of_suite() {
    local suite=$1 state=$top/target/apt/$1
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    if [ ! -s "$state/sources.list" ]; then
        local uri
        uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: '"$(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
        [ -n "$uri" ] || { complain "run \`apt-get update\` first: no package source is known"; return 1; }
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$state/sources.list"
    fi
    : >"$state/status"
    apt_options=(
        -o "Dir::Etc::SourceList=$state/sources.list" -o "Dir::Etc::SourceParts=/dev/null"
        -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o "Dir::State::Status=$state/status"
        -o "APT::Sandbox::User=" -o "Acquire::Languages=none"
    )
    # The lists of a rolling suite grow old while packages leave the archive.
    if [ -z "$(find "$state/lists" -name '*Packages*' -mtime -1 -print -quit)" ]; then
        apt-get -qq "${apt_options[@]}" update
    fi
}

# version_of PACKAGE: the version that the suite has of it.
version_of() { apt-cache "${apt_options[@]}" policy "$1" | sed -n 's/^ *Candidate: //p'; }

# unpack INTO PATTERN PACKAGE...: the packages whose names match a pattern, out of all that the given ones need. They stay in
# INTO/.packages until all of it is done.
unpack() {
    local into=$1 pattern=$2 closure
    shift 2
    closure=$(apt-get "${apt_options[@]}" --no-install-recommends -s install "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p' | grep -E "$pattern")
    rm -rf "$into"
    mkdir -p "$into/.packages"
    # shellcheck disable=SC2086
    (cd "$into/.packages" && apt-get -qq "${apt_options[@]}" download $closure)
    local package
    for package in "$into"/.packages/*.deb; do dpkg-deb -x "$package" "$into"; done
}

# own_libraries ROOT PROGRAM...: has programs of what was unpacked (with patchelf) run on that suite's own libraries. Only they:
# nothing is put into the environment that the programs which they start would inherit.
own_libraries() {
    local root=$1 libraries loader path program
    shift
    libraries=$(find "$root" -name libc.so.6 -printf '%h\n' | head -n 1)
    loader=$(find "$root" -name 'ld-linux-*' | head -n 1)
    path=$libraries:$root/usr/lib/$(basename "$libraries")
    for program in "$@"; do
        "$loader" --library-path "$path" "$root/usr/bin/patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$path" "$root/$program"
    done
}
