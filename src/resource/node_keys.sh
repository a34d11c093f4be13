# What a node holds in $1 of keys that never leave it: the names of the keys that root alone can read, and the requests
# and certificates beside them. Never a key itself.
for f in "$1"/*.key; do
    [ "$(stat -c '%a %u' "$f" 2>/dev/null)" = "600 0" ] || continue
    f=${f##*/}
    echo "key ${f%.key}"
done
for f in "$1"/*.csr "$1"/*.crt "$1"/sa.pub; do
    [ -f "$f" ] || continue
    echo "file ${f##*/}"
    cat "$f"
done
