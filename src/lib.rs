//! `provision` builds offline bundles and turns bare Linux hosts into highly available kubeadm clusters over SSH.
//!
//! ```text
//! inventory ─┐
//!            ├─> plan (pure) ──> exec (phases over SSH) ──> journal, report
//! bundle ────┤        ^
//! facts ─────┘        └── gathered read-only from every host
//! ```

pub mod backup;
pub mod bundle;
pub mod cli;
pub mod error;
pub mod exec;
pub mod facts;
pub mod host;
pub mod image;
pub mod inventory;
pub mod kubeadm;
pub mod kubernetes;
pub mod lab;
mod nearest;
pub mod packages;
mod pem;
pub mod phase;
pub mod plan;
pub mod registry;
pub mod report;
pub mod resource;
pub mod rotation;
pub mod status;
pub mod upgrade;
pub mod version;
