//! kubeadm's ClusterStatus, which it keeps up to 1.21: the endpoint of every control plane. Pure.

/// Whether the status names the endpoint of this node.
#[must_use]
pub fn names_endpoint(status: &str, node: &str) -> bool {
    without_endpoint(status, node) != status
}

/// The status without the endpoint of this node, everything else as it was.
#[must_use]
pub fn without_endpoint(status: &str, node: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut inside = false;
    let mut entry: Option<usize> = None;
    let mut kept = String::new();
    for line in status.lines() {
        if indent(line) == 0 {
            inside = line.trim_end() == "apiEndpoints:";
        }
        if entry.is_some_and(|depth| indent(line) > depth) {
            continue;
        }
        let names_it = line.trim().trim_end_matches(':').trim_matches('"') == node && line.trim_end().ends_with(':');
        entry = (inside && indent(line) > 0 && names_it).then(|| indent(line));
        if entry.is_none() {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if !status.ends_with('\n') && kept.ends_with('\n') {
        kept.pop();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "apiEndpoints:\n  cp1:\n    advertiseAddress: 10.0.0.1\n    bindPort: 6443\n  cp10:\n    \
        advertiseAddress: 10.0.0.10\n    bindPort: 6443\napiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterStatus\n";

    #[test]
    fn one_endpoint_goes_and_the_others_stay() {
        let left = without_endpoint(STATUS, "cp1");
        assert_eq!(
            left,
            "apiEndpoints:\n  cp10:\n    advertiseAddress: 10.0.0.10\n    bindPort: 6443\napiVersion: \
             kubeadm.k8s.io/v1beta2\nkind: ClusterStatus\n"
        );
        assert!(names_endpoint(STATUS, "cp10") && !names_endpoint(&left, "cp1"));
        for other in ["cp2", "kind", "apiEndpoints", "advertiseAddress"] {
            assert_eq!(without_endpoint(STATUS, other), STATUS, "{other}");
        }
        assert_eq!(without_endpoint("", "cp1"), "");
        assert_eq!(without_endpoint(STATUS.trim_end(), "cp2"), STATUS.trim_end());
    }
}
