//! From an action to the function that carries it out.

use super::context::Context;
use super::{
    addons, certificates, cluster, dns, drain, etcd, files, gate, images, join, leave, network, packages, registry,
    reset, room, runtime, settings, system, units, upgrade,
};
use crate::error::Result;
use crate::exec::StepNote;
use crate::plan::{Action, Step};

/// Carries out the step's action once.
pub(super) async fn apply(ctx: &Context, step: &Step, notes: &(dyn Fn(StepNote) + Send + Sync)) -> Result<()> {
    let host = step.host.as_str();
    match &step.action {
        Action::WriteFile { path, content, mode } => files::write(ctx, host, path, content, *mode).await,
        Action::RemoveFile { path } => files::remove(ctx, host, path).await,
        Action::WriteBlock { path, marker, lines } => files::write_block(ctx, host, path, marker, lines).await,
        Action::LoadModule { module } => system::load_module(ctx, host, module).await,
        Action::SetSysctl { key, value } => system::set_sysctl(ctx, host, key, value).await,
        Action::SwapOff => system::swap_off(ctx, host).await,
        Action::PutBlob { digest, size, .. } => files::put_blob(ctx, host, digest, *size, notes).await,
        Action::InstallBlob { digest, path, mode } => files::install(ctx, host, digest, path, *mode).await,
        Action::UnpackBlob { digest, members } => files::unpack(ctx, host, digest, members).await,
        Action::InstallPackages { manager, names, set } => packages::install(ctx, host, *manager, names, set).await,
        Action::Unit { name, enabled, active, started_after: _ } => {
            units::bring(ctx, host, name, *enabled, *active).await
        }
        Action::ImportImage { name, manifest, manifest_size, media_type, blobs } => {
            images::import(ctx, host, name, manifest, *manifest_size, media_type, blobs).await
        }
        Action::RegistryIdentity { names, peers, ca } => registry::identity(ctx, host, names, peers, ca.as_ref()).await,
        Action::RegistryTrust { peers, ca } => registry::trust(ctx, host, peers, ca.as_ref()).await,
        Action::EtcdIdentity { names, peers, ca } => etcd::identity(ctx, host, names, peers, ca.as_ref()).await,
        Action::EtcdClient { peers, ca } => etcd::client(ctx, host, peers, ca.as_ref()).await,
        Action::PlaceCertificates { placed } => certificates::place(ctx, host, placed).await,
        Action::EtcdEnter { member, peer_url, peers } => etcd::enter(ctx, host, member, peer_url, peers).await,
        Action::ResetPartial { node, control_plane } => reset::partial(ctx, host, node, *control_plane).await,
        Action::KubeadmInit { config, skip_phases, ignore_preflight_errors, .. } => {
            join::init(ctx, host, config, skip_phases, ignore_preflight_errors).await
        }
        Action::KubeadmJoin { control_plane, config, skip_phases, ignore_preflight_errors, sponsors, .. } => {
            let plan = join::Join {
                control_plane: *control_plane,
                config,
                skip_phases,
                ignore: ignore_preflight_errors,
                sponsors,
            };
            join::join(ctx, host, &plan).await
        }
        Action::NodeMeta { node, labels, taints, remove_taints } => {
            cluster::node_meta(ctx, host, node, labels, taints, remove_taints).await
        }
        Action::WaitNodeReady { .. }
        | Action::WaitControlPlane { .. }
        | Action::WaitStaticPods { .. }
        | Action::WaitEtcdMembers { .. } => cluster::wait(ctx, host, &step.action, notes).await,
        Action::RestartPods { components } => cluster::restart_pods(ctx, host, components).await,
        Action::SpreadDns { timeout_s } => dns::spread(ctx, host, &step.action, *timeout_s, notes).await,
        Action::TestPodNetwork { image, nodes, timeout_s } => {
            network::test(ctx, host, image, nodes, *timeout_s, notes).await
        }
        Action::ApplyManifest { name, digest, server_side } => {
            addons::manifest(ctx, host, name, digest, *server_side).await
        }
        Action::HelmRelease { release, namespace, digest, mark, timeout_s, atomic, server_side } => {
            let wanted = addons::Release {
                release,
                namespace,
                digest,
                mark,
                timeout_s: *timeout_s,
                atomic: *atomic,
                server_side: *server_side,
            };
            addons::release(ctx, host, &wanted, notes).await
        }
        Action::EtcdSnapshot { path } => upgrade::snapshot(ctx, host, path).await,
        Action::KeepVersion { version, runtime } => upgrade::keep(ctx, host, version, *runtime).await,
        Action::KubeadmUpgrade { version, first, control_plane, ignore_preflight_errors, images } => {
            if let Some(images) = images {
                upgrade::images(ctx, host, images).await?;
            }
            upgrade::kubeadm(ctx, host, version, *first, *control_plane, ignore_preflight_errors).await
        }
        Action::UpgradeAddons { .. } => upgrade::addons(ctx, host, &step.action).await,
        Action::Cordon { node, version, through } => room::take(ctx, through, node, version).await,
        Action::Drain { node, through, timeout_s, grace_s, unfinished } => {
            drain::drain(ctx, through, node, *timeout_s, *grace_s, *unfinished).await
        }
        Action::WaitNodeVersion { .. } => upgrade::wait(ctx, host, &step.action, notes).await,
        Action::Uncordon { node, through, ends } => drain::uncordon(ctx, through, node, *ends).await,
        Action::Gate { nodes, version, soak_s, timeout_s, gates } => {
            let wave = gate::Wave { nodes, version, soak_s: *soak_s, timeout_s: *timeout_s, gates };
            gate::pass(ctx, host, &wave, notes).await
        }
        Action::Evacuate { node, timeout_s, grace_s, unfinished } => {
            drain::evacuate(ctx, host, node, *timeout_s, *grace_s, *unfinished).await
        }
        Action::LeaveEtcd { node, address, .. } => leave::etcd(ctx, host, node, *address, &step.action).await,
        Action::ForgetNode { node } => leave::forget(ctx, host, node).await,
        Action::UploadSettings { .. } => settings::upload(ctx, host, &step.action).await,
        Action::ControlPlaneSettings { .. } => settings::control_plane(ctx, host, &step.action, notes).await,
        Action::KubeletSettings { .. } => settings::kubelet(ctx, host, &step.action, notes).await,
        Action::RuntimeSettings { .. } => runtime::settings(ctx, host, &step.action, notes).await,
        Action::ProxySettings { .. } => settings::proxy(ctx, host, &step.action).await,
        Action::ResetHost { node, files, units, dirs } => reset::host(ctx, host, node, files, units, dirs).await,
    }
}
