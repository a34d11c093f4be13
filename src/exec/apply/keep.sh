# Keeps the binaries and the kubelet's configuration of now in the content store ($1), and writes a list of them to $2:
# digest, mode and path of each. With $3 = runtime containerd and runc and what containerd reads are among them.
umask 077
mkdir -p "$1" "$(dirname "$2")" || exit 1
: >"$2.partial" || exit 1
runtime=
[ "$3" != runtime ] || runtime="/usr/local/bin/containerd /usr/local/bin/containerd-shim-runc-v2 /usr/local/bin/ctr /usr/local/sbin/runc /etc/containerd/config.toml /etc/systemd/system/containerd.service"
for f in $runtime /usr/local/bin/kubeadm /usr/local/bin/kubelet /usr/local/bin/kubectl /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env; do
    [ -f "$f" ] || continue
    h=$(sha256 "$f") || exit 1
    if [ "$(sha256 "$1/$h" 2>/dev/null)" != "$h" ]; then
        cp -- "$f" "$1/$h.kept" && sync "$1/$h.kept" && mv -f "$1/$h.kept" "$1/$h" || exit 1
    fi
    echo "$h $(stat -c %a "$f") $f" >>"$2.partial"
done
sync "$2.partial" && mv -f "$2.partial" "$2"
