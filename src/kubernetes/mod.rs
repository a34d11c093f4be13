//! What a version of Kubernetes has, and what it refuses: tables with their upstream sources. Pure.

mod component;
mod etcd;
mod flags;
mod gates;
mod removals;

pub use component::Component;
pub use etcd::{external_etcd_floor, floor_before, stacked_etcd_floor};
pub use flags::{UnknownFlag, unknown_flag};
pub use gates::{GateFault, gate_fault, kubeadm_gate_fault, locked_between};
pub use removals::{Gone, GoneApi, GoneFlags, Table, table};

/// The first minor that needs containerd 2: from it on the kubelet asks CRI's `RuntimeConfig` for the cgroup driver and has
/// no fallback, and only containerd 2 answers. `getCgroupDriverFromCRI` in cmd/kubelet/app/server.go of 1.36 still falls
/// back; CHANGELOG-1.36, kubernetes/kubernetes pull requests 136846 and 136898: the end of the fallback is 1.37.
pub const CONTAINERD_2_FROM: u32 = 37;

/// The first minor whose kubelet does not start on cgroup v1 unless `failCgroupV1` is false, and whose kubeadm refuses it
/// in any case (`CgroupsValidator` in k8s.io/system-validators): <https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1>.
pub const CGROUP_V2_FROM: u32 = 35;
