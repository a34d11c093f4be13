//! `provision init [DIR]`: a first inventory.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::inventory::SAMPLE;

/// The name of the file that is written.
const FILE: &str = "inventory.toml";

/// Writes a commented sample to `dir/inventory.toml`, making `dir` when it is not there, and says what to do next.
///
/// # Errors
/// [`crate::error::Kind::Refused`] when the file is there already; [`crate::error::Kind::Failed`] when it cannot be
/// written.
pub fn init(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    std::fs::create_dir_all(dir).context(|| format!("failed to make the directory {}", dir.display()))?;
    // create_new rather than a look beforehand: nothing is overwritten even when two runs meet.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Error::refused(format!("{} is there already", path.display()))
            .hint("edit it, or name another directory: provision init DIR"),
        _ => Error::failed(format!("failed to write {}", path.display())).source(e),
    })?;
    file.write_all(SAMPLE.as_bytes()).context(|| format!("failed to write {}", path.display()))?;
    let path = path.display();
    let next = format!(
        "wrote {path}\nNext: put your hosts into it, then run\n  provision validate -i {path}\n  provision bundle lock -i \
         {path}\n  provision bundle build -i {path}\n  provision bundle keygen -o release    (and put the key it shows into \
         [trust])\n  provision bundle sign bundle --key release.key\n  provision plan -i {path} -b bundle\n  provision \
         apply -i {path} -b bundle"
    );
    writeln!(std::io::stdout(), "{next}").context(|| "failed to write to stdout".into())
}
