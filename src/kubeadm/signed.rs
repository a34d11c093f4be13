//! Whether a certificate that came back is what was asked for. Pure: the time of day is the caller's.

use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::requests::{Request, Usage};
use super::settings::plain;
use crate::pem::{address, certificate_pem};

/// A certificate that is what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// It in PEM, and nothing else.
    pub pem: String,
    /// Until when it holds, seconds since the epoch.
    pub not_after: i64,
}

/// Holds a certificate against what was asked for. `asked` is the request that left the node, in PEM: whose key it is
/// signed with is the node's. `ca` is the certificate of the CA that has to have signed it, `now` seconds since the
/// epoch.
///
/// # Errors
/// All that is wrong with it, in words.
pub fn signed(request: &Request, ca: &str, asked: &str, text: &str, now: i64) -> Result<Signed, String> {
    if text.contains("PRIVATE KEY") {
        return Err("it holds a private key, which must never leave the node: have it signed anew for a new one".into());
    }
    let block = one(text).ok_or("it does not hold one certificate in PEM")?;
    let cert = block.parse_x509().map_err(|e| format!("it cannot be read: {e}"))?;
    let ca = one(ca).ok_or("the CA's certificate cannot be read")?;
    let ca = ca.parse_x509().map_err(|e| format!("the CA's certificate cannot be read: {e}"))?;
    let asked = one(asked).ok_or("the node's own request cannot be read")?;
    let (_, asked) = X509CertificationRequest::from_der(&asked.contents)
        .map_err(|e| format!("the node's own request cannot be read: {e}"))?;
    let mut wrong: Vec<String> = Vec::new();
    if cert.public_key().raw != asked.certification_request_info.subject_pki.raw {
        wrong.push("its public key is not that of the node's key".into());
    }
    if cert.issuer().as_raw() != ca.subject().as_raw() || cert.verify_signature(Some(ca.public_key())).is_err() {
        wrong.push(format!(
            "{} signed it, not the CA that `{}` names ({})",
            cert.issuer(),
            request.authority.setting(),
            ca.subject()
        ));
    }
    wrong.extend(subject(request, &cert));
    wrong.extend(names(request, &cert));
    wrong.extend(usages(request, &cert));
    wrong.extend(validity(&cert, &ca, now));
    if wrong.is_empty() {
        return Ok(Signed { pem: certificate_pem(&block.contents), not_after: cert.validity().not_after.timestamp() });
    }
    Err(wrong.join("; "))
}

fn one(text: &str) -> Option<Pem> {
    let mut blocks = Pem::iter_from_buffer(text.as_bytes());
    let first = blocks.next()?.ok()?;
    blocks.next().is_none().then_some(first)
}

/// Common name and organization are user and group to Kubernetes: one organization more is one group more.
fn subject(request: &Request, cert: &X509Certificate<'_>) -> Option<String> {
    let name = cert.subject();
    let text = |all: Vec<Option<&str>>| all.into_iter().map(|t| t.unwrap_or_default().to_owned()).collect::<Vec<_>>();
    let names = text(name.iter_common_name().map(|a| a.as_str().ok()).collect());
    let groups = text(name.iter_organization().map(|a| a.as_str().ok()).collect());
    let wanted: Vec<String> = request.organization.iter().cloned().collect();
    if names == [request.common_name.as_str()] && groups == wanted {
        return None;
    }
    let group = request.organization.as_ref().map_or_else(|| "no O".to_owned(), |o| format!("O={o}"));
    Some(format!("its subject is {name}, and has to have CN={} and {group}", request.common_name))
}

fn names(request: &Request, cert: &X509Certificate<'_>) -> Option<String> {
    let found: Vec<String> = match cert.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    let missing: Vec<&str> = request.sans.iter().filter(|n| !found.contains(&plain(n))).map(String::as_str).collect();
    (!missing.is_empty()).then(|| format!("it lacks the alternative names {}", missing.join(", ")))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|a| a.to_string()),
        _ => None,
    }
}

fn usages(request: &Request, cert: &X509Certificate<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if cert.is_ca() {
        wrong.push("it is the certificate of a CA".to_owned());
    }
    if let Ok(Some(usage)) = cert.key_usage()
        && !usage.value.digital_signature()
    {
        wrong.push("its key usage lacks digitalSignature".to_owned());
    }
    let extended = cert.extended_key_usage().ok().flatten();
    let has = |usage: &Usage| {
        extended.as_ref().is_some_and(|e| match usage {
            Usage::ServerAuth => e.value.server_auth,
            Usage::ClientAuth => e.value.client_auth,
        })
    };
    let missing: Vec<&str> = request.usages.iter().filter(|u| !has(u)).map(|u| u.openssl()).collect();
    if !missing.is_empty() {
        wrong.push(format!("its extended key usage lacks {}", missing.join(", ")));
    }
    wrong
}

fn validity(cert: &X509Certificate<'_>, ca: &X509Certificate<'_>, now: i64) -> Option<String> {
    let (own, above) = (cert.validity(), ca.validity());
    if own.not_before.timestamp() > now {
        Some(format!("it holds from {} on, which is yet to come", own.not_before))
    } else if own.not_after.timestamp() <= now {
        Some(format!("it held until {}", own.not_after))
    } else if above.not_after.timestamp() <= now {
        Some(format!("its CA held until {}", above.not_after))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };

    use super::super::requests::Authority;
    use super::*;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    /// 2030-01-01.
    const NOW: i64 = 1_893_456_000;

    fn ca(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    }

    fn request() -> Request {
        Request {
            name: "kubelet".into(),
            authority: Authority::Cluster,
            common_name: "system:node:a".into(),
            organization: Some("system:nodes".into()),
            sans: vec!["a".into(), "10.0.0.1".into()],
            usages: vec![Usage::ClientAuth],
            path: String::new(),
            kubeconfig: None,
        }
    }

    fn params(request: &Request) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(request.sans.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, request.common_name.as_str());
        if let Some(group) = &request.organization {
            params.distinguished_name.push(DnType::OrganizationName, group.as_str());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }

    #[test]
    fn what_was_asked_for_is_taken_and_all_else_is_named() -> Tested {
        let (ours, other) = (ca("bank")?, ca("other")?);
        let (key, stranger) = (KeyPair::generate()?, KeyPair::generate()?);
        let wanted = request();
        let csr = params(&wanted)?.serialize_request(&key)?.pem()?;
        let by = |issuer: &CertifiedIssuer<'static, KeyPair>, csr: &str| {
            CertificateSigningRequestParams::from_pem(csr)?.signed_by(issuer).map(|c| c.pem())
        };
        let judge = |text: &str| signed(&wanted, &ours.pem(), &csr, text, NOW);
        let good = by(&ours, &csr)?;
        let found = judge(&format!("Certificate:\n    Data:\n{}", good.replace('\n', "\r\n")))?;
        assert_eq!(found.pem, good.replace('\r', ""), "what stands round it is left out");

        let why = |text: &str| judge(text).err().unwrap_or_default();
        assert!(why(&by(&other, &csr)?).contains("CN=other signed it, not the CA that `ca` names (CN=bank)"));
        // Another CA under the same name.
        assert!(why(&by(&ca("bank")?, &csr)?).contains("signed it"));
        let foreign = params(&wanted)?.serialize_request(&stranger)?.pem()?;
        assert!(why(&by(&ours, &foreign)?).contains("not that of the node's key"));
        let of = |request: &Request| by(&ours, &params(request)?.serialize_request(&key)?.pem()?);
        let masters = Request { organization: Some("system:masters".into()), ..wanted.clone() };
        assert!(why(&of(&masters)?).contains("has to have CN=system:node:a and O=system:nodes"));
        let nobody = Request { common_name: "x".into(), ..wanted.clone() };
        assert!(why(&of(&nobody)?).contains("its subject is"));
        let nameless = Request { sans: vec!["a".into()], ..wanted.clone() };
        assert!(why(&of(&nameless)?).contains("lacks the alternative names 10.0.0.1"));
        let server = Request { usages: vec![Usage::ServerAuth], ..wanted.clone() };
        let said = signed(&server, &ours.pem(), &csr, &good, NOW).err().unwrap_or_default();
        assert!(said.contains("lacks serverAuth"), "{said}");
        assert!(signed(&wanted, &ours.pem(), &csr, &good, 0).is_err_and(|e| e.contains("yet to come")));
        assert!(signed(&wanted, &ours.pem(), &csr, &good, i64::MAX).is_err_and(|e| e.contains("held until")));
        for bad in ["", "hello", &good[..good.len() / 2], &good.repeat(2), &key.serialize_pem()] {
            assert!(judge(bad).is_err(), "{bad:?}");
        }
        assert!(why(&key.serialize_pem()).contains("private key"));
        Ok(())
    }
}
