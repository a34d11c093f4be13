//! `provision serve` and `provision bundle push`: cases written from the OCI distribution specification 1.1, and the
//! real skopeo, docker-registry and containerd.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod bundle_site;
#[path = "registry/conformance.rs"]
mod conformance;
#[path = "registry/faulty.rs"]
mod faulty;
#[path = "registry/made.rs"]
mod made;
#[path = "registry/push.rs"]
mod push;
#[path = "registry/running.rs"]
mod running;
#[path = "registry/serve.rs"]
mod serve;
#[path = "registry/tools.rs"]
mod tools;
