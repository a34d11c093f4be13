//! A backup's bytes: a tar, inside age when there are recipients. Both are read by the common tools without us.

use std::io::{Read, Write};
use std::str::FromStr as _;

use age::x25519;

use super::manifest::{BackupManifest, KUBEADM_CONFIG, SNAPSHOT, entry_name};
use crate::bundle::Digest;
use crate::error::{Context as _, Error, Result};

const BLOCK: usize = 512;
const MANIFEST: &str = "manifest.json";
/// No entry but the snapshot comes near this size.
const MOST_OF_A_FILE: u64 = 4 * 1024 * 1024;

/// A public key of age.
#[must_use]
pub fn recipient(text: &str) -> Option<x25519::Recipient> {
    x25519::Recipient::from_str(text).ok()
}

/// The secret keys in an identity file as `age-keygen` writes it. The text is never shown.
pub fn identities(text: &str) -> Result<Vec<x25519::Identity>> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let all: Option<Vec<x25519::Identity>> = lines.map(|l| x25519::Identity::from_str(l).ok()).collect();
    all.filter(|all| !all.is_empty()).ok_or_else(|| {
        Error::invalid("the identity file holds no secret keys of age")
            .hint("it is what `age-keygen -o FILE` wrote: lines that begin with AGE-SECRET-KEY-1")
    })
}

enum Out<W: Write> {
    Plain(W),
    Age(age::stream::StreamWriter<W>),
}

/// Writes a backup entry by entry.
pub struct Writer<W: Write> {
    out: Out<W>,
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Begins one; with no recipients it is a plain tar.
    pub fn new(out: W, recipients: &[x25519::Recipient]) -> Result<Self> {
        let out = if recipients.is_empty() {
            Out::Plain(out)
        } else {
            let named = recipients.iter().map(|r| r as &dyn age::Recipient);
            let encryptor = age::Encryptor::with_recipients(named).context(encrypting)?;
            Out::Age(encryptor.wrap_output(out).context(encrypting)?)
        };
        Ok(Self { out, left: 0, padding: 0 })
    }

    /// Begins an entry of `size` bytes; its content follows by [`Self::data`].
    pub fn entry(&mut self, name: &str, size: u64, mtime: u64) -> Result<()> {
        self.end_entry()?;
        let mut header = tar::Header::new_ustar();
        header.set_path(name).context(writing)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(mtime);
        header.set_cksum();
        self.raw(header.as_bytes())?;
        self.left = size;
        self.padding = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or(0)) % BLOCK;
        Ok(())
    }

    /// More of the entry.
    pub fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Error::failed("failed to write the backup: an entry is longer than it was announced"))?;
        self.raw(bytes)
    }

    /// The manifest: the first entry.
    pub fn manifest(&mut self, manifest: &BackupManifest, mtime: u64) -> Result<()> {
        let text = serde_json::to_vec_pretty(manifest).context(writing)?;
        self.whole(MANIFEST, &text, mtime)
    }

    /// A whole entry.
    pub fn whole(&mut self, name: &str, content: &[u8], mtime: u64) -> Result<()> {
        self.entry(name, content.len() as u64, mtime)?;
        self.data(content)
    }

    /// Ends it and gives back where it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.end_entry()?;
        self.raw(&[0; 2 * BLOCK])?;
        match self.out {
            Out::Plain(out) => Ok(out),
            Out::Age(out) => out.finish().context(writing),
        }
    }

    fn end_entry(&mut self) -> Result<()> {
        if self.left > 0 {
            return Err(Error::failed("failed to write the backup: an entry is shorter than it was announced"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.raw(&[0; BLOCK][..padding])
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.write_all(bytes),
            Out::Age(out) => out.write_all(bytes),
        }
        .context(writing)
    }
}

fn writing() -> String {
    "failed to write the backup".into()
}

fn encrypting() -> String {
    "failed to encrypt the backup".into()
}

/// What a backup holds, but for the snapshot, which went to the writer that was given.
pub struct Backup {
    /// What it is of.
    pub manifest: BackupManifest,
    /// Path on the node and content; secrets.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Reads a whole backup, encrypted or not, and checks every digest; the snapshot goes to `snapshot`.
pub fn read(input: impl Read, identities: &[x25519::Identity], snapshot: &mut impl Write) -> Result<Backup> {
    let mut input = std::io::BufReader::new(input);
    let start = std::io::BufRead::fill_buf(&mut input).context(|| "failed to read the backup".into())?;
    if !start.starts_with(b"age-encryption.org/") {
        return entries(input, snapshot);
    }
    if identities.is_empty() {
        return Err(Error::invalid("the backup is encrypted")
            .hint("name the file with your secret key of age: --identity FILE"));
    }
    let decryptor = age::Decryptor::new(input).map_err(|e| Error::invalid("the backup is no file of age").source(e))?;
    let keys = identities.iter().map(|i| i as &dyn age::Identity);
    let plain = decryptor.decrypt(keys).map_err(|e| {
        Error::invalid("the backup cannot be decrypted")
            .source(e)
            .hint("it takes the secret key of one of the recipients it was made for")
    })?;
    entries(plain, snapshot)
}

fn entries(input: impl Read, snapshot: &mut impl Write) -> Result<Backup> {
    let broken = |e: std::io::Error| Error::invalid("the backup is damaged").source(e);
    let damaged = |what: &str| Error::invalid(format!("the backup is damaged: {what}"));
    let mut archive = tar::Archive::new(input);
    let mut manifest: Option<BackupManifest> = None;
    let mut files = Vec::new();
    let mut has_snapshot = false;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        let Some(of) = &manifest else {
            if name != MANIFEST {
                return Err(Error::invalid("this is no backup of provision: it has no manifest"));
            }
            manifest = Some(BackupManifest::parse(&small(&mut entry, &name)?)?);
            continue;
        };
        if name == SNAPSHOT {
            let mut hashed = Hashing { inner: &mut *snapshot, hash: sha2::Sha256::default() };
            let size = std::io::copy(&mut entry, &mut hashed).map_err(broken)?;
            if size != of.snapshot.size
                || Digest::from_hash(sha2::Digest::finalize(hashed.hash).as_ref()) != of.snapshot.digest
            {
                return Err(damaged("the snapshot is not what the manifest says"));
            }
            has_snapshot = true;
        } else if let Some(file) = of.files.iter().find(|f| entry_name(&f.path) == name) {
            let content = small(&mut entry, &name)?;
            if Digest::of(&content) != file.digest {
                return Err(damaged(&format!("{} is not what the manifest says", file.path)));
            }
            files.push((file.path.clone(), content));
        } else if name != KUBEADM_CONFIG {
            return Err(damaged(&format!("an entry {name:?} that the manifest does not name")));
        }
    }
    let manifest = manifest.ok_or_else(|| damaged("it is empty"))?;
    if !has_snapshot || files.len() != manifest.files.len() {
        return Err(damaged("it ends too early"));
    }
    Ok(Backup { manifest, files })
}

fn small(entry: &mut impl Read, name: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = entry.take(MOST_OF_A_FILE + 1).read_to_end(&mut content);
    read.map_err(|e| Error::invalid("the backup is damaged").source(e))?;
    if content.len() as u64 > MOST_OF_A_FILE {
        return Err(Error::invalid(format!("the backup is damaged: {name} is too large")));
    }
    Ok(content)
}

struct Hashing<'a, W> {
    inner: &'a mut W,
    hash: sha2::Sha256,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        sha2::Digest::update(&mut self.hash, bytes.get(..n).unwrap_or_default());
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
