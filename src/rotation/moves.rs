//! What comes next in a rotation.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;

use super::family::Family;
use super::seen::Seen;
use crate::bundle::Digest;
use crate::error::{Error, Result};

/// A part of a rotation; each is done everywhere before the next one begins anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Phase {
    /// Everybody trusts the new CA beside the old one, which still signs.
    Trust,
    /// The new CA signs, and signed all that is in use; the old one is still trusted.
    Switch,
    /// Nobody trusts the old CA any more.
    Drop,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Trust, Self::Switch, Self::Drop];

    /// As the nodes keep it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Switch => "switch",
            Self::Drop => "drop",
        }
    }

    /// Reads [`word`](Self::word).
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.word() == word.trim())
    }
}

/// The CA that goes and the one that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The one that goes.
    pub old: Digest,
    /// The one that comes.
    pub new: Digest,
}

impl Pair {
    /// The CAs that are trusted once a phase is done. The one that signs comes first: kubeadm reads no other.
    #[must_use]
    pub fn bundle(&self, phase: Phase) -> Vec<Digest> {
        match phase {
            Phase::Trust => vec![self.old.clone(), self.new.clone()],
            Phase::Switch => vec![self.new.clone(), self.old.clone()],
            Phase::Drop => vec![self.new.clone()],
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// This control plane gets both CAs with their keys; the first one that does makes the new one.
    Stage(String),
    /// This node does all that the phase asks of a node, and its programs are started with it.
    Node(String, Phase),
    /// What the phase asks of the cluster as a whole, by way of this control plane.
    Cluster(String, Phase),
    /// This node forgets that there was a rotation.
    Clean(String),
}

/// What is left to do until the phase `until` is done: of what can be done now, all, in its order. Nothing: it is done.
/// `order` names all nodes that know the CA, `planes` those of them that are control planes; both in the order in which
/// they are taken, control planes first.
///
/// Errors (`Refused`): the nodes are in a state that no rotation of ours leaves behind.
pub fn moves(
    family: Family,
    order: &[String],
    planes: &[String],
    seen: &BTreeMap<String, Seen>,
    until: Phase,
) -> Result<Vec<Move>> {
    let Some((first, of_first)) = planes.first().and_then(|p| Some((p, seen.get(p)?))) else {
        return Err(Error::refused("there is no control plane to rotate the CA of"));
    };
    let Some(pair) = pair(family, planes, seen)? else {
        may_begin(family, order, planes, seen)?;
        return Ok(planes.iter().cloned().map(Move::Stage).collect());
    };
    if of_first.cluster == Some(Phase::Drop) {
        // The one that knows that all is done forgets it last.
        let begun = |h: &&String| seen.get(*h).is_some_and(|s| s.begun);
        return Ok(order.iter().rev().filter(begun).cloned().map(Move::Clean).collect());
    }
    let bare: Vec<Move> =
        planes.iter().filter(|h| seen.get(*h).is_none_or(|s| s.staged.is_none())).cloned().map(Move::Stage).collect();
    if !bare.is_empty() {
        return Ok(bare);
    }
    for phase in Phase::ALL.into_iter().filter(|p| *p <= until) {
        let behind = |h: &&String| {
            seen.get(*h).is_none_or(|s| match s.reached {
                Some(reached) if reached > phase => false,
                // Once the cluster was through with it, the next phase may have begun here: its files are not taken back.
                // A kubelet may have been given a certificate by the old CA meanwhile.
                Some(reached) if reached == phase && of_first.cluster >= Some(phase) => {
                    phase == Phase::Switch && s.leaves.values().any(|l| l.by.as_ref() != Some(&pair.new))
                }
                Some(reached) if reached == phase => !lacks(family, s, &pair, phase).is_empty(),
                _ => true,
            })
        };
        let left: Vec<Move> = order.iter().filter(behind).map(|h| Move::Node(h.clone(), phase)).collect();
        if !left.is_empty() {
            return Ok(left);
        }
        if of_first.cluster < Some(phase) {
            return Ok(vec![Move::Cluster(first.clone(), phase)]);
        }
    }
    Ok(Vec::new())
}

/// The pair of the rotation that has begun; `None` when none has, or when it got no further than its first CA.
///
/// Errors (`Refused`): there are two, or traces of one whose CA is gone.
pub fn pair(family: Family, planes: &[String], seen: &BTreeMap<String, Seen>) -> Result<Option<Pair>> {
    let staged: BTreeSet<&(Digest, Digest)> = planes.iter().filter_map(|p| seen.get(p)?.staged.as_ref()).collect();
    let mut staged = staged.into_iter();
    match (staged.next(), staged.next()) {
        (Some((old, new)), None) => Ok(Some(Pair { old: old.clone(), new: new.clone() })),
        (Some(_), Some(_)) => Err(Error::refused(format!(
            "the control planes have different CAs in {}: two rotations were begun",
            family.dir()
        ))
        .hint("where no ca.crt has a second certificate yet, remove that directory from all but one of them")),
        (None, _) => match seen.iter().find(|(_, s)| s.reached.is_some()) {
            None => Ok(None),
            Some((host, _)) => Err(Error::refused(format!(
                "a rotation was begun here, and no control plane has its CAs in {} any more",
                family.dir()
            ))
            .on(host)
            .hint("put that directory of a control plane back from a backup")),
        },
    }
}

/// Whether a rotation may begin: everything is of one CA, whose key the control planes have.
fn may_begin(family: Family, order: &[String], planes: &[String], seen: &BTreeMap<String, Seen>) -> Result<()> {
    let mut wanted: Option<&Digest> = None;
    for host in order {
        let Some(one) = seen.get(host) else {
            return Err(Error::refused("nothing is known of it").on(host));
        };
        let [ca] = one.bundle.as_slice() else {
            return Err(Error::refused(format!("{} holds {} certificates, not one", family.cert(), one.bundle.len()))
                .on(host)
                .hint(
                    "a rotation begins where one CA is trusted; take the others out and restart what reads the file",
                ));
        };
        if wanted.is_some_and(|w| w != ca) {
            return Err(Error::refused(format!("its {} is not that of the others", family.cert())).on(host));
        }
        wanted = Some(ca);
        if let Some((path, _)) = one.leaves.iter().find(|(_, l)| l.by.as_ref() != Some(ca)) {
            return Err(Error::refused(format!("{} did not sign what is in {path}", family.cert())).on(host).hint(
                "`provision plan` shows such certificates; `provision certs renew` makes those of control planes anew",
            ));
        }
        if planes.contains(host) && !one.key {
            return Err(Error::refused(format!("{} is not on this control plane", family.key()))
                .on(host)
                .hint("a CA whose key is kept elsewhere is rotated by whoever keeps it"));
        }
        if let Some(file) = one.signer.as_deref().filter(|f| family == Family::Kubernetes && *f != family.cert()) {
            return Err(Error::refused(format!(
                "the controller manager signs with {file}, not with {}",
                family.cert()
            ))
            .on(host)
            .hint("take cluster-signing-cert-file out of the inventory's extra_args first"));
        }
    }
    Ok(())
}

/// What a node does not have of what a phase leaves behind, for people.
#[must_use]
pub fn lacks(family: Family, seen: &Seen, pair: &Pair, phase: Phase) -> Vec<String> {
    let wanted = pair.bundle(phase);
    let mut all = Vec::new();
    if seen.bundle != wanted {
        all.push(family.cert().to_owned());
    }
    let other = |(path, cas): (&String, &Vec<Digest>)| (*cas != wanted).then(|| path.clone());
    all.extend(seen.trusts.iter().filter_map(other));
    if phase > Phase::Trust {
        all.extend(seen.leaves.iter().filter(|(_, l)| l.by.as_ref() != Some(&pair.new)).map(|(path, _)| path.clone()));
    }
    if family == Family::Kubernetes && seen.signer.as_ref().is_some_and(|s| *s != signs_with(phase).0) {
        all.push("the CA by which the controller manager signs".into());
    }
    if seen.reached < Some(phase) {
        all.push("a restart of what reads these".into());
    }
    all
}

/// Certificate and key by which the controller manager signs once a phase is done. It takes no file with two
/// certificates, and a pair that is exchanged in one piece with its arguments is never half exchanged.
#[must_use]
pub(crate) fn signs_with(phase: Phase) -> (String, String) {
    let family = Family::Kubernetes;
    let beside = |name: &str| (format!("{}/{name}.crt", family.dir()), format!("{}/{name}.key", family.dir()));
    match phase {
        Phase::Trust => beside("old"),
        Phase::Switch => beside("new"),
        Phase::Drop => (family.cert().to_owned(), family.key().to_owned()),
    }
}
