//! `provision journal`

use std::process::ExitCode;

use super::args::JournalCommand;
use crate::error::{Error, Result};
use crate::exec::{list_journals, verify_journal};
use crate::report::render_journal;

pub(super) fn journal(command: JournalCommand) -> Result<ExitCode> {
    match command {
        JournalCommand::Show { cluster, file } => {
            let path = match file {
                Some(path) => path,
                None => list_journals(&cluster)?
                    .pop()
                    .ok_or_else(|| Error::failed(format!("there is no journal of cluster {cluster}")))?,
            };
            print!("{}", render_journal(&verify_journal(&path)?));
        }
        JournalCommand::Verify { file } => {
            let verified = verify_journal(&file)?;
            println!(
                "{}: {} entries, the chain holds, last hash {}",
                file.display(),
                verified.entries.len(),
                verified.head
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
