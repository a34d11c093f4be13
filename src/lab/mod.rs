//! Local test clusters: nodes are podman containers with systemd and sshd and nothing of Kubernetes, and a real
//! upstream beside them to make the bundle from. The rest is done by the same code as on metal.

mod inventory;
mod needs;
mod node;
mod overlay;
mod part;
mod process;
mod resources;
mod source;
mod state;
mod up;
mod upstream;

pub use node::{NODE_LABEL, NewNode, Os, destroy, list, remove, start};
pub use source::Source;
pub use state::{LabState, lab_dir};
pub use up::{LabFiles, LabOptions, Made, another, prepare, sign};
pub use upstream::Upstream;
