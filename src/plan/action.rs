//! What a step can do: a closed set, as data.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bundle::Digest;
use crate::inventory::{Gate, PackageKind, Unfinished};
use crate::kubeadm::{ImageNames, Placed};

/// One mutation (or, in phase verify, one wait for a condition). A closed set: every place that handles actions
/// matches all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Write a text file, root:root.
    WriteFile {
        /// Absolute path.
        path: String,
        /// Whole content.
        content: String,
        /// Permission bits.
        mode: u32,
    },
    /// Remove a file.
    RemoveFile {
        /// Absolute path.
        path: String,
    },
    /// Keep a marked block of lines in a file that others own (`/etc/hosts`).
    WriteBlock {
        /// Absolute path.
        path: String,
        /// Names the block: `# BEGIN <marker>` to `# END <marker>`.
        marker: String,
        /// The lines between the marks.
        lines: Vec<String>,
    },
    /// Load a kernel module (one that is built in is there already).
    LoadModule {
        /// Its name, like `br_netfilter`.
        module: String,
    },
    /// Set a sysctl at run time (a file under /etc/sysctl.d keeps it over reboots).
    SetSysctl {
        /// With dots.
        key: String,
        /// As /proc/sys shows it.
        value: String,
    },
    /// Turn swap off and take it out of /etc/fstab.
    SwapOff,
    /// Put a blob into the node's content store.
    PutBlob {
        /// Which.
        digest: Digest,
        /// Bytes.
        size: u64,
        /// The artifact it belongs to, for people.
        artifact: String,
    },
    /// Install a file from the content store, re-hashed first.
    InstallBlob {
        /// Which.
        digest: Digest,
        /// Where to.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// Unpack files of a gzipped tar from the content store, re-hashed first.
    UnpackBlob {
        /// The archive.
        digest: Digest,
        /// What is taken out of it and where it goes.
        members: Vec<UnpackMember>,
    },
    /// Install packages of the operating system from the node's own repository, and from nowhere else.
    InstallPackages {
        /// apt or dnf.
        manager: PackageKind,
        /// The packages that have to be installed.
        names: Vec<String>,
        /// These, and what they may need: of what is installed none may be older.
        set: Vec<LocalFile>,
    },
    /// Bring a unit to its wanted state, reloading systemd when its file changed.
    Unit {
        /// With suffix.
        name: String,
        /// Whether it starts at boot.
        enabled: bool,
        /// Whether it runs now; `None` leaves that to others (the kubelet before kubeadm has run).
        active: Option<bool>,
        /// Files it has to be started after: one that is newer makes it restart.
        started_after: Vec<String>,
    },
    /// Import an image from blobs in the content store into containerd and pin it.
    ImportImage {
        /// Its full name with tag.
        name: String,
        /// The digest of its manifest.
        manifest: Digest,
        /// The size in bytes of the manifest.
        manifest_size: u64,
        /// The media type of the manifest.
        media_type: String,
        /// Config and layers.
        blobs: Vec<Digest>,
    },
    /// Give a host of the built-in registry a certificate. Its key is made when it runs, and stands in no plan.
    RegistryIdentity {
        /// The host's names and addresses.
        names: Vec<String>,
        /// The hosts of the registry, which are asked for the CA in this order.
        peers: Vec<String>,
        /// The digest of the CA's certificate; `None` when there is none yet.
        ca: Option<Digest>,
    },
    /// Make the host's containerd trust the built-in registry's CA.
    RegistryTrust {
        /// The hosts of the registry, which are asked for the CA in this order.
        peers: Vec<String>,
        /// The digest of the CA's certificate; `None` when it is made in the same run.
        ca: Option<Digest>,
    },
    /// Give a host of the etcd beside Kubernetes certificates as a server and as a peer. Keys are made when it runs.
    EtcdIdentity {
        /// The host's names and addresses.
        names: Vec<String>,
        /// The hosts of etcd, which are asked for the CA in this order.
        peers: Vec<String>,
        /// The digest of the CA's certificate; `None` when there is none yet.
        ca: Option<Digest>,
    },
    /// Give a control plane a client certificate of etcd's CA.
    EtcdClient {
        /// The hosts of etcd, which are asked for the CA in this order.
        peers: Vec<String>,
        /// The digest of the CA's certificate; `None` when it is made in the same run.
        ca: Option<Digest>,
    },
    /// Put what a node holds of keys and certificates that somebody else signed to where Kubernetes finds it.
    PlaceCertificates {
        /// What goes where.
        placed: Vec<Placed>,
    },
    /// Enter a host without data into the etcd that is there: in the place of a member that had the same address, or as
    /// one more.
    EtcdEnter {
        /// The member's name.
        member: String,
        /// Its peer URL.
        peer_url: String,
        /// The hosts that have a member's data, which are asked in this order.
        peers: Vec<String>,
    },
    /// Clear what a broken init or join left, so that it can be done again. Never planned for a node that is whole.
    ResetPartial {
        /// The node object.
        node: String,
        /// The node was, or may be, an etcd member.
        control_plane: bool,
    },
    /// `kubeadm init`.
    KubeadmInit {
        /// The node object it makes.
        node: String,
        /// The cluster's name.
        cluster: String,
        /// etcd runs on the control planes.
        stacked: bool,
        /// The configuration documents (no secrets inside).
        config: String,
        /// Phases to skip.
        skip_phases: Vec<String>,
        /// Preflight errors to ignore.
        ignore_preflight_errors: Vec<String>,
    },
    /// `kubeadm join`, with credentials made fresh on a healthy control plane right before.
    KubeadmJoin {
        /// The node object it makes.
        node: String,
        /// The cluster's name.
        cluster: String,
        /// etcd runs on the control planes.
        stacked: bool,
        /// Whether it becomes a control plane.
        control_plane: bool,
        /// The JoinConfiguration without its discovery part and certificate key: those are added when it runs.
        config: String,
        /// Preflight errors to ignore.
        ignore_preflight_errors: Vec<String>,
        /// Phases to skip.
        skip_phases: Vec<String>,
        /// The control planes to ask for credentials, by host name, in order of preference.
        sponsors: Vec<String>,
    },
    /// Set labels and taints of a node object (run on a control plane).
    NodeMeta {
        /// The node object.
        node: String,
        /// Labels to set.
        labels: BTreeMap<String, String>,
        /// Taints to set, `key=value:Effect`.
        taints: Vec<String>,
        /// Taints to take away, `key:Effect`.
        remove_taints: Vec<String>,
    },
    /// End the containers of these pods of kube-system on the host; the kubelet starts them anew.
    RestartPods {
        /// The names of their containers.
        components: Vec<String>,
    },
    /// Wait until the node object is Ready.
    WaitNodeReady {
        /// The node object.
        node: String,
        /// Seconds.
        timeout_s: u64,
    },
    /// Wait until API server, controller manager and scheduler on this control plane are healthy.
    WaitControlPlane {
        /// The node object.
        node: String,
        /// Its address.
        address: String,
        /// Seconds.
        timeout_s: u64,
    },
    /// Wait until the kubelet of a control plane has finished with its static pods: a new kubelet restarts each of them,
    /// seconds after its service has started.
    WaitStaticPods {
        /// The node object.
        node: String,
        /// How long all static pods must have run without a restart, in seconds.
        stable_s: u64,
        /// Seconds.
        timeout_s: u64,
    },
    /// Wait until etcd's members are exactly these and all are healthy.
    WaitEtcdMembers {
        /// Member names.
        members: Vec<String>,
        /// Seconds.
        timeout_s: u64,
    },
    /// Move a pod of CoreDNS when all run on one node and another can run one (run on a control plane).
    SpreadDns {
        /// How long the pods may take to be available, in seconds.
        timeout_s: u64,
    },
    /// Run a test pod on every node and ask each from each over the pod network.
    TestPodNetwork {
        /// The image.
        image: String,
        /// The nodes.
        nodes: Vec<String>,
        /// Seconds.
        timeout_s: u64,
    },
    /// Apply a file of objects from the content store (run on a control plane).
    ApplyManifest {
        /// Its name in the inventory.
        name: String,
        /// The file.
        digest: Digest,
        /// Whether the API server does the applying; one before 1.22 cannot be relied upon for that.
        server_side: bool,
    },
    /// Install or upgrade a Helm release from the content store (run on a control plane). The values are the
    /// inventory's, and stand in no plan: they may be secret.
    HelmRelease {
        /// Its name.
        release: String,
        /// Its namespace.
        namespace: String,
        /// The packed chart.
        digest: Digest,
        /// What the release is described as when it is of this chart with the wanted values.
        mark: String,
        /// How long helm waits until it runs, in seconds.
        timeout_s: u64,
        /// Whether helm takes back what failed.
        atomic: bool,
        /// As with manifests.
        server_side: bool,
    },
    /// Save etcd's data to a file on this control plane and check that it can be read back.
    EtcdSnapshot {
        /// Where to.
        path: String,
    },
    /// Keep what a node needs to go back to what it runs: its binaries and the kubelet's configuration, in its content
    /// store.
    KeepVersion {
        /// The version it is about to be taken to.
        version: String,
        /// Whether containerd and runc, with what containerd reads, belong to it.
        #[serde(default)]
        runtime: bool,
    },
    /// `kubeadm upgrade apply` or `kubeadm upgrade node`.
    KubeadmUpgrade {
        /// The version, like `v1.36.2`.
        version: String,
        /// Whether it is the control plane that upgrades what belongs to the whole cluster.
        first: bool,
        /// Whether it is a control plane.
        control_plane: bool,
        /// Preflight errors to ignore.
        ignore_preflight_errors: Vec<String>,
        /// What the cluster's configuration is to say of images first; said by the one that upgrades the whole cluster.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        images: Option<ImageNames>,
    },
    /// Upgrade kube-proxy and CoreDNS where `kubeadm upgrade` of the last control plane has not (run on a control plane).
    UpgradeAddons {
        /// The configuration documents of kubeadm.
        config: String,
        /// The tag of kube-proxy's image, when kubeadm installs kube-proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proxy_tag: Option<String>,
        /// The tag of CoreDNS's image, when kubeadm installs CoreDNS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        coredns_tag: Option<String>,
        /// How long the new pods may take, in seconds.
        timeout_s: u64,
    },
    /// Keep new pods off a node, and mark it as being upgraded.
    Cordon {
        /// The node object.
        node: String,
        /// The version it is taken to.
        version: String,
        /// The control plane it is done through.
        through: String,
    },
    /// Move a node's pods to others by the eviction API, which respects their disruption budgets.
    Drain {
        /// The node object.
        node: String,
        /// The control plane it is done through.
        through: String,
        /// Seconds.
        timeout_s: u64,
        /// Seconds a pod gets to end; its own when `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_s: Option<u32>,
        /// What is done when pods are left.
        unfinished: Unfinished,
    },
    /// Wait until the node is Ready with the kubelet of this version.
    WaitNodeVersion {
        /// The node object.
        node: String,
        /// The version, like `v1.36.2`.
        version: String,
        /// The control plane that is asked.
        through: String,
        /// Seconds.
        timeout_s: u64,
        /// Whether the node is put back to what [`Action::KeepVersion`] kept when it does not come up.
        rollback: bool,
    },
    /// Let pods onto the node again, if it was an upgrade of ours that kept them off.
    Uncordon {
        /// The node object.
        node: String,
        /// The control plane it is done through.
        through: String,
        /// Whether the node's upgrade ends with this; that of a worker ends when the gates of its wave opened.
        ends: bool,
    },
    /// Look for a while whether a wave of workers and all that the user named is healthy. When not, the wave goes back to
    /// the version before.
    Gate {
        /// The node objects of the wave.
        nodes: Vec<String>,
        /// The version they were taken to.
        version: String,
        /// How long everything has to stay well, in seconds.
        soak_s: u64,
        /// How long it may take to get well, in seconds.
        timeout_s: u64,
        /// What the user named.
        gates: Vec<Gate>,
    },
    /// Keep new pods off a node that is to leave the cluster, and move those on it to others by the eviction API. When some
    /// are left in the end, pods are let onto it again and it stays.
    Evacuate {
        /// The node object.
        node: String,
        /// Seconds.
        timeout_s: u64,
        /// Seconds a pod gets to end; its own when `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_s: Option<u32>,
        /// What is done when pods are left: `force` deletes them, both others let the node stay.
        unfinished: Unfinished,
    },
    /// Take a node's member out of etcd, unless that loses quorum, and wait until it is gone and the others are well.
    LeaveEtcd {
        /// The node object.
        node: String,
        /// Its address: a member that never started has no name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// The members that are healthy and have to be so afterwards.
        healthy: Vec<String>,
        /// Seconds.
        timeout_s: u64,
    },
    /// Take away what the cluster knows of a node that is no more: its pods, its object, and its endpoint in what kubeadm
    /// before 1.22 keeps.
    ForgetNode {
        /// The node object.
        node: String,
    },
    /// Give the cluster's own configuration, from which nodes are made and upgraded, what the inventory asks for.
    UploadSettings {
        /// The configuration documents of kubeadm.
        config: String,
        /// What is asked of the control plane, as hosts keep it.
        control_plane: String,
        /// What is asked of this host's kubelet, as it keeps it.
        kubelet: String,
        /// How the cluster's copy of the kubelet's configuration is named.
        kubelet_map: String,
        /// The tag of CoreDNS's image, when kubeadm installs that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        coredns_tag: Option<String>,
    },
    /// Give a control plane's static pods and certificate what the inventory asks for. What does not come up with it goes
    /// back to what it was.
    ControlPlaneSettings {
        /// The node object.
        node: String,
        /// Its address.
        address: String,
        /// The other control planes, which have to be well: name and address.
        others: BTreeMap<String, String>,
        /// The configuration documents of kubeadm.
        config: String,
        /// What is asked for, as the host keeps it.
        wanted: String,
        /// Seconds.
        timeout_s: u64,
    },
    /// Give a node's kubelet the arguments and the configuration that the inventory asks for. One that does not come up
    /// with it goes back to what it had.
    KubeletSettings {
        /// The node object.
        node: String,
        /// The control plane that is asked about the node.
        through: String,
        /// What is asked for, as the host keeps it.
        wanted: String,
        /// Seconds.
        timeout_s: u64,
    },
    /// Give a node's containerd the configuration and the unit that are wanted, and start it anew; its containers run on.
    /// One that does not come up with them, or that the node is not well with, gets back what it had.
    RuntimeSettings {
        /// The node object.
        node: String,
        /// The control plane that is asked about the node.
        through: String,
        /// Its configuration.
        config: String,
        /// Its unit.
        unit: String,
        /// Seconds.
        timeout_s: u64,
    },
    /// Give kube-proxy its configuration and start it anew, node by node (run on a control plane).
    ProxySettings {
        /// The configuration documents of kubeadm.
        config: String,
        /// What is asked for, as the host keeps it.
        wanted: String,
        /// How the cluster's copy of the kubelet's configuration is named.
        kubelet_map: String,
        /// Seconds.
        timeout_s: u64,
    },
    /// Make the host bare: kubeadm reset, containers, mounts, interfaces, rules, units, files.
    ResetHost {
        /// The node object.
        node: String,
        /// The names of our files and units to take away.
        files: Vec<String>,
        /// The units.
        units: Vec<String>,
        /// Directories that only we use.
        dirs: Vec<String>,
    },
}

/// A package in the node's own repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalFile {
    /// Its name.
    pub name: String,
    /// Its version, with epoch where it has one.
    pub version: String,
    /// Which blob of the content store it is.
    pub digest: Digest,
    /// Where it goes below the repository's directory.
    pub path: String,
}

/// A file taken out of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackMember {
    /// Its path inside the archive exactly as stored.
    pub member: String,
    /// Where to.
    pub path: String,
    /// The digest of its content.
    pub digest: Digest,
    /// Permission bits.
    pub mode: u32,
}

impl Action {
    /// Whether it changes anything (the waits and tests of phase verify do not count as changes).
    #[must_use]
    pub fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::WaitNodeReady { .. }
                | Self::WaitControlPlane { .. }
                | Self::WaitStaticPods { .. }
                | Self::WaitEtcdMembers { .. }
                | Self::TestPodNetwork { .. }
                | Self::WaitNodeVersion { .. }
        )
    }

    /// The host that is asked whether it is done, when that is not the step's own: a worker may not read what only a
    /// control plane knows.
    #[must_use]
    pub fn asks(&self) -> Option<&str> {
        match self {
            Self::Cordon { through, .. }
            | Self::Drain { through, .. }
            | Self::WaitNodeVersion { through, .. }
            | Self::Uncordon { through, .. } => Some(through),
            _ => None,
        }
    }
}
