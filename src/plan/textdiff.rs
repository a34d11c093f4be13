//! Unified diffs of files, with secrets masked. Pure.

use similar::TextDiff;

/// A unified diff from what is on the host (`None`: no such file) to what is wanted, three lines of context. Lines
/// that look like they hold a secret show a mask in place of the value.
#[must_use]
pub fn file_diff(path: &str, old: Option<&str>, new: &str) -> String {
    let (old, from) = old.map_or((String::new(), "/dev/null"), |o| (mask(o), path));
    let new = mask(new);
    TextDiff::from_lines(old.as_str(), new.as_str()).unified_diff().context_radius(3).header(from, path).to_string()
}

/// Replaces the value on each line whose key names a secret.
#[must_use]
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches('\n');
        let split = body.find([':', '=']);
        let key = split.map(|at| body[..at].to_ascii_lowercase());
        let secret =
            ["password", "passwd", "token", "secret", "certificatekey", "private-key", "client-key-data", "auth_pass"]
                .iter()
                .any(|word| key.as_ref().is_some_and(|key| key.contains(word)));
        // A path or a boolean is no secret: `token-auth-file=/etc/x`, `serviceAccountToken: true`.
        let value = split.map_or("", |at| body[at + 1..].trim().trim_matches('"'));
        if secret && !value.is_empty() && !value.starts_with('/') && value != "true" && value != "false" {
            let at = split.unwrap_or(0);
            out.push_str(&body[..=at]);
            out.push_str(" (masked)");
            if line.ends_with('\n') {
                out.push('\n');
            }
        } else {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_paths_are_not() {
        let text = "token: abcdef.0123456789abcdef\ntlsPrivateKeyFile: /etc/k.key\npassword = \"hunter2\"\nplain: 1\n";
        let masked = mask(text);
        assert!(!masked.contains("hunter2") && !masked.contains("0123456789abcdef"));
        assert!(masked.contains("plain: 1") && masked.contains("/etc/k.key"));
    }

    #[test]
    fn a_new_file_is_all_plus() {
        assert_eq!(file_diff("/a", None, "x\n"), "--- /dev/null\n+++ /a\n@@ -0,0 +1 @@\n+x\n");
    }
}
