# Certificates of a host that `provision` made, never their keys: $1 their directory, then their names. The clock is the
# host's own.
d=$1
shift
echo "now=$(date +%s)"
for k in "$@"; do
    [ "$(stat -c '%a %u' "$d/$k.key" 2>/dev/null)" = "600 0" ] && echo "key=$k"
    echo "cert=$k"
    cat "$d/$k.crt" 2>/dev/null
done
