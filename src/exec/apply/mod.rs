//! The one mutation behind each action.

mod addons;
mod ca;
mod certificates;
mod cluster;
mod context;
mod dispatch;
mod dns;
mod drain;
mod etcd;
mod files;
mod gate;
mod hands;
mod images;
mod join;
mod leave;
mod network;
mod packages;
mod registry;
mod reset;
mod room;
mod runtime;
mod settings;
mod system;
mod units;
mod upgrade;

pub(super) use ca::{Ca, content, secret};
pub(super) use certificates::place;
pub(super) use cluster::{kubectl, restart_pods, wait};
pub use context::Context;
pub(super) use files::write;
pub use hands::HostRunner;
pub(super) use leave::forget;
pub(super) use reset::CLEAR;
pub(super) use settings::kubelet_anew;
pub(super) use units::bring;
