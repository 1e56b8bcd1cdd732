//! [`Plan`]: all that a node brings along, whatever carries it: sockets of this host, or a simulated one.
//!
//! ```text
//!   Builder ── checked ──▶ Plan ─┬─▶ engine_config ─▶ whoever makes the engine and drives it
//!                                ├─▶ runner         ─▶ whoever runs role tasks
//!                                └─▶ handle         ─▶ Cluster, once it runs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Cluster;
use super::config::{Config, Settings};
use super::mail::{Handlers, Post};
use super::monitor::{Monitor, MonitorConfig};
use super::node::{Local, Node, Parts, Patience};
use super::role::Factories;
use super::signals::Load;
use crate::driver::{Clock, Driver, Latest, RoleRunner};
use crate::engine::{EngineConfig, Timing};
use crate::id::{NodeId, ReplicaId};
use crate::membership::Identity;
use crate::roles::RoleSpec;
use crate::signals::Board;
use crate::store::Store;

/// A checked set-up of a node.
pub(crate) struct Plan {
    /// The name of the cluster.
    pub(crate) cluster: String,
    /// The name of the node, if one was given.
    pub(crate) node: Option<NodeId>,
    /// How patient its timers are.
    pub(crate) timing: Timing,
    /// The kinds of roles that it can build.
    pub(crate) kinds: BTreeSet<String>,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The roles that it asks for.
    pub(crate) roles: Vec<RoleSpec>,
    /// What builds the tasks of its roles. They wait for the handle.
    pub(crate) runner: Box<dyn RoleRunner>,
    /// How long these may take to end.
    pub(crate) stop_grace: Duration,
    /// Makes the application's handle.
    pub(crate) handle: Handle,
}

/// The application's handle to be.
pub(crate) struct Handle {
    patience: Patience,
    pub(super) monitor: MonitorConfig,
    handlers: Handlers,
    made: Latest<Option<Cluster>>,
}

/// What became of a plan: who runs, where, on what.
pub(crate) struct Run {
    pub(crate) node: NodeId,
    pub(crate) replica: ReplicaId,
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
}

impl Plan {
    pub(super) fn new(config: &Config, settings: &Settings, mut factories: Factories) -> Self {
        let handlers = std::mem::take(&mut factories.handlers);
        let made = Latest::new(None);
        let patience = Patience {
            converge: settings.converge_timeout,
            leave: settings.leave_patience,
            stop_grace: settings.stop_grace,
        };
        Self {
            cluster: config.cluster.clone(),
            node: settings.node.clone(),
            timing: settings.timing.clone(),
            kinds: factories.kinds(),
            labels: config.labels.clone(),
            roles: config.roles.clone(),
            runner: Box::new(factories.into_runner(made.reader())),
            stop_grace: settings.stop_grace,
            handle: Handle { patience, monitor: settings.monitor, handlers, made },
        }
    }

    pub(super) fn engine_config(&self, identity: Identity, seed: u64) -> EngineConfig {
        EngineConfig {
            cluster: self.cluster.clone(),
            identity,
            timing: self.timing.clone(),
            kinds: self.kinds.clone(),
            labels: self.labels.clone(),
            roles: self.roles.clone(),
            tombstone_quota: EngineConfig::TOMBSTONE_QUOTA,
            departed_authors: EngineConfig::DEPARTED_AUTHORS,
            protocol: Default::default(),
            seed,
        }
    }
}

impl Handle {
    /// The application's handle to the node, which runs by now.
    pub(crate) fn make(self, run: Run, driver: Driver) -> Cluster {
        let Run { node, replica, address, store, board, clock } = run;
        let load = Load::new(&store, board, Arc::new(Monitor::new(self.monitor.history)));
        let post = Post::new(driver.mail(), clock.clone(), self.handlers.names());
        self.handlers.serve(&post);
        let local = Local::new(store, clock, &node);
        let parts = Parts { node, replica, address, patience: self.patience, local, load, post };
        let cluster = Cluster::counted(Arc::new(Node::new(parts, driver)));
        self.made.set(Some(cluster.uncounted()));
        cluster
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("cluster", &self.cluster).field("node", &self.node).finish_non_exhaustive()
    }
}
