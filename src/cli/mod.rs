//! The command line: clap in [`args`], one file per command, wiring only.

mod apply;
pub mod args;
pub mod args_etcd;
pub mod args_registry;
mod bundle;
mod bundle_delta;
mod bundle_diff;
mod bundle_inspect;
mod bundle_lock;
mod bundle_pack;
mod bundle_push;
mod bundle_sign;
mod bundle_verify;
mod certs;
mod certs_renew;
mod confirm;
mod etcd_restore;
mod etcd_snapshot;
mod init;
mod journal;
mod kubeconfig;
mod lab;
mod operation;
mod plan;
mod preflight;
mod reset;
mod run;
mod serve;
mod status;
mod survey;
mod validate;

pub use init::init;
pub use run::run;
pub use validate::validate;
