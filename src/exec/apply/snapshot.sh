# Saves etcd's data to $1 through a member that this host reaches: beside its place first, renamed when it is whole.
umask 077
mkdir -p "$(dirname "$1")" && rm -f "$1.partial" "$1.partial.part" || exit 1
# A snapshot is one member's: of several the first that answers.
set -- "$1" $a
to=$1 all=$3
shift 3
taken=
for one in $(printf %s "$all" | tr , ' '); do
    etcdctl --endpoints "$one" "$@" snapshot save "$to.partial" >/dev/null && taken=yes && break
done
[ -n "$taken" ] || exit 1
[ "$(head -c -32 "$to.partial" | sha256sum | cut -d' ' -f1)" = "$(tail -c 32 "$to.partial" | od -An -v -tx1 | tr -d ' \n')" ] || {
    rm -f "$to.partial"; echo "the snapshot's own checksum does not match" >&2; exit 1; }
sync "$to.partial" && mv -f "$to.partial" "$to"
