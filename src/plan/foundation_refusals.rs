//! What the inventory asks for that no rolling change gives to a cluster that serves. Pure.

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::inventory::{EndpointMode, EtcdMode, Inventory};
use crate::kubeadm::Foundation;

/// Refuses other networks, another DNS domain, another endpoint and another place of etcd than the cluster was made with,
/// with every reason there is. Nothing to say as long as no control plane tells of a cluster. Another name of the cluster
/// is another cluster: its hosts say so.
pub(super) fn refuse_foundation(inv: &Inventory, facts: &Facts) -> Result<()> {
    let voice = facts.voice.as_ref().and_then(|v| facts.hosts.get(v));
    let Some(has) = voice.and_then(|h| h.upgrade.foundation.as_ref()) else {
        return Ok(());
    };
    let wanted = Foundation::wanted(inv);
    let mut lines = String::new();
    let mut ways: Vec<&str> = Vec::new();
    let mut say = |what: &str, key: &str, pair: Option<(String, String)>, way: &'static str| {
        let Some((has, wanted)) = pair.filter(|(has, wanted)| has != wanted) else { return };
        lines += &format!("\n  the cluster's {what} is {has}, the inventory says {wanted} ({key})");
        if !ways.contains(&way) {
            ways.push(way);
        }
    };
    let anew = "put back what the cluster has; other networks or another DNS domain come with another cluster: make one \
                beside this one, or end this one with `provision reset --all` and `provision apply` it anew";
    say("pod network", "network.pods", both(&has.pods, &wanted.pods, networks), anew);
    say("service network", "network.services", both(&has.services, &wanted.services, networks), anew);
    say("DNS domain", "network.domain", both(&has.domain, &wanted.domain, String::clone), anew);
    let endpoint = if inv.endpoint.mode == EndpointMode::FirstNode {
        "with endpoint.mode \"first-node\" the control plane that is listed first is the endpoint, which stands in every \
         kubeconfig and certificate: list the same one first as before"
    } else {
        "the endpoint stands in every kubeconfig and certificate: put it back, and let its name or address lead elsewhere"
    };
    say("API endpoint", "endpoint", both(&has.endpoint, &wanted.endpoint, |e| e.to_lowercase()), endpoint);
    let place = |mode: &EtcdMode| match mode {
        EtcdMode::Stacked => "stacked on the control planes".to_owned(),
        EtcdMode::External => "external".to_owned(),
    };
    let etcd = "etcd's data does not move while the cluster serves: put etcd.mode back, or make another cluster and move \
                the workloads to it";
    say("etcd", "etcd.mode", both(&has.etcd, &wanted.etcd, place), etcd);
    if lines.is_empty() {
        return Ok(());
    }
    let error = Error::refused(format!("a cluster that serves cannot be given this; nothing was changed:{lines}"));
    Err(ways.into_iter().fold(error, Error::hint))
}

fn both<T>(has: &Option<T>, wanted: &Option<T>, text: impl Fn(&T) -> String) -> Option<(String, String)> {
    has.as_ref().zip(wanted.as_ref()).map(|(has, wanted)| (text(has), text(wanted)))
}

#[allow(clippy::ptr_arg, reason = "what `both` gives")]
fn networks(all: &Vec<IpNet>) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::facts::HostFacts;
    use crate::inventory;

    const INVENTORY: &str = "[cluster]\nname = \"lab\"\nversion = \"1.36.2\"\n[endpoint]\nmode = \"haproxy\"\n\
        [defaults]\nuser = \"root\"\nkey_file = \"/k\"\n[[hosts]]\nname = \"cp1\"\nrole = \"control-plane\"\n\
        address = \"192.168.10.11\"\n[[hosts]]\nname = \"cp2\"\nrole = \"control-plane\"\naddress = \"192.168.10.12\"\n\
        [[hosts]]\nname = \"cp3\"\nrole = \"control-plane\"\naddress = \"192.168.10.13\"\n";

    fn read(text: &str) -> Inventory {
        inventory::parse(text).unwrap_or_else(|d| panic!("{}", inventory::render("test", text, &d))).inventory
    }

    /// A cluster that was made by `made`.
    fn facts(made: &Inventory) -> Facts {
        let mut host = HostFacts::default();
        host.upgrade.foundation = Some(Foundation::wanted(made));
        Facts { voice: Some("cp1".into()), hosts: [("cp1".into(), host)].into(), ..Facts::default() }
    }

    fn refused(made: &str, now: &str) -> String {
        let Err(error) = refuse_foundation(&read(now), &facts(&read(made))) else { panic!("nothing is refused") };
        assert_eq!(error.kind(), Kind::Refused);
        error.report()
    }

    #[test]
    fn the_same_in_other_words_is_no_change() {
        let made = facts(&read(INVENTORY));
        let said = format!(
            "{INVENTORY}[network]\npods = [\"10.244.0.0/16\"]\nservices = [\"10.96.0.0/16\"]\ndomain = \"cluster.local\"\n"
        )
        .replace("\"haproxy\"\n", "\"haproxy\"\nhost = \"api.lab.internal\"\nport = 8443\n");
        assert!(refuse_foundation(&read(&said), &made).is_ok());
    }

    #[test]
    fn every_change_is_named_with_what_was_and_the_way_out() {
        let now = format!(
            "{INVENTORY}[network]\npods = [\"10.99.0.0/16\"]\nservices = [\"10.98.0.0/16\"]\ndomain = \"site.local\"\n"
        );
        let report = refused(INVENTORY, &now.replace("\"haproxy\"\n", "\"haproxy\"\nport = 9443\n"));
        for part in [
            "pod network is 10.244.0.0/16, the inventory says 10.99.0.0/16 (network.pods)",
            "service network is 10.96.0.0/16, the inventory says 10.98.0.0/16 (network.services)",
            "DNS domain is cluster.local, the inventory says site.local (network.domain)",
            "API endpoint is api.lab.internal:8443, the inventory says api.lab.internal:9443 (endpoint)",
            "`provision reset --all`",
            "let its name or address lead elsewhere",
        ] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert_eq!(report.matches("Hint:").count(), 2, "each way out once: {report}");
    }

    #[test]
    fn a_second_family_is_another_network() {
        let dual =
            "[network]\npods = [\"10.244.0.0/16\", \"fd00:1::/56\"]\nservices = [\"10.96.0.0/16\", \"fd00:2::/112\"]\n";
        let report = refused(INVENTORY, &format!("{INVENTORY}{dual}"));
        assert!(report.contains("10.244.0.0/16, the inventory says 10.244.0.0/16, fd00:1::/56"), "{report}");
    }

    #[test]
    fn etcd_stays_where_it_is() {
        let beside = "[etcd]\nmode = \"external\"\nendpoints = [\"https://10.0.0.9:2379\"]\nca_file = \"/e/ca.crt\"\n\
            cert_file = \"/e/c.crt\"\nkey_file = \"/e/c.key\"\n";
        let external = format!("{INVENTORY}{beside}");
        let report = refused(INVENTORY, &external);
        assert!(report.contains("etcd is stacked on the control planes, the inventory says external"), "{report}");
        let report = refused(&external, INVENTORY);
        assert!(report.contains("etcd is external, the inventory says stacked on the control planes"), "{report}");
    }

    #[test]
    fn another_first_node_is_another_endpoint() {
        let first = INVENTORY.replace("haproxy", "first-node");
        let turned = first.replace("192.168.10.11", "tmp").replace("192.168.10.12", "192.168.10.11");
        let report = refused(&first, &turned.replace("tmp", "192.168.10.12"));
        assert!(report.contains("192.168.10.11:6443, the inventory says 192.168.10.12:6443"), "{report}");
        assert!(report.contains("list the same one first as before"), "{report}");
    }

    #[test]
    fn without_a_cluster_that_tells_there_is_nothing_to_refuse() {
        let other = read(&format!("{INVENTORY}[network]\npods = [\"10.99.0.0/16\"]\n"));
        let mut silent = facts(&read(INVENTORY));
        silent.voice = None;
        assert!(refuse_foundation(&other, &silent).is_ok());
        assert!(refuse_foundation(&other, &Facts::default()).is_ok());
        let mut unread = facts(&read(INVENTORY));
        unread.hosts.insert("cp1".into(), HostFacts::default());
        assert!(refuse_foundation(&other, &unread).is_ok());
    }
}
