//! What the lab needs on the operator's machine, by Debian's package names.

use super::part::reported;
use super::process::run;
use super::source::Source;
use crate::error::{Error, Result};
use crate::exec::Sink;

/// For the nodes.
const NODES: &[&str] =
    &["podman", "runc", "netavark", "aardvark-dns", "iptables", "iproute2", "mmdebstrap", "openssh-client"];
/// For an upstream of our own, and its images.
const UPSTREAM: &[&str] = &["skopeo", "docker-registry", "nginx-light", "gcc", "libc6-dev"];
/// For building Debian's Kubernetes.
const BUILD: &[&str] =
    &["golang-go", "golang-github-modern-go-reflect2-dev", "rsync", "jq", "make", "binutils", "dpkg-dev"];

/// Installs what is missing when run as root on Debian; else says which command would.
pub(super) async fn ensure(source: &Source, sink: &dyn Sink) -> Result<()> {
    let groups: &[&[&str]] = match source {
        Source::Upstream => &[NODES],
        Source::Dir(_) => &[NODES, UPSTREAM],
        Source::Debian => &[NODES, UPSTREAM, BUILD],
    };
    let wanted = groups.concat();
    let mut missing = Vec::new();
    for package in &wanted {
        let status = run(&["dpkg-query", "-W", "-f", "${Status}", package], "", "ask dpkg for packages").await;
        if !status.is_ok_and(|s| s.contains("install ok installed")) {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !rustix::process::geteuid().is_root() {
        return Err(Error::refused(format!("the lab needs packages that are not installed: {}", missing.join(", ")))
            .hint(format!("as root: {install}")));
    }
    // The packages' own services would take ports of this machine: policy-rc.d keeps them from starting.
    let script = format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive; exec >&2\n\
         echo 'lab: install {packages}'\n\
         if [ ! -e /usr/sbin/policy-rc.d ]; then printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; fi\n\
         {install}",
        packages = missing.join(" "),
    );
    reported(sink, &["sh", "-c", &script], &install, "install the lab's packages").await.map(drop)
}
