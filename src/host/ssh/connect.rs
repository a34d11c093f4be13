//! Connections: directly or through a jump host, both ends verified.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use russh::client::{self, Handle};
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::auth::{Login, login};
use super::session::SshHost;
use super::sudo::Sudoers;
use super::trust::{Trust, Verifier};
use crate::error::{Error, Result};
use crate::host::{Connector, Host};
use crate::inventory::{Jump, Node, SshTarget, expand_home};

/// Time to reach a host and exchange keys.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead link is noticed after four of these without an answer.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// sshd's MaxStartups begins to drop at 10 unauthenticated connections.
const MAX_STARTS: usize = 8;

/// Settings of all connections.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// Where host keys are looked up that the inventory does not pin.
    pub known_hosts: PathBuf,
    /// Time to reach a host and exchange keys.
    pub connect_timeout: Duration,
}

impl Default for SshOptions {
    fn default() -> Self {
        let home = std::env::home_dir().unwrap_or_default();
        Self { known_hosts: home.join(".ssh/known_hosts"), connect_timeout: CONNECT_TIMEOUT }
    }
}

/// Makes SSH connections.
pub struct SshConnector {
    pub(super) options: SshOptions,
    starts: Semaphore,
    pub(super) sudoers: Sudoers,
}

/// A verified, logged-in connection. The jump host's own connection lives as long as the one through it.
pub(super) struct Session {
    pub(super) handle: Handle<Verifier>,
    _jump: Option<Handle<Verifier>>,
}

impl SshConnector {
    /// A connector with these settings.
    #[must_use]
    pub fn new(options: SshOptions) -> Arc<Self> {
        Arc::new(Self { options, starts: Semaphore::new(MAX_STARTS), sudoers: Sudoers::default() })
    }

    /// Connects, verifies and logs in.
    pub(super) async fn open(&self, node: &str, target: &SshTarget) -> Result<Session> {
        let _permit = self.starts.acquire().await.map_err(|e| Error::failed("the connector is closed").source(e))?;
        let passphrase = match &target.key_passphrase_env {
            Some(name) => Some(SecretString::from(std::env::var(name).map_err(|_| {
                Error::failed(format!("the environment variable {name} with the key's passphrase is not set")).on(node)
            })?)),
            None => None,
        };
        let credentials =
            Login { node, user: &target.user, key_file: target.key_file.as_deref(), passphrase: passphrase.clone() };
        let trust = Trust::new(
            node,
            &target.address,
            target.port,
            target.host_key.as_deref(),
            &expand_home(&self.options.known_hosts),
        )?;
        let Some(jump) = &target.jump else {
            let mut handle = self.start(trust, Via::Tcp(&target.address, target.port), node).await?;
            login(&mut handle, &credentials).await?;
            return Ok(Session { handle, _jump: None });
        };
        let hop = self.open_jump(node, target, jump, passphrase).await?;
        let attempted = format!("failed to reach {}:{} through {}", target.address, target.port, jump.address);
        let channel = tokio::time::timeout(
            self.options.connect_timeout,
            hop.channel_open_direct_tcpip(target.address.clone(), u32::from(target.port), "127.0.0.1", 0),
        )
        .await
        .map_err(|e| Error::unreachable(attempted.clone()).on(node).source(e))?
        .map_err(|e| {
            Error::unreachable(attempted).on(node).source(e).hint("does the jump host reach it, and allow forwarding?")
        })?;
        let mut handle = self.start(trust, Via::Stream(Box::new(channel.into_stream())), node).await?;
        login(&mut handle, &credentials).await?;
        Ok(Session { handle, _jump: Some(hop) })
    }

    async fn open_jump(
        &self,
        node: &str,
        target: &SshTarget,
        jump: &Jump,
        passphrase: Option<SecretString>,
    ) -> Result<Handle<Verifier>> {
        let name = format!("{node} (jump host {})", jump.address);
        let port = jump.port.unwrap_or(22);
        let known_hosts = expand_home(&self.options.known_hosts);
        let trust = Trust::new(&name, &jump.address, port, jump.host_key.as_deref(), &known_hosts)?;
        let mut handle = self.start(trust, Via::Tcp(&jump.address, port), &name).await?;
        let credentials = Login {
            node: &name,
            user: jump.user.as_deref().unwrap_or(&target.user),
            key_file: jump.key_file.as_deref().or(target.key_file.as_deref()),
            passphrase,
        };
        login(&mut handle, &credentials).await?;
        Ok(handle)
    }

    async fn start(&self, trust: Trust, via: Via<'_>, node: &str) -> Result<Handle<Verifier>> {
        let mut config = client::Config {
            nodelay: true,
            keepalive_interval: Some(KEEPALIVE),
            keepalive_max: 4,
            inactivity_timeout: None,
            ..client::Config::default()
        };
        if let Some(algorithms) = trust.algorithms() {
            config.preferred.key = Cow::Owned(algorithms);
        }
        let refused = Arc::new(Mutex::new(None));
        let verifier = Verifier { trust, refused: Arc::clone(&refused) };
        let (config, shown) = (Arc::new(config), via.to_string());
        let connecting = async {
            match via {
                Via::Tcp(address, port) => client::connect(config, (address, port), verifier).await,
                Via::Stream(stream) => client::connect_stream(config, stream, verifier).await,
            }
        };
        let attempted = format!("failed to connect to {shown}");
        let result = tokio::time::timeout(self.options.connect_timeout, connecting).await.map_err(|_| {
            Error::unreachable(format!("{attempted}: no answer in {} s", self.options.connect_timeout.as_secs()))
                .on(node)
                .hint("is the host up, its address right, and sshd reachable from here?")
        })?;
        result.map_err(|e| {
            refused.lock().ok().and_then(|mut slot| slot.take()).unwrap_or_else(|| {
                Error::unreachable(attempted)
                    .on(node)
                    .source(e)
                    .hint("is the host up, its address right, and sshd reachable from here?")
            })
        })
    }
}

trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Duplex for T {}

enum Via<'a> {
    Tcp(&'a str, u16),
    Stream(Box<dyn Duplex>),
}

impl std::fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address, port) => write!(f, "{address}:{port}"),
            Self::Stream(_) => f.write_str("the host behind the jump host"),
        }
    }
}

/// Connects hosts that share one set of limits and asked-for passwords.
#[async_trait]
impl Connector for Arc<SshConnector> {
    async fn connect(&self, node: &Node) -> Result<Arc<dyn Host>> {
        let host = SshHost::connect(Arc::clone(self), node).await?;
        Ok(Arc::new(host))
    }
}
