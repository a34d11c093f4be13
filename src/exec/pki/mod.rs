//! A cluster whose CAs somebody else keeps: keys are made on the nodes, requests leave them, certificates come in.

mod ask;
mod folder;
mod make;
mod take;

pub use ask::{Asked, Program, ask};
pub use folder::{read_certificate, write_requests};
pub use make::{KeyOrder, KeysMade, make_keys};
pub use take::{Install, Installed, install, roll};
