//! Checksum files in the three forms upstreams publish. Pure; property-tested.

use super::manifest::Digest;
use crate::error::{Error, Result};

/// The sha256 of `file` in a checksum file: a bare digest, one `hex  name`, or many such lines.
///
/// A file that names other files but not this one is an error, never a match by position.
pub fn find_checksum(text: &str, file: &str) -> Result<Digest> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    if let [only] = lines.as_slice()
        && !only.contains(char::is_whitespace)
    {
        return only.parse();
    }
    for line in &lines {
        let Some((digest, name)) = line.split_once(char::is_whitespace) else { continue };
        // `*name` marks binary mode; some upstreams write a path.
        let name = name.trim_start().trim_start_matches('*');
        if name == file || name.rsplit('/').next() == Some(file) {
            return digest.parse();
        }
    }
    Err(Error::invalid(format!("the checksum file does not name {file}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn all_three_forms_are_read() {
        let want = HEX.parse().ok();
        assert_eq!(find_checksum(HEX, "kubeadm").ok(), want);
        assert_eq!(find_checksum(&format!("{HEX}  a.tgz\n"), "a.tgz").ok(), want);
        let zero = "0".repeat(64);
        assert_eq!(find_checksum(&format!("{zero}  b\n{HEX} *./dir/a\n"), "a").ok(), want);
    }

    #[test]
    fn the_wrong_name_is_an_error() {
        assert!(find_checksum(&format!("{HEX}  other\n"), "a.tgz").is_err());
        assert!(find_checksum("", "a").is_err());
        assert!(find_checksum("<html>not found</html>", "a").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n){0,300}") {
            let _ = find_checksum(&text, "a");
        }

        #[test]
        fn the_named_line_is_found_anywhere(names in proptest::collection::hash_set("[a-z]{1,8}", 2..8)) {
            let lines: String = names.iter().map(|n| format!("{}  {n}\n", Digest::of(n.as_bytes()).hex())).collect();
            for name in &names {
                prop_assert_eq!(find_checksum(&lines, name).ok(), Some(Digest::of(name.as_bytes())));
            }
        }
    }
}
