//! Images from the content store into containerd.

use std::time::Duration;

use super::context::Context;
use crate::bundle::Digest;
use crate::error::Result;
use crate::resource::blob_path;

/// Unpacking the largest images on a slow disk.
const TIMEOUT: Duration = Duration::from_secs(900);

pub(super) async fn import(
    ctx: &Context,
    host: &str,
    name: &str,
    manifest: &Digest,
    manifest_size: u64,
    media_type: &str,
    blobs: &[Digest],
) -> Result<()> {
    // An OCI layout of links to the store, streamed into containerd. Every blob is hashed again right before.
    const TEXT: &str = concat!(
        "# apply:import\n",
        include_str!("../../host/sha256.sh"),
        r#"name=$1 manifest=$2 size=$3 type=$4; shift 4
t=/var/lib/provision/import/$manifest
rm -rf "$t" && mkdir -p "$t/blobs/sha256" || exit 1
trap 'rm -rf "$t"' EXIT
for b in "$@"; do
    h=${b##*/}
    [ "$(sha256 "$b")" = "$h" ] || { rm -f -- "$b"; echo "blob $h in the node's store is damaged or missing; it was removed" >&2; exit 65; }
    ln "$b" "$t/blobs/sha256/$h" || exit 1
done
echo '{"imageLayoutVersion":"1.0.0"}' >"$t/oci-layout"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' \
    "$type" "$manifest" "$size" "$name" "$name" >"$t/index.json"
tar -C "$t" -cf - oci-layout index.json blobs | ctr -n k8s.io images import - >"$t/log" 2>&1 || { cat "$t/log" >&2; exit 1; }
ctr -n k8s.io images label "$name" io.cri-containerd.image=managed io.cri-containerd.pinned=pinned >/dev/null
"#
    );
    let mut args = vec![name.to_owned(), manifest.hex().to_owned(), manifest_size.to_string(), media_type.to_owned()];
    args.extend(std::iter::once(manifest).chain(blobs).map(blob_path));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    ctx.script(host, "import", TEXT, &args, TIMEOUT, &format!("import the image {name}"))
        .await
        .map(drop)
        .map_err(|e| e.hint("run apply again: a damaged blob is sent anew; with no space left under /var/lib/containerd, free some first"))
}
