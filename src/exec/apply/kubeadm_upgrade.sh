# `kubeadm upgrade apply` ($1 = apply) or `node` ($1 = node) to version $2, ignoring the preflight errors $3; $4 = no leaves
# the certificates as they are. That it ended well is kept: of a worker nothing else tells.
mode=$1 version=$2 ignore=$3 renewal=$4
export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin
if ! command -v crictl >/dev/null; then
    # kubeadm before 1.31 asks a crictl whether the images are there. Where the bundle has none, containerd is asked; it
    # pulls nothing.
    d=/run/provision/bin
    mkdir -p "$d" || exit 1
    cat >"$d/crictl" <<'SCRIPT'
#!/bin/sh
for last; do :; done
case " $* " in
*" inspecti "*) ctr -n k8s.io images ls -q "name==$last" | grep -qx "$last" ;;
*) echo "only images that are there already are used here: $*" >&2; exit 1 ;;
esac
SCRIPT
    chmod 755 "$d/crictl" || exit 1
    PATH=$PATH:$d
fi
set --
[ -z "$ignore" ] || set -- "--ignore-preflight-errors=$ignore"
[ "$renewal" != no ] || set -- "$@" --certificate-renewal=false
case $mode in
apply) kubeadm upgrade apply "$version" --yes "$@" ;;
node) kubeadm upgrade node "$@" ;;
esac || exit
m=/var/lib/provision/upgrade/kubeadm
mkdir -p "${m%/*}" && echo "$version" >"$m.partial" && mv -f "$m.partial" "$m"
