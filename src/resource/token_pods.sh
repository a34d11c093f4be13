# Every pod with what it mounts, one a line: NAMESPACE|NAME|PHASE|MADE|OWNER KIND|OWNER|MOUNTS|WHEN ITS END WAS ASKED FOR.
export PATH=$PATH:/usr/local/bin
kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=30s get pods --all-namespaces -o 'jsonpath={range .items[*]}{.metadata.namespace}|{.metadata.name}|{.status.phase}|{.metadata.creationTimestamp}|{.metadata.ownerReferences[0].kind}|{.metadata.ownerReferences[0].name}|{.spec.containers[*].volumeMounts[*].mountPath}|{.metadata.deletionTimestamp}{"\n"}{end}'
