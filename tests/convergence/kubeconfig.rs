//! The kubeconfig that an administrator gets.

use provision::facts::kubeconfig;
use provision::inventory::{EndpointMode, Inventory};

use super::world::{bundle, connect, inventory, undisturbed};

/// As kubeadm writes it.
const KUBECONFIG: &str = "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://lab.internal:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
";

async fn fetched(inv: &Inventory, edit: impl Fn(&provision::host::FakeCluster)) -> String {
    let whole = inventory();
    let fake = undisturbed(&whole, &bundle(&whole)).await;
    for name in ["cp1", "cp2", "cp3"] {
        let mut world = fake.world();
        let now = world.tick();
        world.machines.get_mut(name).unwrap().write("/etc/kubernetes/admin.conf", KUBECONFIG.as_bytes(), 0o600, now);
    }
    edit(&fake);
    let mut hosts = connect(&fake, inv).await.unwrap();
    hosts.retain(|name, _| name.starts_with("cp"));
    kubeconfig(inv, &hosts).await.unwrap().unwrap()
}

#[tokio::test]
async fn where_every_node_balances_for_itself_each_control_plane_has_a_context() {
    insta::assert_snapshot!("kubeconfig-haproxy", fetched(&inventory(), |_| {}).await);
}

#[tokio::test]
async fn the_current_context_leads_to_a_control_plane_that_is_ready() {
    let stopped = fetched(&inventory(), |fake| {
        let mut world = fake.world();
        world.machines.get_mut("cp1").unwrap().files.remove("/etc/kubernetes/manifests/kube-apiserver.yaml");
    })
    .await;
    let all = fetched(&inventory(), |_| {}).await;
    assert_eq!(stopped, all.replacen("https://192.168.10.11:6443", "https://192.168.10.12:6443", 1));
    // With none ready there is still one to look with.
    let none = fetched(&inventory(), |fake| {
        for machine in fake.world().machines.values_mut() {
            machine.files.remove("/etc/kubernetes/manifests/kube-apiserver.yaml");
        }
    })
    .await;
    assert_eq!(none, all);
}

#[tokio::test]
async fn an_endpoint_that_outlives_a_control_plane_is_the_only_server() {
    let mut inv = inventory();
    inv.endpoint.mode = EndpointMode::KubeVip;
    inv.endpoint.host = Some("192.168.10.10".into());
    insta::assert_snapshot!("kubeconfig-kube-vip", fetched(&inv, |_| {}).await);
    let mut one = inventory();
    one.hosts.retain(|h| h.name != "cp2" && h.name != "cp3");
    let text = fetched(&one, |_| {}).await;
    assert_eq!(text.matches("server:").count(), 1, "{text}");
}
