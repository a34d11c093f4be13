//! The folder that goes to whoever signs, and comes back.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::ask::Asked;
use crate::error::{Context as _, Error, Result};
use crate::inventory::Inventory;
use crate::kubeadm::{Authority, Request};

/// More than any certificate, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where the certificate for a request is looked for.
pub(super) fn certificate(dir: &Path, host: &str, request: &Request) -> PathBuf {
    dir.join(host).join(format!("{}.crt", request.name))
}

/// Writes `DIR/HOST/NAME.csr` for each, `DIR/index.json` for programs and `DIR/README.txt` for people.
///
/// Errors: a file cannot be written.
pub fn write_requests(dir: &Path, inv: &Inventory, all: &[Asked]) -> Result<()> {
    let write = |path: &Path, text: &str| {
        let writing = || format!("failed to write {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context(writing)?;
        }
        std::fs::write(path, text).context(writing)
    };
    for Asked { host, request, csr } in all {
        write(&dir.join(host).join(format!("{}.csr", request.name)), csr)?;
    }
    write(&dir.join("index.json"), &format!("{:#}\n", index(inv, all)))?;
    write(&dir.join("README.txt"), &readme(inv, all))
}

/// The certificate that came back for a request; `None` when there is no such file.
///
/// Errors (`Invalid`): the file cannot be read as text.
pub fn read_certificate(dir: &Path, host: &str, request: &Request) -> Result<Option<(PathBuf, String)>> {
    let path = certificate(dir, host, request);
    let reading = || format!("failed to read {}", path.display());
    let size = match std::fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::invalid(reading()).source(e)),
    };
    if size > LARGEST {
        return Err(Error::invalid(format!("{}: {size} bytes are more than any certificate has", reading())));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::invalid(reading()).source(e).hint("certificates come in PEM: `openssl x509 -inform der -in FILE`")
    })?;
    Ok(Some((path, text)))
}

fn subject(request: &Request) -> String {
    let group = request.organization.as_ref().map(|o| format!("O={o}, ")).unwrap_or_default();
    format!("{group}CN={}", request.common_name)
}

fn index(inv: &Inventory, all: &[Asked]) -> serde_json::Value {
    let one = |a: &Asked| {
        let usages: Vec<&str> = a.request.usages.iter().map(|u| u.openssl()).collect();
        json!({
            "host": a.host, "name": a.request.name, "ca": a.request.authority.setting(),
            "request": format!("{}/{}.csr", a.host, a.request.name),
            "certificate": format!("{}/{}.crt", a.host, a.request.name),
            "common_name": a.request.common_name, "organization": a.request.organization,
            "subject_alternative_names": a.request.sans, "key_usage": ["digitalSignature"],
            "extended_key_usage": usages,
        })
    };
    json!({ "cluster": inv.cluster.name, "requests": all.iter().map(one).collect::<Vec<_>>() })
}

fn readme(inv: &Inventory, all: &[Asked]) -> String {
    let mut text = format!(
        "Requests for the certificates of cluster {}.\n\n\
         Sign each HOST/NAME.csr with the CA that is named here, and put the certificate in PEM, alone, beside it as\n\
         HOST/NAME.crt. Take subject, alternative names and usages as they are requested: Kubernetes takes CN for the user\n\
         and O for the group. None is a CA. Their keys are on the nodes and stay there. Then:\n\n\
         \x20   provision certs install -i INVENTORY --from DIR\n\n\
         With openssl 3, for example:\n\n\
         \x20   openssl x509 -req -in HOST/NAME.csr -copy_extensions copyall -CA ca.crt -CAkey ca.key -days 365 -out HOST/NAME.crt\n",
        inv.cluster.name
    );
    for authority in Authority::ALL {
        let own: Vec<&Asked> = all.iter().filter(|a| a.request.authority == authority).collect();
        if own.is_empty() {
            continue;
        }
        let of = inv.certificates.files().into_iter().find(|(name, _)| *name == authority.setting());
        let file = of.and_then(|(_, file)| file).map(|f| f.display().to_string()).unwrap_or_default();
        let _ = write!(text, "\nTo be signed by the CA of {file} ({}):\n\n", authority.setting());
        for a in own {
            let usages: Vec<&str> = a.request.usages.iter().map(|u| u.openssl()).collect();
            let _ = writeln!(text, "  {}/{}.csr", a.host, a.request.name);
            let _ = writeln!(
                text,
                "    subject  {}\n    usage    digitalSignature; {}",
                subject(&a.request),
                usages.join(", ")
            );
            if !a.request.sans.is_empty() {
                let _ = writeln!(text, "    names    {}", a.request.sans.join(", "));
            }
        }
    }
    text
}
