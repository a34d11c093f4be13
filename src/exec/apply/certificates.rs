//! Certificates that somebody else signed.

use std::time::Duration;

use super::context::Context;
use crate::error::Result;
use crate::kubeadm::Placed;
use crate::resource::{NODE_KEYS, place_words};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Puts what the node holds to where Kubernetes finds it.
pub(in crate::exec) async fn place(ctx: &Context, host: &str, placed: &[Placed]) -> Result<()> {
    const TEXT: &str = concat!("# apply:place-certificates\n", include_str!("../../resource/place_certificates.sh"));
    let words = place_words(placed);
    let args: Vec<&str> = ["place", NODE_KEYS].into_iter().chain(words.iter().map(String::as_str)).collect();
    ctx.script(host, "place-certificates", TEXT, &args, TIMEOUT, "put the certificates into place").await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The script itself, in a directory of its own.
    #[test]
    fn what_is_placed_is_seen_as_placed_until_somebody_changes_it()
    -> std::result::Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for name in ["ca.crt", "a.crt", "a.key", "sa.key", "sa.pub"] {
            std::fs::write(at(name), format!("this is {name}\n"))?;
        }
        let config = |name: &str, pair: Option<String>| Placed::Config {
            name: "a".into(),
            path: at(name),
            server: "https://[::1]:6443".into(),
            user: "system:node:a".into(),
            cluster: "t".into(),
            pair,
        };
        let all = [
            Placed::Certificate { name: "ca".into(), path: at("out/ca.crt") },
            Placed::Pair { name: "a".into(), path: at("out/etcd/a") },
            Placed::ServiceAccounts { path: at("out/sa") },
            config("out/a.conf", None),
            config("out/k.conf", Some(at("out/etcd/a"))),
        ];
        let run = |mode: &str| -> std::result::Result<String, std::io::Error> {
            let text = include_str!("../../resource/place_certificates.sh");
            let from = dir.path().to_string_lossy().into_owned();
            let out = Command::new("sh").args(["-c", text, "sh", mode, &from]).args(place_words(&all)).output()?;
            Ok(String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
        };
        // Who owns a file counts too: another user than root may test this.
        let whoami = String::from_utf8_lossy(&Command::new("id").arg("-u").output()?.stdout).trim().to_owned();
        if whoami != "0" {
            return Ok(());
        }
        assert_eq!(run("check")?.lines().count(), 7);
        assert_eq!((run("place")?.as_str(), run("check")?.as_str()), ("", ""));
        let text = std::fs::read_to_string(at("out/a.conf"))?;
        let yaml: serde_json::Value = serde_yaml_ng::from_str(&text)?;
        assert_eq!(yaml["clusters"][0]["cluster"]["server"], "https://[::1]:6443");
        assert_eq!(yaml["users"][0]["user"]["client-key-data"], "dGhpcyBpcyBhLmtleQo=");
        assert_eq!(yaml["current-context"], "system:node:a@t");
        let link: serde_json::Value = serde_yaml_ng::from_str(&std::fs::read_to_string(at("out/k.conf"))?)?;
        assert_eq!(link["users"][0]["user"]["client-key"], at("out/etcd/a.key"));
        std::fs::write(at("a.key"), "another\n")?;
        let said = run("check")?;
        assert!(said.contains("out/etcd/a.key") && said.contains("out/a.conf") && !said.contains("k.conf"), "{said}");
        std::fs::remove_file(at("a.key"))?;
        assert!(run("check")?.contains("a.key is not there"), "what the node lost is no reason to call it placed");
        Ok(())
    }
}
