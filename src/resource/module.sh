# A module counts as present when it is loaded or built in; overlay shows in /proc/filesystems and br_netfilter in
# /proc/sys/net/bridge even where no module tree is installed.
m=$1
u=$(printf %s "$m" | tr - _)
if [ -d "/sys/module/$u" ] || grep -qw "$m" /proc/filesystems; then echo present
elif [ "$u" = br_netfilter ] && [ -d /proc/sys/net/bridge ]; then echo present
elif grep -q "/$m\.ko" "/lib/modules/$(uname -r)/modules.builtin" 2>/dev/null; then echo present
elif modprobe -n -q "$m" 2>/dev/null; then echo loadable
else echo missing
fi
