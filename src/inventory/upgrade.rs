//! `[upgrade]`: how carefully a running cluster is taken to another version.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[upgrade]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upgrade {
    /// How many workers of each pool go before the others of it; 0 for none.
    pub canary: u32,
    /// How many workers of a pool may be away at the same time: a number, or a share of the pool like "20%", which is
    /// rounded down and never to none.
    #[schemars(with = "super::schema::ShareText")]
    pub max_unavailable: Share,
    /// How long a cluster has to stay healthy after a wave before the next one, in seconds.
    pub soak_s: u64,
    /// How long the gates may take to open after a wave, in seconds.
    pub gate_timeout_s: u64,
    /// How workers are emptied.
    pub drain: Drain,
    /// What has to hold before the next wave, besides healthy nodes.
    pub gates: Vec<Gate>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            canary: 1,
            max_unavailable: Share::Percent(20),
            soak_s: 30,
            gate_timeout_s: 300,
            drain: Drain::default(),
            gates: Vec::new(),
        }
    }
}

/// A part of a pool. What is read from an inventory is never none and never more than the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Share {
    /// So many nodes.
    Count(u32),
    /// So many of a hundred.
    Percent(u8),
}

impl Share {
    /// How many of `total` that is: a percentage is rounded down; at least 1, so that work goes on in a small pool.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        let part = match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            // Multiplied first: 20 / 100 of integers is 0.
            Self::Percent(percent) => total.saturating_mul(percent.into()) / 100,
        };
        part.max(1)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = &'static str;

    /// Reads `20%`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_suffix('%').filter(|d| d.len() <= 3 && d.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|d| d.parse().ok()) {
            Some(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err("a share is a percentage from \"1%\" to \"100%\""),
        }
    }
}

/// A share as written: a number, or a string with a percent sign.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Count(u32),
    Text(String),
}

impl TryFrom<Written> for Share {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Count(0) => Err("a share of 0 nodes would never get anywhere"),
            Written::Count(count) => Ok(Self::Count(count)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Share> for Written {
    fn from(share: Share) -> Self {
        match share {
            Share::Count(count) => Self::Count(count),
            Share::Percent(_) => Self::Text(share.to_string()),
        }
    }
}

/// `[upgrade.drain]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// How long the pods of a node may take to leave it, in seconds.
    pub timeout_s: u64,
    /// How long a pod may take to end, in seconds; what the pod itself says when left out.
    pub grace_s: Option<u32>,
    /// What is done about a node that has not emptied in time.
    pub unfinished: Unfinished,
    /// What is done about pods without a controller, which no node starts again once they are deleted.
    pub bare_pods: LostPods,
    /// What is done about pods with data in an emptyDir volume, which is lost when they are deleted.
    pub local_data: LostPods,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout_s: 300,
            grace_s: None,
            unfinished: Unfinished::default(),
            bare_pods: LostPods::Refuse,
            local_data: LostPods::Delete,
        }
    }
}

/// What is done about pods of which something is lost when a node is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LostPods {
    /// Nothing is changed: the plan names them and is refused.
    Refuse,
    /// They are deleted as all others are evicted.
    Delete,
}

/// What is done about a node that has not emptied in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unfinished {
    /// The upgrade stops there and says which pods stay; a further run goes on.
    #[default]
    Pause,
    /// The node is left as it was and the others go on.
    Skip,
    /// The pods that stay are deleted without regard for their disruption budgets.
    Force,
}

/// `[[upgrade.gates]]`: what has to hold before the next wave. Either a command or a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Names it in plans and messages: a DNS label.
    pub name: String,
    /// A command for `sh -c` as root on a control plane, with `KUBECONFIG` set for kubectl; exit 0 opens the gate.
    #[serde(default)]
    pub command: Option<String>,
    /// A URL that the machine that runs provision asks for.
    #[serde(default)]
    pub url: Option<String>,
    /// The HTTP status that opens the gate of a `url`; 200 when left out.
    #[serde(default)]
    pub status: Option<u16>,
}

/// [`Gate`] as one of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateCheck<'a> {
    /// A command on a control plane.
    Command(&'a str),
    /// A question over HTTP.
    Http {
        /// What is asked for.
        url: &'a str,
        /// The answer that opens the gate.
        status: u16,
    },
}

impl Gate {
    /// The one form it has; `None` when it has none or both (the inventory's validation refuses that).
    #[must_use]
    pub fn check(&self) -> Option<GateCheck<'_>> {
        match (&self.command, &self.url) {
            (Some(command), None) if self.status.is_none() => Some(GateCheck::Command(command)),
            (None, Some(url)) => Some(GateCheck::Http { url, status: self.status.unwrap_or(200) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_never_to_none() {
        assert_eq!(Share::Percent(20).of(4), 1);
        assert_eq!(Share::Percent(20).of(9), 1);
        assert_eq!(Share::Percent(20).of(10), 2);
        assert_eq!(Share::Percent(99).of(10), 9);
        assert_eq!(Share::Percent(100).of(7), 7);
        assert_eq!(Share::Count(3).of(100), 3);
    }

    proptest! {
        #[test]
        fn a_percentage_is_never_above_itself(percent in 1u8..=100, total in 0usize..100_000) {
            let part = Share::Percent(percent).of(total);
            prop_assert!(part >= 1);
            prop_assert!(part == 1 || part * 100 <= total * usize::from(percent));
            prop_assert!((part + 1) * 100 > total * usize::from(percent));
        }

        #[test]
        fn a_share_reads_back(share in prop_oneof![
            (1u32..).prop_map(Share::Count), (1u8..=100).prop_map(Share::Percent)
        ]) {
            let json = serde_json::to_value(share).unwrap_or_default();
            prop_assert_eq!(serde_json::from_value::<Share>(json).ok(), Some(share));
        }

        #[test]
        fn no_text_is_more_than_the_whole(text in ".{0,6}|[0-9]{1,4}%") {
            if let Ok(share) = text.parse::<Share>() {
                prop_assert!(matches!(share, Share::Percent(1..=100)));
            }
        }
    }
}
