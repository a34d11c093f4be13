//! `provision serve`

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::args::Serve;
use super::survey::open_for;
use crate::error::{Context as _, Result};
use crate::registry::{self, ServeOptions};

pub(super) async fn serve(args: &Serve) -> Result<ExitCode> {
    let attempted = || "failed to listen for signals".to_owned();
    let mut interrupt = signal(SignalKind::interrupt()).context(attempted)?;
    let mut terminate = signal(SignalKind::terminate()).context(attempted)?;
    let bundle = open_for(&args.bundle, args.inventory.as_deref())?;
    let options =
        ServeOptions { listen: args.listen, tls: args.tls_cert.clone().zip(args.tls_key.clone()), quiet: args.quiet };
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let shown = args.bundle.display();
    registry::serve(&bundle, &options, stop, |url, catalog| {
        println!("serving {shown} at {url}: {} repositories", catalog.repositories.len());
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}
