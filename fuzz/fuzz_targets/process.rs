//! The processes that engines are fuzzed in: larry and gary, on one host.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use unisono::engine::{Engine, EngineConfig, Timing};
use unisono::membership::Identity;
use unisono::roles::RoleSpec;
use unisono::store::{Store, StoreConfig};
use unisono::time::Now;
use unisono::{NodeId, ReplicaId};

/// The cluster of both.
pub(crate) const CLUSTER: &str = "fuzz";

/// The role that both ask for and can build.
pub(crate) const ROLE: &str = "gate";

/// Where a node listens.
pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, if node == 0 { 4_871 } else { 4_872 }))
}

/// Starts the process of a node.
pub(crate) fn start(now: Now, node: usize, replica: ReplicaId, tombstone_quota: u64) -> (Engine, Arc<Store>) {
    let name = NodeId::new(["larry", "gary"][node]).expect("a valid name");
    let identity = Identity { address: address(node), node: name, replica, boot: now.wall_ms, renewal: 0 };
    let config = EngineConfig {
        cluster: CLUSTER.to_owned(),
        identity,
        timing: Timing::local(),
        kinds: [ROLE.to_owned()].into(),
        labels: Default::default(),
        roles: vec![RoleSpec::new(ROLE)],
        tombstone_quota,
        departed_authors: EngineConfig::DEPARTED_AUTHORS,
        protocol: Default::default(),
        seed: replica.0,
    };
    let store = Arc::new(Store::new(StoreConfig::new(replica, 7)));
    (Engine::new(now, config, store.clone()), store)
}
