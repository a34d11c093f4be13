# apply:static-pod-anew
# Has the kubelet make kubeadm's static pod $1 anew, so that it reads its certificates again, and waits until it runs. $2
# and $3, when given, are from now on the certificate and the key by which it (the controller manager) signs. A
# container that is ended makes the kubelet wait before it starts the next: 10 s at the second time, then 20 s, 40 s, up to
# 5 minutes, and etcd and the API server have often ended a few times when the cluster grew or came back. A manifest that
# says something else is another pod with no such past; that is how kubeadm's own upgrade restarts them. To take the
# manifest away and put it back is not enough: the same text is the same pod, with its past.
export PATH=$PATH:/usr/local/bin
c=$1 m=/etc/kubernetes/manifests/$1.yaml key=provision.dev/certificates-renewed
# Not in the directory of the manifests: the kubelet would take it for one more.
new=/etc/kubernetes/.$1.yaml.provision
umask 077
ids() { ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$c,labels.\"io.kubernetes.pod.namespace\"==kube-system"; }
runs() { ctr -n k8s.io tasks ls | grep -q "^$1 .*RUNNING"; }
old=$(ids) || exit 1
mark="    $key: \"$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)\""
if grep -q '^  annotations:$' "$m"; then at='^  annotations:$' put=$mark; else at='^metadata:$' put="  annotations:\\n$mark"; fi
signer=
[ -z "$2" ] || signer="s|\( --cluster-signing-cert-file=\).*|\1$2|;s|\( --cluster-signing-key-file=\).*|\1$3|"
sed -e "$signer" -e "\\|^    $key: |d" -e "\\|$at|a\\$put" "$m" >"$new" || exit 1
[ "$(grep -c "^    $key: " "$new")" = 1 ] || { echo "$m is not as kubeadm writes it; it was left alone" >&2; rm -f "$new"; exit 1; }
mv -- "$new" "$m" || exit 1
n=0
while :; do
    for i in $(ids); do
        case " $(echo $old) " in *" $i "*) ;; *) runs "$i" && exit 0 ;; esac
    done
    n=$((n + 1))
    [ $n -lt 400 ] || { echo "no new container of $c runs" >&2; exit 1; }
    sleep 0.5
done
