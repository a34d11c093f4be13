//! Kernel modules, sysctls, swap.

use std::time::Duration;

use super::context::Context;
use crate::error::Result;
use crate::host::Command;

const SHORT: Duration = Duration::from_secs(60);

pub(super) async fn load_module(ctx: &Context, host: &str, module: &str) -> Result<()> {
    ctx.must(host, Command::new(["modprobe", module]), &format!("load the kernel module {module}"))
        .await
        .map(drop)
        .map_err(|e| e.hint("is the package with the modules of the running kernel installed?"))
}

pub(super) async fn set_sysctl(ctx: &Context, host: &str, key: &str, value: &str) -> Result<()> {
    // The value from before our first change is kept, so that reset can put it back.
    const TEXT: &str = r#"# apply:sysctl
d=/var/lib/provision; mkdir -p "$d" || exit 1
f="/proc/sys/$(printf %s "$1" | tr . /)"
grep -q "^$1=" "$d/sysctl.before" 2>/dev/null || echo "$1=$(tr -s '\t\n ' '   ' <"$f" | sed 's/ *$//')" >>"$d/sysctl.before"
printf %s "$2" >"$f"
"#;
    ctx.script(host, "sysctl", TEXT, &[key, value], SHORT, &format!("set {key}")).await.map(drop)
}

pub(super) async fn swap_off(ctx: &Context, host: &str) -> Result<()> {
    const TEXT: &str = r#"# apply:swapoff
swapoff -a && sed -i.provision-before -E 's|^([^#].*[[:space:]]swap[[:space:]].*)$|# provision: \1|' /etc/fstab
"#;
    ctx.script(host, "swapoff", TEXT, &[], SHORT, "turn swap off")
        .await
        .map(drop)
        .map_err(|e| e.hint("`free -m` tells whether memory is enough to take swap's content back"))
}
