//! How root is reached. Passwords travel on standard input only.

use std::collections::HashMap;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::inventory::{Sudo, SudoMethod, expand_home};

/// Ends the password part of standard input: what follows is the command's.
const STDIN_MARK: &str = "provision: stdin follows";

/// How a host's commands become root.
#[derive(Clone)]
pub(super) enum Root {
    Login,
    Passwordless,
    Password(SecretString),
}

impl Root {
    /// The remote command line that runs `command` as root.
    pub(super) fn wrap(&self, command: &str) -> String {
        match self {
            Self::Login => command.to_owned(),
            Self::Passwordless => format!("sudo -n -- {command}"),
            // -k asks always, -S reads from stdin. If sudo did not want the password after all, the loop swallows it.
            Self::Password(_) => format!(
                "sudo -k -S -p '' -- sh -c 'while IFS= read -r l; do [ \"$l\" = \"{STDIN_MARK}\" ] && break; done; exec \"$@\"' sh {command}"
            ),
        }
    }

    /// What goes before the command's own standard input.
    pub(super) fn preamble(&self) -> Vec<u8> {
        match self {
            Self::Password(secret) => format!("{}\n{STDIN_MARK}\n", secret.expose_secret()).into_bytes(),
            Self::Login | Self::Passwordless => Vec::new(),
        }
    }

    /// An error when `stderr` shows that sudo refused.
    pub(super) fn refusal(&self, stderr: &str) -> Option<Error> {
        let says = |words: &[&str]| words.iter().any(|w| stderr.contains(w));
        if matches!(self, Self::Login) {
            return None;
        }
        if says(&["incorrect password attempt", "Sorry, try again", "no password was provided"]) {
            return Some(
                Error::failed("sudo did not accept the password")
                    .hint("check the password that the inventory's sudo setting names"),
            );
        }
        if says(&["sudo: a password is required", "sudo: a terminal is required"]) {
            return Some(
                Error::failed("sudo asks for a password, but the inventory says it asks for none").hint(
                    "set sudo = { method = \"env\", env = \"NAME\" }, or \"file\" or \"prompt\", or allow NOPASSWD on the host",
                ),
            );
        }
        if says(&["is not in the sudoers file", "is not allowed to"]) {
            return Some(Error::failed("the user may not use sudo").hint("add the user to the sudoers of the host"));
        }
        says(&["sudo: not found", "sudo: command not found"])
            .then(|| Error::failed("there is no sudo on the host").hint("install sudo, or log in as root"))
    }
}

/// Finds passwords; one that is prompted for is asked once for all hosts.
#[derive(Default)]
pub(super) struct Sudoers {
    asked: Mutex<Option<SecretString>>,
    files: Mutex<HashMap<std::path::PathBuf, SecretString>>,
}

impl Sudoers {
    pub(super) async fn root(&self, node: &str, sudo: &Sudo) -> Result<Root> {
        Ok(match sudo.method {
            SudoMethod::None => Root::Login,
            SudoMethod::Passwordless => Root::Passwordless,
            SudoMethod::Env => {
                let name = sudo.env.as_deref().unwrap_or_default();
                Root::Password(std::env::var(name).map(SecretString::from).map_err(|_| {
                    Error::failed(format!("the environment variable {name:?} with the sudo password is not set"))
                        .on(node)
                        .hint("export it before the run")
                })?)
            }
            SudoMethod::File => {
                Root::Password(self.read_file(node, sudo.file.as_deref().unwrap_or(Path::new(""))).await?)
            }
            SudoMethod::Prompt => Root::Password(self.prompt(node).await?),
        })
    }

    async fn read_file(&self, node: &str, path: &Path) -> Result<SecretString> {
        let path = expand_home(path);
        let mut files = self.files.lock().await;
        if let Some(secret) = files.get(&path) {
            return Ok(secret.clone());
        }
        let text = tokio::fs::read_to_string(&path).await.map_err(|e| {
            Error::failed(format!("failed to read the sudo password from {}", path.display())).on(node).source(e)
        })?;
        let secret = SecretString::from(text.trim_end_matches(['\r', '\n']));
        files.insert(path, secret.clone());
        Ok(secret)
    }

    async fn prompt(&self, node: &str) -> Result<SecretString> {
        let mut asked = self.asked.lock().await;
        if let Some(secret) = &*asked {
            return Ok(secret.clone());
        }
        let read = tokio::task::spawn_blocking(|| rpassword::prompt_password("sudo password: ")).await;
        let text = read.map_err(|e| Error::failed("failed to ask for the sudo password").source(e))?.map_err(|e| {
            Error::failed("failed to ask for the sudo password")
                .on(node)
                .source(e)
                .hint("there is no terminal: use method \"env\" or \"file\"")
        })?;
        let secret = SecretString::from(text);
        *asked = Some(secret.clone());
        Ok(secret)
    }
}
