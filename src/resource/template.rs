//! What is written to nodes: tera templates from `templates/`, embedded. Pure; each has golden files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use serde_json::json;
use tera::{Context, Tera};

use crate::bundle::Digest;
use crate::error::{Context as _, Error, Result};
use crate::inventory::{CgroupDriver, Inventory, Node};
use crate::kubeadm::merge;

const TEMPLATES: &[(&str, &str)] = &[
    ("containerd-v2.toml", include_str!("../../templates/containerd-v2.toml.tera")),
    ("containerd-v3.toml", include_str!("../../templates/containerd-v3.toml.tera")),
    ("hosts.toml", include_str!("../../templates/hosts.toml.tera")),
    ("containerd.service", include_str!("../../templates/containerd.service.tera")),
    ("kubelet.service", include_str!("../../templates/kubelet.service.tera")),
    ("10-kubeadm.conf", include_str!("../../templates/10-kubeadm.conf.tera")),
    ("haproxy.cfg", include_str!("../../templates/haproxy.cfg.tera")),
    ("haproxy.yaml", include_str!("../../templates/haproxy.yaml.tera")),
    ("keepalived.conf", include_str!("../../templates/keepalived.conf.tera")),
    ("keepalived.yaml", include_str!("../../templates/keepalived.yaml.tera")),
    ("kube-vip.yaml", include_str!("../../templates/kube-vip.yaml.tera")),
    ("pod-routes.service", include_str!("../../templates/pod-routes.service.tera")),
    ("provision-registry.service", include_str!("../../templates/provision-registry.service.tera")),
    ("provision-etcd.service", include_str!("../../templates/provision-etcd.service.tera")),
    ("provision-etcd-snapshot.service", include_str!("../../templates/provision-etcd-snapshot.service.tera")),
    ("provision-etcd-snapshot.timer", include_str!("../../templates/provision-etcd-snapshot.timer.tera")),
    ("sysctl.conf", include_str!("../../templates/sysctl.conf.tera")),
    ("modules.conf", include_str!("../../templates/modules.conf.tera")),
];

// The templates are constants of the program: a test renders each, so a broken one never leaves the house.
static TERA: LazyLock<std::result::Result<Tera, tera::Error>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.autoescape_on(Vec::new());
    tera.add_raw_templates(TEMPLATES.iter().copied())?;
    Ok(tera)
});

fn render(name: &str, context: &Context) -> Result<String> {
    let tera = TERA.as_ref().map_err(|e| Error::failed(format!("failed to read the templates: {e}")))?;
    tera.render(name, context).context(|| format!("failed to render {name}"))
}

fn render_with(name: &str, values: serde_json::Value) -> Result<String> {
    render(name, &Context::from_value(values).context(|| format!("failed to prepare {name}"))?)
}

/// `/etc/containerd/config.toml` for this version of containerd, merged with the inventory's own settings.
pub fn containerd_config(inv: &Inventory, containerd_version: &str, pause: &str) -> Result<String> {
    let name = if containerd_version.starts_with("1.") { "containerd-v2.toml" } else { "containerd-v3.toml" };
    let rendered = render_with(
        name,
        json!({
            "pause": pause,
            "systemd_cgroup": inv.runtime.cgroup_driver == CgroupDriver::Systemd,
            "restrict_oom_score_adj": inv.runtime.restrict_oom_score_adj,
        }),
    )?;
    if inv.runtime.containerd_config.is_empty() {
        return Ok(rendered);
    }
    let ours: toml::Value = toml::from_str(&rendered).context(|| "failed to read containerd's settings".into())?;
    let mut merged = serde_json::to_value(ours).context(|| "failed to merge containerd's settings".into())?;
    merge(&mut merged, inv.runtime.containerd_config.clone().into_iter().collect());
    toml::to_string(&merged).context(|| "failed to write containerd's settings (runtime.containerd_config)".into())
}

/// A registry that is asked instead of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its base URL.
    pub url: String,
    /// The path on the node of the CA that its certificate is from; the system's when `None`.
    pub ca: Option<String>,
    /// Whether `url` is the whole of what goes before a repository's name, `/v2` with it.
    pub whole_path: bool,
}

impl Mirror {
    /// A mirror by its URL alone.
    #[must_use]
    pub fn plain(url: &str) -> Self {
        Self { url: url.to_owned(), ca: None, whole_path: false }
    }
}

/// `/etc/containerd/certs.d/<registry>/hosts.toml`: the mirrors are asked in order, and then the registry itself when
/// `upstream` says so.
pub fn hosts_toml(registry: &str, mirrors: &[Mirror], upstream: bool) -> Result<String> {
    let mirrors: Vec<_> =
        mirrors.iter().map(|m| json!({ "url": m.url, "ca": m.ca, "whole_path": m.whole_path })).collect();
    // containerd asks `server` last, and the registry itself when there is none: the last mirror stands in its place.
    let (hosts, last) = match mirrors.split_last() {
        // A file without any host is refused (`invalid host tree`): a mirror that is alone stands in both places.
        Some((last, [])) if !upstream => (vec![last.clone()], last.clone()),
        Some((last, hosts)) if !upstream => (hosts.to_vec(), last.clone()),
        _ => (mirrors, serde_json::Value::Null),
    };
    render_with("hosts.toml", json!({ "registry": registry, "hosts": hosts, "last": last }))
}

/// `containerd.service`
pub fn containerd_unit() -> Result<String> {
    render("containerd.service", &Context::new())
}

/// `kubelet.service`
pub fn kubelet_unit() -> Result<String> {
    render("kubelet.service", &Context::new())
}

/// The kubelet's drop-in, as kubeadm's packages ship it.
pub fn kubelet_dropin() -> Result<String> {
    render("10-kubeadm.conf", &Context::new())
}

/// The balancer's configuration: it listens on every address of a control plane (joining hosts borrow it) and on
/// loopback elsewhere. `planes` are the inventory's control planes: to look for them once a node is work for nothing.
pub fn haproxy_cfg(inv: &Inventory, planes: &[Node], node: &Node) -> Result<String> {
    let port = inv.api_endpoint().port;
    let bind = if node.role.is_control_plane() { format!("*:{port}") } else { format!("127.0.0.1:{port}") };
    let backends: Vec<_> =
        planes.iter().map(|n| json!({ "name": n.name, "address": authority(n.address, 6443) })).collect();
    render_with("haproxy.cfg", json!({ "bind": bind, "backends": backends }))
}

/// The balancer's static pod. Its annotation holds the digest of the configuration `cfg`, so that the kubelet restarts
/// it when that changes.
pub fn haproxy_pod(inv: &Inventory, cfg: &str, image: &str) -> Result<String> {
    let digest = Digest::of(cfg.as_bytes());
    render_with("haproxy.yaml", json!({ "image": image, "digest": digest.hex(), "port": inv.api_endpoint().port }))
}

/// keepalived's configuration on a control plane.
pub fn keepalived_conf(inv: &Inventory, node: &Node) -> Result<String> {
    let planes = inv.control_planes();
    let place = planes.iter().position(|n| n.name == node.name).unwrap_or(0);
    let peers: Vec<String> = planes.iter().filter(|n| n.name != node.name).map(|n| n.address.to_string()).collect();
    render_with(
        "keepalived.conf",
        json!({
            "state": if place == 0 { "MASTER" } else { "BACKUP" },
            "interface": inv.endpoint.interface,
            "router_id": inv.endpoint.virtual_router_id.unwrap_or(51),
            // Room for a check's weight between neighbours.
            "priority": 150_usize.saturating_sub(place * 10),
            "address": node.address.to_string(),
            "peers": peers,
            "vip": inv.api_endpoint().host,
            "port": inv.api_endpoint().port,
        }),
    )
}

/// keepalived's static pod.
pub fn keepalived_pod(inv: &Inventory, node: &Node, image: &str) -> Result<String> {
    let digest = Digest::of(keepalived_conf(inv, node)?.as_bytes());
    render_with("keepalived.yaml", json!({ "image": image, "digest": digest.hex() }))
}

/// kube-vip's static pod. From Kubernetes 1.29 on, admin.conf has no rights until kubeadm has bound them: while the
/// first control plane inits (`first`), kube-vip reads super-admin.conf.
pub fn kube_vip_pod(inv: &Inventory, _node: &Node, image: &str, first: bool) -> Result<String> {
    let version: crate::version::KubeVersion = inv.cluster.version.parse()?;
    let conf = if first && version.minor >= 29 { "super-admin.conf" } else { "admin.conf" };
    let endpoint = inv.api_endpoint();
    render_with(
        "kube-vip.yaml",
        json!({ "image": image, "interface": inv.endpoint.interface, "vip": endpoint.host, "port": endpoint.port, "conf": conf }),
    )
}

/// The bridge plugin's configuration with the node's share of each pod network.
///
/// `ipMasq` is off: pods reach one another and the node network by their own addresses over static routes, and an
/// air-gapped cluster has nothing beyond. kube-proxy masquerades what it must.
pub fn cni_conflist(inv: &Inventory, shares: &[IpNet]) -> Result<String> {
    let ranges: Vec<_> = shares.iter().map(|s| json!([{ "subnet": s.to_string() }])).collect();
    let routes: Vec<_> =
        shares.iter().map(|s| json!({ "dst": if matches!(s, IpNet::V4(_)) { "0.0.0.0/0" } else { "::/0" } })).collect();
    let mut bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": false, "ipMasq": false,
        "hairpinMode": true, "ipam": { "type": "host-local", "ranges": ranges, "routes": routes },
    });
    if let Some(mtu) = inv.cni.mtu {
        bridge["mtu"] = json!(mtu);
    }
    let list = json!({
        "cniVersion": "0.4.0", "name": "provision",
        "plugins": [bridge, { "type": "portmap", "capabilities": { "portMappings": true } }],
    });
    let mut text = serde_json::to_string_pretty(&list).context(|| "failed to write the CNI configuration".into())?;
    text.push('\n');
    Ok(text)
}

/// The unit that sets the routes to the other nodes' pods.
pub fn routes_unit(routes: &[(IpNet, IpAddr)]) -> Result<String> {
    let routes: Vec<_> = routes
        .iter()
        .map(|(to, via)| {
            let family = if via.is_ipv4() { "-4" } else { "-6" };
            json!({ "to": to.to_string(), "via": via.to_string(), "family": family })
        })
        .collect();
    render_with("pod-routes.service", json!({ "routes": routes }))
}

/// The unit of the built-in registry.
pub fn registry_unit(listen: std::net::SocketAddr) -> Result<String> {
    render_with("provision-registry.service", json!({ "listen": listen.to_string() }))
}

/// The unit of a member of the etcd that runs beside Kubernetes.
pub fn etcd_unit(inv: &Inventory, node: &Node) -> Result<String> {
    const CERTS: &str = "/run/provision-etcd";
    let (client, peer) = (authority(node.address, 2379), authority(node.address, 2380));
    let mut arguments: BTreeMap<String, String> = [
        ("name", node.name.clone()),
        ("data-dir", "/var/lib/provision-etcd".into()),
        ("listen-client-urls", format!("https://127.0.0.1:2379,https://{client}")),
        ("advertise-client-urls", format!("https://{client}")),
        ("listen-peer-urls", format!("https://{peer}")),
        ("initial-advertise-peer-urls", format!("https://{peer}")),
        ("listen-metrics-urls", "http://127.0.0.1:2381".into()),
        ("client-cert-auth", "true".into()),
        ("trusted-ca-file", format!("{CERTS}/ca.crt")),
        ("cert-file", format!("{CERTS}/server.crt")),
        ("key-file", format!("{CERTS}/server.key")),
        ("peer-client-cert-auth", "true".into()),
        ("peer-trusted-ca-file", format!("{CERTS}/ca.crt")),
        ("peer-cert-file", format!("{CERTS}/peer.crt")),
        ("peer-key-file", format!("{CERTS}/peer.key")),
        // As kubeadm runs it.
        ("snapshot-count", "10000".into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    arguments.extend(inv.etcd.extra_args.clone());
    let arguments: Vec<String> =
        arguments.iter().map(|(name, value)| unit_word(&format!("--{name}={value}"))).collect();
    render_with("provision-etcd.service", json!({ "arguments": arguments }))
}

/// A word of a unit's command line that systemd takes for what it is.
fn unit_word(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | ';');
    if word.chars().all(plain) { word } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// With whom the members of a new etcd start: each knows all, and a cluster comes of it once more than half run.
#[must_use]
pub fn etcd_initial(cluster: &str, members: &[(String, String)], state: &str) -> String {
    let members: Vec<String> = members.iter().map(|(name, url)| format!("{name}={url}")).collect();
    format!(
        "# Written by provision\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_CLUSTER_STATE={state}\nETCD_INITIAL_CLUSTER_TOKEN={cluster}\n",
        members.join(",")
    )
}

/// The unit that takes a backup on the control plane of this name.
pub fn snapshot_service(node: &str) -> Result<String> {
    render_with("provision-etcd-snapshot.service", json!({ "node": node }))
}

/// When it does so, as `OnCalendar=` takes it.
pub fn snapshot_timer(schedule: &str) -> Result<String> {
    render_with("provision-etcd-snapshot.timer", json!({ "schedule": schedule }))
}

/// `/etc/sysctl.d/90-provision.conf`
pub fn sysctl_conf(settings: &[(&str, &str)]) -> Result<String> {
    let settings: Vec<_> = settings.iter().map(|(k, v)| json!({ "key": k, "value": v })).collect();
    render_with("sysctl.conf", json!({ "settings": settings }))
}

/// `/etc/modules-load.d/provision.conf`
pub fn modules_conf(modules: &[&str]) -> Result<String> {
    render_with("modules.conf", json!({ "modules": modules }))
}

fn authority(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}
