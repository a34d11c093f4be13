# Gives the kubelet of node $1 the cluster's configuration and the arguments in $2, and puts both back when it does not
# come up with them. $3 keeps what was.
export PATH=$PATH:/usr/local/bin
node=$1 flags=$2 kept=$3 k=/var/lib/kubelet
umask 077
put() { cp -p -- "$1" "$2.provision-partial" && sync "$2.provision-partial" && mv -f "$2.provision-partial" "$2"; }
mkdir -p "$kept/before" || exit 1
# Killed from here on, the next run knows that all of it has to be done again.
echo unfinished >"$kept/kubelet.yaml.partial" && sync "$kept/kubelet.yaml.partial" && mv -f "$kept/kubelet.yaml.partial" "$kept/kubelet.yaml" || exit 1
for f in config.yaml kubeadm-flags.env; do
    [ -e "$kept/before/$f" ] || put "$k/$f" "$kept/before/$f" || exit 1
done
kubeadm upgrade node phase kubelet-config || exit 1
chmod 644 "$flags" && put "$flags" "$k/kubeadm-flags.env" || exit 1
if up; then
    rm -rf "$kept/before/config.yaml" "$kept/before/kubeadm-flags.env"
    exit 0
fi
journalctl --no-pager -q -n 8 -o cat -u kubelet 2>/dev/null | cut -c1-300 >&2
for f in config.yaml kubeadm-flags.env; do put "$kept/before/$f" "$k/$f"; done
if up; then echo "the kubelet did not come up with the new settings and was given those before" >&2; else
    echo "the kubelet came up neither with the new settings nor with those before" >&2
fi
exit 1
