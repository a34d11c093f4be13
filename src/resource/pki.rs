//! What a node holds of keys that never leave it, and where Kubernetes finds it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::shell::shell_probe;
use crate::host::{Answer, Probe};
use crate::kubeadm::Placed;

/// Where a node keeps its keys, its requests and the certificates that came back. Not below /etc/kubernetes: that goes
/// when a broken join is cleared, and a certificate takes people to make.
pub const NODE_KEYS: &str = "/var/lib/provision/pki";
/// The name of the key pair that all control planes sign service account tokens with.
pub const SERVICE_ACCOUNTS: &str = "sa";

/// What a node holds in [`NODE_KEYS`]; never a key itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeKeys {
    /// The names of the private keys that root alone can read.
    pub keys: BTreeSet<String>,
    /// By name, the last request in PEM.
    pub requests: BTreeMap<String, String>,
    /// By name, the certificate in PEM.
    pub certificates: BTreeMap<String, String>,
    /// The public half of the service accounts' key in PEM.
    pub service_accounts: Option<String>,
}

/// Asks for it.
#[must_use]
pub fn node_keys_probe() -> Probe {
    shell_probe("node-keys", &[NODE_KEYS])
}

/// Reads the answer to [`node_keys_probe`].
#[must_use]
pub fn node_keys(answer: &Answer) -> NodeKeys {
    let mut found = NodeKeys::default();
    let Answer::Shell { code: 0, stdout, .. } = answer else { return found };
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut at = None;
    for line in stdout.lines() {
        if let Some(name) = line.strip_prefix("key ") {
            found.keys.insert(name.to_owned());
        } else if let Some(name) = line.strip_prefix("file ") {
            at = Some(name);
        } else if let Some(name) = at {
            let text = files.entry(name).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    for (file, text) in files {
        match file.rsplit_once('.') {
            Some((name, "csr")) => _ = found.requests.insert(name.to_owned(), text),
            Some((name, "crt")) => _ = found.certificates.insert(name.to_owned(), text),
            Some((SERVICE_ACCOUNTS, "pub")) => found.service_accounts = Some(text),
            _ => {}
        }
    }
    found
}

/// The words of the script that looks whether these are where Kubernetes finds them, and puts them there.
#[must_use]
pub(crate) fn place_words(placed: &[Placed]) -> Vec<String> {
    let word = |p: &Placed| match p {
        Placed::Certificate { name, path } => format!("crt|{name}|{path}"),
        Placed::Pair { name, path } => format!("pair|{name}|{path}"),
        Placed::ServiceAccounts { path } => format!("sa|{SERVICE_ACCOUNTS}|{path}"),
        Placed::Config { name, path, server, user, cluster, pair } => match pair {
            None => format!("conf|{name}|{path}|{server}|{user}|{cluster}"),
            Some(pair) => format!("link|{name}|{path}|{server}|{user}|{cluster}|{pair}"),
        },
    };
    placed.iter().map(word).collect()
}

/// Asks whether all is where Kubernetes finds it.
pub(crate) fn placed_probe(placed: &[Placed]) -> Probe {
    let words = place_words(placed);
    let all: Vec<&str> = ["check", NODE_KEYS].into_iter().chain(words.iter().map(String::as_str)).collect();
    shell_probe("place-certificates", &all)
}

/// Reads the answer to [`placed_probe`].
pub(super) fn is_placed(answer: &Answer) -> bool {
    matches!(answer, Answer::Shell { code: 0, stdout, .. } if stdout.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_holds_is_read() {
        let stdout =
            "key apiserver\nkey sa\nfile apiserver.csr\n-----A\nfile apiserver.crt\n-----B\nC\nfile sa.pub\nD\n";
        let found = node_keys(&Answer::Shell { code: 0, stdout: stdout.into(), stderr: String::new() });
        assert_eq!(found.keys, ["apiserver", "sa"].map(str::to_owned).into());
        assert_eq!(found.requests["apiserver"], "-----A\n");
        assert_eq!(found.certificates["apiserver"], "-----B\nC\n");
        assert_eq!(found.service_accounts.as_deref(), Some("D\n"));
        assert_eq!(node_keys(&Answer::Absent), NodeKeys::default());
    }
}
