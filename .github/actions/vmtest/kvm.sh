#!/usr/bin/env bash
# Lets this user use KVM where the runner has it, and says whether that is so. What a run really used is in its log, with the
# reason where it is not KVM, and in the job's summary.
set -euo pipefail
device=/dev/kvm
if [ ! -e $device ]; then
    echo "vmtest: KVM: no. This runner has no $device: guests are emulated, which is much slower."
    exit
fi
if [ ! -w $device ] && command -v sudo >/dev/null; then
    # This user only, and until the machine restarts.
    sudo -n chown "$(id -u)" $device || true
fi
if [ -w $device ]; then
    echo "vmtest: KVM: yes. $device can be used."
else
    echo "vmtest: KVM: no. This user may not use $device and cannot change that: guests are emulated, which is much slower."
fi
