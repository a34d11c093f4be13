//! `provision bundle keygen` and `provision bundle sign`

use std::path::Path;

use chrono::{NaiveDate, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::args::{Global, PasswordArg};
use super::bundle::sink;
use crate::bundle::{self, Bundle, SigningKey};
use crate::error::{Context as _, Error, Kind, Result};

pub(super) async fn keygen(name: &Path, password: &PasswordArg) -> Result<()> {
    let secret = match given(password)? {
        Some(secret) => secret,
        None => {
            let secret = ask("Password for the new key: ")?;
            if ask("Once more: ")?.expose_secret() != secret.expose_secret() {
                return Err(Error::refused("the two passwords differ; no key was made"));
            }
            secret
        }
    };
    let name = name.to_owned();
    let (public, secret_path, public_path) = blocking(move || bundle::keygen(&name, &secret)).await?;
    println!(
        "{}: the secret key {}: whoever has it and the password signs in your name",
        secret_path.display(),
        public.id()
    );
    println!("{}: the public key, for [[trust.signers]] of inventories:", public_path.display());
    println!("key = \"{public}\"");
    Ok(())
}

pub(super) async fn sign(
    dir: &Path,
    key: &Path,
    password: &PasswordArg,
    expires: Option<NaiveDate>,
    global: &Global,
) -> Result<()> {
    if let Some(over) = expires.filter(|date| *date < Utc::now().date_naive()) {
        return Err(Error::new(Kind::Usage, format!("a signature that expires on {over} is worth nothing today")));
    }
    let opened = Bundle::open(dir)?;
    // First, so that nobody waits for a whole bundle to be told of a typing error.
    let secret = match (given(password)?, SigningKey::needs_password(key)?) {
        (Some(secret), _) => secret,
        (None, true) => ask(&format!("Password of {}: ", key.display()))?,
        (None, false) => SecretString::default(),
    };
    let path = key.to_owned();
    let key = blocking(move || SigningKey::open(&path, &secret)).await?;
    // Nobody signs what is damaged.
    opened.verify(sink(global).as_ref()).await?;
    let written = key.sign(&opened, dir, expires)?;
    let until = expires.map_or(String::new(), |date| format!(", until {date}"));
    println!("{}: signed by {}{until}: {}", dir.display(), key.public().id(), written.display());
    Ok(())
}

/// Guessing a password is made to take time and memory, and so does knowing it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context(|| "failed to use the key".into())?
}

fn given(from: &PasswordArg) -> Result<Option<SecretString>> {
    match (&from.password_env, &from.password_file) {
        (Some(name), _) => {
            // What was given may be the password itself: it is not repeated.
            let value = std::env::var(name).map_err(|_| {
                Error::failed("the environment variable that --password-env names is not set")
                    .hint("give the name of the variable, like KEY_PASSWORD; what it holds stays out of the command")
            })?;
            Ok(Some(value.into()))
        }
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .context(|| format!("failed to read the password in {}", path.display()))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
        }
        (None, None) => Ok(None),
    }
}

fn ask(question: &str) -> Result<SecretString> {
    rpassword::prompt_password(question).map(SecretString::from).map_err(|e| {
        Error::failed("failed to ask for the password").source(e).hint("give it with --password-env or --password-file")
    })
}
