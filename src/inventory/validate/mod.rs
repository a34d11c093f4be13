//! What is wrong with an inventory that has the right shape. Pure; every problem at once.

mod backup;
mod calendar;
mod certificates;
mod charts;
mod cluster;
mod endpoint;
mod etcd;
mod files;
mod hosts;
mod judge;
mod kubernetes;
mod network;
mod packages;
mod registry;
mod secrets;
mod sources;
mod syntax;
mod trust;
mod upgrade;
mod upstream;

pub(super) use certificates::read_authorities;
pub(super) use charts::missing_files;
pub(super) use files::missing_key_files;
pub(super) use judge::validate;
pub(super) use secrets::{is_secret_key, secret, userinfo};
pub(super) use upstream::missing_upstream_keys;
