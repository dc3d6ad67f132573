# An agent may have been started with no path at all; NixOS has its programs in the last two.
for place in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin /run/wrappers/bin /run/current-system/sw/bin; do
    case ":$PATH:" in
    *":$place:"*) ;;
    *) PATH=${PATH:+$PATH:}$place ;;
    esac
done
export PATH
