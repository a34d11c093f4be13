//! The one mutation behind each action.

mod addons;
mod cluster;
mod context;
mod dispatch;
mod files;
mod hands;
mod images;
mod join;
mod network;
mod packages;
mod reset;
mod system;
mod units;

pub(super) use cluster::{kubectl, wait};
pub use context::Context;
pub use hands::HostRunner;
pub(super) use reset::CLEAR;
