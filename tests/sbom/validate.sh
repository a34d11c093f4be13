#!/usr/bin/env bash
# validate.sh CYCLONEDX SPDX: holds both bills against what their makers publish: CycloneDX's own JSON schema (strict) with
# the check of package URLs, and the SPDX project's own parser and validator.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=tests/sbom/venv.sh
. "$here/venv.sh"
exec "$VENV/bin/python" - "$1" "$2" <<'PY'
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

cyclonedx, spdx = sys.argv[1:]
text = open(cyclonedx).read()
bad = [str(e) for e in [JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)] if e]
purls = [c["purl"] for c in json.loads(text)["components"] if "purl" in c]
for purl in purls:
    # Two spellings of a qualifier are the same package URL: what is read is compared.
    read = PackageURL.from_string(purl)
    if not read.version or PackageURL.from_string(read.to_string()) != read:
        bad.append(f"{purl} is no package URL")
document = parse_file(spdx)
bad += [f"{m.context.spdx_id or m.context.parent_id}: {m.validation_message}" for m in validate_full_spdx_document(document)]
print("\n".join(bad) or f"valid: {len(purls)} package URLs, {len(document.packages)} SPDX packages")
sys.exit(bool(bad))
PY
