//! The names that `preflight.ignore` takes.

/// Every preflight check by name, in the order they are made.
pub const CHECKS: &[&str] = &[
    "os",
    "arch",
    "systemd",
    "commands",
    "cgroup",
    "modules",
    "kernel",
    "inotify",
    "swap",
    "ports",
    "disk",
    "memory",
    "cpus",
    "clock",
    "machine-id",
    "product-uuid",
    "mac",
    "hostname",
    "address",
    "etcd-data",
    "etcd",
    "membership",
    "ca",
    "rotation",
];
