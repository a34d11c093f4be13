# apply:static-pod-restart
# Ends the container $1 of kube-system on this host and waits until the kubelet has started another. The kubelet waits
# longer and longer for one that ended often: with a limit $2 in seconds, "waiting" is printed when that is over and none runs.
export PATH=$PATH:/usr/local/bin
c=$1 limit=${2:-200}
ids() { ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$c,labels.\"io.kubernetes.pod.namespace\"==kube-system"; }
runs() { ctr -n k8s.io tasks ls | grep -q "^$1 .*RUNNING"; }
old=
for i in $(ids); do runs "$i" && old="$old $i"; done
for i in $old; do ctr -n k8s.io tasks kill -s TERM "$i" || exit 1; done
n=0
while :; do
    for i in $(ids); do
        case " $old " in *" $i "*) [ $n = 60 ] && runs "$i" && ctr -n k8s.io tasks kill -s KILL "$i" ;; *) runs "$i" && exit 0 ;; esac
    done
    n=$((n + 1))
    [ $n -ge $((limit * 2)) ] || { sleep 0.5; continue; }
    [ -z "$2" ] || { echo waiting; exit 0; }
    echo "no new container of $c runs" >&2
    exit 1
done
