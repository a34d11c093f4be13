//! The arguments of `provision certs` and `provision etcd`.

use clap::Subcommand;

use super::args::InventoryArg;

/// `provision certs`
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Show every certificate of every host with its days left; exit 2 when one has too few
    Check {
        /// The inventory
        #[command(flatten)]
        inventory: InventoryArg,
        /// How many days a certificate must still hold
        #[arg(long, value_name = "N", default_value_t = 30)]
        days: u32,
    },
}
