# apply:rotation-publish
# Tells the cluster of the certificates in $2, those of its CA $1, and waits up to $4 s until service accounts have them.
# With $3 = alone what aggregated API servers were told of the old one is taken back; the API servers only ever add to it.
# Prints the time.
export PATH=$PATH:/usr/local/bin
k="kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"
quoted="\"$(sed 's/$/\\n/' "$2" | tr -d '\n')\""
case $1 in
kubernetes) field=client-ca-file ;;
front-proxy) field=requestheader-client-ca-file ;;
*) date -u +%Y-%m-%dT%H:%M:%SZ; exit 0 ;;
esac
if [ "$3" = alone ]; then
    $k -n kube-system patch configmap extension-apiserver-authentication --type merge -p "{\"data\":{\"$field\":$quoted}}" >&2 || exit 1
fi
[ "$1" = kubernetes ] || { date -u +%Y-%m-%dT%H:%M:%SZ; exit 0; }
plain=$(base64 <"$2" | tr -d '\n')
# A joining host proves what it is told here with the token, for which the controller manager signs it anew.
now=$($k -n kube-public get configmap cluster-info -o 'jsonpath={.data.kubeconfig}') || exit 1
[ -n "$now" ] || { echo "the ConfigMap cluster-info holds no kubeconfig" >&2; exit 1; }
new=$(printf '%s\n' "$now" | sed "s|^\( *certificate-authority-data: \).*|\1$plain|")
if [ "$now" != "$new" ]; then
    made=$(printf '%s\n' "$new" | kubectl create configmap cluster-info -n kube-public --from-file=kubeconfig=/dev/stdin --dry-run=client -o yaml) || exit 1
    printf '%s\n' "$made" | $k -n kube-public replace -f - >&2 || exit 1
fi
until=$(($(date +%s) + $4))
while :; do
    # In each namespace, and in the Secrets of clusters that have such.
    maps=$($k get configmaps --all-namespaces --field-selector metadata.name=kube-root-ca.crt -o 'go-template={{range .items}}{{index .data "ca.crt" | printf "%q"}}{{"\n"}}{{end}}') &&
        secrets=$($k get secrets --all-namespaces --field-selector type=kubernetes.io/service-account-token -o 'jsonpath={range .items[*]}{.data.ca\.crt}{"\n"}{end}') &&
        ! printf '%s\n' "$maps" | grep -v '^$' | grep -qvxF -- "$quoted" && ! printf '%s\n' "$secrets" | grep -v '^$' | grep -qvxF -- "$plain" && break
    [ "$(date +%s)" -lt "$until" ] || { echo "service accounts were not told of the CA within $4 s: does the controller manager run?" >&2; exit 1; }
    sleep 1
done
# A pod of this very second may have been made before.
sleep 1.1
date -u +%Y-%m-%dT%H:%M:%SZ
