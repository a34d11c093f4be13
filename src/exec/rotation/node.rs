//! What a phase asks of one node.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::stage::{GROUP, coming};
use crate::error::{Error, Result};
use crate::exec::apply::{Ca, kubelet_anew, restart_pods, wait, write};
use crate::exec::{Context, etcd};
use crate::host::Command;
use crate::inventory::{EndpointMode, EtcdMode, Node};
use crate::plan::Action;
use crate::rotation::{Family, Leaf, Pair, Phase, Seen, signs_with};

const SHORT: Duration = Duration::from_secs(60);

/// One phase on one node.
pub(super) struct Work<'a> {
    pub(super) ctx: &'a Context,
    pub(super) family: Family,
    pub(super) node: &'a Node,
    /// The control plane that is asked about the cluster.
    pub(super) first: &'a str,
    pub(super) phase: Phase,
    pub(super) pair: &'a Pair,
}

impl Work<'_> {
    /// First the files, then the programs that read them, then the mark that says that both are done.
    pub(super) async fn carry_out(&self, all: &BTreeMap<String, Seen>) -> Result<()> {
        let host = self.node.name.as_str();
        let Some(seen) = all.get(host) else { return Ok(()) };
        let plane = self.node.role.is_control_plane();
        if plane && self.family == Family::Kubernetes && self.phase == Phase::Trust {
            // It takes no file with two certificates for the one by which it signs: that is another from now on.
            self.step("the controller manager signs by a file of its own", self.anew("kube-controller-manager"))
                .await?;
        }
        self.step(&format!("{}: write certificates", self.title()), self.place(all, seen)).await?;
        if plane {
            self.restart_plane().await?;
        }
        if self.family == Family::Kubernetes {
            let timeout_s = self.ctx.inventory.verify.timeout_s;
            let anew = kubelet_anew(self.ctx, host, self.first, host, timeout_s);
            self.step(&format!("{}: restart the kubelet", self.title()), anew).await?;
        }
        let mark = format!("{}\n", self.phase.word());
        write(self.ctx, host, &format!("{}/reached", self.family.dir()), &mark, 0o600).await
    }

    fn title(&self) -> &'static str {
        match self.phase {
            Phase::Trust => "trust both CAs",
            Phase::Switch => "use the new CA",
            Phase::Drop => "trust the new CA alone",
        }
    }

    async fn step(&self, title: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
        etcd::step(self.ctx, GROUP, &self.node.name, title, work).await
    }

    async fn place(&self, all: &BTreeMap<String, Seen>, seen: &Seen) -> Result<()> {
        let (ctx, host) = (self.ctx, self.node.name.as_str());
        let bundle = self.bundle(all)?;
        if self.phase > Phase::Trust && self.node.role.is_control_plane() {
            // The key first: kubeadm takes a key for the CA's when it is beside it, and the certificate tells that it is done.
            let args = [&*format!("{}/new.key", self.family.dir()), self.family.key()];
            let text = include_str!("place_key.sh");
            ctx.script(host, "rotation-place-key", text, &args, SHORT, "put the CA's key in its place").await?;
        }
        write(ctx, host, self.family.cert(), &bundle, 0o644).await?;
        let left: BTreeMap<&String, &Leaf> = match self.phase {
            Phase::Trust => BTreeMap::new(),
            _ => seen.leaves.iter().filter(|(_, l)| l.by.as_ref() != Some(&self.pair.new)).collect(),
        };
        let mut signed = self.signed(all, &left).await?;
        for path in seen.trusts.keys() {
            self.kubeconfig(path, &bundle, signed.remove(path.as_str()).as_deref()).await?;
        }
        for (path, cert) in signed {
            if path.ends_with(".pem") {
                let text = include_str!("kubelet_pem.sh");
                self.with_input("rotation-kubelet-pem", text, path, cert).await?;
            } else {
                write(ctx, host, path, &cert, 0o644).await?;
            }
        }
        Ok(())
    }

    /// By path, what the new CA makes of the certificates that are left. Its key is fetched for nothing else.
    async fn signed<'a>(
        &self,
        all: &BTreeMap<String, Seen>,
        left: &BTreeMap<&'a String, &Leaf>,
    ) -> Result<BTreeMap<&'a str, String>> {
        if left.is_empty() {
            return Ok(BTreeMap::new());
        }
        let host = self.node.name.as_str();
        let Some(ca) = coming(self.ctx, self.family, all).await? else {
            return Err(Error::failed("no control plane has the new CA").on(host));
        };
        left.iter().map(|(path, leaf)| Ok((path.as_str(), reissue(&ca, leaf, host, path)?))).collect()
    }

    /// The CAs that are trusted once the phase is done.
    fn bundle(&self, all: &BTreeMap<String, Seen>) -> Result<String> {
        let text = |digest| all.values().find_map(|s| s.authorities.get(digest)).cloned();
        let texts: Option<Vec<String>> = self.pair.bundle(self.phase).iter().map(text).collect();
        texts.map(|t| t.concat()).ok_or_else(|| Error::failed("the certificate of a CA is gone").on(&self.node.name))
    }

    async fn kubeconfig(&self, path: &str, bundle: &str, cert: Option<&str>) -> Result<()> {
        let mut input = STANDARD.encode(bundle) + "\n";
        if let Some(cert) = cert {
            input += &(STANDARD.encode(cert) + "\n");
        }
        self.with_input("rotation-kubeconfig", include_str!("kubeconfig.sh"), path, input).await
    }

    async fn with_input(&self, name: &str, text: &str, path: &str, input: String) -> Result<()> {
        let command = Command::new(["sh", "-c", text, "sh", path]).stdin(input).timeout(SHORT);
        let shown = Command::new([name, path]);
        let output = self.ctx.run_shown(&self.node.name, &command, &shown).await?;
        output.check(&self.node.name, &shown, &format!("write {path}")).map(drop)
    }

    async fn restart_plane(&self) -> Result<()> {
        let (ctx, host) = (self.ctx, self.node.name.as_str());
        let timeout_s = ctx.inventory.verify.timeout_s;
        let members = ctx.inventory.control_planes().into_iter().map(|n| n.name).collect();
        let whole = Action::WaitEtcdMembers { members, timeout_s };
        for components in self.family.components() {
            let restart = async {
                futures::future::try_join_all(components.iter().map(|c| self.anew(c))).await?;
                // The API server is of no use before its etcd is back.
                if components.contains(&"etcd") { wait(ctx, host, &whole, &|_| {}).await } else { Ok(()) }
            };
            self.step(&format!("{}: restart {}", self.title(), components.join(" and ")), restart).await?;
        }
        if self.family == Family::Kubernetes && ctx.inventory.endpoint.mode == EndpointMode::KubeVip {
            let vip = ["kube-vip".to_owned()];
            self.step(&format!("{}: restart kube-vip", self.title()), restart_pods(ctx, host, &vip)).await?;
        }
        let well = async {
            wait(ctx, host, &etcd::well(self.node, timeout_s), &|_| {}).await?;
            match ctx.inventory.etcd.mode {
                EtcdMode::Stacked => wait(ctx, host, &whole, &|_| {}).await,
                EtcdMode::External => Ok(()),
            }
        };
        self.step(&format!("{}: wait until it is well", self.title()), well).await
    }

    async fn anew(&self, component: &str) -> Result<()> {
        let (cert, key) = signs_with(self.phase);
        let signer = [cert.as_str(), key.as_str()];
        let signs = self.family == Family::Kubernetes && component == "kube-controller-manager";
        etcd::made_anew_with(self.ctx, &self.node.name, component, if signs { &signer } else { &[] }).await
    }
}

fn reissue(ca: &Ca, leaf: &Leaf, host: &str, path: &str) -> Result<String> {
    ca.reissue(&leaf.der)
        .map_err(|e| Error::failed(format!("{path} cannot be signed by the new CA")).on(host).source(e))
}
