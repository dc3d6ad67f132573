# Carries what goes through the pipes to and from the ports, until the command and all that it started have closed them.
# Arguments: the folder of the pipes; the ports for output, for errors and, if there is any, for input.
pipes=$1
cat "$pipes/stdout" >"$2" &
out=$!
cat "$pipes/stderr" >"$3" &
err=$!
[ -z "$4" ] || cat "$4" >"$pipes/stdin" &
wait "$out" "$err"
