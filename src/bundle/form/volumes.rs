//! A split tar on disk: `NAME.001`, `NAME.002` and so on, and the list `NAME.volumes` beside them.

use std::path::{Path, PathBuf};

use super::volume_list::{VolumeList, volume_name};
use crate::bundle::blob::{Blob, Piece};
use crate::bundle::hash::hash_now;
use crate::error::{Error, Result};

/// A set whose volumes are all there with the right sizes.
#[derive(Debug, Clone)]
pub(in crate::bundle) struct VolumeSet {
    base: PathBuf,
    list: VolumeList,
}

/// `path` with `suffix` after its name.
pub(in crate::bundle) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Where volume `number` (from 1) lies.
pub(super) fn volume_path(base: &Path, number: u64) -> PathBuf {
    with_suffix(base, &volume_name("", number))
}

/// Where the list lies.
pub(super) fn list_path(base: &Path) -> PathBuf {
    with_suffix(base, ".volumes")
}

impl VolumeSet {
    /// The set that `place` belongs to: any volume of it, its list, or the name of the tar it was split from. None when
    /// it is something else. Blocking; no volume is read.
    ///
    /// Errors (`Invalid`): the list is missing or broken; a volume is missing, short or too long, or does not belong.
    pub(super) fn find(place: &Path) -> Result<Option<Self>> {
        let Some(base) = base_of(place) else {
            return Ok(None);
        };
        let path = list_path(&base);
        let text = std::fs::read_to_string(&path).map_err(|e| {
            Error::invalid(format!(
                "failed to open the split bundle {}: its list of volumes {} cannot be read",
                base.display(),
                path.display()
            ))
            .source(e)
            .hint("the list belongs on the medium too; without it, join the volumes: cat NAME.[0-9]* > NAME")
        })?;
        let list =
            VolumeList::parse(&text).map_err(|e| Error::invalid(format!("{} is broken", path.display())).source(e))?;
        let set = Self { base, list };
        let problems = set.size_problems();
        if problems.is_empty() { Ok(Some(set)) } else { Err(set.error(&problems)) }
    }

    /// All volumes as one.
    pub(super) fn blob(&self) -> Blob {
        let piece = |number| Piece { path: volume_path(&self.base, number), offset: 0, len: self.list.len_of(number) };
        Blob { pieces: (1..=self.count()).map(piece).collect() }
    }

    /// Hashes the volumes to say which of them are the cause of `error`. Blocking.
    pub(in crate::bundle) fn blame(&self, error: Error) -> Error {
        let problems: Vec<String> = (1..=self.count()).filter_map(|n| self.hash_problem(n)).collect();
        if problems.is_empty() { error } else { self.error(&problems).source(error) }
    }

    fn count(&self) -> u64 {
        self.list.digests.len() as u64
    }

    fn error(&self, problems: &[String]) -> Error {
        Error::invalid(format!("the split bundle {} is not whole:\n  {}", self.base.display(), problems.join("\n  ")))
            .hint(format!(
                "copy what is named again from its medium; {} tells what it should be",
                list_path(&self.base).display()
            ))
    }

    fn size_problems(&self) -> Vec<String> {
        let count = self.count();
        let mut problems = Vec::new();
        for number in 1..=count {
            let (path, wanted) = (volume_path(&self.base, number), self.list.len_of(number));
            let digest = &self.list.digests[number as usize - 1];
            match std::fs::metadata(&path) {
                Ok(meta) if meta.is_file() && meta.len() == wanted => {}
                Ok(meta) => problems.push(format!(
                    "volume {number} of {count} ({}) has {} bytes, {wanted} expected",
                    path.display(),
                    meta.len()
                )),
                Err(e) => problems.push(format!(
                    "volume {number} of {count} is missing: {} with {wanted} bytes, {digest} ({e})",
                    path.display()
                )),
            }
        }
        let beyond = volume_path(&self.base, count + 1);
        if beyond.exists() {
            problems.push(format!("{} does not belong to the set: it has {count} volumes", beyond.display()));
        }
        problems
    }

    fn hash_problem(&self, number: u64) -> Option<String> {
        let (path, count) = (volume_path(&self.base, number), self.count());
        let wanted = &self.list.digests[number as usize - 1];
        let found = match Blob::of_file(&path).and_then(|b| hash_now(&b)) {
            Ok(found) if found == *wanted => return None,
            Ok(found) => found,
            Err(e) => return Some(format!("volume {number} of {count} ({}) cannot be read: {e}", path.display())),
        };
        let other = self.list.digests.iter().position(|d| *d == found);
        let what = other.map_or_else(
            || format!("hashes to {found}, {wanted} expected: it is damaged or of another set"),
            |index| format!("is volume {} under a wrong name", index + 1),
        );
        Some(format!("volume {number} of {count} ({}) {what}", path.display()))
    }
}

/// The name that the volumes' names begin with.
fn base_of(place: &Path) -> Option<PathBuf> {
    if place.is_dir() {
        return None;
    }
    let name = place.file_name()?.to_str()?;
    let stem = name.strip_suffix(".volumes").or_else(|| {
        let (stem, number) = name.rsplit_once('.')?;
        (number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit())).then_some(stem)
    });
    let of_set = |base: &Path| list_path(base).exists() || volume_path(base, 1).exists();
    match stem {
        Some(stem) if !stem.is_empty() => Some(place.with_file_name(stem)).filter(|base| of_set(base)),
        _ => Some(place.to_owned()).filter(|base| !base.exists() && of_set(base)),
    }
}
