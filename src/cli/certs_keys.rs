//! `provision certs keys`: what the program does on a node.

use std::process::ExitCode;

use crate::error::{Context as _, Error, Result};
use crate::exec::pki::{KeyOrder, make_keys};

pub(super) fn keys() -> Result<ExitCode> {
    let order: KeyOrder = serde_json::from_reader(std::io::stdin().lock())
        .map_err(|e| Error::invalid("failed to read what keys are wanted").source(e))?;
    let made = make_keys(&order)?;
    println!("{}", serde_json::to_string(&made).context(|| "failed to write the requests".into())?);
    Ok(ExitCode::SUCCESS)
}
