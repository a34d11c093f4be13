//! `provision certs check`

use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use super::args::Global;
use super::survey::{connect_some, load};
use crate::error::{Kind, Result};
use crate::facts::gather_certificates;
use crate::kubeadm::{Certificate, Standing, days_left, standing};
use crate::report::Format;

/// The exit code that says that some certificate has too few days left.
const TOO_FEW_DAYS: u8 = 2;

pub(super) async fn check(path: &Path, days: u32, global: &Global) -> Result<ExitCode> {
    let inv = load(path)?;
    let (hosts, mut errors) = connect_some(&inv.machines(), global).await;
    let mut rows: Vec<(String, Certificate)> = Vec::new();
    for (host, found) in gather_certificates(&inv, &hosts, global.concurrency).await {
        match found {
            Ok(found) => rows.extend(found.into_iter().map(|c| (host.clone(), c))),
            Err(error) => errors.push(error),
        }
    }
    let now = Utc::now();
    let judge = |c: &Certificate| standing(c, now.timestamp(), days);
    // The most urgent first; of those alike, in the order of the inventory's names.
    rows.sort_by(|(host, a), (other, b)| (a.not_after, host, &a.path).cmp(&(b.not_after, other, &b.path)));
    let bad = rows.iter().filter(|(_, c)| judge(c) != Standing::Ok).count();
    if global.format == Format::Json {
        let certificates: Vec<_> = rows
            .iter()
            .map(|(host, c)| {
                json!({
                    "host": host, "path": c.path, "subject": c.subject, "issuer": c.issuer, "ca": c.ca,
                    "not_before": time(c.not_before), "not_after": time(c.not_after),
                    "days_left": days_left(c.not_after, now.timestamp()), "standing": judge(c),
                })
            })
            .collect();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let report = json!({
            "cluster": inv.cluster.name, "checked_at": time(now.timestamp()), "days": days,
            "well": bad == 0 && errors.is_empty(), "certificates": certificates, "errors": said,
        });
        println!("{report:#}");
    } else {
        print!("{}", table(&rows, now.timestamp(), days));
        println!("{} certificates on {} hosts, {bad} with fewer than {days} days", rows.len(), hosts.len());
    }
    // Errors go first: what could not be looked at may be worse than what was seen.
    if let Some(worst) = errors.iter().position(|e| e.kind() == Kind::Unreachable).or((!errors.is_empty()).then_some(0))
    {
        let first = errors.swap_remove(worst);
        for other in &errors {
            eprintln!("Warning: {other}");
        }
        return Err(first);
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(TOO_FEW_DAYS) })
}

fn time(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .map_or_else(|| seconds.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn table(rows: &[(String, Certificate)], now: i64, days: u32) -> String {
    let width = |header: &str, of: &dyn Fn(&(String, Certificate)) -> usize| {
        rows.iter().map(of).chain([header.len()]).max().unwrap_or(0)
    };
    let (host, path) = (width("host", &|r| r.0.len()), width("certificate", &|r| r.1.path.len()));
    let subject = width("subject", &|r| r.1.subject.len());
    let mut out = format!(
        "{:<host$}  {:<path$}  {:>6}  {:<13}  {:<subject$}  issuer\n",
        "host", "certificate", "days", "", "subject"
    );
    for (name, c) in rows {
        let word = match standing(c, now, days) {
            Standing::Ok => "",
            Standing::Expiring => "EXPIRES SOON",
            Standing::NotYetValid => "NOT YET VALID",
            Standing::Expired => "EXPIRED",
        };
        let left = days_left(c.not_after, now);
        out += &format!(
            "{name:<host$}  {:<path$}  {left:>6}  {word:<13}  {:<subject$}  {}\n",
            c.path, c.subject, c.issuer
        );
    }
    out
}
