//! From the arguments to the command.

use std::process::ExitCode;

use super::args::{Cli, Command};
use super::args_etcd::{CertsCommand, EtcdCommand};
use super::args_node::NodeCommand;
use super::{
    apply, bundle, certs, certs_csr, certs_install, certs_keys, certs_renew, etcd_restore, etcd_snapshot, init,
    journal, kubeconfig, lab, node_remove, node_replace, plan, preflight, reset, serve, status, validate,
};
use crate::error::{Context as _, Result};
use crate::report::Format;

/// Runs the command on a runtime of its own.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context(|| "failed to start the async runtime".into())?;
    let global = cli.global;
    runtime.block_on(async move {
        match cli.command {
            Command::Init { dir } => init::init(&dir).map(|()| ExitCode::SUCCESS),
            Command::Validate(i) => {
                validate::validate(&i.inventory, global.format == Format::Json).map(|()| ExitCode::SUCCESS)
            }
            Command::Bundle(command) => bundle::bundle(command, &global).await,
            Command::Preflight(i) => preflight::preflight(&i.inventory, &global).await,
            Command::Plan { inputs, out, detailed_exitcode } => {
                plan::plan(&inputs, out.as_deref(), detailed_exitcode, &global).await
            }
            Command::Apply { inputs, plan, yes } => apply::apply(&inputs, plan.as_deref(), yes, &global).await,
            Command::Serve(args) => serve::serve(&args).await,
            Command::Status { inventory, html } => status::status(&inventory.inventory, html.as_deref(), &global).await,
            Command::Kubeconfig { inventory, out } => kubeconfig::kubeconfig(&inventory.inventory, &out, &global).await,
            Command::Reset { inventory, hosts, all, confirm } => {
                reset::reset(&inventory.inventory, hosts, all, confirm, &global).await
            }
            Command::Node(NodeCommand::Remove(args)) => node_remove::remove(&args, &global).await,
            Command::Node(NodeCommand::Replace(args)) => node_replace::replace(&args, &global).await,
            Command::Etcd(EtcdCommand::Snapshot { inventory, out, here }) => {
                etcd_snapshot::snapshot(&inventory.inventory, &out, here.as_deref(), &global).await
            }
            Command::Etcd(EtcdCommand::Restore(args)) => etcd_restore::restore(&args, &global).await,
            Command::Certs(CertsCommand::Renew { inventory, yes }) => {
                certs_renew::renew(&inventory.inventory, yes, &global).await
            }
            Command::Certs(CertsCommand::Csr { inventory, out }) => {
                certs_csr::csr(&inventory.inventory, &out, &global).await
            }
            Command::Certs(CertsCommand::Install { inventory, from, yes }) => {
                certs_install::run(&inventory.inventory, &from, yes, &global).await
            }
            Command::Certs(CertsCommand::Keys) => certs_keys::keys(),
            Command::Certs(CertsCommand::Check { inventory, days }) => {
                certs::check(&inventory.inventory, days, &global).await
            }
            Command::Journal(command) => journal::journal(command),
            Command::Lab(command) => lab::lab(command, &global).await,
        }
    })
}
