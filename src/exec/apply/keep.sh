# Keeps the binaries and the kubelet's configuration of now in the content store ($1), and writes a list of them to $2:
# digest, mode and path of each.
umask 077
mkdir -p "$1" "$(dirname "$2")" || exit 1
: >"$2.partial" || exit 1
for f in /usr/local/bin/kubeadm /usr/local/bin/kubelet /usr/local/bin/kubectl /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env; do
    [ -f "$f" ] || continue
    h=$(sha256 "$f") || exit 1
    if [ "$(sha256 "$1/$h" 2>/dev/null)" != "$h" ]; then
        cp -- "$f" "$1/$h.kept" && sync "$1/$h.kept" && mv -f "$1/$h.kept" "$1/$h" || exit 1
    fi
    echo "$h $(stat -c %a "$f") $f" >>"$2.partial"
done
sync "$2.partial" && mv -f "$2.partial" "$2"
