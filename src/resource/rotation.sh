# What the rotation of a CA left on this host, but for certificates: key=value, and "data KUBECONFIG BASE64" of the CAs in
# each kubeconfig. $1 the rotation's directory, $2 the CA's key.
if [ -d "$1" ]; then echo begun=yes; fi
if [ -s "$2" ]; then echo key=yes; fi
if [ -s "$1/old.crt" ] && [ -s "$1/old.key" ] && [ -s "$1/new.crt" ] && [ -s "$1/new.key" ]; then echo staged=yes; fi
for f in reached cluster since; do
    if [ -s "$1/$f" ]; then echo "$f=$(cat "$1/$f")"; fi
done
m=/etc/kubernetes/manifests/kube-controller-manager.yaml
if [ -f "$m" ]; then sed -n 's/^ *- --cluster-signing-cert-file=/signer=/p' "$m"; fi
kubeconfigs certificate-authority-data
