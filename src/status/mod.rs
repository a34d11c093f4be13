//! What there is to see of a cluster at one look: as data, as a screen of text, and as one page. Pure.

mod hosts;
mod html;
mod model;
mod picture;
#[cfg(test)]
mod tests;
mod text;

pub use hosts::{Health, HostRow};
pub use html::html;
pub use model::{Etcd, LastOperation, LeastCertificate, Seen, Status};
pub use text::text;
