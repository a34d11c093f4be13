//! Writing a bundle's directory: hard links where the file system allows it, streams else.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::contents::{Contents, Item, MANIFEST, promised};
use super::output::Hashing;
use super::pour::{pour, same};
use super::volumes::with_suffix;
use super::write_tar::sync_parent;
use crate::bundle::full::Writing as _;
use crate::bundle::hash::hash_now;
use crate::error::{Context as _, Error, Result};

/// Writes `contents` as the directory `place`, which is replaced when the new one is whole. Blocking.
pub(super) fn write(contents: &Contents, place: &Path, hashing: Hashing, told: &dyn Fn(u64)) -> Result<()> {
    let partial = with_suffix(place, ".partial");
    remove(&partial)?;
    let written = fill(contents, &partial, hashing, told).and_then(|()| put_in_place(&partial, place));
    if written.is_err() {
        // The error of the writing is the one to tell.
        let _ = std::fs::remove_dir_all(&partial);
    }
    written
}

fn fill(contents: &Contents, partial: &Path, hashing: Hashing, told: &dyn Fn(u64)) -> Result<()> {
    for (name, item) in contents.in_order() {
        let target = partial.join(name);
        let size = Some(item.size());
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).writing(parent, None)?;
        }
        if let Some(source) = whole_file(item)
            && std::fs::hard_link(source, &target).is_ok()
        {
            if let (Hashing::All, Some(digest), Item::Stored(blob)) = (hashing, promised(name), item) {
                same(&digest, &hash_now(blob)?, item)?;
            }
            told(item.size());
            continue;
        }
        let mut file = File::create_new(&target).writing(&target, size)?;
        pour(name, item, hashing, &mut |bytes| {
            told(bytes.len() as u64);
            file.write_all(bytes).writing(&target, size)
        })?;
        file.sync_all().writing(&target, size)?;
    }
    Ok(())
}

/// The file that this item is all of. Only blobs are shared: nobody ever writes to one again.
fn whole_file(item: &Item) -> Option<&Path> {
    let Item::Stored(blob) = item else {
        return None;
    };
    let [piece] = blob.pieces.as_slice() else {
        return None;
    };
    let named = piece.path.parent().is_some_and(|p| p.ends_with("blobs/sha256"));
    let whole = std::fs::metadata(&piece.path).is_ok_and(|m| m.is_file() && m.len() == piece.len);
    (named && piece.offset == 0 && whole).then_some(piece.path.as_path())
}

/// Puts the whole directory `partial` where `place` is named. What stands there goes when the new one stands.
pub(super) fn put_in_place(partial: &Path, place: &Path) -> Result<()> {
    let old = with_suffix(place, ".old");
    let moving = || format!("failed to put the bundle at {}", place.display());
    refuse_other(place)?;
    if place.exists() {
        remove(&old)?;
        std::fs::rename(place, &old).context(moving)?;
    }
    let moved = std::fs::rename(partial, place);
    if moved.is_err() {
        // What stood there stands there again; that it could not be moved is the error to tell.
        let _ = std::fs::rename(&old, place);
    }
    moved.writing(place, None)?;
    sync_parent(place)?;
    remove(&old)
}

/// An error when something stands at `place` that is no bundle's directory.
pub(super) fn refuse_other(place: &Path) -> Result<()> {
    if place.symlink_metadata().is_ok() && !place.join(MANIFEST).exists() {
        return Err(Error::refused(format!("{} is there and is no bundle's directory", place.display()))
            .hint("name another place, or move it away"));
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).context(|| format!("failed to remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
