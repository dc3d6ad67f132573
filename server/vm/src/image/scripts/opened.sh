# Waits until a process has opened the line, or never will. Arguments: the process, the line.
tries=500
until [ "$(readlink "/proc/$1/fd/0")" = "$2" ]; do
    tries=$((tries - 1))
    [ -d "/proc/$1" ] && [ "$tries" -gt 0 ] || exit 0
done
