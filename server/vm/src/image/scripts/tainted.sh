echo "tainted $(cat /proc/sys/kernel/tainted)"
