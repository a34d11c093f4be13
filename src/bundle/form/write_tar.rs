//! Writing a tar, in one file or in volumes: the same contents give the same bytes. One thread reads and hashes what
//! goes in, another writes and hashes what comes out.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::contents::Contents;
use super::output::Hashing;
use super::pour::pour;
use super::tar_index::{BLOCK, END};
use super::volume_list::{MAX_VOLUMES, VolumeList};
use super::volumes::{list_path, volume_path, with_suffix};
use crate::bundle::full::Writing as _;
use crate::bundle::manifest::Digest;
use crate::error::{Context as _, Error, Kind, Result};

/// Pieces on their way between the threads.
const IN_FLIGHT: usize = 4;

/// Writes the tar of `contents` at `place`, or its volumes of `volume` bytes and their list. Returns the bytes and the
/// number of files written. Blocking.
pub(super) fn write(
    contents: &Contents,
    place: &Path,
    volume: Option<u64>,
    hashing: Hashing,
    told: &dyn Fn(u64),
) -> Result<(u64, u64)> {
    let padded = |size: u64| size.next_multiple_of(BLOCK) + BLOCK;
    let total = contents.files.values().map(|i| padded(i.size())).sum::<u64>() + END;
    let count = volume.map_or(1, |v| total.div_ceil(v));
    if count > MAX_VOLUMES {
        return Err(Error::new(Kind::Usage, format!("{total} bytes would be {count} volumes, {MAX_VOLUMES} at most"))
            .hint(format!("make the volumes larger: at least {} bytes", total.div_ceil(MAX_VOLUMES))));
    }
    let (send, receive) = sync_channel::<Vec<u8>>(IN_FLIGHT);
    let made = std::thread::scope(|threads| {
        let writer = threads.spawn(move || {
            let mut writer = Writer::new(place, volume, total);
            for piece in receive {
                writer.write(&piece)?;
            }
            writer.finish()
        });
        let fed = feed(contents, hashing, told, &mut |bytes| {
            // Nobody listens when the writer failed: its error says why.
            send.send(bytes.to_vec()).context(|| format!("failed to write {}", place.display()))
        });
        drop(send);
        let written = writer.join().unwrap_or_else(|_| Err(Error::failed("the writing thread ended unexpectedly")))?;
        fed.map(|()| written)
    })?;
    made.put_in_place(place, total)?;
    Ok((total, count))
}

fn feed(
    contents: &Contents,
    hashing: Hashing,
    told: &dyn Fn(u64),
    put: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let zeros = [0; END as usize];
    for (name, item) in contents.in_order() {
        put(header(name, item.size())?.as_bytes())?;
        pour(name, item, hashing, &mut |bytes| {
            told(bytes.len() as u64);
            put(bytes)
        })?;
        let rest = item.size().next_multiple_of(BLOCK) - item.size();
        put(&zeros[..rest as usize])?;
    }
    put(&zeros)
}

/// A header that says nothing of the time, the machine or the user.
fn header(name: &str, size: u64) -> Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name).map_err(|e| Error::invalid(format!("{name} does not fit into a tar")).source(e))?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

/// Files under construction, taken away when they are not put in place.
struct Made {
    partials: Vec<PathBuf>,
    /// The volumes' size and digests, when split.
    split: Option<(u64, Vec<Digest>)>,
    /// Their list.
    list: Option<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.partials.iter().chain(&self.list) {
            let _ = std::fs::remove_file(path);
        }
    }
}

struct Writer<'a> {
    place: &'a Path,
    made: Made,
    current: Option<(File, Sha256)>,
    room: u64,
    /// Bytes of the whole tar.
    total: u64,
}

impl<'a> Writer<'a> {
    fn new(place: &'a Path, volume: Option<u64>, total: u64) -> Self {
        let made = Made { partials: Vec::new(), split: volume.map(|size| (size, Vec::new())), list: None };
        Self { place, made, current: None, room: 0, total }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.room == 0 {
                self.close()?;
                self.open()?;
            }
            let (now, later) = bytes.split_at(usize::try_from(self.room).map_or(bytes.len(), |r| r.min(bytes.len())));
            let (Some((file, hasher)), Some(path)) = (&mut self.current, self.made.partials.last()) else {
                break;
            };
            file.write_all(now).writing(path, Some(self.total))?;
            if self.made.split.is_some() {
                hasher.update(now);
            }
            self.room -= now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let target = match self.made.split {
            Some(_) => volume_path(self.place, self.made.partials.len() as u64 + 1),
            None => self.place.to_owned(),
        };
        let path = with_suffix(&target, ".partial");
        let file = File::create(&path).writing(&path, Some(self.total))?;
        self.made.partials.push(path);
        self.room = self.made.split.as_ref().map_or(u64::MAX, |(size, _)| *size);
        self.current = Some((file, Sha256::new()));
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some((file, hasher)) = self.current.take() else {
            return Ok(());
        };
        file.sync_all().writing(self.place, Some(self.total))?;
        if let Some((_, digests)) = &mut self.made.split {
            digests.push(Digest::from_hash(hasher.finalize().as_ref()));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Made> {
        self.close()?;
        Ok(self.made)
    }
}

impl Made {
    /// Takes the place of what stands there. The list of a set goes first and comes last: without it nothing is opened.
    fn put_in_place(mut self, place: &Path, total: u64) -> Result<()> {
        let moving = || format!("failed to put the bundle at {}", place.display());
        let list = list_path(place);
        // Written before anything is moved: no disk is too full then for what is left to do.
        if let Some((size, digests)) = self.split.take() {
            let base = place.file_name().unwrap_or_default().to_string_lossy();
            let text = VolumeList { size, total, digests }.to_text(&base);
            let new_list = with_suffix(&list, ".partial");
            self.list = Some(new_list.clone());
            let written = File::create(&new_list).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
            written.writing(&new_list, Some(text.len() as u64))?;
        }
        match std::fs::remove_file(&list) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).context(moving),
            _ => {}
        }
        let volumes = if let Some(new_list) = &self.list {
            for (number, partial) in (1..).zip(&self.partials) {
                std::fs::rename(partial, volume_path(place, number)).writing(place, None)?;
            }
            std::fs::rename(new_list, &list).writing(&list, None)?;
            if place.is_file() {
                std::fs::remove_file(place).context(moving)?;
            }
            self.partials.len() as u64
        } else {
            for partial in &self.partials {
                std::fs::rename(partial, place).writing(place, None)?;
            }
            0
        };
        // What a larger set left here.
        let left = (volumes + 1..).map(|n| volume_path(place, n)).take_while(|p| p.exists());
        for path in left {
            std::fs::remove_file(&path).context(moving)?;
        }
        sync_parent(place)
    }
}

/// Makes renames in the directory of `path` last.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    synced.context(|| format!("failed to write {}", parent.display()))
}
