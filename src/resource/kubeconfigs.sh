# "data KUBECONFIG BASE64" for each value of the field $1 in Kubernetes' own kubeconfigs on this host.
kubeconfigs() {
    for f in admin super-admin controller-manager scheduler kubelet; do
        f=/etc/kubernetes/$f.conf
        [ -f "$f" ] || continue
        d=$(sed -n 's/^ *'"$1"': *"\{0,1\}\([A-Za-z0-9+/=]*\)"\{0,1\} *$/\1/p' "$f") || exit 1
        for d in $d; do echo "data $f $d"; done
    done
}
