# What the planner needs to know of a host, as key=value lines. Read-only; coreutils, systemd and iproute2 only.
echo "hostname=$(uname -n)"
echo "machine=$(uname -m)"
echo "kernel=$(uname -r)"
. /etc/os-release 2>/dev/null
echo "os_id=${ID:-unknown}"
echo "os_version=${VERSION_ID:-}"
echo "now_ms=$(date +%s%3N)"
echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"
echo "product_uuid=$(cat /sys/class/dmi/id/product_uuid 2>/dev/null)"
echo "macs=$(for i in /sys/class/net/*; do [ -e "$i/address" ] && [ "$(basename "$(readlink -f "$i/..")")" != virtual ] 2>/dev/null; case ${i##*/} in lo | veth* | cni* | docker* | kube-*) ;; *) cat "$i/address" ;; esac; done | sort -u | tr '\n' ',')"
echo "addresses=$(ip -o addr show scope global 2>/dev/null | while read -r _ _ _ a _; do printf '%s,' "${a%/*}"; done)"
echo "memory_mib=$(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024))"
echo "disk_free_mib=$(df -Pm /var/lib 2>/dev/null | tail -n 1 | tr -s ' ' | cut -d' ' -f4)"
echo "cpus=$(nproc)"
case $(stat -fc %T /sys/fs/cgroup) in
    cgroup2fs) echo cgroup=v2 ;;
    *) if [ -d /sys/fs/cgroup/unified ]; then echo cgroup=hybrid; else echo cgroup=v1; fi ;;
esac
echo "swap=$(tail -n +2 /proc/swaps | wc -l)"
echo "systemd=$(systemctl is-system-running 2>/dev/null)"
missing=
for c in $1; do command -v "$c" >/dev/null 2>&1 || [ -x "/sbin/$c" ] || [ -x "/usr/sbin/$c" ] || missing="$missing$c,"; done
echo "missing_commands=$missing"
missing=
for c in $4; do command -v "$c" >/dev/null 2>&1 || [ -x "/sbin/$c" ] || [ -x "/usr/sbin/$c" ] || [ -x "/usr/local/bin/$c" ] || missing="$missing$c,"; done
echo "missing_for_kubeadm=$missing"
missing=
for f in $5; do [ -e "$f" ] || missing="$missing$f,"; done
echo "missing_files=$missing"
# Where kubeadm's SystemVerification looks for the kernel's configuration, and what it wants of it.
config='' options='' release=$(uname -r)
for f in /proc/config.gz "/boot/config-$release" "/usr/src/linux-$release/.config" /usr/src/linux/.config \
    "/usr/lib/modules/$release/config" "/usr/lib/ostree-boot/config-$release" "/usr/lib/kernel/config-$release" \
    "/usr/src/linux-headers-$release/.config" "/lib/modules/$release/build/.config"; do
    [ -e "$f" ] && config=$f && break
done
case $config in
'') modprobe -n configs >/dev/null 2>&1 && config=loadable ;;
*.gz) options=$(gzip -dc "$config" 2>/dev/null | grep -E '^CONFIG_[A-Z0-9_]+=[ym]') ;;
*) options=$(grep -E '^CONFIG_[A-Z0-9_]+=[ym]' "$config") ;;
esac
[ -n "$options" ] || [ "$config" = loadable ] || config=${config:+unread}
echo "kernel_config=${config:-none}"
echo "kernel_options=$(for o in $6; do printf '%s\n' "$options" | grep -qE "^CONFIG_$o=" && printf '%s,' "$o"; done)"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo "controllers=$(tr ' ' ',' </sys/fs/cgroup/cgroup.controllers)"
else
    echo "controllers=$(grep -v '^#' /proc/cgroups 2>/dev/null | while read -r n _ _ on; do [ "$on" = 0 ] || printf '%s,' "$n"; done)"
fi
for k in max_user_instances max_user_watches; do
    f=/proc/sys/fs/inotify/$k
    [ -r "$f" ] && echo "inotify.$k=$(cat "$f")"
    [ -w "$f" ] || echo "inotify_read_only=yes"
done
echo "etcd_dir=$(ls -A /var/lib/etcd 2>/dev/null | head -n 1)"
echo "ports=$(ss -Hltn 2>/dev/null | while read -r _ _ _ l _; do printf '%s,' "${l##*:}"; done)"
echo "filesystems=$(tr -d '\t' </proc/filesystems | sed 's/^nodev//' | tr '\n' ',')"
bridge=no; [ -d /proc/sys/net/bridge ] && bridge=yes
echo "bridge_nf=$bridge"
for m in $2; do
    echo "module.$m=$(module_state "$m")"
done
for h in $3; do
    if r=$(getent hosts "$h" 2>/dev/null); then echo "resolves.$h=${r%% *}"; fi
done
