#!/usr/bin/env bash
# Installs QEMU and its guest agent where they are missing; for UEFI the firmware, too.
set -euo pipefail
setup=$GITHUB_ACTION_PATH/../../../scripts/setup.sh
"$setup" run
if [ "$INPUT_UEFI" = true ]; then "$setup" uefi; fi
