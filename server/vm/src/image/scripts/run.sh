# Becomes the command. Arguments: the folder of the pipes, or nothing for the agent to collect the output; whether it has input;
# the command, or nothing for a shell that reads its input; variables.
pipes=$1 input=$2 script=$3
shift 3
shell=$(command -v bash || command -v sh)
# Each waits for the other end: nothing is written before somebody reads.
if [ "$input" = yes ]; then
    exec <"$pipes/stdin"
else
    exec </dev/null
fi
[ -z "$pipes" ] || exec >"$pipes/stdout" 2>"$pipes/stderr"
cd /
if [ -n "$script" ]; then
    exec env -- "$@" "$shell" -c "$script"
fi
exec env -- "$@" "$shell"
