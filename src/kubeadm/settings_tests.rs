use proptest::prelude::*;
use serde_json::json;

use super::*;

const POD: &str = "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - --v=2\n    - --audit-log-path=/var/log/a b\n    image: r/kube-apiserver:v1.20.2\n";

fn wanted(args: &[(&str, &str)]) -> ControlPlaneSettings {
    let args = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ControlPlaneSettings {
        cert_sans: ["localhost".to_owned()].into(),
        extra_args: [(API_SERVER.to_owned(), args)].into(),
        etcd_tag: None,
    }
}

fn found() -> StaticPods {
    StaticPods::read([(API_SERVER, POD)], b"")
}

#[test]
fn a_component_is_behind_when_an_argument_is_missing_or_left_over() -> Result<()> {
    let two = wanted(&[("v", "2"), ("audit-log-path", "/var/log/a b")]);
    assert!(two.behind(None, &found()).is_empty());
    assert!(two.behind(Some(&two.text()?), &found()).is_empty());
    assert_eq!(wanted(&[("v", "3")]).behind(None, &found()), [API_SERVER]);
    let one = wanted(&[("v", "2")]);
    assert!(one.behind(None, &found()).is_empty(), "with no word of before nothing is left over");
    assert_eq!(one.behind(Some(&two.text()?), &found()), [API_SERVER], "audit-log-path was asked for once");
    assert_eq!(one.behind(Some("unfinished\n"), &found()), [API_SERVER]);
    assert_eq!(one.behind(None, &StaticPods::default()), [API_SERVER]);
    Ok(())
}

#[test]
fn etcd_is_behind_by_its_image_too() {
    let etcd = |tag: &str| {
        StaticPods::read([(ETCD, "spec: {containers: [{command: [etcd], image: 'r/etcd:3.6.8-0'}]}")], tag.as_bytes())
    };
    let mut settings = wanted(&[]);
    settings.extra_args = [(ETCD.to_owned(), BTreeMap::new())].into();
    for (tag, behind) in [(Some("3.6.8-0"), false), (Some("3.6.9-0"), true), (None, false)] {
        settings.etcd_tag = tag.map(str::to_owned);
        assert_eq!(!settings.behind(None, &etcd("")).is_empty(), behind, "{tag:?}");
    }
}

#[test]
fn names_of_a_certificate_are_compared_as_addresses_and_names() -> std::result::Result<(), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let names = ["LOCALHOST", "10.0.0.1", "fd00::1"].map(str::to_owned);
    let pem = rcgen::CertificateParams::new(names)?.self_signed(&key)?.pem();
    let found = StaticPods::read([], pem.as_bytes());
    let mut settings = wanted(&[]);
    settings.cert_sans = ["localhost", "10.0.0.1", "fd00:0::1"].map(str::to_owned).into();
    assert!(!settings.wants_certificate(None, &found));
    settings.cert_sans.insert("api.example".into());
    assert!(settings.wants_certificate(None, &found));
    assert!(
        wanted(&[]).wants_certificate(settings.text().ok().as_deref(), &found),
        "api.example is not wanted any more"
    );
    assert!(wanted(&[]).wants_certificate(None, &StaticPods::default()));
    Ok(())
}

#[test]
fn a_kubelets_arguments_take_the_place_of_those_before() {
    let args = |all: &[(&str, &str)]| KubeletSettings {
        args: all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        config: json!({}),
    };
    let before = "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni --v=4 --node-ip=10.0.0.1 --pod-infra-container-image=r/pause:3.2\"\n";
    let settings = args(&[("node-ip", "10.0.0.1"), ("max-pods", "50")]);
    assert!(!settings.is_on("", before));
    let after = settings.flags(before);
    assert_eq!(
        after,
        "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni --pod-infra-container-image=r/pause:3.2 --max-pods=50 --node-ip=10.0.0.1\"\n"
    );
    assert!(settings.is_on("", &after));
    // What kubeadm would set otherwise may be asked for.
    let image = args(&[("pod-infra-container-image", "r/pause:3.9")]);
    assert_eq!(
        image.flags(&after),
        "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni --pod-infra-container-image=r/pause:3.9\"\n"
    );
}

#[test]
fn what_a_newer_kubeadm_writes_in_another_form_is_the_same() {
    let wanted = json!({"kind": "x", "syncFrequency": "60s", "maxPods": 90, "failSwapOn": false, "tlsCipherSuites": [], "evictionHard": {"memory.available": "5%"}});
    let have = json!({"kind": "y", "syncFrequency": "1m0s", "maxPods": 90, "evictionHard": {"memory.available": "5%", "more": "1"}, "other": 1});
    assert!(has_all(&wanted, &have));
    for (key, other) in [
        ("syncFrequency", json!("61s")),
        ("maxPods", json!(91)),
        ("failSwapOn", json!(true)),
        ("evictionHard", json!(null)),
    ] {
        let mut changed = have.clone();
        changed[key] = other;
        assert!(!has_all(&wanted, &changed), "{key}");
    }
    assert!(!has_all(&json!({"a": [1, 2]}), &json!({"a": [1]})));
}

#[test]
fn the_clusters_own_configuration_is_read_in_both_forms() {
    let encode = |text: &str| format!("cluster={}\n", STANDARD.encode(text));
    let map = "apiServer: {certSANs: [localhost, x], extraArgs: {v: '2', authorization-mode: 'Node,RBAC'}}";
    let list = "apiServer: {certSANs: [localhost], extraArgs: [{name: v, value: '2'}]}";
    for text in [map, list] {
        let found = ClusterSettings::read(&encode(text));
        assert!(wanted(&[("v", "2")]).is_in(&found), "{text}");
        assert!(!wanted(&[("v", "3")]).is_in(&found), "{text}");
    }
    assert!(!wanted(&[]).is_in(&ClusterSettings::read("cluster=\n")));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z0-9]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What is there has all of itself; and with more beside it still.
    #[test]
    fn a_document_has_all_of_itself(value in any_value(), more in any_value()) {
        prop_assert!(has_all(&value, &value));
        if let Value::Object(mut map) = value.clone() {
            map.insert("zzzzz".into(), more);
            prop_assert!(has_all(&value, &Value::Object(map)));
        }
    }

    /// New arguments are there afterwards, once more changes nothing, and what kubeadm put there stays.
    #[test]
    fn arguments_converge(args in prop::collection::btree_map("[a-z-]{3,12}", "[a-z0-9/.:]{0,8}", 0..6), old in "(--[a-z-]{3,9}=[a-z0-9]{0,4} ){0,5}") {
        let settings = KubeletSettings { args: args.clone(), config: Value::Null };
        let before = format!("KUBELET_KUBEADM_ARGS=\"{old} --network-plugin=cni\"\n");
        let after = settings.flags(&before);
        prop_assert!(settings.is_on("", &after));
        prop_assert_eq!(&settings.flags(&after), &after);
        prop_assert!(args.contains_key("network-plugin") || after.contains("--network-plugin=cni"));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,200}", other in "\\PC{0,60}") {
        let _ = (ControlPlaneSettings::read(&text), KubeletSettings::read(&text), ClusterSettings::read(&text), duration(&other));
        let found = StaticPods::read([(API_SERVER, text.as_str())], other.as_bytes());
        let _ = wanted(&[("v", "2")]).behind(Some(&other), &found);
    }
}
