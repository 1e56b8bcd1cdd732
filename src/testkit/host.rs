//! One simulated host: an engine, and what its driver would do for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::simulation::{Habits, Pretended};
use super::tenant::Tenant;
use crate::engine::{Engine, EngineConfig, Event, Input, Status, Timing};
use crate::id::{NodeId, ReplicaId};
use crate::membership::Identity;
use crate::roles::RoleSpec;
use crate::sabotage::{Rule, Sabotage};
use crate::signals::Gauge;
use crate::store::{Store, StoreConfig};
use crate::time::{Instant, Now};
use crate::wire::Versions;

/// So many datagrams fit the buffers of a host whose process stands still.
pub(super) const OWN_BUFFER: usize = 256;

/// A simulated host, by the order of [`Simulation::add`](super::Simulation::add).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeIndex(pub(super) usize);

/// What a simulated node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub(super) cluster: String,
    pub(super) node: NodeId,
    pub(super) timing: Timing,
    pub(super) kinds: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) roles: Vec<RoleSpec>,
    pub(super) skew_ms: i64,
    pub(super) tombstone_quota: u64,
    pub(super) departed_authors: usize,
    pub(super) protocol: Versions,
    /// The largest datagram of rows and about the largest frame.
    pub(super) packing: (usize, usize),
    pub(super) habits: Habits,
    pub(super) sabotage: Sabotage,
}

impl NodeOptions {
    /// A node of this name with the timing of hosts on one network.
    ///
    /// # Panics
    ///
    /// If the name is no [`NodeId`].
    pub fn named(name: &str) -> Self {
        let node = NodeId::new(name).expect("the name of a simulated node is well formed");
        Self {
            cluster: "simulated".to_owned(),
            node,
            timing: Timing::lan(),
            kinds: BTreeSet::new(),
            labels: BTreeMap::new(),
            roles: Vec::new(),
            skew_ms: 0,
            tombstone_quota: EngineConfig::TOMBSTONE_QUOTA,
            departed_authors: EngineConfig::DEPARTED_AUTHORS,
            protocol: Versions::OURS,
            packing: (usize::MAX, usize::MAX),
            habits: Habits::default(),
            sabotage: Sabotage::default(),
        }
    }

    /// Makes this a node of another cluster on the same network; without it all are of one.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        name.clone_into(&mut self.cluster);
        self
    }

    /// Sets how fast everything goes.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Asks for a role, of a kind that this node can build; in place of what was asked for under its name before.
    #[must_use]
    pub fn role(mut self, spec: RoleSpec) -> Self {
        self.kinds.insert(spec.kind.clone());
        self.roles.retain(|role| role.name != spec.name);
        self.roles.push(spec);
        self
    }

    /// Gives this node a label.
    #[must_use]
    pub fn label(mut self, label: &str, value: &str) -> Self {
        self.labels.insert(label.to_owned(), value.to_owned());
        self
    }

    /// Sets how its role tasks behave, where no real application runs them.
    #[must_use]
    pub fn habits(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    /// Sets how many removed rows are kept for members that are Down.
    #[must_use]
    pub fn tombstone_quota(mut self, quota: u64) -> Self {
        self.tombstone_quota = quota;
        self
    }

    /// Sets how many processes that are no members any more may have rows left.
    #[must_use]
    pub fn departed_authors(mut self, authors: usize) -> Self {
        self.departed_authors = authors;
        self
    }

    /// Lets this node speak the protocol versions from one to another. All of them are the one that there is, under
    /// other numbers.
    #[must_use]
    pub fn protocol(mut self, low: u8, high: u8) -> Self {
        self.protocol = Versions { low, high };
        self
    }

    /// Lets this node send rows in datagrams of at most so many bytes, and in sessions in frames of about so many: so
    /// that everything comes in pieces. See [`Engine::set_packing`].
    #[must_use]
    pub fn packing(mut self, datagram_bytes: usize, frame_bytes: usize) -> Self {
        self.packing = (datagram_bytes, frame_bytes);
        self
    }

    /// Lets this node break a rule, besides those that it breaks already.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn sabotage(mut self, rule: Rule) -> Self {
        self.sabotage = self.sabotage.and(rule);
        self
    }

    /// Lets this node's wall clock run ahead by so many milliseconds, or behind.
    #[must_use]
    pub fn skew_ms(mut self, skew_ms: i64) -> Self {
        self.skew_ms = skew_ms;
        self
    }
}

/// One simulated host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) options: NodeOptions,
    pub(super) address: SocketAddr,
    /// Counts the processes that ran here; what only an earlier one could hear is lost.
    pub(super) life: u64,
    /// When the process started: its own clock counts from then.
    pub(super) booted: Instant,
    pub(super) engine: Option<Engine>,
    pub(super) store: Arc<Store>,
    pub(super) status: Option<Arc<Status>>,
    pub(super) events: Vec<Event>,
    /// The roles whose tasks run here now.
    pub(super) tasks: BTreeSet<String>,
    /// Those of them that are only pretended, which is all of them where there is no tenant.
    pub(super) pretended: BTreeMap<String, Pretended>,
    /// How many pretended tasks were started here, and how many of them failed.
    pub(super) starts: u64,
    pub(super) failures: u64,
    /// The first role of which a second task was started while one ran.
    pub(super) doubled: Option<String>,
    /// The one signal that the application has, once it has one.
    pub(super) gauge: Option<Arc<Gauge>>,
    pub(super) accepted: u64,
    /// The first thing sent that was too large, and the limit.
    pub(super) oversized: Option<(usize, usize)>,
    /// When the scheduler wakes the engine next.
    pub(super) wake_at: Option<Instant>,
    /// The process stands still.
    pub(super) paused: bool,
    /// What reached the host meanwhile.
    pub(super) backlog: VecDeque<Input>,
    /// The host is up and on the network.
    pub(super) plugged: bool,
    pub(super) replies: Vec<(u64, crate::engine::Reply)>,
    /// The application, where it is a real one.
    pub(super) tenant: Option<Box<dyn Tenant>>,
}

impl Host {
    pub(super) fn new(index: usize, options: NodeOptions) -> Self {
        let number = u32::try_from(index).expect("fewer than 2^24 simulated hosts") + 1;
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number);
        let store = Arc::new(Store::new(StoreConfig::new(ReplicaId(0), 0)));
        Self {
            options,
            address: SocketAddr::from((ip, 4_871)),
            life: 0,
            booted: Instant::ZERO,
            engine: None,
            store,
            status: None,
            events: Vec::new(),
            tasks: BTreeSet::new(),
            pretended: BTreeMap::new(),
            starts: 0,
            failures: 0,
            doubled: None,
            gauge: None,
            accepted: 0,
            oversized: None,
            wake_at: None,
            paused: false,
            backlog: VecDeque::new(),
            plugged: true,
            replies: Vec::new(),
            tenant: None,
        }
    }

    /// The moment of the simulation at which the monotone clock of the process shows so much.
    pub(super) fn moment_of(&self, shown: Instant) -> Instant {
        self.booted + shown.since(Instant::ZERO)
    }

    /// When the engine wants to be woken, by the time of the simulation.
    pub(super) fn due(&self) -> Option<Instant> {
        let shown = self.engine.as_ref().and_then(Engine::poll_timeout)?;
        Some(self.moment_of(shown))
    }

    /// What a process leaves behind when it ends: nothing.
    pub(super) fn end(&mut self) {
        self.engine = None;
        self.status = None;
        self.tasks.clear();
        self.pretended.clear();
        self.gauge = None;
        self.wake_at = None;
        self.paused = false;
        self.backlog.clear();
        self.tenant = None;
    }

    /// A pretended task is no more.
    pub(super) fn forget(&mut self, role: &str) {
        self.tasks.remove(role);
        self.pretended.remove(role);
    }

    /// Starts a new process, with a replica id and a seed of its own and nothing remembered.
    pub(super) fn boot(&mut self, now: Now, replica: ReplicaId, seed: u64) -> EngineConfig {
        self.end();
        self.life += 1;
        let sabotage = self.options.sabotage;
        let replica = if sabotage.breaks(Rule::ReuseId) && self.life > 1 { self.store.replica() } else { replica };
        self.store = Arc::new(Store::new(StoreConfig { sabotage, ..StoreConfig::new(replica, seed) }));
        let identity =
            Identity { address: self.address, node: self.options.node.clone(), replica, boot: now.wall_ms, renewal: 0 };
        let config = EngineConfig {
            cluster: self.options.cluster.clone(),
            identity,
            timing: self.options.timing.clone(),
            kinds: self.options.kinds.clone(),
            labels: self.options.labels.clone(),
            roles: self.options.roles.clone(),
            tombstone_quota: self.options.tombstone_quota,
            departed_authors: self.options.departed_authors,
            protocol: self.options.protocol,
            seed,
        };
        let mut engine = Engine::new(now, config.clone(), self.store.clone());
        engine.set_packing(self.options.packing.0, self.options.packing.1);
        self.engine = Some(engine);
        config
    }
}
