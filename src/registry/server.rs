//! Listens, limits, and stops. What is answered is in [`super::answer`].

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;

use super::answer::Answerer;
use super::body::{Logged, say};
use super::catalog::Catalog;
use super::tls::acceptor;
use crate::bundle::Bundle;
use crate::error::{Context as _, Error, Kind, Result};

/// Connections at once, when the process may open that many files; more wait in the kernel's queue.
const CONNECTIONS: u64 = 1024;
/// Connections at once from one address: one client cannot take all places.
const PER_ADDRESS: usize = 256;
/// Until a request's head must be whole, and until an idle connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Until a TLS handshake must be done.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what is sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long running transfers may go on after a signal.
const GRACE: Duration = Duration::from_secs(30);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key, PEM files; `None` serves without encryption.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// No access log.
    pub quiet: bool,
}

/// Serves a bundle until `stop` ends: then running transfers have 30 s to end. `ready` is called with the URL once
/// connections are taken.
///
/// Errors: the bundle lacks a blob or has a damaged manifest (`Invalid`), or the address cannot be had.
pub async fn serve(
    bundle: &Bundle,
    options: &ServeOptions,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&str, &Catalog),
) -> Result<()> {
    let tls = options.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
    let catalog = Catalog::read(bundle).await?;
    let listening = || format!("failed to listen on {}", options.listen);
    let listener = TcpListener::bind(options.listen).await.map_err(|e| {
        Error::new(Kind::Failed, listening()).source(e).hint("is the port taken, or the address not this host's?")
    })?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr().context(listening)?;
    ready(&format!("{scheme}://{address}"), &catalog);
    let answerer = Arc::new(Answerer::new(catalog));
    let places = Arc::new(Semaphore::new(connections()));
    let turns = Turns::default();
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            // The place comes first: a connection that cannot be served is not taken.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of files or memory for the moment, or the client is gone again: nothing to end over.
                say(&format!("failed to take a connection: {e}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(turn) = turns.take(peer.ip()) else {
            // Closed at once; the client hears of it and others are served.
            continue;
        };
        let connection = Connection { answerer: Arc::clone(&answerer), peer, quiet: options.quiet };
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            // A connection that fails is the client's affair; what it asked for is in the access log.
            let _ = connection.serve(stream, tls, watcher).await;
            drop((place, turn));
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        say("some transfers did not end in time and were cut off");
    }
    Ok(())
}

/// Two files a connection (itself and a blob), and some for the process.
fn connections() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((files.saturating_sub(64) / 2).clamp(1, CONNECTIONS)).unwrap_or(1)
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that is counted until it is dropped.
struct Turn(Turns, IpAddr);

impl Turns {
    /// `None` when the address has as many as it may.
    fn take(&self, address: IpAddr) -> Option<Turn> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        (*count < PER_ADDRESS).then(|| {
            *count += 1;
            Turn(self.clone(), address)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

struct Connection {
    answerer: Arc<Answerer>,
    peer: SocketAddr,
    quiet: bool,
}

type Io = Pin<Box<dyn Stream>>;
trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

impl Connection {
    async fn serve(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        watcher: hyper_util::server::graceful::Watcher,
    ) -> Result<()> {
        let attempted = || format!("failed to serve {}", self.peer);
        stream.set_nodelay(true).context(attempted)?;
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        let io: Io = match tls {
            None => Box::pin(stream),
            Some(tls) => {
                let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(Box::pin(stream)));
                Box::pin(shaken.await.context(attempted)?.context(attempted)?)
            }
        };
        let this = &self;
        let service = service_fn(|request| async move {
            let begun = Instant::now();
            let line = (!this.quiet).then(|| {
                let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
                format!("{now} {} {} {}", this.peer.ip(), request.method(), request.uri())
            });
            let answer = this.answerer.answer(&request).await;
            let line = line.map(|l| format!("{l} {}", answer.status().as_u16()));
            Ok::<_, std::convert::Infallible>(answer.map(|body| Logged::new(body, line, begun)))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(MAX_HEAD)
            .max_headers(64)
            .serve_connection(TokioIo::new(io), service);
        watcher.watch(connection).await.context(attempted)
    }
}
