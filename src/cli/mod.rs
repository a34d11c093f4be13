//! The command line: one file per verb.

mod init;
mod validate;

pub use init::init;
pub use validate::validate;
