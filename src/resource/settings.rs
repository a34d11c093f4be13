//! Whether the control plane, the kubelets and kube-proxy have what the inventory asks for.

use std::collections::BTreeMap;

use super::file::{is_file, text};
use super::shell::shell_probe;
use super::unit::is_as_wanted;
use crate::bundle::Digest;
use crate::host::{Answer, Probe};
use crate::kubeadm::{ClusterSettings, ControlPlaneSettings, KubeletSettings, StaticPods, has_all};
use crate::plan::Action;

/// What a control plane was last made to have.
pub const CONTROL_PLANE_KEPT: &str = "/var/lib/provision/settings/control-plane.yaml";
/// What a kubelet was last made to have.
pub const KUBELET_KEPT: &str = "/var/lib/provision/settings/kubelet.yaml";
/// containerd's program.
pub const CONTAINERD: &str = "/usr/local/bin/containerd";
/// containerd's settings.
pub const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
/// containerd's unit.
pub const CONTAINERD_UNIT: &str = "/etc/systemd/system/containerd.service";
/// What containerd had is kept there for as long as a change of it is not seen well.
pub const RUNTIME_BEFORE: &str = "/var/lib/provision/settings/containerd-before/config.toml";
/// What kube-proxy was last made to have.
pub const PROXY_KEPT: &str = "/var/lib/provision/settings/kube-proxy.yaml";

const COMPONENTS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The questions whose answers [`has_settings`] judges, in its order.
pub(crate) fn settings_probes(action: &Action) -> Vec<Probe> {
    let content = |path: &str| Probe::Content(path.to_owned());
    match action {
        Action::UploadSettings { kubelet_map, .. } => {
            vec![shell_probe("cluster-settings", &[kubelet_map]), content(CONTROL_PLANE_KEPT), content(KUBELET_KEPT)]
        }
        Action::ControlPlaneSettings { .. } => [CONTROL_PLANE_KEPT, "/etc/kubernetes/pki/apiserver.crt"]
            .map(str::to_owned)
            .into_iter()
            .chain(COMPONENTS.map(|c| format!("/etc/kubernetes/manifests/{c}.yaml")))
            .map(Probe::Content)
            .collect(),
        Action::KubeletSettings { .. } => {
            [KUBELET_KEPT, "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"].map(content).into()
        }
        Action::RuntimeSettings { .. } => {
            let files = [CONTAINERD_CONFIG, CONTAINERD_UNIT, CONTAINERD].map(|f| Probe::File(f.into()));
            let told = [content(CONTAINERD_CONFIG), content(CONTAINERD_UNIT), Probe::Unit("containerd.service".into())];
            told.into_iter().chain(files).chain([Probe::File(RUNTIME_BEFORE.into())]).collect()
        }
        Action::ProxySettings { kubelet_map, .. } => {
            vec![shell_probe("cluster-settings", &[kubelet_map]), content(PROXY_KEPT)]
        }
        _ => Vec::new(),
    }
}

/// Whether nothing is left to do.
pub(super) fn has_settings(action: &Action, answers: &[Answer]) -> bool {
    let agrees = |at: usize, wanted: &str| kept_before(answers.get(at)).is_none_or(|kept| kept == wanted);
    let planes_agree = |at: usize, wanted: &str| {
        let wanted = ControlPlaneSettings::read(wanted);
        kept_before(answers.get(at)).is_none_or(|kept| wanted.is_some_and(|w| w.is_kept(&kept)))
    };
    match action {
        Action::UploadSettings { control_plane, kubelet, .. } => {
            planes_agree(1, control_plane)
                && agrees(2, kubelet)
                && answers.first().is_some_and(|a| has_uploaded(action, a))
        }
        Action::ControlPlaneSettings { wanted, .. } => {
            planes_agree(0, wanted)
                && control_plane_behind(wanted, answers)
                    .is_some_and(|(certificate, pods)| !certificate && pods.is_empty())
        }
        Action::KubeletSettings { wanted, .. } => {
            let of = |at: usize| answers.get(at).and_then(text).unwrap_or_default();
            agrees(0, wanted) && KubeletSettings::read(wanted).is_some_and(|w| w.is_on(&of(1), &of(2)))
        }
        Action::RuntimeSettings { config, unit, .. } => match answers {
            [has_config, has_unit, service, files @ .., before] => {
                is_file(has_config, &Digest::of(config.as_bytes()), 0o644)
                    && is_file(has_unit, &Digest::of(unit.as_bytes()), 0o644)
                    && is_as_wanted(service, true, Some(true), files)
                    && *before == Answer::Absent
            }
            _ => false,
        },
        Action::ProxySettings { wanted, .. } => {
            agrees(1, wanted) && answers.first().is_some_and(|a| proxy_has(wanted, a))
        }
        _ => false,
    }
}

/// What a host was last made to have; `None` when it keeps no word of it.
fn kept_before(answer: Option<&Answer>) -> Option<String> {
    answer.and_then(text)
}

fn cluster(answer: &Answer) -> Option<ClusterSettings> {
    match answer {
        Answer::Shell { code: 0, stdout, .. } => Some(ClusterSettings::read(stdout)),
        _ => None,
    }
}

/// Whether the cluster's own configuration has what the upload gives it.
pub(crate) fn has_uploaded(action: &Action, answer: &Answer) -> bool {
    let Action::UploadSettings { control_plane, kubelet, coredns_tag, .. } = action else { return false };
    let (Some(found), Some(pods), Some(nodes)) =
        (cluster(answer), ControlPlaneSettings::read(control_plane), KubeletSettings::read(kubelet))
    else {
        return false;
    };
    let dns = found.cluster.as_ref().and_then(|c| c["dns"]["imageTag"].as_str());
    pods.is_in(&found)
        && found.kubelet.as_ref().is_some_and(|have| has_all(&nodes.config, have))
        && coredns_tag.as_deref().is_none_or(|tag| dns == Some(tag))
}

/// Whether kube-proxy's configuration has all of `wanted`.
fn proxy_has(wanted: &str, answer: &Answer) -> bool {
    let wanted = serde_yaml_ng::from_str(wanted).ok();
    let have = cluster(answer).and_then(|c| c.proxy);
    wanted.zip(have).is_some_and(|(wanted, have)| has_all(&wanted, &have))
}

/// Of a control plane, whether its certificate has to be made anew, and which of its components.
pub(crate) fn control_plane_behind(wanted: &str, answers: &[Answer]) -> Option<(bool, Vec<String>)> {
    let wanted = ControlPlaneSettings::read(wanted)?;
    let of = |at: usize| answers.get(at).and_then(text);
    let manifests: Vec<(&str, String)> =
        COMPONENTS.iter().enumerate().filter_map(|(n, c)| Some((*c, of(n + 2)?))).collect();
    let certificate = of(1).unwrap_or_default();
    let found = StaticPods::read(manifests.iter().map(|(c, t)| (*c, t.as_str())), certificate.as_bytes());
    let before = of(0);
    Some((wanted.wants_certificate(before.as_deref(), &found), wanted.behind(before.as_deref(), &found)))
}

/// Asks a control plane which pods of a node, and whether the node itself, are ready.
pub(crate) fn ready_pods_probe(node: &str) -> Probe {
    shell_probe("ready-pods", &[node])
}

/// Reads the answer to [`ready_pods_probe`]. Static pods are left out: what the API says of them comes a minute late, and no
/// Service goes by it.
pub(crate) fn ready_pods(answer: &Answer) -> BTreeMap<String, bool> {
    let Answer::Shell { stdout, .. } = answer else { return BTreeMap::new() };
    let line = |line: &str| match *line.split_whitespace().collect::<Vec<_>>() {
        [name, ready] => Some((name.to_owned(), ready == "True")),
        _ => None,
    };
    stdout.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_pods_are_not_waited_for() {
        let stdout =
            "node True\nkube-system/etcd-cp1 False aac2676f\nkube-system/kube-proxy-kd8qn True \ndefault/web False \n";
        let found = ready_pods(&Answer::Shell { code: 0, stdout: stdout.into(), stderr: String::new() });
        let found: Vec<_> = found.iter().map(|(name, ready)| (name.as_str(), *ready)).collect();
        assert_eq!(found, [("default/web", false), ("kube-system/kube-proxy-kd8qn", true), ("node", true)]);
    }
}
