//! Certificates of the built-in registry.

use rcgen::ExtendedKeyUsagePurpose;

use super::ca::{Authority, Leaf};
use super::context::Context;
use super::files::write;
use crate::bundle::Digest;
use crate::error::Result;
use crate::resource::{REGISTRY_CA, REGISTRY_DIR};

fn authority<'a>(ctx: &Context, peers: &'a [String]) -> Authority<'a> {
    let name = format!("provision registry CA of {}", ctx.inventory.cluster.name);
    Authority { title: "the registry's CA", name, dir: REGISTRY_DIR, peers }
}

fn leaf(names: &[String]) -> Leaf<'_> {
    Leaf { name: "provision registry", sans: names, usages: &[ExtendedKeyUsagePurpose::ServerAuth] }
}

/// Gives the host a certificate for `names`, from the CA that one of `peers` has, or else from a new one.
pub(super) async fn identity(
    ctx: &Context,
    host: &str,
    names: &[String],
    peers: &[String],
    wanted: Option<&Digest>,
) -> Result<()> {
    let ca = authority(ctx, peers).obtain(ctx, host, wanted).await?;
    ca.put(ctx, host, REGISTRY_DIR).await?;
    ca.put_leaf(ctx, host, REGISTRY_DIR, "server", &leaf(names)).await
}

/// Makes the host trust the CA of the registry's hosts.
pub(super) async fn trust(ctx: &Context, host: &str, peers: &[String], wanted: Option<&Digest>) -> Result<()> {
    let cert = authority(ctx, peers).certificate(ctx, host, wanted).await?;
    write(ctx, host, REGISTRY_CA, &cert, 0o644).await
}

#[cfg(test)]
mod tests {
    use super::super::ca::{Ca, LEAF_DAYS, now};
    use super::*;
    use crate::host::Answer;
    use crate::plan::Action;
    use crate::resource::{probes, satisfied};

    fn answer(now: i64, ca: &str, server: &str) -> Answer {
        let stdout = format!("now={now}\nkey=ca\ncert=ca\n{ca}key=server\ncert=server\n{server}");
        Answer::Shell { code: 0, stdout, stderr: String::new() }
    }

    #[test]
    fn a_host_is_whole_with_a_lasting_certificate_for_its_names_from_the_ca() {
        let ca = Ca::new("t").unwrap_or_else(|e| panic!("{e}"));
        let names = ["a".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
        let (cert, _) = ca.issue(&leaf(&names)).unwrap_or_else(|e| panic!("{e}"));
        let known = Digest::of(ca.cert.as_bytes());
        let whole = |answer: Answer, names: &[String], ca: Option<Digest>| {
            let action = Action::RegistryIdentity { names: names.to_vec(), peers: Vec::new(), ca };
            assert_eq!(probes(&action).len(), 1);
            satisfied(&action, &[answer])
        };
        let day = 86_400;
        assert!(whole(answer(now(), &ca.cert, &cert), &names, Some(known.clone())));
        assert!(whole(answer(now(), &ca.cert, &cert), &names, None));
        assert!(!whole(answer(now(), &ca.cert, &cert), &["192.0.2.2".to_owned()], None));
        assert!(!whole(answer(now() + (LEAF_DAYS - 80) * day, &ca.cert, &cert), &names, None));
        assert!(!whole(answer(now(), &ca.cert, ""), &names, None));
        let other = Ca::new("t").unwrap_or_else(|e| panic!("{e}"));
        assert!(!whole(answer(now(), &other.cert, &cert), &names, None), "of another CA");
        assert!(!whole(answer(now(), &ca.cert, &cert), &names, Some(Digest::of(other.cert.as_bytes()))));
        assert!(!whole(Answer::Absent, &names, None));
    }
}
