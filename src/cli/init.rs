//! `provision init`

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::error::{Context as _, Error, Result};
use crate::inventory::SAMPLE;

pub(super) fn init(dir: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(dir).context(|| format!("failed to make {}", dir.display()))?;
    let path = dir.join("inventory.toml");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| {
        Error::failed(format!("failed to write {}", path.display()))
            .source(e)
            .hint("init never writes over a file that is there")
    })?;
    file.write_all(SAMPLE.as_bytes()).context(|| format!("failed to write {}", path.display()))?;
    println!("Wrote {}. Edit it, then:", path.display());
    for next in ["validate", "bundle lock", "bundle build", "preflight", "plan -b bundle", "apply -b bundle"] {
        println!("  provision {next} -i {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
