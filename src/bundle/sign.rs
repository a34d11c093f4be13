//! Keys of minisign, and detached signatures over `bundle.json` in `signatures/`.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use chrono::NaiveDate;
use minisign::{KeyPair, PublicKey as Key, SecretKey, SecretKeyBox};
use secrecy::{ExposeSecret as _, SecretString};

use super::form::Contents;
use super::full::Writing as _;
use super::store::Bundle;
use super::trust;
use crate::error::{Context as _, Error, Result};
use crate::inventory::PublicKey;

/// The directory of a bundle that holds its signatures, `KEYID.minisig` each.
pub const SIGNATURES: &str = "signatures";
/// What the names of signatures end in.
const SUFFIX: &str = ".minisig";
/// More than minisign writes: its comments are at most 9 KiB together.
const MAX_BYTES: u64 = 16 << 10;
/// More signers than any bundle has.
const MAX_FILES: usize = 100;
/// The algorithm in minisign's form of a secret key that has no password.
const NO_PASSWORD: [u8; 2] = [0, 0];

/// A secret key, open.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The crate's own shows the secret.
        write!(f, "SigningKey({})", self.public.id())
    }
}

impl SigningKey {
    /// Whether the secret key in this file, made by [`keygen`] or minisign, is locked with a password.
    pub fn needs_password(path: &Path) -> Result<bool> {
        Ok(locked(&read(path)?.1))
    }

    /// Opens a secret key. The password counts only when the key has one. A key of minisign's own takes 1 GiB of memory
    /// and some seconds: it is made so against guessing.
    ///
    /// # Errors
    /// `Invalid` when the file is no secret key of minisign, `Failed` when the password is wrong.
    pub fn open(path: &Path, password: &SecretString) -> Result<Self> {
        let (key, bytes) = read(path)?;
        let secret = if locked(&bytes) {
            key.into_secret_key(Some(password.expose_secret().to_owned()))
        } else {
            // Not by `into_unencrypted_secret_key`: minisign writes no checksum into such a key, and that asks for one.
            SecretKey::from_bytes(&bytes)
        };
        let secret = secret.map_err(|e| {
            Error::failed(format!("failed to open the secret key {}", path.display()))
                .source(e)
                .hint("check the password: the file is a secret key, and it does not open with this one")
        })?;
        let public = Key::from_secret_key(&secret).map(|key| key.to_base64()).map_err(|e| no_key(path).source(e))?;
        Ok(Self { secret, public: public.parse()? })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the `bundle.json` of an opened bundle and puts the signature into `dir`, the bundle's directory, in place
    /// of an older one by the same key. The bundle's bytes are for the caller to verify first. Returns where it is.
    pub fn sign(&self, bundle: &Bundle, dir: &Path, expires: Option<NaiveDate>) -> Result<PathBuf> {
        if !dir.is_dir() {
            return Err(Error::invalid(format!("{} is no directory: only that form takes a signature", dir.display()))
                .hint("`provision bundle unpack`, sign, `provision bundle pack`: the signatures are packed too"));
        }
        let id = self.public.id();
        let signing = || format!("failed to sign the bundle {}", dir.display());
        let text = bundle.manifest().to_canonical_json();
        let comment = trust::comment(&bundle.manifest().kubernetes, &bundle.digest(), expires);
        let untrusted = format!("signature of a provision bundle by key {id}");
        let public = Key::from_bytes(self.public.as_bytes()).context(signing)?;
        let signature = minisign::sign(Some(&public), &self.secret, text.as_bytes(), Some(&comment), Some(&untrusted))
            .context(signing)?;
        let place = dir.join(SIGNATURES);
        std::fs::create_dir_all(&place).writing(&place, None)?;
        let path = place.join(format!("{id}{SUFFIX}"));
        // A bundle is carried and read by others.
        let mut file = beside(&path, 0o644).writing(&path, None)?;
        file.write_all(&signature.to_bytes()).writing(&path, None)?;
        file.as_file().sync_all().writing(&path, None)?;
        file.persist(&path).map_err(|e| e.error).writing(&path, None)?;
        sync_dir(&place).context(signing)?;
        Ok(path)
    }
}

/// Makes a key pair: the secret key at `NAME.key`, readable by its owner alone and locked with the password, and the
/// public key at `NAME.pub`. Returns the public key and the two paths.
///
/// # Errors
/// `Refused` when either file is there, or the password is empty.
pub fn keygen(name: &Path, password: &SecretString) -> Result<(PublicKey, PathBuf, PathBuf)> {
    if password.expose_secret().is_empty() {
        return Err(Error::refused("a secret key is not made without a password"));
    }
    let with = |suffix: &str| {
        let mut file = name.file_name().unwrap_or_default().to_owned();
        file.push(suffix);
        name.with_file_name(file)
    };
    let (secret_path, public_path) = (with(".key"), with(".pub"));
    for path in [&secret_path, &public_path] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} is there already", path.display()))
                .hint("a key is never overwritten: give another name, or move it away"));
        }
    }
    let making = || format!("failed to make the key pair {}", name.display());
    let pair = KeyPair::generate_encrypted_keypair(Some(password.expose_secret().to_owned())).context(making)?;
    let public: PublicKey = pair.pk.to_base64().parse()?;
    let comment = format!("minisign encrypted secret key {}", public.id());
    let secret_text = pair.sk.to_box(Some(&comment)).context(making)?;
    let public_text = pair.pk.to_box().context(making)?;
    write_new(&secret_path, &secret_text.to_bytes(), 0o600).context(making)?;
    if let Err(error) = write_new(&public_path, &public_text.to_bytes(), 0o644) {
        // Half a pair is of no use.
        let _ = std::fs::remove_file(&secret_path);
        return Err(error).context(making);
    }
    Ok((public, secret_path, public_path))
}

/// The signatures among a bundle's files, by name.
pub(super) fn stored(contents: &Contents) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for (name, item) in &contents.files {
        let own = name.strip_prefix(SIGNATURES).and_then(|n| n.strip_prefix('/')).filter(|n| n.ends_with(SUFFIX));
        let Some(own) = own else { continue };
        if all.len() == MAX_FILES {
            let place = contents.place.display();
            return Err(Error::invalid(format!("the bundle {place} holds more than {MAX_FILES} signatures")));
        }
        let mut bytes = Vec::new();
        let read = item.reader().take(MAX_BYTES).read_to_end(&mut bytes);
        read.context(|| format!("failed to read {name} of the bundle {}", contents.place.display()))?;
        all.push((own.to_owned(), bytes));
    }
    Ok(all)
}

/// The key as the crate takes it, and its bytes.
fn read(path: &Path) -> Result<(SecretKeyBox, Vec<u8>)> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| no_key(path).source(e).hint("`provision bundle keygen` makes one, and so does `minisign -G`"))?;
    let encoded = text.lines().nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    if bytes.len() != 158 || !bytes.starts_with(b"Ed") {
        return Err(no_key(path).hint("it is the file NAME.key that `provision bundle keygen` or `minisign -G` made"));
    }
    Ok((SecretKeyBox::from(text), bytes))
}

fn locked(bytes: &[u8]) -> bool {
    bytes.get(2..4) != Some(NO_PASSWORD.as_slice())
}

fn no_key(path: &Path) -> Error {
    Error::invalid(format!("{} is no secret key of minisign", path.display()))
}

/// A new file in the directory of `path`, to be put in its place when it is whole.
fn beside(path: &Path, mode: u32) -> std::io::Result<tempfile::NamedTempFile> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".partial-").permissions(std::fs::Permissions::from_mode(mode)).tempfile_in(dir)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = beside(path, mode)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    sync_dir(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
