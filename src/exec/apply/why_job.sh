# apply:why-job
# The pods of the job by which `kubeadm upgrade` checks that the cluster can run one, and their events.
export PATH=$PATH:/usr/local/bin
clean() { tr -cd '\11\12\40-\176' | cut -c1-300; }
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=8s -n kube-system get"
echo "== pods of the job"
$k pods -o 'jsonpath={range .items[*]}{.metadata.name} {.status.phase} on {.spec.nodeName}: {.status.containerStatuses[*].state}{"\n"}{end}' 2>&1 |
    grep '^upgrade-health-check' | tail -n 3 | clean
echo "== events of the job"
$k events --sort-by=.metadata.creationTimestamp -o 'jsonpath={range .items[*]}{.involvedObject.name} {.reason}: {.message}{"\n"}{end}' 2>&1 |
    grep '^upgrade-health-check' | tail -n 6 | clean
