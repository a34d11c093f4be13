//! What preflight finds on one host, by version and by what the inventory skips or ignores.

use super::*;
use crate::inventory::parse;

const INVENTORY: &str = "[cluster]\nname = \"t\"\nversion = \"VERSION\"\n[endpoint]\nmode = \"first-node\"\n\
    [[hosts]]\nname = \"cp\"\naddress = \"10.0.0.1\"\nrole = \"control-plane\"\n\
    [[hosts]]\nname = \"w\"\naddress = \"10.0.0.2\"\nrole = \"worker\"\n";

fn inventory(version: &str, more: &str) -> Inventory {
    let text = format!("{}{more}", INVENTORY.replace("VERSION", version));
    parse(&text).unwrap_or_else(|d| panic!("{d:?}")).inventory
}

/// A host that nothing is wrong with.
fn sound() -> HostFacts {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    HostFacts {
        machine: "x86_64".into(),
        os_id: "debian".into(),
        systemd: "running".into(),
        memory_mib: 8000,
        disk_free_mib: 90_000,
        cpus: 4,
        kernel_config: "/boot/config-6.1".into(),
        kernel_options: super::super::kubeadm_checks::KERNEL_OPTIONS.map(str::to_owned).into(),
        controllers: words("cpuset cpu io memory hugetlb pids"),
        inotify: [("max_user_instances", 128), ("max_user_watches", 8192)].map(|(k, v)| (k.to_owned(), v)).into(),
        ..HostFacts::default()
    }
}

/// What is found on cp, which `change` was done to; `cp` and `w` are new to the cluster.
fn errors(inv: &Inventory, change: impl Fn(&mut HostFacts)) -> Vec<String> {
    let mut facts = Facts::default();
    for name in ["cp", "w"] {
        let mut host = HostFacts { hostname: name.into(), machine_id: name.into(), ..sound() };
        if name == "cp" {
            change(&mut host);
        }
        facts.hosts.insert(name.into(), host);
    }
    let found = preflight(inv, &facts).into_iter().filter(|f| f.severity == Severity::Error);
    found.map(|f| format!("{}: {}: {}", f.host, f.check, f.message)).collect()
}

#[test]
fn nothing_is_found_on_a_sound_host() {
    for version in ["1.20.15", "1.34.2", "1.36.3"] {
        assert_eq!(errors(&inventory(version, ""), |_| ()), [""; 0], "{version}");
    }
}

#[test]
fn cgroup_v1_is_refused_unless_both_kubelet_and_kubeadm_allow_it() {
    let v1 = |host: &mut HostFacts| {
        host.cgroup = CgroupVersion::V1;
        host.controllers =
            ["cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"].map(String::from).into();
    };
    let kubelet = "cp: cgroup: cgroup v1: the kubelet of 1.36 does not start on it";
    let kubeadm = "cp: cgroup: cgroup v1: kubeadm 1.36 refuses it (SystemVerification)";
    let said = |more: &str| errors(&inventory("1.36.3", more), v1);
    assert_eq!(said(""), [kubelet, kubeadm]);
    // Only the value false counts, not that the key is there.
    assert_eq!(said("[kubelet.config]\nfailCgroupV1 = true\n"), [kubelet, kubeadm]);
    assert_eq!(said("[kubelet.config]\nfailCgroupV1 = false\n"), [kubeadm]);
    let ignored = "[kubeadm]\nignore_preflight_errors = [\"systemverification\"]\n";
    assert_eq!(said(ignored), [kubelet]);
    assert_eq!(said(&format!("[kubelet.config]\nfailCgroupV1 = false\n{ignored}")), [""; 0]);
    let skipped = "[kubeadm]\nskip_phases = [\"preflight\"]\n[kubelet.config]\nfailCgroupV1 = false\n";
    assert_eq!(said(skipped), [""; 0]);
    assert_eq!(errors(&inventory("1.34.2", ""), v1), [""; 0]);
    let found = preflight(
        &inventory("1.36.3", ""),
        &Facts {
            hosts: [("cp".to_owned(), HostFacts { cgroup: CgroupVersion::V1, ..sound() })].into(),
            ..Facts::default()
        },
    );
    let remedy = found.iter().find(|f| f.check == "cgroup").map(|f| f.remedy.as_str()).unwrap_or_default();
    assert!(remedy.contains("failCgroupV1 = false") && remedy.contains("SystemVerification"), "{remedy}");
}

#[test]
fn what_kubeadm_would_refuse_is_found_before() {
    type Change = fn(&mut HostFacts);
    let cases: [(&str, &str, Change, &str); 7] = [
        ("NumCPU", "cpus", |h| h.cpus = 1, "1 CPU, kubeadm wants 2"),
        ("Mem", "memory", |h| h.memory_mib = 1500, "1500 MiB of memory, kubeadm wants 1700 MiB"),
        ("FileExisting-losetup", "commands", |h| h.missing_for_kubeadm = vec!["losetup".into()], "the program losetup"),
        ("DirAvailable--var-lib-etcd", "etcd-data", |h| h.etcd_dir = "lost+found".into(), "it has lost+found"),
        ("SystemVerification", "kernel", |h| h.kernel_config = "none".into(), "cannot read the kernel's configuration"),
        (
            "SystemVerification",
            "kernel",
            |h| h.kernel_options.retain(|o| o != "MEMCG"),
            "not set (SystemVerification): MEMCG",
        ),
        (
            "SystemVerification",
            "cgroup",
            |h| h.controllers.retain(|c| c != "pids"),
            "not enabled (SystemVerification): pids",
        ),
    ];
    let limit = "[preflight]\ncontrol_plane_memory_mib = 1000\n";
    for (name, check, change, part) in cases {
        let said = errors(&inventory("1.36.3", limit), change);
        assert!(
            said.len() == 1 && said[0].starts_with(&format!("cp: {check}: ")) && said[0].contains(part),
            "{said:?}"
        );
        let ignoring = format!("{limit}[kubeadm]\nignore_preflight_errors = [\"{name}\"]\n");
        assert_eq!(errors(&inventory("1.36.3", &ignoring), change), [""; 0], "{name}");
        let skipping = format!("{limit}[kubeadm]\nskip_phases = [\"preflight\"]\n");
        assert_eq!(errors(&inventory("1.36.3", &skipping), change), [""; 0], "{name}");
    }
}

#[test]
fn kernel_options_of_the_other_cgroup_version_and_either_redirect_will_do() {
    let v2 = |h: &mut HostFacts| {
        h.kernel_options
            .retain(|o| !["CGROUP_CPUACCT", "CGROUP_DEVICE", "NETFILTER_XT_TARGET_REDIRECT"].contains(&o.as_str()));
    };
    assert_eq!(errors(&inventory("1.36.3", ""), v2), [""; 0]);
}

#[test]
fn programs_are_wanted_by_version() {
    let bare = |h: &mut HostFacts| h.missing_for_kubeadm = vec!["conntrack".into(), "crictl".into()];
    let conntrack = "cp: commands: kubeadm 1.30 wants the program conntrack (FileExisting-conntrack)";
    assert_eq!(errors(&inventory("1.30.1", ""), bare), [conntrack]);
    let without = "[runtime]\ncrictl_version = \"\"\n";
    assert_eq!(errors(&inventory("1.30.1", without), bare).len(), 2);
    assert_eq!(errors(&inventory("1.32.1", without), bare), [""; 0]);
}

#[test]
fn low_inotify_limits_are_found_only_where_apply_cannot_raise_them() {
    let inv = inventory("1.36.3", "");
    assert_eq!(errors(&inv, |_| ()), [""; 0]);
    let said = errors(&inv, |h| h.inotify_read_only = true);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("fs.inotify.max_user_instances is 128, 8192 wanted"), "{said:?}");
    let enough = |h: &mut HostFacts| {
        h.inotify_read_only = true;
        h.inotify =
            [("max_user_instances", 9000), ("max_user_watches", 524_288)].map(|(k, v)| (k.to_owned(), v)).into();
    };
    assert_eq!(errors(&inv, enough), [""; 0]);
}

#[test]
fn the_etcd_of_somebody_else_is_asked_for_its_version() {
    let etcd = "[etcd]\nmode = \"external\"\nendpoints = [\"https://10.0.0.9:2379\"]\nca_file = \"/e/ca\"\n\
        cert_file = \"/e/c\"\nkey_file = \"/e/k\"\n";
    let inv = inventory("1.36.3", etcd);
    let with = |version: &'static str| {
        errors(&inv, move |h| h.external_etcd = [("https://10.0.0.9:2379".to_owned(), version.to_owned())].into())
    };
    assert_eq!(with("3.5.24"), [""; 0]);
    let said = with("3.5.23");
    assert!(said.len() == 1 && said[0].contains("is etcd 3.5.23, kubeadm 1.36.3 needs 3.5.24 or newer"), "{said:?}");
    let said = errors(&inv, |h| h.missing_files = vec!["/e/k".into()]);
    assert!(said.len() == 1 && said[0].contains("/e/k"), "{said:?}");
}
