//! A bundle as an OCI registry: served read-only to whoever pulls, or pushed into a registry that is there already.
//!
//! On hyper alone, without a web framework: repositories have slashes in their names, so a router of path segments does
//! not fit, and all that is left of a framework is one function from request to response.

mod answer;
mod body;
mod catalog;
mod names;
mod push;
mod remote;
mod routes;
mod server;
mod tls;
mod upload;

pub use catalog::{Catalog, Manifest, Repository};
pub use names::{Place, image_path, place};
pub use push::{PushOptions, Pushed, push};
pub use server::{ServeOptions, serve};
