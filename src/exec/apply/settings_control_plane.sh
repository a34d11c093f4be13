# apply:control-plane-settings
# Makes static pods of a control plane anew from $1 (a file of kubeadm's) and waits until the kubelet runs them: those
# named in $3, and with $2 = yes the API server with a new certificate. What they were is kept in $4/before.
export PATH=$PATH:/usr/local/bin
config=$1 certificate=$2 components=$3 kept=$4
pki=/etc/kubernetes/pki manifests=/etc/kubernetes/manifests
umask 077
# Not in the directory of the manifests: the kubelet would take it for one more.
put() {
    case $2 in "$manifests"/*) t=/etc/kubernetes/.${2##*/}.provision-partial ;; *) t=$2.provision-partial ;; esac
    cp -p -- "$1" "$t" && sync "$t" && mv -f "$t" "$2"
}
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
# While the kubelet does not run: it would find its own API server without etcd, or gone, and wait 34 s for it, and 10 to 15 s
# more before it starts a pod whose manifest changed. Pods go on without it. Whatever happens, it runs again at the end.
trap 'systemctl start kubelet' EXIT
trap 'exit 1' HUP INT TERM
systemctl stop kubelet || exit 1
tasks() { for i in $(ids "$1"); do runs "$i" && echo "$i"; done; }
end() { # COMPONENT SECONDS: ends its containers; what does not end in that time is killed
    for s in TERM KILL; do
        for i in $(tasks "$1"); do ctr -n k8s.io tasks kill -s "SIG$s" "$i" || exit 1; done
        n=0
        while [ -n "$(tasks "$1")" ] && [ $n -lt $((5 * $2)) ]; do
            n=$((n + 1))
            sleep 0.2
        done
    done
    [ -z "$(tasks "$1")" ] || { echo "a container of $1 does not end" >&2; exit 1; }
}
changed=
for c in $components; do
    [ -e "$kept/before/$c.yaml" ] || put "$manifests/$c.yaml" "$kept/before/$c.yaml" || exit 1
    sum=$(sha256sum <"$manifests/$c.yaml")
    case $c in
    etcd) kubeadm init phase etcd local --config "$config" ;;
    *) kubeadm init phase control-plane "${c#kube-}" --config "$config" ;;
    esac || exit 1
    # The same manifest, but another certificate.
    [ "$sum" != "$(sha256sum <"$manifests/$c.yaml")" ] || [ "$c$certificate" = kube-apiserveryes ] || continue
    changed="$changed $c"
done
own=$(sed -n 's/^ *- --advertise-address=//p' "$manifests/kube-apiserver.yaml")
case $own in *:*) own="[$own]" ;; esac
case " $changed " in
*" etcd "*)
    # A kubelet that asks this host's own API server (from 1.35 on always) would wait for that one, which waits for etcd. It is
    # of no use without etcd: it ends first, with the requests that it has.
    ! grep -q "server: https://$own:" /etc/kubernetes/kubelet.conf || end kube-apiserver 10
    ;;
esac
# The kubelet gives 30 s.
for c in $changed; do end "$c" 30; done
old=
for c in $changed; do old="$old $(ids "$c")"; done
systemctl start kubelet || exit 1
for c in $changed; do
    n=0
    while :; do
        for i in $(ids "$c"); do
            case " $(echo $old) " in *" $i "*) ;; *) runs "$i" && break 2 ;; esac
        done
        n=$((n + 1))
        [ $n -lt 300 ] || { echo "no new container of $c runs" >&2; exit 1; }
        sleep 0.4
    done
done
