# apply:runtime-settings
# Gives containerd the configuration $3 and the unit $4 (mode try), gives it back what it had (back), or forgets that
# (done). $2 keeps it.
export PATH=$PATH:/usr/local/bin
mode=$1 kept=$2 config=/etc/containerd/config.toml unit=/etc/systemd/system/containerd.service
umask 077
put() { cp -- "$1" "$2.provision-partial" && chown 0:0 "$2.provision-partial" && chmod 644 "$2.provision-partial" && sync "$2.provision-partial" && mv -f "$2.provision-partial" "$2"; }
# It answers, and its part for Kubernetes did not fail for what its configuration says.
up() {
    systemctl daemon-reload || return 1
    systemctl -q enable containerd
    systemctl reset-failed containerd 2>/dev/null
    systemctl restart containerd || return 1
    n=0
    while [ $n -lt 30 ]; do
        systemctl -q is-active containerd || return 1
        case $(timeout 10 ctr plugins ls 2>/dev/null | grep '^io.containerd.grpc.v1 *cri ') in
        *" ok"*) return 0 ;;
        *" error"*) return 1 ;;
        esac
        n=$((n + 1))
        sleep 1
    done
    return 1
}
case $mode in
try)
    # Killed from here on, the next run knows that all of it has to be done again, and what was there before.
    if [ ! -e "$kept" ]; then
        rm -rf "$kept.partial" && mkdir -p "$kept.partial" || exit 1
        for f in "$config" "$unit"; do
            [ ! -e "$f" ] || { cp -- "$f" "$kept.partial/" && sync "$kept.partial/${f##*/}"; } || exit 1
        done
        mv "$kept.partial" "$kept" || exit 1
    fi
    put "$3" "$config" && put "$4" "$unit" || exit 1
    up && exit 0
    journalctl --no-pager -q -n 8 -o cat -u containerd 2>/dev/null | cut -c1-300 >&2
    echo "containerd does not answer with the new settings" >&2
    exit 1
    ;;
back)
    for f in "$config" "$unit"; do
        [ ! -e "$kept/${f##*/}" ] || put "$kept/${f##*/}" "$f" || exit 1
    done
    up || { echo "containerd does not answer with the settings before either" >&2; exit 1; }
    ;;
esac
rm -rf "$kept.partial"
[ ! -e "$kept" ] || mv "$kept" "$kept.partial" || exit 1
rm -rf "$kept.partial"
