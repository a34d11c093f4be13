//! Each node's share of the pod network (CNI `bridge`). Pure; property-tested.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::inventory::Inventory;

/// Allots every node its subnets, one per pod network. What a host already has stays with it, whatever its place in
/// the inventory now; the others get the lowest free ones in the inventory's order. So removing or reordering hosts
/// never renumbers a node that serves.
pub fn allot(inv: &Inventory, facts: &Facts) -> Result<BTreeMap<String, Vec<IpNet>>> {
    let mut allotted: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    let nodes = inv.nodes();
    for pods in &inv.network.pods {
        let prefix = match pods {
            IpNet::V4(_) => inv.network.node_prefix,
            IpNet::V6(_) => inv.network.node_prefix_v6,
        };
        let mut taken: BTreeSet<IpNet> = BTreeSet::new();
        let mut own: BTreeMap<&str, IpNet> = BTreeMap::new();
        for host in &nodes {
            let has = facts.hosts.get(&host.name).into_iter().flat_map(|f| &f.pod_cidrs);
            let kept =
                has.filter_map(|c| c.parse::<IpNet>().ok()).find(|c| pods.contains(c) && c.prefix_len() == prefix);
            // Two hosts with the same share (a cloned machine): the first keeps it.
            if let Some(cidr) = kept.filter(|c| taken.insert(*c)) {
                own.insert(&host.name, cidr);
            }
        }
        let mut free = pods.subnets(prefix).map_err(|_| {
            Error::invalid(format!("the pod network {pods} cannot be divided into /{prefix} shares"))
                .hint("set network.node_prefix to a longer prefix than the pod network's")
        })?;
        for host in &nodes {
            let cidr = match own.get(host.name.as_str()) {
                Some(cidr) => *cidr,
                None => free.find(|c| !taken.contains(c)).ok_or_else(|| {
                    Error::invalid(format!("the pod network {pods} has no /{prefix} left for {}", host.name))
                        .hint("a larger pod network needs a new cluster; a longer node_prefix too")
                })?,
            };
            taken.insert(cidr);
            allotted.entry(host.name.clone()).or_default().push(cidr);
        }
    }
    Ok(allotted)
}
