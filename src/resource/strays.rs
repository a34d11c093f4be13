//! What somebody may have put beside our files. Pure.

use serde::{Deserialize, Serialize};

use super::shell::shell_probe;
use crate::host::{Answer, Probe};

/// What the strays probe saw: all of these files, ours among them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strays {
    /// Static pods: the file, and the image its first container runs (empty when there is none to be read).
    pub pods: Vec<(String, String)>,
    /// Drop-ins of containerd's and the kubelet's units.
    pub drop_ins: Vec<String>,
}

/// Asks a host for the static pods and drop-ins on it.
#[must_use]
pub fn strays_probe() -> Probe {
    shell_probe("strays", &[])
}

/// Reads the answer to [`strays_probe`].
#[must_use]
pub fn strays(answer: &Answer) -> Strays {
    let mut found = Strays::default();
    let Answer::Shell { stdout, .. } = answer else {
        return found;
    };
    for line in stdout.lines() {
        if let Some((path, image)) = line.strip_prefix("pod ").and_then(|rest| rest.rsplit_once(' ')) {
            found.pods.push((path.to_owned(), image.to_owned()));
        } else if let Some(path) = line.strip_prefix("dropin ") {
            found.drop_ins.push(path.to_owned());
        }
    }
    found
}
