//! What is wrong with an inventory that has the right shape. Pure; every problem at once.

mod cluster;
mod endpoint;
mod hosts;
mod judge;
mod network;
mod secrets;
mod syntax;

pub(super) use judge::validate;
pub(super) use secrets::{is_secret_key, secret};
