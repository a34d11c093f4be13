//! Reads what kubeadm, kubectl and etcdctl print. Pure; anything unexpected is an error, never a panic.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Context as _, Error, Result};

/// What the annotations that are ours begin with.
pub const MARK_PREFIX: &str = "provision.dev/";
/// On a node that we keep pods off.
pub const CORDONED_BY: &str = "cordoned-by";
/// On a node whose upgrade has begun and not ended; its value is the version.
pub const UPGRADING_TO: &str = "upgrading-to";
/// On a node that is being removed; its value says whether it was us who keep pods off.
pub const LEAVING: &str = "leaving";

/// A node object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeObject {
    /// Its name.
    pub name: String,
    /// Condition Ready is True.
    pub ready: bool,
    /// Cordoned.
    pub unschedulable: bool,
    /// `v1.36.2`
    pub kubelet_version: String,
    /// `containerd://2.1.4`
    pub runtime: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `key=value:Effect`
    pub taints: Vec<String>,
    /// InternalIP.
    pub address: Option<String>,
    /// The annotations that are ours, without the part before the slash.
    #[serde(default)]
    pub marks: BTreeMap<String, String>,
}

impl NodeObject {
    /// Whether kubeadm has marked it as a control plane, by the name of its version.
    #[must_use]
    pub fn is_control_plane(&self) -> bool {
        ["control-plane", "master"].iter().any(|r| self.labels.contains_key(&format!("node-role.kubernetes.io/{r}")))
    }
}

/// Reads `kubectl get nodes -o json`.
pub fn nodes(json: &str) -> Result<Vec<NodeObject>> {
    let list: Value = serde_json::from_str(json).context(|| "failed to read the list of nodes".into())?;
    let items =
        list.get("items").and_then(Value::as_array).ok_or_else(|| Error::failed("no items in the list of nodes"))?;
    Ok(items.iter().filter_map(node).collect())
}

fn node(item: &Value) -> Option<NodeObject> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let array = |pointer: &str| item.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let field = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = item.pointer("/metadata/name")?.as_str()?.to_owned();
    Some(NodeObject {
        name,
        ready: array("/status/conditions").iter().any(|c| field(c, "type") == "Ready" && field(c, "status") == "True"),
        unschedulable: item.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false),
        kubelet_version: text("/status/nodeInfo/kubeletVersion"),
        runtime: text("/status/nodeInfo/containerRuntimeVersion"),
        labels: item
            .pointer("/metadata/labels")
            .and_then(Value::as_object)
            .map(|m| m.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect())
            .unwrap_or_default(),
        taints: array("/spec/taints")
            .iter()
            .map(|t| match field(t, "value").as_str() {
                "" => format!("{}:{}", field(t, "key"), field(t, "effect")),
                value => format!("{}={value}:{}", field(t, "key"), field(t, "effect")),
            })
            .collect(),
        address: array("/status/addresses")
            .iter()
            .find(|a| field(a, "type") == "InternalIP")
            .map(|a| field(a, "address")),
        marks: item
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.strip_prefix(MARK_PREFIX)?.to_owned(), v.as_str()?.to_owned())))
            .collect(),
    })
}

/// A member of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    /// Its id.
    pub id: u64,
    /// Its name; empty while it has not started.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// It does not vote yet.
    pub learner: bool,
}

/// Reads `etcdctl member list -w json` of etcd 3.4 to 3.6.
pub fn etcd_members(json: &str) -> Result<Vec<EtcdMember>> {
    let list: Value = serde_json::from_str(json).context(|| "failed to read etcd's member list".into())?;
    let members = list
        .get("members")
        .and_then(Value::as_array)
        .ok_or_else(|| Error::failed("no members in etcd's member list"))?;
    members
        .iter()
        .map(|m| {
            Ok(EtcdMember {
                id: m.get("ID").and_then(Value::as_u64).ok_or_else(|| Error::failed("an etcd member without an ID"))?,
                name: m.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                peer_urls: m
                    .get("peerURLs")
                    .and_then(Value::as_array)
                    .map(|urls| urls.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                    .unwrap_or_default(),
                learner: m.get("isLearner").and_then(Value::as_bool).unwrap_or(false),
            })
        })
        .collect()
}

/// The health of an etcd endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdHealth {
    /// Its URL.
    pub endpoint: String,
    /// It answered and could commit.
    pub healthy: bool,
}

/// Reads `etcdctl endpoint health -w json`.
pub fn etcd_health(json: &str) -> Result<Vec<EtcdHealth>> {
    let list: Vec<Value> = serde_json::from_str(json).context(|| "failed to read etcd's health".into())?;
    Ok(list
        .iter()
        .map(|e| EtcdHealth {
            endpoint: e.get("endpoint").and_then(Value::as_str).unwrap_or_default().to_owned(),
            healthy: e.get("health").and_then(Value::as_bool).unwrap_or(false),
        })
        .collect())
}

/// What a member of etcd tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdStatus {
    /// Its id.
    pub id: u64,
    /// The id of the member it follows; 0 while there is no leader.
    pub leader: u64,
    /// Its version, like `3.6.8`.
    pub version: String,
    /// The size of its database in bytes.
    pub db_bytes: u64,
}

/// Reads `etcdctl endpoint status -w json` of etcd 3.4 to 3.6.
pub fn etcd_status(json: &str) -> Result<Vec<EtcdStatus>> {
    let list: Vec<Value> = serde_json::from_str(json).context(|| "failed to read etcd's status".into())?;
    let number = |e: &Value, pointer: &str| e.pointer(pointer).and_then(Value::as_u64);
    let status = |e: &Value| {
        Ok(EtcdStatus {
            id: number(e, "/Status/header/member_id")
                .ok_or_else(|| Error::failed("a member in etcd's status without an id"))?,
            leader: number(e, "/Status/leader").unwrap_or(0),
            version: e.pointer("/Status/version").and_then(Value::as_str).unwrap_or_default().to_owned(),
            db_bytes: number(e, "/Status/dbSize").unwrap_or(0),
        })
    };
    list.iter().map(status).collect()
}

/// Finds the bootstrap token in what `kubeadm token create` printed.
pub fn token(stdout: &str) -> Result<SecretString> {
    let is_token = |word: &&str| {
        word.split_once('.').is_some_and(|(id, secret)| {
            let plain = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)
        })
    };
    let found = stdout.split_whitespace().find(is_token);
    found.map(SecretString::from).ok_or_else(|| Error::failed("`kubeadm token create` printed no token"))
}

/// Finds the certificate key in what `kubeadm init phase upload-certs` printed.
pub fn certificate_key(stdout: &str) -> Result<SecretString> {
    let found = stdout.split_whitespace().find(|w| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit()));
    found.map(SecretString::from).ok_or_else(|| Error::failed("`kubeadm init phase upload-certs` printed no key"))
}

/// Reads `kubeadm config images list`.
#[must_use]
pub fn images_list(stdout: &str) -> Vec<String> {
    stdout
        .lines()
        .map(str::trim)
        .filter(|l| l.contains('/') && l.contains(':') && !l.contains(' '))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn members_of_etcd_34_are_read() -> Result<()> {
        let text = r#"{"header":{"cluster_id":1},"members":[{"ID":10276657743932975437,"name":"cp1","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["x"]},{"ID":2,"peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]}"#;
        let members = etcd_members(text)?;
        assert_eq!(
            (members[0].id, members[0].name.as_str(), members[0].learner),
            (10_276_657_743_932_975_437, "cp1", false)
        );
        assert!(members[1].name.is_empty() && members[1].learner);
        Ok(())
    }

    #[test]
    fn the_status_of_etcd_34_is_read() -> Result<()> {
        let text = r#"[{"Endpoint":"http://127.0.0.1:2379","Status":{"header":{"cluster_id":15118495548433857066,"member_id":13668033151171901709,"revision":1,"raft_term":2},"version":"3.4.23","dbSize":32768,"leader":13668033151171901709,"raftIndex":4,"raftTerm":2,"raftAppliedIndex":4,"dbSizeInUse":16384}}]"#;
        let id = 13_668_033_151_171_901_709;
        let wanted = EtcdStatus { id, leader: id, version: "3.4.23".into(), db_bytes: 32768 };
        assert_eq!(etcd_status(text)?, [wanted]);
        assert!(etcd_status("[{}]").is_err());
        Ok(())
    }

    #[test]
    fn a_token_is_found_among_warnings() -> Result<()> {
        let out = "W1121 configset.go:348] WARNING: kubeadm cannot validate\nabcdef.0123456789abcdef\n";
        assert_eq!(token(out)?.expose_secret(), "abcdef.0123456789abcdef");
        assert!(token("nothing here").is_err());
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,200}") {
            let _ = (nodes(&text), etcd_members(&text), etcd_health(&text), etcd_status(&text), images_list(&text));
            let _ = (token(&text).is_ok(), certificate_key(&text).is_ok());
        }
    }
}
