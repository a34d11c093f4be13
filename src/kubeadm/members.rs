//! etcd's members together with their health, and whether etcd can do without one of them. Pure.

use std::net::IpAddr;

use super::parse::{etcd_health, etcd_members};
use crate::error::{Error, Result};

/// A member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name, which kubeadm makes the node's; empty while it has not started.
    pub name: String,
    /// The host of its peer URL.
    pub host: String,
    /// Whether it votes.
    pub voter: bool,
    /// It answered and could commit.
    pub healthy: bool,
}

/// All members of an etcd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members(pub Vec<Member>);

/// What is left of etcd's voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// How many there are.
    pub voters: usize,
    /// How many of these are healthy.
    pub healthy: usize,
}

impl Left {
    /// Whether more than half of them are healthy; never with none at all.
    #[must_use]
    pub fn has_quorum(self) -> bool {
        self.healthy * 2 > self.voters
    }
}

impl Members {
    /// Reads what the etcd probe prints: `member list` and `endpoint health --cluster`, as JSON, one a line.
    ///
    /// Errors: the first line is no member list. Without the second nobody counts as healthy.
    pub fn read(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|l| !l.trim().is_empty());
        let list = lines.next().ok_or_else(|| Error::failed("etcd's member list is empty"))?;
        let health = lines.next().and_then(|l| etcd_health(l).ok()).unwrap_or_default();
        let members = etcd_members(list)?.into_iter().map(|m| {
            let host = m.peer_urls.first().map(|u| host_of(u).to_owned()).unwrap_or_default();
            let healthy = health.iter().any(|h| h.healthy && host_of(&h.endpoint) == host);
            Member { id: m.id, name: m.name, host, voter: !m.learner, healthy }
        });
        Ok(Self(members.collect()))
    }

    /// The member of a node. One that has not started has no name yet and is known by its address alone.
    #[must_use]
    pub fn of(&self, node: &str, address: Option<IpAddr>) -> Option<&Member> {
        let nameless = |m: &&Member| m.name.is_empty() && address.is_some_and(|a| m.host == a.to_string());
        self.0.iter().find(|m| m.name == node).or_else(|| self.0.iter().find(nameless))
    }

    /// What is left without this member.
    #[must_use]
    pub fn without(&self, id: u64) -> Left {
        let stay: Vec<&Member> = self.0.iter().filter(|m| m.id != id && m.voter).collect();
        Left { voters: stay.len(), healthy: stay.iter().filter(|m| m.healthy).count() }
    }

    /// The names of those that are healthy, or are not.
    pub fn names(&self, healthy: bool) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |m| m.healthy == healthy).map(|m| if m.name.is_empty() { &*m.host } else { &*m.name })
    }
}

/// The host of `https://HOST:PORT`.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"members":[{"ID":1,"name":"cp1","peerURLs":["https://10.0.0.1:2380"]},
{"ID":2,"name":"cp2","peerURLs":["https://[fd00::2]:2380"]},{"ID":3,"peerURLs":["https://10.0.0.3:2380"]},
{"ID":4,"name":"cp4","peerURLs":["https://10.0.0.4:2380"],"isLearner":true}]}"#;

    fn members() -> Members {
        let health = r#"[{"endpoint":"https://10.0.0.1:2379","health":false},{"endpoint":"https://[fd00::2]:2379","health":true}]"#;
        Members::read(&format!("{}\n{health}\n", TEXT.replace('\n', ""))).unwrap_or_default()
    }

    #[test]
    fn health_belongs_to_the_member_at_its_address() {
        let all = members();
        assert_eq!(all.names(true).collect::<Vec<_>>(), ["cp2"]);
        assert_eq!(all.names(false).collect::<Vec<_>>(), ["cp1", "10.0.0.3", "cp4"]);
        assert!(Members::read("").is_err() && Members::read("junk").is_err());
    }

    #[test]
    fn a_member_is_found_by_name_and_one_without_a_name_by_address() {
        let all = members();
        let of = |node: &str, address: &str| all.of(node, address.parse().ok()).map(|m| m.id);
        assert_eq!(of("cp1", "10.0.0.9"), Some(1));
        assert_eq!(of("cp3", "10.0.0.3"), Some(3));
        // Another host may have the address of a member with a name of its own.
        assert_eq!(of("cp9", "10.0.0.1"), None);
    }

    #[test]
    fn only_healthy_voters_make_a_quorum() {
        let all = members();
        assert_eq!(all.without(1), Left { voters: 2, healthy: 1 });
        assert!(!all.without(1).has_quorum() && !all.without(2).has_quorum());
        assert!(!Left { voters: 0, healthy: 0 }.has_quorum());
        assert!(Left { voters: 2, healthy: 2 }.has_quorum() && !Left { voters: 4, healthy: 2 }.has_quorum());
    }
}
