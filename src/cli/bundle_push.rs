//! `provision bundle push`

use std::process::ExitCode;

use super::args::{Global, Push};
use super::bundle::sink;
use super::survey::open_for;
use crate::bundle::read_password;
use crate::error::{Error, Kind, Result};
use crate::registry::{self, PushOptions};

pub(super) async fn push(args: &Push, global: &Global) -> Result<ExitCode> {
    let login = match &args.user {
        None => None,
        Some(user) if args.password_env.is_none() && args.password_file.is_none() => {
            return Err(Error::new(Kind::Usage, format!("the password of {user} is nowhere to be found"))
                .hint("add --password-env VARIABLE or --password-file FILE: where the password is, not the password"));
        }
        Some(user) => {
            let password = read_password(&args.target, args.password_env.as_deref(), args.password_file.as_deref())?;
            Some((user.clone(), password))
        }
    };
    let bundle = open_for(&args.bundle, args.inventory.as_deref())?;
    let options = PushOptions {
        target: args.target.clone(),
        plain_http: args.plain_http,
        ca: args.ca.clone(),
        login,
        overwrite_tags: args.overwrite_tags,
        concurrency: global.concurrency,
    };
    let done = registry::push(&bundle, &options, sink(global)).await?;
    println!(
        "{}: {} blobs sent ({} MB), {} mounted, {} were there; {} manifests and tags set",
        args.target,
        done.sent,
        done.bytes.div_ceil(1_000_000),
        done.mounted,
        done.present,
        done.manifests
    );
    Ok(ExitCode::SUCCESS)
}
