# Becomes a shell on a serial line. Arguments: the line, the window's lines and columns, variables.
# The first terminal that the leader of a session opens becomes the session's own.
exec setsid sh -c '
line=$1 rows=$2 cols=$3
shift 3
exec <>"$line" >&0 2>&1
stty sane rows "$rows" cols "$cols"
cd /
exec env -- "$@" "$(command -v bash || command -v sh)"
' vmtest "$@"
