//! Where a bundle is written to, and in which form.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::contents::{Contents, MANIFEST};
use super::volume_list::VolumeList;
use super::volumes::{list_path, volume_path};
use super::{write_dir, write_tar};
use crate::bundle::full::Writing as _;
use crate::bundle::lock::told;
use crate::error::{Context as _, Error, Result};
use crate::exec::{Event, Outcome, Sink};

/// How a bundle lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An OCI image layout as a directory.
    Directory,
    /// The same layout as one tar.
    Tar,
    /// That tar in volumes of so many bytes.
    Volumes(u64),
}

/// Where a bundle is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The directory, the tar, or what the volumes' names begin with.
    pub place: PathBuf,
    /// Its form.
    pub form: Form,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// All bytes together.
    pub bytes: u64,
    /// The volumes; 1 when not split.
    pub volumes: u64,
}

/// Which blobs are hashed when a bundle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bundle) enum Hashing {
    /// All of them.
    All,
    /// Those that are copied: what is linked was hashed just now, what is read again from a medium may read differently.
    Copies,
    /// None: they were hashed on their way to our own cache, in this very run.
    None,
}

impl Output {
    /// An error when something stands there that is no bundle: only a bundle is replaced by a bundle.
    pub fn check(&self) -> Result<()> {
        if self.form == Form::Directory {
            return write_dir::refuse_other(&self.place);
        }
        let refuse = |path: &Path, what: &str| {
            Err(Error::refused(format!("{} {what}", path.display())).hint("name another place, or move it away"))
        };
        if self.place.is_dir() {
            return refuse(&self.place, "is a directory");
        }
        if self.place.symlink_metadata().is_ok() && !is_bundle_tar(&self.place) {
            return refuse(&self.place, "is there and is no bundle's tar");
        }
        let first = volume_path(&self.place, 1);
        if first.symlink_metadata().is_ok() && !list_path(&self.place).is_file() {
            return refuse(&first, "is there without a list of volumes");
        }
        let list = list_path(&self.place);
        if list.symlink_metadata().is_ok()
            && std::fs::read_to_string(&list).map_or(true, |t| VolumeList::parse(&t).is_err())
        {
            return refuse(&list, "is there and is no list of volumes");
        }
        Ok(())
    }
}

/// Whether a file begins as the tars do that are written here.
fn is_bundle_tar(path: &Path) -> bool {
    let mut name = [0; MANIFEST.len() + 1];
    std::fs::File::open(path).is_ok_and(|mut f| f.read_exact(&mut name).is_ok())
        && name.strip_suffix(&[0]) == Some(MANIFEST.as_bytes())
}

/// Puts the whole layout in the directory `made` where `out` says. `made` is gone afterwards when it had a directory's
/// form.
pub(in crate::bundle) async fn staged(made: &Path, out: &Output, sink: Arc<dyn Sink>) -> Result<()> {
    let (from, to) = (made.to_owned(), out.place.clone());
    if out.form == Form::Directory {
        return tokio::task::spawn_blocking(move || write_dir::put_in_place(&from, &to))
            .await
            .context(|| format!("failed to put the bundle at {}", out.place.display()))?;
    }
    let contents = tokio::task::spawn_blocking(move || Contents::open(&from))
        .await
        .context(|| format!("failed to read {}", made.display()))??;
    write(contents, out, Hashing::None, sink).await.map(drop)
}

/// Writes a bundle: streamed, beside its place, renamed when it is whole.
pub(in crate::bundle) async fn write(
    contents: Contents,
    out: &Output,
    hashing: Hashing,
    sink: Arc<dyn Sink>,
) -> Result<Written> {
    out.check()?;
    let step = "write/-/bundle";
    let title = format!("write {}", out.place.display());
    let (to, teller) = (out.clone(), Arc::clone(&sink));
    told(sink.as_ref(), step, title, async move {
        let work = tokio::task::spawn_blocking(move || {
            let (done, total) = (AtomicU64::new(0), contents.size());
            let progress = |bytes: u64| {
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                teller.event(&Event::Progress { step: step.into(), done, total });
            };
            if let Some(parent) = to.place.parent() {
                std::fs::create_dir_all(parent).writing(parent, None)?;
            }
            let written = match to.form {
                Form::Directory => {
                    write_dir::write(&contents, &to.place, hashing, &progress).map(|()| (contents.size(), 1))
                }
                Form::Tar => write_tar::write(&contents, &to.place, None, hashing, &progress),
                Form::Volumes(size) => write_tar::write(&contents, &to.place, Some(size), hashing, &progress),
            };
            written.map(|(bytes, volumes)| Written { bytes, volumes })
        });
        let written = work.await.context(|| "failed to write the bundle".into())??;
        Ok((written, Outcome::Changed))
    })
    .await
}
