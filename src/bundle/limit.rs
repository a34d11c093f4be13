//! Reading texts of foreign origin without letting them fill the memory.

use std::io::Read as _;
use std::path::Path;

use crate::error::{Context as _, Error, Result};

/// The largest text taken: `bundle.json`, `index.json`, a lock, a bill of materials, in bytes. A bundle of a thousand
/// artifacts is described by less than 4 MiB.
pub(super) const MAX_TEXT: u64 = 64 << 20;

/// A text file of at most [`MAX_TEXT`] bytes.
///
/// Errors (`Invalid`): it is not there, larger, or not UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let shown = path.display();
    String::from_utf8(read_bytes(path)?).map_err(|e| Error::invalid(format!("{shown} is no text")).source(e))
}

/// A file of at most [`MAX_TEXT`] bytes.
///
/// Errors (`Invalid`): it is not there, or larger.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|e| Error::invalid(format!("failed to open {shown}")).source(e))?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT + 1).read_to_end(&mut bytes).context(|| format!("failed to read {shown}"))?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(Error::invalid(format!("{shown} is larger than {} MiB", MAX_TEXT >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_text_is_refused() {
        let error = read_text(Path::new("/dev/zero")).map_err(|e| e.to_string());
        assert_eq!(error, Err("/dev/zero is larger than 64 MiB".to_owned()));
    }
}
