//! A local upstream: a real static HTTP server over a tree like the download sites', and a real OCI registry. Both
//! listen on loopback only; `stop` ends them and sees that nothing answers any more.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::process::run;
use super::source::Parts;
use crate::bundle::cache_dir;
use crate::error::{Context as _, Error, Result};

/// A running upstream.
pub struct Upstream {
    /// The HTTP server's base URL.
    pub http: String,
    /// The registry's base URL.
    pub registry: String,
    /// The ports of both.
    pub ports: (u16, u16),
    children: Vec<Child>,
    _dir: tempfile::TempDir,
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context(|| "failed to find a free port".into())?;
    Ok(listener.local_addr().context(|| "failed to find a free port".into())?.port())
}

impl Upstream {
    /// Starts both and fills the registry.
    pub(super) async fn start(parts: &Parts, ports: Option<(u16, u16)>) -> Result<Self> {
        let (http, registry) = match ports {
            Some(ports) => ports,
            None => (free_port()?, free_port()?),
        };
        let dir = tempfile::tempdir().context(|| "failed to make a directory for the upstream".into())?;
        let nginx = dir.path().join("nginx.conf");
        write(&nginx, &nginx_conf(dir.path(), parts.www(), http))?;
        let store = cache_dir().join("lab/registry");
        let config = dir.path().join("registry.yml");
        write(&config, &registry_conf(&store, registry))?;
        let spawn = |program: &str, args: &[&str]| -> Result<Child> {
            let log = std::fs::File::create(dir.path().join(format!("{program}.log")))
                .context(|| "failed to write a log".into())?;
            let error = log.try_clone().context(|| "failed to write a log".into())?;
            // The kernel ends them with this process, whatever ends it: a SIGKILL runs no destructor.
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", program])
                .args(args)
                .stdin(std::process::Stdio::null())
                .stdout(log)
                .stderr(error)
                .kill_on_drop(true)
                .spawn()
                .context(|| format!("failed to start {program}"))
        };
        let conf = nginx.to_string_lossy().into_owned();
        let children = vec![
            spawn("nginx", &["-p", &dir.path().to_string_lossy(), "-c", &conf])?,
            spawn("docker-registry", &["serve", &config.to_string_lossy()])?,
        ];
        let this = Self {
            http: format!("http://127.0.0.1:{http}"),
            registry: format!("http://127.0.0.1:{registry}"),
            ports: (http, registry),
            children,
            _dir: dir,
        };
        this.answer().await?;
        this.fill(parts, &format!("127.0.0.1:{registry}")).await?;
        Ok(this)
    }

    /// One that does not run, at these addresses.
    #[cfg(test)]
    pub(super) fn named(http: &str, registry: &str) -> Self {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        Self { http: http.into(), registry: registry.into(), ports: (0, 0), children: Vec::new(), _dir: dir }
    }

    /// Ends both. An error if something still answers at either address: what comes next is to do without them.
    pub async fn stop(mut self) -> Result<()> {
        for child in &mut self.children {
            child.kill().await.context(|| "failed to stop the lab's upstream".into())?;
        }
        for url in [&self.http, &self.registry] {
            let address = url.trim_start_matches("http://");
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Err(Error::failed(format!("the lab's upstream still answers at {url} after it was stopped")));
            }
        }
        Ok(())
    }

    async fn answer(&self) -> Result<()> {
        crate::bundle::tls_init();
        let client = reqwest::Client::builder().no_proxy().build().context(|| "failed to set up HTTP".into())?;
        for url in [format!("{}/", self.http), format!("{}/v2/", self.registry)] {
            let mut tries = 0;
            while client.get(&url).send().await.is_err() {
                tries += 1;
                if tries > 100 {
                    return Err(Error::failed(format!("the lab's upstream does not answer at {url}")));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    async fn fill(&self, parts: &Parts, address: &str) -> Result<()> {
        let index =
            std::fs::read(parts.images().join("index.json")).context(|| "failed to read the lab's images".into())?;
        let index: serde_json::Value =
            serde_json::from_slice(&index).context(|| "failed to read the lab's images".into())?;
        for entry in index.get("manifests").and_then(|m| m.as_array()).into_iter().flatten() {
            let Some(name) = entry.pointer("/annotations/org.opencontainers.image.ref.name").and_then(|n| n.as_str())
            else {
                continue;
            };
            let from = format!("oci:{}:{name}", parts.images().display());
            let to = format!("docker://{address}/{name}");
            run(
                &["skopeo", "copy", "--quiet", "--dest-tls-verify=false", &from, &to],
                "",
                &format!("push {name} to the lab's registry"),
            )
            .await?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).context(|| format!("failed to write {}", path.display()))
}

fn nginx_conf(dir: &Path, www: &Path, port: u16) -> String {
    let (dir, www) = (dir.display(), www.display());
    // One process: a worker would outlive a master that is killed, and go on serving. It runs as the user who starts
    // it, which the tree needs: it may be readable by nobody else.
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\n\
         events {{}}\nhttp {{\n  access_log off;\n  sendfile on;\n  default_type application/octet-stream;\n  \
         client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;\n  \
         server {{ listen 127.0.0.1:{port}; root {www}; autoindex on; }}\n}}\n"
    )
}

fn registry_conf(store: &Path, port: u16) -> String {
    format!(
        "version: 0.1\nlog: {{ level: warn }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        store.display()
    )
}
