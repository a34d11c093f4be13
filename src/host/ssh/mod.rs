//! SSH by russh: the only module that knows it.

mod auth;
mod connect;
mod exec;
mod session;
mod sudo;
mod transient;
mod trust;
mod upload;

pub use connect::{SshConnector, SshOptions};
pub use session::SshHost;
