#!/usr/bin/env bash
# syft.sh ARGUMENT...: runs syft, whose readers of bills and of OCI layouts are those of the scanner grype.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=tests/sbom/venv.sh
. "$here/venv.sh"
SYFT_CHECK_FOR_APP_UPDATE=false exec "$VENV/bin/syft" --quiet "$@"
