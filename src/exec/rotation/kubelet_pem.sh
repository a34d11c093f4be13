# apply:rotation-kubelet-pem
# Gives the kubelet the certificate that comes on stdin with the key that is in $1 (a link to the file it uses), the way
# the kubelet does: in a file of its own, to which the link then leads.
umask 077
new=${1%-current.pem}-$(date -u +%Y-%m-%d-%H-%M-%S).pem
{ cat && sed -n '/^-----BEGIN .*PRIVATE KEY-----/,/^-----END .*PRIVATE KEY-----/p' "$1"; } >"$new.provision-partial" || exit 1
grep -q 'PRIVATE KEY' "$new.provision-partial" || { echo "there is no key in $1" >&2; exit 1; }
sync "$new.provision-partial" && mv -f -- "$new.provision-partial" "$new" || exit 1
ln -sfn -- "$new" "$1.provision-partial" && mv -fT -- "$1.provision-partial" "$1"
