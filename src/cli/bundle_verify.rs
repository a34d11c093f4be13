//! `provision bundle verify`, and the trust that `plan` and `apply` ask for.

use std::path::{Path, PathBuf};

use chrono::Utc;
use serde_json::json;

use super::args::Global;
use super::bundle::sink;
use super::survey::{closed, load};
use crate::bundle::{
    Bundle, BundleManifest, Policy, Seen, Standing, UpstreamChecks, Verdict, Verified, absent, check_upstream, count,
    judge, look,
};
use crate::error::{Error, Result};
use crate::inventory::{Inventory, PublicKey};
use crate::report::Format;

/// What is asked of a bundle beyond being whole.
pub(super) struct Asked<'a> {
    /// Holds what this inventory asks for, signed as it asks.
    pub inventory: Option<&'a Path>,
    /// Checked against upstream, all of it.
    pub strict: bool,
    /// Signed by each of these public keys, or files of them.
    pub keys: &'a [String],
}

pub(super) async fn verify(dir: &Path, asked: &Asked<'_>, global: &Global) -> Result<()> {
    let bundle = Bundle::open(dir)?;
    let inv = asked.inventory.map(load).transpose()?;
    let policy = match &inv {
        Some(inv) => Policy::of(&inv.trust)?,
        // Without a key nothing can be said of a signature but that a file is none.
        None if asked.keys.is_empty() => Policy::new(Vec::new(), 1, true),
        None => {
            let keys = asked.keys.iter().map(|k| Ok((k.clone(), read_key(k)?))).collect::<Result<Vec<_>>>()?;
            let each = keys.len();
            Policy::new(keys, each, false)
        }
    };
    let seen = seen(&bundle, &policy)?;
    let verdict = judge(&seen, &policy);
    if global.format == Format::Text {
        for signature in &seen {
            let comment = signature.comment.as_deref().map_or(String::new(), |c| format!(" ({})", printable(c)));
            println!("signature {}{comment}", line(signature));
        }
    }
    match &inv {
        Some(inv) => {
            insist(dir, &seen, &policy)?;
            closed(&bundle, dir, inv)?;
        }
        None if verdict == Verdict::Refused => return Err(refused(dir, &seen, &policy)),
        None => {}
    }
    if asked.strict {
        strict(dir, bundle.manifest())?;
    }
    bundle.verify(sink(global).as_ref()).await?;
    let upstream = match &inv {
        Some(inv) => check_upstream(inv, &bundle)?,
        None => UpstreamChecks::none(bundle.manifest()),
    };
    if asked.strict && !upstream.unchecked.is_empty() {
        return Err(not_checked_again(dir, &upstream.unchecked));
    }
    if global.format == Format::Json {
        let trust = (inv.is_some() || !asked.keys.is_empty()).then_some(&verdict);
        let said = json!({
            "bundle": bundle.digest(), "whole": true, "signatures": seen, "trust": trust,
            "by_the_lock_alone": by_the_lock_alone(bundle.manifest()), "upstream_signatures": upstream,
        });
        println!("{said}");
        return Ok(());
    }
    let alone = by_the_lock_alone(bundle.manifest()).len();
    if alone > 0 {
        println!("{alone} artifacts are pinned by the lock alone: upstream has nothing to check them against");
    }
    if upstream.checked > 0 {
        println!("{} artifacts are signed by their upstream, as the inventory asks", upstream.checked);
    }
    if !upstream.unchecked.is_empty() {
        let count = upstream.unchecked.len();
        println!(
            "{count} signatures of upstream's were not checked again: [[trust.upstream]] of an inventory (-i) has the keys"
        );
    }
    if inv.is_none() && asked.keys.is_empty() && !seen.is_empty() {
        println!("signatures were not checked: name the keys with --key, or an inventory that pins them with -i");
    }
    let all = asked.inventory.map_or(String::new(), |i| format!(", and it holds all that {} asks for", i.display()));
    println!("{}: whole{all}", dir.display());
    Ok(())
}

/// Refuses a bundle that is not signed as the inventory asks, before any host is touched. What is let through for the
/// inventory's words alone is said each time.
pub(super) fn trusted(bundle: &Bundle, dir: &Path, inv: &Inventory) -> Result<()> {
    let policy = Policy::of(&inv.trust)?;
    insist(dir, &seen(bundle, &policy)?, &policy)
}

fn insist(dir: &Path, seen: &[Seen], policy: &Policy) -> Result<()> {
    let have = count(seen);
    match judge(seen, policy) {
        Verdict::Refused => return Err(refused(dir, seen, policy)),
        Verdict::AcceptedUnsigned => eprintln!(
            "warning: NOBODY VOUCHES FOR THE BUNDLE {}: {have} of {} signatures that are asked for; it is used because \
             the inventory says `allow_unsigned_bundle = \"I accept unsigned bundles\"`",
            dir.display(),
            policy.threshold()
        ),
        Verdict::Trusted => {}
    }
    for signature in seen.iter().filter(|s| matches!(s.standing, Standing::Wrong { .. })) {
        eprintln!("warning: the bundle {} has a signature that does not hold: {}", dir.display(), line(signature));
    }
    Ok(())
}

fn seen(bundle: &Bundle, policy: &Policy) -> Result<Vec<Seen>> {
    let data = bundle.manifest().to_canonical_json();
    Ok(look(data.as_bytes(), &bundle.signatures()?, policy, Utc::now().date_naive()))
}

fn refused(dir: &Path, seen: &[Seen], policy: &Policy) -> Error {
    let mut text = format!("the bundle {} is not to be trusted: ", dir.display());
    if policy.trusts_nobody() && seen.is_empty() {
        text.push_str("nobody has signed it, and no key is trusted");
    } else if policy.trusts_nobody() {
        text.push_str("no key is trusted");
    } else {
        text.push_str(&format!("{} of {} signatures that are asked for", count(seen), policy.threshold()));
    }
    for signature in seen {
        text.push_str(&format!("\n  {}", line(signature)));
    }
    for name in absent(seen, policy) {
        text.push_str(&format!("\n  no signature that counts by {name}"));
    }
    let error = Error::invalid(text);
    if seen.iter().any(|s| matches!(s.standing, Standing::Wrong { .. })) {
        error.hint("copy the bundle again from its medium; when that is no help, ask those who signed it")
    } else if policy.trusts_nobody() {
        error
            .hint("add [[trust.signers]] with name and key (the .pub file) to the inventory")
            .hint("without signatures, only where nothing is at stake: [trust] with allow_unsigned_bundle = \"I accept unsigned bundles\"")
    } else {
        error.hint("those who are missing check the bundle and sign it: `provision bundle sign BUNDLE --key FILE`")
    }
}

/// A signature for people, in one line.
fn line(seen: &Seen) -> String {
    let standing = match &seen.standing {
        Standing::Valid { until: None } => "valid".into(),
        Standing::Valid { until: Some(until) } => format!("valid until {until}"),
        Standing::UnknownKey => "unknown key".into(),
        Standing::Expired { until } => format!("expired on {until}"),
        Standing::Wrong { reason } => format!("wrong: {reason}"),
    };
    let signer = seen.signer.as_deref().map_or(String::new(), |name| format!(" {}", printable(name)));
    format!("{}{signer}: {standing}", seen.key_id.clone().unwrap_or_else(|| printable(&seen.file)))
}

/// Text that anybody may have written, without what a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

/// The text of a public key, or the file that holds it.
fn read_key(given: &str) -> Result<PublicKey> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let path = PathBuf::from(given);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::invalid(format!("{} is neither a public key nor a file with one", path.display()))
            .source(e)
            .hint("name the .pub file, or give the 56 characters of its second line")
    })?;
    text.lines().nth(1).unwrap_or_default().parse().map_err(|e: Error| {
        Error::invalid(format!("{} is no public key of minisign", path.display()))
            .source(e)
            .hint("name the .pub file that `provision bundle keygen` or `minisign -G` made")
    })
}

/// The artifacts that were checked against nothing of their upstream.
fn by_the_lock_alone(manifest: &BundleManifest) -> Vec<String> {
    let alone = manifest.artifacts.iter().filter(|a| a.verified == Verified::LockOnly);
    alone.map(|a| format!("{} {} for {}", a.name, a.version, a.arch_name())).collect()
}

fn not_checked_again(dir: &Path, unchecked: &[String]) -> Error {
    Error::invalid(format!(
        "the bundle {} says of these that upstream signed them, and there is no key to check it again:\n  {}",
        dir.display(),
        unchecked.join("\n  ")
    ))
    .hint("name the inventory with -i; its [[trust.upstream]] has the keys")
}

fn strict(dir: &Path, manifest: &BundleManifest) -> Result<()> {
    let alone = by_the_lock_alone(manifest);
    if alone.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the bundle {} holds what was checked against nothing of its upstream:\n  {}",
        dir.display(),
        alone.join("\n  ")
    ))
    .hint("the lock pins these bytes, and that is all: take them from an upstream that publishes checksums, or leave --strict out"))
}
