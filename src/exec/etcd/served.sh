# apply:served-certificates
# Waits at most $2 seconds until the API server at $1 and, with $3 = stacked, etcd serve the certificates that lie in
# kubeadm's files, and names on standard output those that do not: "kube-apiserver", "etcd". A client whose only trusted
# certificate is the one in the file accepts no other from the server.
# etcd's port for its peers agrees to HTTP/2 and speaks 1.1.
export PATH=$PATH:/usr/local/bin DISABLE_HTTP2=1
case $1 in *:*) a="[$1]" ;; *) a=$1 ;; esac
ask() { # URL, FILE, CLIENT: whether the server at URL serves the certificate in FILE; CLIENT is a certificate and a key
    p=/etc/kubernetes/pki
    kubectl --kubeconfig /dev/null --request-timeout=5s --server "$1" --certificate-authority "$p/$2.crt" \
        --client-certificate "$p/$3.crt" --client-key "$p/$3.key" get --raw /version >/dev/null 2>&1 </dev/null
}
left() {
    ask "https://$a:6443" apiserver apiserver-kubelet-client || echo kube-apiserver
    [ "$3" = stacked ] || return 0
    ask https://127.0.0.1:2379 etcd/server etcd/healthcheck-client && ask "https://$a:2380" etcd/peer etcd/peer || echo etcd
}
n=0
while :; do
    found=$(left "$@")
    [ -n "$found" ] || exit 0
    n=$((n + 1))
    [ $n -lt "$2" ] || break
    sleep 1
done
printf '%s\n' "$found"
