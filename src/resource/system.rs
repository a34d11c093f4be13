//! Kernel modules and swap.

use super::shell::shell_probe;
use crate::host::{Answer, Probe};

/// Where a kernel module stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleState {
    /// Loaded or built in.
    Present,
    /// modprobe can load it.
    Loadable,
    /// Neither.
    Missing,
}

/// Asks where a module stands.
#[must_use]
pub fn module_probe(module: &str) -> Probe {
    shell_probe("module", &[module])
}

/// Reads the answer to [`module_probe`].
#[must_use]
pub fn module_state(answer: &Answer) -> ModuleState {
    match answer {
        Answer::Shell { code: 0, stdout, .. } if stdout.trim() == "present" => ModuleState::Present,
        Answer::Shell { code: 0, stdout, .. } if stdout.trim() == "loadable" => ModuleState::Loadable,
        _ => ModuleState::Missing,
    }
}

/// Whether the answer to the swap probe says that no swap is on and none comes back at boot.
pub(super) fn swap_is_off(answer: &Answer) -> bool {
    matches!(answer, Answer::Shell { code: 0, stdout, .. } if stdout.trim().is_empty())
}
