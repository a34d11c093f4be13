//! Whose signatures are asked for.

use super::judge::{at, under};
use crate::inventory::model::Inventory;
use crate::inventory::structure::shown;
use crate::inventory::tree::Finding;
use crate::inventory::trust::PublicKey;

/// Longer than any public key: what is pasted in its place may be a secret key.
const LONGEST_SHOWN: usize = 60;

pub(super) fn check(inventory: &Inventory, json: &serde_json::Value, found: &mut Vec<Finding>) {
    let trust = &inventory.trust;
    let signers = at(["trust", "signers"]);
    let keys: Vec<Option<PublicKey>> = trust.signers.iter().map(|s| s.key.parse().ok()).collect();
    for (index, signer) in trust.signers.iter().enumerate() {
        let path = under(&signers, index);
        let before = || trust.signers.iter().zip(&keys).take(index);
        if signer.name.is_empty() || signer.name.len() > 60 || signer.name.chars().any(char::is_control) {
            found.push(Finding::error(
                under(&path, "name"),
                "the name of a signer is 1 to 60 characters",
                "say who or what holds the key, like \"release\" or \"security\"",
            ));
        } else if before().any(|(s, _)| s.name == signer.name) {
            found.push(Finding::error(
                under(&path, "name"),
                format!("two signers are called \"{}\"", shown(&signer.name)),
                "give each a name of its own",
            ));
        }
        match keys.get(index).copied().flatten() {
            None => {
                let mut finding = Finding::error(
                    under(&path, "key"),
                    "this is not a public key of minisign",
                    "write the second line of the .pub file: 56 characters that begin with RW",
                );
                finding.secret = signer.key.len() > LONGEST_SHOWN;
                found.push(finding);
            }
            Some(key) => {
                if let Some((same, _)) = before().find(|(_, k)| **k == Some(key)) {
                    found.push(Finding::error(
                        under(&path, "key"),
                        format!("this is the key of \"{}\" too: it would count once", shown(&same.name)),
                        "give each signer a key of its own, or remove one of the two",
                    ));
                }
            }
        }
    }
    let count = u32::try_from(trust.signers.len()).unwrap_or(u32::MAX);
    if trust.threshold == 0 {
        found.push(Finding::error(
            at(["trust", "threshold"]),
            "a threshold of 0 asks for no signature",
            "write 1 or more; whoever wants no signatures says so with allow_unsigned_bundle",
        ));
    } else if trust.threshold > count && (count > 0 || json.pointer("/trust/threshold").is_some()) {
        found.push(Finding::error(
            at(["trust", "threshold"]),
            format!("{} signatures are asked for, and there are {count} signers", trust.threshold),
            "add [[trust.signers]] with name and key, or lower the threshold",
        ));
    } else if count == 0 && trust.allow_unsigned_bundle.is_none() && json.get("trust").is_some() {
        found.push(Finding::error(
            at(["trust"]),
            "nobody is trusted, so no bundle could be used",
            "add [[trust.signers]] with name and key",
        ));
    }
}
