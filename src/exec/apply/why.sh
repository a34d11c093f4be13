# apply:why
# The last lines of the kubelet, and of the containers of kube-system that do not run: static pods write to files below $1.
clean() { tr -cd '\11\12\40-\176' | cut -c1-300; }
echo "== kubelet"
journalctl --no-pager -q -n 3 -o cat -u kubelet 2>/dev/null | clean
tasks=$(ctr -n k8s.io tasks ls 2>/dev/null)
shown=0
for d in $(ls -td "$1"/kube-system_*/*/ 2>/dev/null | head -n 40); do
    c=${d%/} && c=${c##*/}
    runs=
    for i in $(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$c,labels.\"io.kubernetes.pod.namespace\"==kube-system" 2>/dev/null); do
        if printf '%s\n' "$tasks" | grep -q "^$i .*RUNNING"; then runs=yes; fi
    done
    [ -z "$runs" ] || continue
    f=$(ls -t "$d"*.log 2>/dev/null | head -n 1)
    [ -s "$f" ] || continue
    echo "== $c, which does not run ($f)"
    tail -n 4 "$f" | clean
    shown=$((shown + 1))
    [ "$shown" -lt 2 ] || break
done
