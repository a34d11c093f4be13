//! Pods that read their service account's CA before the new one was in it.

/// A pod that trusts the old CA alone, as far as one can tell from when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What to restart so that it is made anew, like `deployment/web`; `None`: nothing would.
    pub owner: Option<String>,
    /// It is about to end by itself.
    pub ends: bool,
}

impl Behind {
    /// For people: what to restart, or the pod.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{}/{owner}", self.namespace),
            None => format!("{}/pod/{}", self.namespace, self.name),
        }
    }
}

/// Of the pods that the probe `token-pods` printed, those with a service account's CA that were made before `since`
/// (RFC 3339 in UTC, like the pods' own times) and have not ended.
#[must_use]
pub fn behind(text: &str, since: &str) -> Vec<Behind> {
    let read = |line: &str| {
        let mut fields = line.split('|');
        let mut next = || fields.next().unwrap_or_default();
        let (namespace, name, phase, made) = (next(), next(), next(), next());
        let (kind, owner, mounts, end) = (next(), next(), next(), next());
        let ended = matches!(phase, "Succeeded" | "Failed");
        if ended || made >= since || !mounts.contains("/var/run/secrets/kubernetes.io/serviceaccount") {
            return None;
        }
        let owner = match kind {
            // Its name is the Deployment's with a hash.
            "ReplicaSet" => owner.rsplit_once('-').map(|(deployment, _)| format!("deployment/{deployment}")),
            "DaemonSet" => Some(format!("daemonset/{owner}")),
            "StatefulSet" => Some(format!("statefulset/{owner}")),
            _ => None,
        };
        Some(Behind { namespace: namespace.into(), name: name.into(), owner, ends: !end.is_empty() })
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_pods_with_a_token_are_behind() {
        let mount = "/data /var/run/secrets/kubernetes.io/serviceaccount";
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z");
        let text = [
            format!("shop|web-5d9-x|Running|{old}|ReplicaSet|web-5d9|{mount}|{new}"),
            format!("shop|web-5d9-y|Running|{new}|ReplicaSet|web-5d9|{mount}"),
            format!("shop|db-0|Pending|{old}|StatefulSet|db|{mount}"),
            format!("shop|alone|Running|{old}|||{mount}"),
            format!("shop|job-1|Succeeded|{old}|Job|job|{mount}"),
            format!("kube-system|static|Running|{old}|Node|cp1|/etc"),
        ];
        let ending: Vec<bool> = behind(&text.join("\n"), new).iter().map(|b| b.ends).collect();
        assert_eq!(ending, [true, false, false]);
        let found: Vec<String> = behind(&text.join("\n"), new).iter().map(Behind::words).collect();
        assert_eq!(found, ["shop/deployment/web", "shop/statefulset/db", "shop/pod/alone"]);
    }
}
