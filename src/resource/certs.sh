# Every certificate of Kubernetes on this host, and nothing but certificates: of a file that holds a key too, only its
# certificates are printed; of a kubeconfig, only client-certificate-data. "pem PATH" and PEM, or "data PATH BASE64".
# $@ more files to look at.
for f in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/*-current.pem "$@"; do
    [ -f "$f" ] || continue
    echo "pem $f"
    sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' "$f" || exit 1
done
kubeconfigs client-certificate-data
