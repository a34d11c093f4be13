//! The names that `preflight.ignore` takes.

/// Every preflight check by name, in the order they are made.
pub const CHECKS: &[&str] = &[
    "os",
    "arch",
    "systemd",
    "commands",
    "cgroup",
    "modules",
    "swap",
    "ports",
    "disk",
    "memory",
    "clock",
    "machine-id",
    "product-uuid",
    "mac",
    "hostname",
    "address",
    "membership",
    "ca",
    "rotation",
];
