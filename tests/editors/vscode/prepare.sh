# Sourced by run.sh and check.sh: the packages of the extension, which are also those of its tests.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
extension=$root/editors/vscode
tests=$root/tests/editors/vscode
# shellcheck source-path=SCRIPTDIR
. "$extension/prepare.sh"
ln -sfn "$extension/node_modules" "$tests/node_modules"
