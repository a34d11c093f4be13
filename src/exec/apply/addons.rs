//! Raw manifests and Helm releases, from the content store of a control plane.

use std::time::Duration;

use base64::Engine as _;

use super::context::{Context, script_command};
use super::files::CHECK;
use crate::bundle::Digest;
use crate::error::{Error, Result};
use crate::exec::StepNote;
use crate::host::{Command, ExitState};
use crate::resource::{RELEASE_LABEL, blob_path, release_mark};

/// Objects that admission webhooks look at take their time.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(180);

/// `$1` the file, `$2` its sha256, `$3` whether the API server applies it. What somebody else set in the meantime gives
/// way: the plan said so. Resources that the file itself defines are served only some moments later.
const MANIFEST: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin
check "$1" "$2"
f=$1 n=0
[ "$3" = true ] && set -- --server-side --force-conflicts || set --
until out=$(kubectl apply "$@" --field-manager=provision -f - <"$f" 2>&1); do
    n=$((n + 1))
    case $out in *'no matches for kind'*) [ $n -lt 15 ] && sleep 2 && continue ;; esac
    printf '%s\n' "$out" >&2; exit 1
done
"#;

pub(super) async fn manifest(ctx: &Context, host: &str, name: &str, digest: &Digest, server_side: bool) -> Result<()> {
    let text = format!("# apply:manifest\n{CHECK}{MANIFEST}");
    let blob = blob_path(digest);
    let args = [blob.as_str(), digest.hex(), if server_side { "true" } else { "false" }];
    ctx.script(host, "manifest", &text, &args, MANIFEST_TIMEOUT, &format!("apply manifest {name}"))
        .await
        .map(drop)
        .map_err(|e| e.hint("run apply again when the cause is gone: objects before the one that failed are in place"))
}

/// A release as it is wanted.
pub(super) struct Release<'a> {
    pub(super) release: &'a str,
    pub(super) namespace: &'a str,
    pub(super) digest: &'a Digest,
    pub(super) mark: &'a str,
    pub(super) timeout_s: u64,
    pub(super) atomic: bool,
    pub(super) server_side: bool,
}

/// helm rolled an upgrade back.
const ROLLED_BACK: u32 = 81;
/// helm took a failed installation away.
const TAKEN_AWAY: u32 = 82;
/// A helm that is not ours works on the release, or was broken off.
const BUSY: u32 = 83;

/// `$1` the chart, `$2` its sha256, `$3` release, `$4` namespace, `$5` description, `$6` label, `$7` seconds, `$8`
/// whether to take back what failed, `$9` whether the API server applies it. Each line of its input is one file of
/// values in base64; they touch memory only.
///
/// A revision that is left pending blocks every later one. When the mark of an installation of ours is there, it was
/// broken off on this host (a power cut), and its record is removed: what it had made is then adopted.
const RELEASE: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin
chart=$1 sum=$2 release=$3 ns=$4 mark=$5 label=$6 seconds=$7 atomic=$8 server=$9
check "$chart" "$sum"
umask 077
t=/run/provision/helm-$ns.$release
mkdir -p /run/provision && rm -rf "$t" && mkdir "$t" || exit 1
trap 'rm -rf "$t"' EXIT
trap 'exit 143' TERM INT HUP
# No plugin or setting of the administrator's.
export HOME="$t"
ln -s "$chart" "$t/chart.tgz" || exit 1
set --; n=0
while read -r line; do
    n=$((n + 1)); printf %s "$line" | base64 -d >"$t/$n.yaml" && set -- "$@" -f "$t/$n.yaml" || exit 1
done
newest() { helm history "$release" -n "$ns" --max 1 -o json 2>/dev/null; }
begun=/var/lib/provision/helm/$ns.$release
case $(newest) in *'"status":"pending-'*)
    [ -e "$begun" ] || { echo "the newest revision of $release is pending" >&2; exit 83; }
    for s in pending-install pending-upgrade pending-rollback; do
        kubectl -n "$ns" delete secret -l "owner=helm,name=$release,status=$s" >/dev/null || exit 1
    done ;;
esac
# helm 4 has another name for --atomic, and lets the API server apply what is new if it is not told otherwise.
case $(helm version --template '{{.Version}}') in
    v3.*) undo=--atomic ;;
    *) undo=--rollback-on-failure; [ "$server" = true ] || set -- "$@" --server-side=false ;;
esac
[ "$atomic" = true ] && set -- "$@" "$undo"
before=$(newest)
mkdir -p "${begun%/*}" && : >"$begun" || exit 1
helm upgrade --install "$release" "$t/chart.tgz" -n "$ns" --create-namespace --reset-values --wait \
    --timeout "${seconds}s" --description "$mark" --labels "$label" "$@" >"$t/out" 2>&1
code=$?
rm -f "$begun"
[ $code = 0 ] && exit 0
kubectl -n "$ns" get events --field-selector type=Warning --sort-by=.lastTimestamp \
    -o 'custom-columns=OBJECT:.involvedObject.name,REASON:.reason,MESSAGE:.message' --no-headers 2>/dev/null | tail -n 6 >&2
tail -n 8 "$t/out" >&2
[ "$atomic" = true ] || exit 1
# helm says in its own words only that it tried to; what is there now says what came of it.
case $(newest) in
    '' | '[]') exit 82 ;;
    "$before") ;;
    *'"status":"deployed"'*'"description":"Rollback to '*) exit 81 ;;
esac
exit 1
"#;

pub(super) async fn release(
    ctx: &Context,
    host: &str,
    wanted: &Release<'_>,
    notes: &(dyn Fn(StepNote) + Send + Sync),
) -> Result<()> {
    let Release { release, namespace, digest, mark, timeout_s, atomic, server_side } = *wanted;
    let chart = ctx.inventory.charts.iter().find(|c| c.name == release && c.namespace == namespace);
    let texts = chart.map(crate::inventory::Chart::values_texts).unwrap_or_default();
    if release_mark(digest, &texts) != mark {
        return Err(Error::refused(format!("the values of release {release} are not those of the plan"))
            .hint("make a new plan"));
    }
    let input: String = texts.iter().map(|t| base64::engine::general_purpose::STANDARD.encode(t) + "\n").collect();
    let flag = |set: bool| if set { "true" } else { "false" };
    let (blob, seconds) = (blob_path(digest), timeout_s.to_string());
    let args = [
        blob.as_str(),
        digest.hex(),
        release,
        namespace,
        mark,
        RELEASE_LABEL,
        &seconds,
        flag(atomic),
        flag(server_side),
    ];
    let text = format!("# apply:release\n{CHECK}{RELEASE}");
    // A rollback may take as long as what it takes back.
    let room = Duration::from_secs(timeout_s.saturating_mul(2).saturating_add(120));
    let command =
        script_command(&text, &args).stdin(input).unit(format!("provision-helm-{namespace}-{release}")).timeout(room);
    let shown = Command::new(["helm", "upgrade", "--install", release, &blob, "--namespace", namespace]);
    notes(StepNote::Text(format!("helm waits up to {timeout_s} s until {release} runs")));
    let output = ctx.run_shown(host, &command, &shown).await?;
    let (what, hint) = match output.exit {
        ExitState::Code(ROLLED_BACK) => (
            format!("upgrade release {release}: helm rolled it back, and what ran before runs again"),
            "the lines above say what did not come up; with `atomic = false` it stays as it is for a look",
        ),
        ExitState::Code(TAKEN_AWAY) => (
            format!("install release {release}: helm left nothing of it"),
            "the lines above say what did not come up; with `atomic = false` it stays as it is for a look",
        ),
        ExitState::Code(BUSY) => (
            format!("upgrade release {release}: another helm works on it, or was broken off"),
            "wait for it; if there is none, `helm rollback` or `helm uninstall` ends what it began",
        ),
        _ => (
            format!("bring up release {release}"),
            "run apply again when the cause is gone: `helm status` and `kubectl get events` on a control plane tell",
        ),
    };
    output.check(host, &shown, &what).map(drop).map_err(|e| e.hint(hint))
}
