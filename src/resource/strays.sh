# Files that change what runs here and that somebody may have put beside ours: static pods and drop-ins of our units.
# "pod PATH IMAGE" or "dropin PATH", one a line. The kubelet takes every file there whose name begins with no dot.
for f in /etc/kubernetes/manifests/*; do
    [ -f "$f" ] || continue
    i=$(sed -n 's/^[- ]*"\{0,1\}image"\{0,1\}: *"\{0,1\}\([^", ]*\).*/\1/p' "$f" | head -n 1)
    printf 'pod %s %s\n' "$f" "$i"
done
for d in /etc/systemd/system /etc/systemd/system.control /run/systemd/system /run/systemd/system.control; do
    for f in "$d/containerd.service.d"/*.conf "$d/kubelet.service.d"/*.conf; do
        [ -f "$f" ] && printf 'dropin %s\n' "$f"
    done
done
true
