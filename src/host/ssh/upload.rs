//! Files and blobs to a host: partial name, digest compared there, rename. Files are synced first.

/// `$1` path, `$2` mode, `$3` sha256 in hex. Content on standard input.
pub(super) const WRITE_FILE: &str = concat!(
    include_str!("../sha256.sh"),
    r#"p=$1.provision-partial
mkdir -p -- "$(dirname -- "$1")" || exit 1
umask 077
cat >"$p" || { rm -f -- "$p"; exit 28; }
[ "$(sha256 "$p")" = "$3" ] || { rm -f -- "$p"; exit 65; }
chown 0:0 -- "$p" && chmod "$2" -- "$p" && sync -- "$p" && mv -f -- "$p" "$1"
"#
);

/// `$1` directory, `$2` sha256 in hex, `$3` size in bytes. Content on standard input. Exit 65: not the right content;
/// 28: no space. Not synced to the disk: it is hashed again before every use, and one that a power cut spoilt is removed
/// then and sent anew.
pub(super) const PUT_BLOB: &str = concat!(
    include_str!("../sha256.sh"),
    r#"d=$1 p=$1/$2.partial; umask 022
mkdir -p -- "$d" || exit 1
room=$(($(df -Pk -- "$d" | tail -n 1 | tr -s ' ' | cut -d' ' -f4) * 1024))
if [ "$room" -lt "$3" ]; then echo "$room bytes are free in $d, $3 are needed" >&2; exit 28; fi
cat >"$p" || { rm -f -- "$p"; exit 28; }
[ "$(sha256 "$p")" = "$2" ] || { rm -f -- "$p"; exit 65; }
chmod 0444 -- "$p" && mv -f -- "$p" "$d/$2"
"#
);

/// The exit status that means "the content is not what its digest says".
pub(super) const WRONG_CONTENT: u32 = 65;
/// The exit status that means "no space".
pub(super) const NO_SPACE: u32 = 28;
