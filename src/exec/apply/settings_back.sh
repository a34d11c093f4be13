# apply:settings-back
# Puts a control plane's manifests and certificate back to what $1 keeps of before.
pki=/etc/kubernetes/pki manifests=/etc/kubernetes/manifests
put() { cp -p -- "$1" "$2.provision-partial" && sync "$2.provision-partial" && mv -f "$2.provision-partial" "$2"; }
umask 077
for f in apiserver.key apiserver.crt; do
    if [ -e "$1/$f" ]; then put "$1/$f" "$pki/$f" || exit 1; fi
done
for f in "$1"/*.yaml; do
    [ ! -e "$f" ] || put "$f" "$manifests/${f##*/}" || exit 1
done
