//! Packages from the node's own repository.

use std::time::Duration;

use super::context::Context;
use super::files::CHECK;
use crate::error::Result;
use crate::host::NODE_BLOB_DIR;
use crate::inventory::PackageKind;
use crate::packages::repository_dir;
use crate::plan::LocalFile;

/// Unpacking and configuring many packages on a slow disk.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// `$1` the repository's directory, `$2` the names that have to be there (white space between), then of each package:
/// path, digest, name, version. Fills the pool with links to the content store, each hashed again right before.
const POOL: &str = r#"repo=$1 install=$2; shift 2
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
rm -rf -- "$repo/pool" && mkdir -p -- "$repo/pool" || exit 1
# apt reads as a user of its own.
chmod 755 -- "${repo%/*/*}" "${repo%/*}" "$repo" "$repo/pool" || exit 1
while [ $# -gt 0 ]; do
    check "$store/$2" "$2"
    ln -f -- "$store/$2" "$repo/$1" 2>/dev/null || cp -- "$store/$2" "$repo/$1" || exit 1
    if older "$3" "$4"; then install="$install $3"; fi
    shift 4
done
"#;

/// apt sees the local repository alone, so nothing is asked of a network. A policy of our own keeps services from being
/// started by their packages; one that is there already is left alone. An installation that was broken off is mended
/// first. Nothing is ever removed for the sake of something new.
const APT: &str = r##"p=/usr/sbin/policy-rc.d made=
if [ ! -e $p ] || grep -q '^# provision' $p; then printf '#!/bin/sh\n# provision\nexit 101\n' >$p && chmod 755 $p && made=1 || exit 1; fi
trap '[ -z "$made" ] || rm -f $p' EXIT
trap 'exit 1' HUP INT TERM
export DEBIAN_FRONTEND=noninteractive
apt() {
    apt-get -q -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/provision.sources -o Dir::Etc::sourceparts=- \
        -o APT::Get::List-Cleanup=0 -o Acquire::Languages=none -o DPkg::Lock::Timeout=120 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null
}
# apt says on stdout which dependencies are not met; an error shows stderr.
{ dpkg --configure -a </dev/null && apt update && apt install -y --no-install-recommends --no-remove $install; } >&2
"##;

const DNF: &str = r#"dnf -y --disablerepo='*' --enablerepo=provision --setopt=install_weak_deps=False install $install </dev/null >&2
"#;

pub(super) async fn install(
    ctx: &Context,
    host: &str,
    manager: PackageKind,
    names: &[String],
    set: &[LocalFile],
) -> Result<()> {
    let (name, older, tool) = match manager {
        PackageKind::Deb => (
            "packages-deb",
            r#"older() { have=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | head -n 1); [ -n "$have" ] && dpkg --compare-versions "$have" lt "$2"; }"#,
            APT,
        ),
        // dnf itself takes the newer one of what is installed; naming it is enough.
        PackageKind::Rpm => ("packages-rpm", r#"older() { rpm -q "$1" >/dev/null 2>&1; }"#, DNF),
    };
    let text = format!("# apply:{name}\n{CHECK}{older}\nstore={NODE_BLOB_DIR}\n{POOL}{tool}");
    let mut args = vec![repository_dir(manager), names.join(" ")];
    for file in set {
        args.extend([file.path.clone(), file.digest.hex().to_owned(), file.name.clone(), file.version.clone()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    ctx.script(host, name, &text, &args, TIMEOUT, &format!("install packages {}", names.join(", "))).await.map(drop).map_err(
        |e| {
            e.hint(
                "run apply again: a damaged blob is sent anew; when a package of the system itself is too old for one of these, set packages.exclude_installed_base = false, then lock and build again",
            )
        },
    )
}
