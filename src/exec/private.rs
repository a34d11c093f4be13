//! Files with a secret in them on the machine that the program runs on.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error, Result};

/// Writes a file that its owner alone can read, also where a wider one was: whole, or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let writing = || format!("failed to write {}", path.display());
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    match std::fs::remove_file(&partial) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::failed(writing()).source(e)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).context(writing)?;
    file.write_all(content).context(writing)?;
    file.sync_all().context(writing)?;
    std::fs::rename(&partial, path).context(writing)
}
