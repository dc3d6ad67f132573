# Arguments: the line, the window's lines and columns.
stty rows "$2" cols "$3" <"$1"
