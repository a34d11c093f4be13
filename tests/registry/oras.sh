#!/usr/bin/env bash
# Prints the path of a real oras: Debian has it in newer suites than bookworm. Its lists are kept apart from the system's,
# the program itself under ~/.cache/provision/oras.
set -euo pipefail
suite=trixie
kept=${XDG_CACHE_HOME:-$HOME/.cache}/provision/oras
if [ ! -x "$kept/oras" ]; then
    mirror=$({ sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null || true; } | grep -m1 debian) ||
        { echo "$0: no Debian mirror in /etc/apt/sources.list or sources.list.d/debian.sources" >&2; exit 1; }
    mkdir -p "${kept%/*}"
    t=$(mktemp -d "${kept%/*}/fetch.XXXXXX")
    trap 'rm -rf "$t"' EXIT
    mkdir -p "$t/lists/partial" "$t/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$t/sources.list"
    apt=(apt-get -qq -o "Dir::Etc::sourcelist=$t/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$t/lists"
        -o "Dir::Cache=$t" -o APT::Sandbox::User=root)
    "${apt[@]}" update >&2
    (cd "$t" && "${apt[@]}" download oras >&2) || { echo "$0: the suite $suite has no oras" >&2; exit 1; }
    dpkg-deb -x "$t"/oras_*.deb "$t/root"
    "$t/root/usr/bin/oras" version >/dev/null
    mkdir -p "$t/kept" && mv "$t/root/usr/bin/oras" "$t/kept/"
    # Whoever is second finds that the first was as good.
    mv -T "$t/kept" "$kept" 2>/dev/null || [ -x "$kept/oras" ]
fi
echo "$kept/oras"
