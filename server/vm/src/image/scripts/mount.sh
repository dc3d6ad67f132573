# Mounts the shares. Arguments: 9p or virtiofs; then tag, place, and ro, rw or overlay of each.
# Covers $1, which cannot be written, on $2.
cover() {
    modprobe overlay >/dev/null 2>&1
    layer=$(mktemp -d /run/vmtest.XXXXXX) && mount -t tmpfs -o mode=0755 tmpfs "$layer" &&
        mkdir "$layer/upper" "$layer/work" &&
        mount -t overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" overlay "$2"
}
kind=$1
shift
if [ "$kind" = 9p ]; then
    modprobe -a 9pnet_virtio 9p
else
    modprobe virtiofs
fi >/dev/null 2>&1
grep -qw "$kind" /proc/filesystems || {
    echo "its kernel has no $kind" >&2
    exit 1
}
while [ $# -gt 0 ]; do
    # A root that cannot be written gets its places on a file system in memory.
    mkdir -p "$2" 2>/dev/null || { mount -t tmpfs tmpfs /mnt && mkdir -p "$2"; } || exit
    options=ro
    [ "$3" = rw ] && options=rw
    if [ "$kind" = 9p ]; then
        # What the guest cannot write is cached without asking the host again.
        cache=mmap
        [ "$3" = rw ] || cache=loose
        options=$options,trans=virtio,version=9p2000.L,msize=512000,cache=$cache
    fi
    # A device that was just plugged takes the kernel a moment.
    tries=10
    until said=$(mount -t "$kind" -o "$options" "$1" "$2" 2>&1); do
        tries=$((tries - 1))
        if [ "$kind" = 9p ] || [ "$tries" -eq 0 ]; then
            echo "$2 cannot be mounted over $kind: $said" >&2
            exit 1
        fi
        sleep 1
    done
    if [ "$3" = overlay ] && ! cover "$2" "$2" >/dev/null 2>&1; then
        echo "the image's kernel has no overlayfs: $2 is read-only"
    fi
    shift 3
done
