# sha256 FILE: its digest in hex. openssl uses the processor's own instructions where coreutils may not: three times as
# fast on large files; it is asked only when it is there.
sha256() {
    if [ "$(stat -Lc %s -- "$1")" -gt 1000000 ] && command -v openssl >/dev/null 2>&1; then
        _h=$(openssl dgst -sha256 -r <"$1" 2>/dev/null | cut -c1-64)
        if [ ${#_h} = 64 ]; then echo "$_h"; return; fi
    fi
    sha256sum <"$1" | cut -c1-64
}
