//! What a lab needs of this machine beside packages: memory, disk, inotify, cgroups. Checked before anything is made.

use std::path::{Path, PathBuf};

use crate::bundle::cache_dir;
use crate::error::{Error, Result};

/// MiB of memory that is needed beyond what a busy cluster of current Kubernetes was seen to use.
const MEMORY: u64 = 1024;
const MEMORY_CONTROL_PLANE: u64 = 800;
const MEMORY_WORKER: u64 = 400;
/// MiB of disk: what is made once, and each node's.
const DISK: u64 = 6 * 1024;
const DISK_NODE: u64 = 2560;
/// inotify instances that systemd, containerd and the kubelet of a node open, all as root.
const INSTANCES_NODE: u64 = 64;
const WATCHES_NODE: u64 = 8192;
/// What other projects that run several nodes on one machine ask for.
const INSTANCES: u64 = 8192;
const WATCHES: u64 = 524_288;
/// The cgroup controllers that a kubelet refuses to be without.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// What this machine has.
#[derive(Debug, Clone, Default)]
struct Machine {
    memory_mib: u64,
    /// Free MiB where images and nodes go, and where parts are kept.
    disks: Vec<(PathBuf, u64)>,
    /// `fs.inotify.max_user_instances` and `max_user_watches`.
    inotify: [u64; 2],
    /// The controllers that root may hand to containers.
    controllers: Vec<String>,
    root: bool,
}

/// A setting of the kernel, and what to set it to.
type Setting = (&'static str, u64);

/// Checks this machine for a lab of so many nodes, and raises the limits of inotify when run as root.
///
/// # Errors
/// `Refused`, with everything that is missing and what to type.
pub(super) fn check(control_planes: u8, workers: u8) -> Result<()> {
    let machine = Machine::look();
    let (mut problems, raise) = judge(&machine, control_planes.into(), workers.into());
    for (key, value) in raise {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        match std::fs::write(&path, value.to_string()) {
            Ok(()) => {
                eprintln!("lab: set {key} of this machine from {} to {value}, until its next start", before.trim())
            }
            Err(error) => {
                problems.push((format!("failed to set {key} to {value}: {error}"), format!("sysctl -w {key}={value}")));
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let all: String = problems.iter().map(|(what, _)| format!("\n  {what}")).collect();
    let error = Error::refused(format!("this machine cannot run that lab, and nothing was made:{all}"));
    Err(problems.into_iter().fold(error, |error, (_, hint)| error.hint(hint)))
}

/// What is missing, each with a hint; and the settings that root raises.
fn judge(machine: &Machine, control_planes: u64, workers: u64) -> (Vec<(String, String)>, Vec<Setting>) {
    let nodes = control_planes + workers;
    let (mut problems, mut raise) = (Vec::new(), Vec::new());
    let fewer = "make a smaller lab with --control-planes 1 --workers 1";
    let needed = MEMORY + control_planes * MEMORY_CONTROL_PLANE + workers * MEMORY_WORKER;
    if machine.memory_mib < needed {
        let what = format!("{} MiB of memory are available, {needed} MiB are needed", machine.memory_mib);
        problems.push((what, format!("end other programs, or {fewer}")));
    }
    let needed = DISK + nodes * DISK_NODE;
    for (path, free) in &machine.disks {
        if *free < needed {
            let what = format!("{free} MiB of disk are free at {}, {needed} MiB are needed", path.display());
            problems.push((
                what,
                format!("free some space there, or {fewer}; PROVISION_CACHE names another directory for parts"),
            ));
        }
    }
    let limits = [
        ("fs.inotify.max_user_instances", INSTANCES, 128 + nodes * INSTANCES_NODE),
        ("fs.inotify.max_user_watches", WATCHES, nodes * WATCHES_NODE),
    ];
    for ((key, wanted, needed), found) in limits.into_iter().zip(machine.inotify) {
        if machine.root && found < wanted {
            raise.push((key, wanted));
        } else if found < needed {
            let what = format!("{key} is {found}, {nodes} nodes need {needed}");
            problems.push((what, format!("as root: sysctl -w {key}={wanted}")));
        }
    }
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|c| !machine.controllers.iter().any(|found| found == c)).collect();
    if !missing.is_empty() {
        let what = format!("no cgroup controller {} can be handed to containers", missing.join(", "));
        let hint = "run it as root where /sys/fs/cgroup can be written; in a container or VM that means --privileged, or `Delegate=yes` of its unit";
        problems.push((what, hint.into()));
    }
    (problems, raise)
}

impl Machine {
    fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| read(path).trim().parse().unwrap_or(0);
        let memory = read("/proc/meminfo");
        let available = memory.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
        let kib: u64 = available.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        Self {
            memory_mib: kib / 1024,
            disks: disks(&[Path::new("/var/lib/containers"), &cache_dir()]),
            inotify: ["instances", "watches"].map(|what| number(&format!("/proc/sys/fs/inotify/max_user_{what}"))),
            controllers: controllers(Path::new("/sys/fs/cgroup")),
            root: rustix::process::geteuid().is_root(),
        }
    }
}

/// Free MiB at these paths, each disk once; one that is not there yet will be made on its parent's disk.
fn disks(paths: &[&Path]) -> Vec<(PathBuf, u64)> {
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for path in paths {
        let Some(there) = path.ancestors().find(|p| p.exists()) else { continue };
        let (Ok(stat), Ok(device)) = (rustix::fs::statvfs(there), rustix::fs::stat(there)) else { continue };
        if !seen.contains(&device.st_dev) {
            seen.push(device.st_dev);
            all.push((there.to_owned(), stat.f_bavail.saturating_mul(stat.f_frsize) >> 20));
        }
    }
    all
}

/// The controllers below `root` that this process may make groups of: of cgroup v2's one tree, or of v1's one each.
fn controllers(root: &Path) -> Vec<String> {
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    if let Ok(all) = std::fs::read_to_string(root.join("cgroup.controllers")) {
        if !writable(&root.join("cgroup.subtree_control")) {
            return Vec::new();
        }
        return all.split_whitespace().map(str::to_owned).collect();
    }
    let of_v1 = CONTROLLERS.into_iter().filter(|name| writable(&root.join(name).join("cgroup.procs")));
    of_v1.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            memory_mib: 16_000,
            disks: vec![("/var".into(), 100_000)],
            inotify: [INSTANCES, WATCHES],
            controllers: CONTROLLERS.map(str::to_owned).into(),
            root: false,
        }
    }

    #[test]
    fn a_machine_with_room_is_enough() {
        assert_eq!(judge(&machine(), 3, 2), (vec![], vec![]));
    }

    #[test]
    fn root_raises_the_limits_of_inotify_and_others_are_told_what_to_type() {
        let small = Machine { inotify: [128, 8192], ..machine() };
        let (problems, raise) = judge(&small, 3, 2);
        assert_eq!(raise, []);
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].0, "fs.inotify.max_user_instances is 128, 5 nodes need 448");
        assert_eq!(problems[0].1, "as root: sysctl -w fs.inotify.max_user_instances=8192");
        let (problems, raise) = judge(&Machine { root: true, ..small }, 3, 2);
        assert_eq!(problems, []);
        assert_eq!(raise, [("fs.inotify.max_user_instances", INSTANCES), ("fs.inotify.max_user_watches", WATCHES)]);
        // A limit that is higher already is never lowered.
        let high = Machine { root: true, inotify: [65_536, 1 << 20], ..machine() };
        assert_eq!(judge(&high, 3, 2), (vec![], vec![]));
    }

    #[test]
    fn all_that_is_missing_is_named_at_once_with_a_smaller_lab_as_the_way_out() {
        let poor = Machine {
            memory_mib: 2000,
            disks: vec![("/var".into(), 9000), ("/home".into(), 900_000)],
            controllers: vec!["cpu".into(), "cpuset".into(), "pids".into()],
            ..machine()
        };
        let (problems, _) = judge(&poor, 3, 2);
        let said: Vec<&str> = problems.iter().map(|p| p.0.as_str()).collect();
        assert_eq!(
            said,
            [
                "2000 MiB of memory are available, 4224 MiB are needed",
                "9000 MiB of disk are free at /var, 18944 MiB are needed",
                "no cgroup controller memory can be handed to containers",
            ]
        );
        assert!(problems[..2].iter().all(|p| p.1.contains("--control-planes 1")));
        assert!(judge(&Machine { memory_mib: 2300, ..machine() }, 1, 1).0.is_empty());
    }

    #[test]
    fn controllers_are_those_of_either_hierarchy_that_can_be_written() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(dir.path())).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path, text).unwrap_or_else(|e| panic!("{e}"));
        };
        assert_eq!(controllers(dir.path()), Vec::<String>::new());
        put("cpu/cgroup.procs", "");
        put("memory/cgroup.procs", "");
        assert_eq!(controllers(dir.path()), ["cpu", "memory"]);
        put("cgroup.controllers", "cpuset cpu io memory pids\n");
        assert_eq!(controllers(dir.path()), Vec::<String>::new());
        put("cgroup.subtree_control", "");
        assert_eq!(controllers(dir.path()), ["cpuset", "cpu", "io", "memory", "pids"]);
    }

    #[test]
    fn a_disk_counts_once() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let below = dir.path().join("not/there/yet");
        let found = disks(&[&below, dir.path()]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, dir.path());
    }
}
