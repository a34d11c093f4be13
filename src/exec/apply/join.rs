//! `kubeadm init` and `kubeadm join`.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::context::Context;
use super::why;
use crate::error::{Error, Result};
use crate::host::{Answer, Command, FileSpec, Output, Probe};
use crate::kubeadm::{Discovery, ca_hash, certificate_key, token, upload_certs_document, with_discovery};

/// kubeadm gives up on its own after 4 to 5 minutes; a slow disk doubles that.
const KUBEADM_TIMEOUT: Duration = Duration::from_secs(900);
const CA: &str = "/etc/kubernetes/pki/ca.crt";

/// A planned join.
pub(super) struct Join<'a> {
    pub(super) control_plane: bool,
    pub(super) config: &'a str,
    pub(super) skip_phases: &'a [String],
    pub(super) ignore: &'a [String],
    pub(super) sponsors: &'a [String],
}

pub(super) async fn init(ctx: &Context, host: &str, config: &str, skip: &[String], ignore: &[String]) -> Result<()> {
    let config = if pending(ctx, host, "init").await? { None } else { Some(config) };
    run_kubeadm(ctx, host, "init", config, skip, ignore).await?;
    if ctx.inventory.certificates.is_external() {
        // A kubelet shows its static pods to the API when it begins with them, if it is registered by then, or a minute and
        // more later; kubeadm looks there for etcd's members, and every join waits for it. Where the kubelet's certificate
        // rotates kubeadm itself ends with this restart.
        let restart = Command::new(["systemctl", "restart", "kubelet.service"]);
        ctx.must(host, restart, "restart the kubelet").await?;
    }
    Ok(())
}

pub(super) async fn join(ctx: &Context, host: &str, plan: &Join<'_>) -> Result<()> {
    if pending(ctx, host, "join").await? {
        // Fresh credentials would take away those that the running join still needs.
        return run_kubeadm(ctx, host, "join", None, plan.skip_phases, plan.ignore).await;
    }
    let mut last = Error::failed("there is no control plane to join through").on(host);
    for sponsor in plan.sponsors {
        // CAs that somebody else keeps have no keys to share, and their certificates are on the host already.
        let uploads = plan.control_plane && !ctx.inventory.certificates.is_external();
        let credentials = match credentials(ctx, sponsor, uploads).await {
            Ok(credentials) => credentials,
            Err(error) => {
                last = error;
                continue;
            }
        };
        for endpoint in [&credentials.endpoint, &ctx.inventory.api_endpoint().authority()] {
            answers(ctx, host, endpoint).await?;
        }
        let config = with_discovery(plan.config, &credentials.discovery())?;
        let result = run_kubeadm(ctx, host, "join", Some(&config), plan.skip_phases, plan.ignore).await;
        // The token is for this join alone; should it stay, it ends by itself in 15 minutes.
        let id = credentials.token.expose_secret().split('.').next().unwrap_or_default().to_owned();
        let delete = kubeadm(["token", "delete", &id]).timeout(Duration::from_secs(20));
        let _ = ctx.run(sponsor, &delete).await;
        return result;
    }
    Err(Error::failed("no control plane gave credentials for the join")
        .on(host)
        .source(last)
        .hint("`provision status` shows which control planes answer"))
}

struct Credentials {
    endpoint: String,
    token: SecretString,
    ca_hash: String,
    certificate_key: Option<SecretString>,
}

impl Credentials {
    fn discovery(&self) -> Discovery<'_> {
        Discovery {
            api_endpoint: &self.endpoint,
            token: &self.token,
            ca_hash: &self.ca_hash,
            certificate_key: self.certificate_key.as_ref(),
        }
    }
}

fn kubeadm<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new(std::iter::once("kubeadm").chain(args))
        // Without these kubeadm looks at the current directory's and the login user's settings.
        .env("KUBECONFIG", "/etc/kubernetes/admin.conf")
}

/// Fresh credentials: a token lives 24 hours and a certificate key 2, so neither is kept from one join to the next.
async fn credentials(ctx: &Context, sponsor: &str, uploads: bool) -> Result<Credentials> {
    let made = ctx
        .must(sponsor, kubeadm(["token", "create", "--ttl", "15m", "--description", "provision"]), "make a join token")
        .await?;
    let token = token(&made.text()).map_err(|e| e.on(sponsor))?;
    let certificate_key = if uploads { Some(upload_certs(ctx, sponsor).await?) } else { None };
    let Answer::File(file) = ctx.ask(sponsor, Probe::Content(CA.into())).await? else {
        return Err(Error::failed(format!("there is no {CA}")).on(sponsor));
    };
    let pem = String::from_utf8_lossy(&file.content.unwrap_or_default()).into_owned();
    let address = ctx.inventory.hosts.iter().find(|h| h.name == sponsor).map(|h| h.address);
    let address = address.ok_or_else(|| Error::failed(format!("{sponsor} is not in the inventory")))?;
    let endpoint = std::net::SocketAddr::new(address, crate::kubeadm::API_PORT).to_string();
    Ok(Credentials { endpoint, token, ca_hash: ca_hash(&pem).map_err(|e| e.on(sponsor))?, certificate_key })
}

async fn upload_certs(ctx: &Context, sponsor: &str) -> Result<SecretString> {
    let node = ctx.inventory.nodes().into_iter().find(|n| n.name == sponsor);
    let node = node.ok_or_else(|| Error::failed(format!("{sponsor} is not in the inventory")))?;
    let path = "/run/provision/kubeadm-upload-certs.yaml";
    let content = upload_certs_document(&ctx.inventory, &node)?.into_bytes();
    ctx.host(sponsor)?.write_file(&FileSpec { path: path.into(), content, mode: 0o600 }).await?;
    let command = kubeadm(["init", "phase", "upload-certs", "--upload-certs", "--config", path]);
    let made = ctx.must(sponsor, command, "upload the certificates").await;
    let _ = ctx.run(sponsor, &Command::new(["rm", "-f", "--", path])).await;
    certificate_key(&made?.text()).map_err(|e| e.on(sponsor))
}

/// Whether the API answers this host at `endpoint`. kubeadm and the kubelet would ask for minutes, and then say less.
async fn answers(ctx: &Context, host: &str, endpoint: &str) -> Result<()> {
    // To be refused is an answer. With no token at all kubectl would ask the terminal for a name, and never the server.
    const TEXT: &str = r#"# apply:api-answers
n=0
until said=$(kubectl --kubeconfig /dev/null --token none --server "https://$1" --insecure-skip-tls-verify --request-timeout=5s get --raw /version 2>&1 </dev/null) ||
    printf %s "$said" | grep -qiE 'unauthorized|forbidden|logged in'; do
    n=$((n + 1))
    [ "$n" -lt 5 ] || { printf '%s\n' "$said" >&2; exit 1; }
    sleep 3
done
"#;
    let attempted = format!("reach the API at https://{endpoint} from {host}");
    let asked = ctx.script(host, "api-answers", TEXT, &[endpoint], Duration::from_secs(60), &attempted).await;
    asked.map(drop).map_err(|e| {
        e.hint(format!("nothing was started on {host}: let it open TCP to {endpoint} (firewall, load balancer, routes), then run apply again"))
    })
}

/// Whether an earlier run's kubeadm is at work on the host, or ended without anyone seeing how.
async fn pending(ctx: &Context, host: &str, verb: &str) -> Result<bool> {
    const TEXT: &str = r#"# apply:pending
f=/run/provision/provision-kubeadm-$1
case $(systemctl show -p ActiveState --value "provision-kubeadm-$1.service" 2>/dev/null) in active | activating | deactivating) exit 0 ;; esac
[ -e "$f.exit" ] && [ ! -e "$f.seen" ]
"#;
    Ok(ctx.run(host, &super::context::script_command(TEXT, &[verb])).await?.ok())
}

/// Runs kubeadm with a configuration, or with none follows the one that is running.
async fn run_kubeadm(
    ctx: &Context,
    host: &str,
    verb: &str,
    config: Option<&str>,
    skip: &[String],
    ignore: &[String],
) -> Result<()> {
    // A unit's input lies in memory and goes when the unit ends, whoever is there to see it: so do a join's credentials.
    let mut argv: Vec<String> = ["kubeadm", verb, "--config", "/dev/stdin"].map(str::to_owned).into();
    if verb == "init" {
        argv.push("--skip-token-print".into());
    }
    if !skip.is_empty() {
        argv.push(format!("--skip-phases={}", skip.join(",")));
    }
    if !ignore.is_empty() {
        argv.push(format!("--ignore-preflight-errors={}", ignore.join(",")));
    }
    let command = Command::new(argv)
        .stdin(config.unwrap_or_default())
        .timeout(KUBEADM_TIMEOUT)
        .unit(format!("provision-kubeadm-{verb}"));
    let output = ctx.run(host, &command).await?;
    if output.ok() {
        return Ok(());
    }
    Err(failure(ctx, host, verb, &command, &output).await)
}

/// kubeadm says little of why the kubelet or a static pod does not come up: their own words are added.
async fn failure(ctx: &Context, host: &str, verb: &str, command: &Command, output: &Output) -> Error {
    Error::failed(format!("kubeadm {verb} failed"))
        .on(host)
        .command(why::kubeadm(ctx, host, command, output).await)
        .hint("mend the cause and run apply again: what is half done is cleared and done anew")
}
