//! `provision bundle inspect` and `provision bundle sbom`

use std::io::Write as _;
use std::path::Path;

use super::args::SbomForm;
use crate::bundle::{self, Bundle, Writing as _, image_labels};
use crate::error::{Context as _, Result};
use crate::report::Format;

pub(super) async fn inspect(path: &Path, page: Option<&Path>, format: Format) -> Result<()> {
    let opened = Bundle::open(path)?;
    let contents = bundle::contents(opened.manifest(), &image_labels(&opened).await);
    if let Some(page) = page {
        write_whole(page, &bundle::html(&contents)?)?;
        eprintln!("{}: written", page.display());
    }
    if format == Format::Json {
        let json = serde_json::to_string_pretty(&contents).context(|| "failed to write the contents as JSON".into())?;
        print(&format!("{json}\n"))
    } else if page.is_none() {
        print(&bundle::text(&contents))
    } else {
        Ok(())
    }
}

pub(super) async fn sbom(path: &Path, form: SbomForm, out: Option<&Path>) -> Result<()> {
    let opened = Bundle::open(path)?;
    let labels = image_labels(&opened).await;
    let text = match form {
        SbomForm::Cyclonedx => bundle::cyclonedx(opened.manifest(), &labels),
        SbomForm::Spdx => bundle::spdx(opened.manifest(), &labels),
    };
    match out {
        Some(out) => write_whole(out, &text),
        None => print(&text),
    }
}

/// To stdout. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context(|| "failed to write to stdout".into()),
        _ => Ok(()),
    }
}

/// Writes a file that is whole or not there: beside its place, then renamed.
pub(super) fn write_whole(out: &Path, text: &str) -> Result<()> {
    let size = Some(text.len() as u64);
    let dir = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)
        .writing(out, size)?;
    file.write_all(text.as_bytes()).writing(out, size)?;
    file.as_file().sync_all().writing(out, size)?;
    file.persist(out).map_err(|e| e.error).writing(out, size)?;
    Ok(())
}
