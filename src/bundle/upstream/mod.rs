//! Upstream's own signatures of images and files: checked when they are locked, kept in the bundle, checked again there
//! without a network.

mod build;
mod cosign;
mod files;
mod lock;
mod rules;
mod sigstore;
mod verify;

pub(super) use build::add_signatures;
pub use cosign::{
    CosignForm, CosignKey, CosignSignature, CosignWorth, cosign_keys, cosign_payload, cosign_signatures, cosign_worth,
};
pub use lock::lock_signatures;
pub(super) use lock::signature_tag;
pub use verify::{UpstreamChecks, check_upstream};
