# Puts a worker back to what the list $2 names out of the content store ($1), and starts the kubelet of it.
[ -s "$2" ] || { echo "there is no $2: nothing was kept of the version before" >&2; exit 1; }
# All of it is there and whole, or nothing is touched.
while read -r h _ f; do
    [ "$(sha256 "$1/$h" 2>/dev/null)" = "$h" ] || { echo "$f of the version before is damaged or missing in the node's store" >&2; exit 1; }
done <"$2"
rm -f /var/lib/provision/upgrade/kubeadm
systemctl stop kubelet
while read -r h m f; do
    cp -- "$1/$h" "$f.provision-partial" && chown 0:0 "$f.provision-partial" && chmod "$m" "$f.provision-partial" &&
        sync "$f.provision-partial" && mv -f "$f.provision-partial" "$f" || exit 1
done <"$2"
systemctl daemon-reload && systemctl reset-failed kubelet 2>/dev/null
systemctl start kubelet
