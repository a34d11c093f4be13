# apply:settings-back
# Puts a control plane's manifests and certificate back to what $1 keeps of before.
pki=/etc/kubernetes/pki manifests=/etc/kubernetes/manifests
# Not in the directory of the manifests: the kubelet would take it for one more.
put() {
    case $2 in "$manifests"/*) t=/etc/kubernetes/.${2##*/}.provision-partial ;; *) t=$2.provision-partial ;; esac
    cp -p -- "$1" "$t" && sync "$t" && mv -f "$t" "$2"
}
umask 077
for f in apiserver.key apiserver.crt; do
    if [ -e "$1/$f" ]; then put "$1/$f" "$pki/$f" || exit 1; fi
done
for f in "$1"/*.yaml; do
    [ ! -e "$f" ] || put "$f" "$manifests/${f##*/}" || exit 1
done
