//! The certificates of a host, and how long they hold. Pure: the time of day is the caller's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use x509_parser::pem::Pem;

use crate::error::{Error, Result};

const DAY_S: i64 = 86_400;

/// A certificate on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The file it is in.
    pub path: String,
    /// Whom it is for.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// It may sign others.
    pub ca: bool,
    /// From when it holds, seconds since the epoch.
    pub not_before: i64,
    /// Until when it holds, seconds since the epoch.
    pub not_after: i64,
}

/// Where a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It holds for as long as was asked.
    Ok,
    /// It holds, but not for long.
    Expiring,
    /// It does not hold yet: a clock is wrong.
    NotYetValid,
    /// It holds no more.
    Expired,
}

/// Whole days until `not_after`; below zero once it is past.
#[must_use]
pub fn days_left(not_after: i64, now: i64) -> i64 {
    not_after.saturating_sub(now).div_euclid(DAY_S)
}

/// Judges a certificate at `now` (seconds since the epoch): fewer than `days` whole days left is too few.
#[must_use]
pub fn standing(certificate: &Certificate, now: i64, days: u32) -> Standing {
    if certificate.not_after < now {
        Standing::Expired
    } else if now < certificate.not_before {
        Standing::NotYetValid
    } else if days_left(certificate.not_after, now) < i64::from(days) {
        Standing::Expiring
    } else {
        Standing::Ok
    }
}

/// Reads what the certs probe printed. A file without a certificate, or with one that cannot be read, is an error: what
/// is not understood must not pass for well.
pub fn certificates(text: &str) -> Result<Vec<Certificate>> {
    let read = |(path, block): (String, Pem)| {
        let found = block.parse_x509().map_err(|e| unreadable(&path, &e.to_string()))?;
        Ok(Certificate {
            subject: found.subject().to_string(),
            issuer: found.issuer().to_string(),
            ca: found.is_ca(),
            not_before: found.validity().not_before.timestamp(),
            not_after: found.validity().not_after.timestamp(),
            path,
        })
    };
    blocks(text)?.into_iter().map(read).collect()
}

/// The blocks of PEM in what the certs probe printed, each with the file it is in.
pub(crate) fn blocks(text: &str) -> Result<Vec<(String, Pem)>> {
    let mut all = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (path, pem) = if let Some(path) = line.strip_prefix("pem ") {
            let mut pem = String::new();
            while let Some(more) = lines.next_if(|l| !l.starts_with("pem ") && !l.starts_with("data ")) {
                pem.push_str(more);
                pem.push('\n');
            }
            (path, pem.into_bytes())
        } else if let Some((path, data)) = line.strip_prefix("data ").and_then(|rest| rest.rsplit_once(' ')) {
            (path, STANDARD.decode(data).map_err(|e| unreadable(path, &e.to_string()))?)
        } else {
            return Err(Error::failed("failed to read the list of certificates: a line that is none of ours"));
        };
        let before = all.len();
        for block in Pem::iter_from_buffer(&pem) {
            all.push((path.to_owned(), block.map_err(|e| unreadable(path, &e.to_string()))?));
        }
        if all.len() == before {
            return Err(unreadable(path, "no certificate is in it"));
        }
    }
    Ok(all)
}

pub(crate) fn unreadable(path: &str, why: &str) -> Error {
    Error::failed(format!("failed to read the certificate in {path}: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CA: &str = include_str!("../host/fake/ca.pem");

    fn of(not_before: i64, not_after: i64) -> Certificate {
        let (subject, issuer) = (String::new(), String::new());
        Certificate { path: "/a".into(), subject, issuer, ca: false, not_before, not_after }
    }

    #[test]
    fn the_edges_of_time() {
        let cert = of(1000, 1000 + 40 * DAY_S);
        let at = |day: i64| standing(&cert, 1000 + day * DAY_S, 30);
        assert_eq!([at(0), at(10), at(11), at(40)].map(|s| s == Standing::Ok), [true, true, false, false]);
        assert_eq!(
            (at(11), at(40), at(41), at(-1)),
            (Standing::Expiring, Standing::Expiring, Standing::Expired, Standing::NotYetValid)
        );
        assert_eq!((days_left(DAY_S, 0), days_left(DAY_S - 1, 0), days_left(0, 1)), (1, 0, -1));
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        assert_eq!(certificates("").unwrap_or_default(), []);
        for bad in ["pem /a\n", "pem /a\nhello\n", "data /a !\n", "data /a aGVsbG8=\n", "hello\n", "data /a\n"] {
            assert!(certificates(bad).is_err(), "{bad:?}");
        }
        let cut = &CA[..CA.len() / 2];
        assert!(certificates(&format!("pem /a\n{cut}")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(pem |data )?(\\PC|\n){0,200}") {
            let _ = certificates(&text);
        }

        /// More days asked for never makes a certificate look better, nor does the passing of time.
        #[test]
        fn judgement_only_gets_worse(life in 0..4_000 * DAY_S, age in 0..4_000 * DAY_S, later in 0..DAY_S, days: u16) {
            let cert = of(0, life);
            let now = standing(&cert, age, days.into());
            prop_assert!(now <= standing(&cert, age + later, days.into()));
            prop_assert!(now <= standing(&cert, age, u32::from(days) + 1));
            prop_assert_eq!(now == Standing::Expired, age > life);
        }
    }
}
