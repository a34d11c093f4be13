# apply:control-plane-settings
# Makes static pods of a control plane anew from $1 (a file of kubeadm's) and waits until the kubelet runs them: those
# named in $3, and with $2 = yes the API server with a new certificate. What they were is kept in $4/before.
export PATH=$PATH:/usr/local/bin
config=$1 certificate=$2 components=$3 kept=$4
pki=/etc/kubernetes/pki manifests=/etc/kubernetes/manifests
umask 077
put() { cp -p -- "$1" "$2.provision-partial" && sync "$2.provision-partial" && mv -f "$2.provision-partial" "$2"; }
ids() { ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$1,labels.\"io.kubernetes.pod.namespace\"==kube-system"; }
runs() { ctr -n k8s.io tasks ls | grep -q "^$1 .*RUNNING"; }
mkdir -p "$kept/before" || exit 1
# Killed from here on, the next run knows that all of it has to be done again.
echo unfinished >"$kept/control-plane.yaml.partial" && sync "$kept/control-plane.yaml.partial" &&
    mv -f "$kept/control-plane.yaml.partial" "$kept/control-plane.yaml" || exit 1
if [ "$certificate" = yes ]; then
    # Beside the one that serves, which stays whole until the new one is.
    new=${config%/*}/pki
    rm -rf "$new" && mkdir -p "$new" && ln -s "$pki/ca.crt" "$pki/ca.key" "$new/" || exit 1
    { cat "$config" && echo "certificatesDir: $new"; } >"$config.pki" || exit 1
    kubeadm init phase certs apiserver --config "$config.pki" || exit 1
    for f in apiserver.crt apiserver.key; do
        [ -e "$kept/before/$f" ] || put "$pki/$f" "$kept/before/$f" || exit 1
    done
    put "$new/apiserver.key" "$pki/apiserver.key" && put "$new/apiserver.crt" "$pki/apiserver.crt" && chmod 644 "$pki/apiserver.crt" || exit 1
    rm -rf "$new" "$config.pki"
fi
for c in $components; do
    old=
    for i in $(ids "$c"); do runs "$i" && old="$old $i"; done
    [ -e "$kept/before/$c.yaml" ] || put "$manifests/$c.yaml" "$kept/before/$c.yaml" || exit 1
    sum=$(sha256sum <"$manifests/$c.yaml")
    case $c in
    etcd) kubeadm init phase etcd local --config "$config" ;;
    *) kubeadm init phase control-plane "${c#kube-}" --config "$config" ;;
    esac || exit 1
    if [ "$sum" = "$(sha256sum <"$manifests/$c.yaml")" ]; then
        [ "$c$certificate" = kube-apiserveryes ] || continue
        # The same manifest: the kubelet has no reason of its own to begin it anew.
        for i in $old; do ctr -n k8s.io tasks kill -s TERM "$i" || exit 1; done
    fi
    n=0
    while :; do
        for i in $(ids "$c"); do
            case " $old " in *" $i "*) ;; *) runs "$i" && break 2 ;; esac
        done
        n=$((n + 1))
        [ $n -lt 300 ] || { echo "no new container of $c runs" >&2; exit 1; }
        sleep 0.4
    done
done
