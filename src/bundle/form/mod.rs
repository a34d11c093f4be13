//! How a bundle lies on disk: a directory, one tar, or a tar split into volumes; read in place and written as a stream.

mod contents;
mod output;
mod pour;
mod size;
mod tar_index;
mod volume_list;
mod volumes;
mod write_dir;
mod write_tar;

pub(super) use contents::{BLOBS, Contents, Item, MANIFEST, blob_name, promised};
pub use output::{Form, Output, Written};
pub(super) use output::{Hashing, staged, write};
pub use size::parse_size;
pub(super) use volumes::with_suffix;
