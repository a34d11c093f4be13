//! A test pod on every node, asked from every other over the pod network, and by way of a Service.

use std::time::Duration;

use super::cluster::kubectl;
use super::context::Context;
use crate::error::{Error, Result};
use crate::exec::StepNote;
use crate::resource::VERIFY_NAMESPACE;

/// `$1` namespace, `$2` timeout in seconds, `$3` number of pods. Waits until all run, then asks each from each.
const TEST: &str = r#"# apply:test-pod-network
export KUBECONFIG=/etc/kubernetes/admin.conf
ns=$1 until=$(($(date +%s) + $2)) want=$3
pods() { kubectl -n "$ns" get pods -l app=provision-verify -o 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.status.phase}{"\n"}{end}'; }
while :; do
    list=$(pods) && [ "$(printf '%s\n' "$list" | grep -c ' Running$')" = "$want" ] && break
    if [ "$(date +%s)" -ge "$until" ]; then
        echo "not all test pods run:" >&2; printf '%s\n' "$list" >&2
        kubectl -n "$ns" get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 8 >&2
        exit 1
    fi
    sleep 0.5
done
ips=$(printf '%s\n' "$list" | cut -d' ' -f2)
# The Service is asked from every node too: what makes it work there sees no news for ever when its watch is lost.
ips="$ips $(kubectl -n "$ns" get service provision-verify -o 'jsonpath={.spec.clusterIP}')" || exit 1
for pod in $(printf '%s\n' "$list" | cut -d' ' -f1); do
    until kubectl -n "$ns" exec "$pod" -- /bin/sh -c 'for ip in "$@"; do case $ip in *:*) u="[$ip]" ;; *) u=$ip ;; esac
            busybox timeout 5 busybox wget -q -O - "http://$u:8080/hostname" >/dev/null || { echo "no answer from $ip" >&2; exit 1; }; done' sh $ips; do
        if [ "$(date +%s)" -ge "$until" ]; then echo "from pod $pod" >&2; printf '%s\n' "$list" >&2; exit 1; fi
        sleep 1
    done
done
"#;

/// `$1` namespace, `$2` timeout in seconds. A pod needs an account, which the controller manager makes; one that was just
/// started waits up to 15 s until the lease of the one before has run out.
const ACCOUNT: &str = r#"# apply:test-account
export KUBECONFIG=/etc/kubernetes/admin.conf
until=$(($(date +%s) + $2))
until said=$(kubectl -n "$1" get serviceaccount default -o name 2>&1); do
    [ "$(date +%s)" -lt "$until" ] || { echo "$said" >&2; exit 1; }
    sleep 0.5
done
"#;

pub(super) async fn test(
    ctx: &Context,
    host: &str,
    image: &str,
    nodes: &[String],
    timeout_s: u64,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    remove(ctx, host).await?;
    let limit = timeout_s.to_string();
    let room = Duration::from_secs(timeout_s + 60);
    ctx.must(host, kubectl(["create", "namespace", VERIFY_NAMESPACE]), "create a namespace for the test pods").await?;
    let args = [VERIFY_NAMESPACE, &limit];
    ctx.script(host, "test-account", ACCOUNT, &args, room, "have the controller manager at work").await.map_err(|e| {
        e.hint("without it no pod can be made: `kubectl -n kube-system logs -l component=kube-controller-manager` shows why")
    })?;
    let manifest = manifest(image, nodes);
    ctx.must(host, kubectl(["apply", "-f", "-"]).stdin(manifest), "create the test pods").await?;
    notes(StepNote::Text(format!("{} test pods ask one another", nodes.len())));
    let count = nodes.len().to_string();
    // After a failure the namespace stays: it is the evidence, and the next plan sees it and tests again.
    ctx.script(
        host,
        "test-pod-network",
        TEST,
        &[VERIFY_NAMESPACE, &limit, &count],
        room,
        "reach every test pod, and their Service, from every other",
    )
    .await
    .map_err(|e: Error| e.hint(format!("the pods stay for a look: kubectl -n {VERIFY_NAMESPACE} get pods -o wide")))?;
    remove(ctx, host).await
}

pub(super) async fn remove(ctx: &Context, host: &str) -> Result<()> {
    let command = kubectl(["delete", "namespace", VERIFY_NAMESPACE, "--ignore-not-found", "--timeout=90s"])
        .timeout(Duration::from_secs(120));
    ctx.must(host, command, "remove the test pods").await.map(drop)
}

fn manifest(image: &str, nodes: &[String]) -> String {
    let mut items = vec![serde_json::json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "provision-verify", "namespace": VERIFY_NAMESPACE },
        "spec": { "selector": { "app": "provision-verify" }, "ports": [{ "port": 8080 }] },
    })];
    items.extend(nodes.iter().map(|node| {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": format!("verify-{node}"), "namespace": VERIFY_NAMESPACE, "labels": { "app": "provision-verify" } },
            "spec": {
                // Pinned by label, not by nodeName: the scheduler is tested too.
                "nodeSelector": { "kubernetes.io/hostname": node },
                "tolerations": [{ "operator": "Exists" }],
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "http", "image": image, "imagePullPolicy": "Never",
                    "command": ["/bin/sh", "-c", "exec busybox httpd -f -p 8080 -h /etc"],
                }],
            },
        })
    }));
    serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}
