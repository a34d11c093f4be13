//! Nodes: podman containers of a Debian root file system with systemd and sshd.

use super::part::{part, reported};
use super::process::run;
use crate::bundle::cache_dir;
use crate::error::{Context as _, Error, Result};
use crate::exec::Sink;

/// The label on everything a lab makes in podman; its value is the lab's name.
pub const NODE_LABEL: &str = "provision.lab";
/// What a bare server has, and nothing of Kubernetes.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,iptables,conntrack,ethtool,socat,kmod,procps,util-linux,mount,ca-certificates,libseccomp2";
/// Nodes must not share what identifies a machine, nor fight over the terminal of this one.
const CUSTOMIZE: &str = "--customize-hook=rm -f \"$1\"/etc/ssh/ssh_host_* \"$1\"/etc/machine-id; : >\"$1\"/etc/machine-id; ln -s /dev/null \"$1\"/etc/systemd/system/getty@.service";

/// The operating system of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Os {
    /// Debian 12 (bookworm)
    #[default]
    #[value(name = "debian-12")]
    Debian12,
    /// Debian 13 (trixie)
    #[value(name = "debian-13")]
    Debian13,
}

impl Os {
    fn suite(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
        }
    }

    /// Arguments of its init on a machine with cgroup v1, which systemd starts on from 256 on only when it has to.
    fn init_arguments(self, cgroup_v1: bool) -> &'static [&'static str] {
        match self {
            Self::Debian13 if cgroup_v1 => {
                &["systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
            }
            Self::Debian12 | Self::Debian13 => &[],
        }
    }
}

/// Names what an image is made of, so that one made of something else is never taken for it.
fn recipe(os: Os) -> String {
    let digest = crate::bundle::Digest::of(format!("{PACKAGES} {CUSTOMIZE}").as_bytes());
    format!("{}-{}", os.suite(), digest.short())
}

fn image_name(os: Os) -> String {
    format!("localhost/provision-lab-node:{}", recipe(os))
}

/// Runs podman with the runtime that nested cgroups need: crun refuses hybrid hierarchies.
async fn podman(args: &[&str], stdin: &str, attempted: &str) -> Result<String> {
    let argv: Vec<&str> = ["podman", "--runtime", "runc"].into_iter().chain(args.iter().copied()).collect();
    run(&argv, stdin, attempted).await
}

/// Makes the nodes' image unless it is there.
pub(super) async fn image(os: Os, sink: &dyn Sink) -> Result<()> {
    let name = image_name(os);
    if podman(&["image", "exists", &name], "", "look for the node image").await.is_ok() {
        return Ok(());
    }
    let dir = cache_dir().join("lab");
    std::fs::create_dir_all(&dir).context(|| format!("failed to make {}", dir.display()))?;
    let tar = dir.join(format!("node-{}.tar", recipe(os))).to_string_lossy().into_owned();
    let include = format!("--include={PACKAGES}");
    if !std::path::Path::new(&tar).exists() {
        let partial = format!("{tar}.partial.tar");
        let argv = ["mmdebstrap", "--variant=minbase", &include, CUSTOMIZE, os.suite(), &partial];
        // The script says what is made; mmdebstrap says itself how far it is.
        let title = format!("lab: make the nodes' Debian ({}) with systemd and sshd (1 minute, once)", os.suite());
        let argv: Vec<&str> =
            ["sh", "-c", "echo \"$1\" >&2; shift; exec \"$@\"", "sh", &title].into_iter().chain(argv).collect();
        reported(sink, &argv, "mmdebstrap", "make the nodes' root file system").await?;
        std::fs::rename(&partial, &tar).context(|| format!("failed to keep {tar}"))?;
    }
    let import = ["import", "--quiet", &tar, &name];
    part(sink, "-", "import the node image", podman(&import, "", "import the node image")).await.map(drop)
}

/// Makes the lab's network, cut off from everything else, and returns its first three octets.
pub(super) async fn network(lab: &str) -> Result<String> {
    let name = format!("provision-{lab}");
    let label = format!("{NODE_LABEL}={lab}");
    let mut last = Error::failed("no free network");
    for third in 77..117 {
        let prefix = format!("10.89.{third}");
        let subnet = format!("{prefix}.0/24");
        match podman(
            // podman's DNS would answer for the world outside: it asks this machine's own resolver.
            &["network", "create", "--internal", "--disable-dns", "--label", &label, "--subnet", &subnet, &name],
            "",
            "make the lab's network",
        )
        .await
        {
            Ok(_) => return Ok(prefix),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Gives this machine its address on the lab's network. podman leaves that out of an internal network without its DNS;
/// it lasts as long as one of the nodes runs.
pub(super) async fn reach(lab: &str, prefix: &str) -> Result<()> {
    let name = format!("provision-{lab}");
    let bridge =
        podman(&["network", "inspect", "-f", "{{.NetworkInterface}}", &name], "", "find the lab's bridge").await?;
    let address = format!("{prefix}.1/24");
    run(&["ip", "address", "replace", &address, "dev", bridge.trim()], "", "reach the lab's network").await.map(drop)
}

/// A node to make.
#[derive(Debug, Clone, Copy)]
pub struct NewNode<'a> {
    /// The lab's name.
    pub lab: &'a str,
    /// The node's name.
    pub name: &'a str,
    /// Its address on the lab's network.
    pub address: &'a str,
    /// The SSH public key that may log in, as a line of `authorized_keys`.
    pub public_key: &'a str,
    /// Its operating system.
    pub os: Os,
}

/// Starts a node, a bare host, and returns its SSH host key, which is a new one each time.
///
/// # Errors
/// podman failed (`Failed`): there is a node of that name or address, the lab has no network, systemd did not come up.
pub async fn start(node: &NewNode<'_>) -> Result<String> {
    let container = container(node.lab, node.name);
    let label = format!("{NODE_LABEL}={}", node.lab);
    let volume = format!("{container}-var");
    podman(&["volume", "create", "--label", &label, &volume], "", "make a node's volume").await?;
    let network = format!("provision-{}", node.lab);
    // /var is a volume because overlay does not stack on overlay; --no-hosts leaves /etc/hosts an ordinary file.
    let (mount, image) = (format!("{volume}:/var"), image_name(node.os));
    let mut args = vec![
        "run",
        "-d",
        "--quiet",
        "--name",
        &container,
        "--hostname",
        node.name,
        "--label",
        &label,
        "--privileged",
        // Not podman's own systemd mode: on cgroup v1 it mounts the machine's root of systemd's hierarchy into every node,
        // so that one node's shutdown removes the cgroups of all others. What that mode gives otherwise is given here.
        "--systemd=false",
        "--cgroupns=private",
        "--env=container=podman",
        "--stop-signal=SIGRTMIN+3",
        "--tmpfs=/run:rw,nosuid,nodev,exec,mode=755",
        "--tmpfs=/run/lock:rw,nosuid,nodev",
        "--tmpfs=/tmp:rw,nosuid,nodev,exec,mode=1777",
        "--ulimit",
        "nofile=20000:20000",
        "--ulimit",
        "nproc=20000:20000",
        // A node has as many processes as a server, not as one container.
        "--pids-limit=-1",
        "--no-hosts",
        // The kubelet wants a resolver for its pods; this one is of a range that is nobody's, and there is no route.
        "--dns",
        "198.51.100.53",
        "--dns-search",
        ".",
        "--network",
        &network,
        "--ip",
        node.address,
        "-v",
        &mount,
        &image,
        "/sbin/init",
    ];
    args.extend(node.os.init_arguments(!std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()));
    podman(&args, "", &format!("start node {}", node.name)).await?;
    let setup = "set -e\n\
        i=0; until s=$(systemctl is-system-running 2>/dev/null); [ \"$s\" = running ] || [ \"$s\" = degraded ]; do i=$((i+1)); [ $i -lt 300 ] || { systemctl --failed >&2; exit 1; }; sleep 0.2; done\n\
        ssh-keygen -q -A >/dev/null\n\
        id admin >/dev/null 2>&1 || useradd -m -s /bin/bash admin\n\
        install -d -m 700 -o admin -g admin /home/admin/.ssh\n\
        cat >/home/admin/.ssh/authorized_keys; chown admin:admin /home/admin/.ssh/authorized_keys; chmod 600 /home/admin/.ssh/authorized_keys\n\
        echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin\n\
        echo '127.0.1.1 '$(uname -n) >>/etc/hosts\n\
        systemctl reset-failed ssh 2>/dev/null || true; systemctl restart ssh\n\
        cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub\n";
    let key =
        podman(&["exec", "-i", &container, "sh", "-c", setup], node.public_key, &format!("set node {} up", node.name))
            .await?;
    Ok(key.trim().to_owned())
}

/// The container of a node.
pub(super) fn container(lab: &str, node: &str) -> String {
    format!("provision-{lab}-{node}")
}

/// Takes a node away with all that was on it, as a fire would.
///
/// # Errors
/// podman failed (`Failed`): there is no such node.
pub async fn destroy(lab: &str, node: &str) -> Result<()> {
    let container = container(lab, node);
    podman(&["rm", "-f", "-t", "0", &container], "", &format!("destroy node {node}")).await?;
    podman(&["volume", "rm", "-f", &format!("{container}-var")], "", "destroy a node's volume").await.map(drop)
}

/// The labs there are, with their containers.
pub async fn list() -> Result<Vec<(String, String, String)>> {
    let filter = format!("label={NODE_LABEL}");
    let format = format!("{{{{index .Labels \"{NODE_LABEL}\"}}}}\t{{{{.Names}}}}\t{{{{.Status}}}}");
    let out = podman(&["ps", "-a", "--filter", &filter, "--format", &format], "", "list labs").await?;
    let mut all: Vec<(String, String, String)> = out
        .lines()
        .filter_map(|l| {
            let mut words = l.split('\t');
            Some((words.next()?.into(), words.next()?.into(), words.next()?.into()))
        })
        .collect();
    all.sort();
    Ok(all)
}

/// Takes away everything a lab made in podman, and nothing else.
pub async fn remove(lab: &str) -> Result<()> {
    let filter = format!("label={NODE_LABEL}={lab}");
    let containers = podman(&["ps", "-aq", "--filter", &filter], "", "list the lab's nodes").await?;
    let ids: Vec<&str> = containers.split_whitespace().collect();
    if !ids.is_empty() {
        let args: Vec<&str> = ["rm", "-f", "-t", "0"].into_iter().chain(ids).collect();
        podman(&args, "", "remove the lab's nodes").await?;
    }
    let volumes = podman(&["volume", "ls", "-q", "--filter", &filter], "", "list the lab's volumes").await?;
    for volume in volumes.split_whitespace() {
        podman(&["volume", "rm", "-f", volume], "", "remove a volume of the lab").await?;
    }
    let networks = podman(&["network", "ls", "-q", "--filter", &filter], "", "list the lab's networks").await?;
    for network in networks.split_whitespace() {
        podman(&["network", "rm", "-f", network], "", "remove the lab's network").await?;
    }
    Ok(())
}
