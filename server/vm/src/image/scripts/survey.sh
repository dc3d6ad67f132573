# Says what there is for the command's input and output, and makes pipes for them. Through a pipe, because a port can be opened
# once only, and who writes to /dev/stderr opens it again.
echo "tainted $(cat /proc/sys/kernel/tainted)"
for folder in /run /tmp /dev/shm; do
    pipes=$(mktemp -d "$folder/vmtest.XXXXXX" 2>/dev/null) || continue
    mkfifo "$pipes/stdin" "$pipes/stdout" "$pipes/stderr" 2>/dev/null || continue
    echo "pipes $pipes"
    break
done
for port in /sys/class/virtio-ports/*; do
    [ -r "$port/name" ] && read -r name <"$port/name" || continue
    device=/dev/${port##*/}
    case $name in
    org.vmtest.*) [ -c "$device" ] && echo "${name#org.vmtest.} $device" ;;
    esac
done
[ -c /dev/ttyS1 ] && echo "terminal /dev/ttyS1"
exit 0
