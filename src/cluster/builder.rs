//! [`Builder`]: from settings to a running node.
//!
//! ```text
//!   Config ── check ──▶ Settings ── bind ──▶ address ──▶ Identity ─┐
//!   operating system ── Draw (replica, seed) ──────────────────────┼─▶ Store, Engine ──▶ driver runs ──▶ Cluster
//!   factories ── kinds ──▶ Plan ───────────────────────────────────┘
//! ```
//!
//! With the feature `testkit` a builder may come from a simulated host. It checks its settings like any other and then
//! hands its [`Plan`] to that host instead of binding ports.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::config::{Config, Preset};
use super::config_error::ConfigError;
use super::entropy::Draw;
use super::error::StartError;
use super::host_name::default_node;
use super::monitor::MonitorConfig;
use super::plan::{Plan, Run};
use super::role::{Factories, RoleContext, RoleResult};
use super::server::{DistrServer, as_role, reached};
use super::timing::TimingConfig;
use crate::discovery::{BeaconConfig, StaticList, Strategy};
use crate::driver::{self, BindConfig, Bound, Clock, RunConfig};
use crate::engine::Engine;
use crate::id::ReplicaId;
use crate::membership::Identity;
use crate::roles::RoleSpec;
use crate::signals::Board;
use crate::store::{Store, StoreConfig};

/// Sets up a node; begin with [`Cluster::builder`]. What is not set keeps its default, see [`Config`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use unisono::{Cluster, RoleContext, RoleSpec};
///
/// let cluster = Cluster::builder()
///     .name("doc-builder")
///     .node("larry")
///     .net("127.0.0.0/8")
///     .port(21_160)
///     .role_kind("gate", |context: RoleContext| async move {
///         // Serve the gate named in the arguments until the role is moved elsewhere.
///         context.stopped().await;
///         Ok(())
///     })
///     .role(RoleSpec::new("gate-1").kind("gate").arguments("north"))
///     .start()
///     .await?;
/// assert_eq!(cluster.node().as_str(), "larry");
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing before `start`"]
pub struct Builder {
    config: Config,
    factories: Factories,
    strategies: Vec<Box<dyn Strategy>>,
    #[cfg(feature = "testkit")]
    host: Option<Box<dyn SimulatedHost>>,
}

/// A host that only exists in a test, and runs what a builder planned.
#[cfg(feature = "testkit")]
pub(crate) trait SimulatedHost: Send {
    /// Its name, which is the node's too, whatever the settings say.
    fn node(&self) -> &str;

    /// Runs a node here. The plan was checked.
    fn start(&self, plan: Plan) -> Cluster;
}

impl Builder {
    /// Replaces all settings made so far, but not the role factories and strategies.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The name of the cluster, see [`Config::cluster`].
    pub fn name(mut self, cluster: impl Into<String>) -> Self {
        self.config.cluster = cluster.into();
        self
    }

    /// The name of this node, see [`Config::node`].
    pub fn node(mut self, node: impl ToString) -> Self {
        self.config.node = Some(node.to_string());
        self
    }

    /// The subnet, see [`Config::net`].
    pub fn net(mut self, net: impl ToString) -> Self {
        self.config.net = net.to_string();
        self
    }

    /// The cluster port, see [`Config::port`].
    pub fn port(mut self, port: u16) -> Self {
        self.config.port = port;
        self
    }

    /// The node's own port, see [`Config::own_port`].
    pub fn own_port(mut self, port: u16) -> Self {
        self.config.own_port = Some(port);
        self
    }

    /// The address to listen on, see [`Config::bind`].
    pub fn bind(mut self, host: impl ToString) -> Self {
        self.config.bind = Some(host.to_string());
        self
    }

    /// The address by which others reach this node, see [`Config::advertise`].
    pub fn advertise(mut self, address: impl ToString) -> Self {
        self.config.advertise = Some(address.to_string());
        self
    }

    /// How patient the timers are, see [`Config::preset`].
    pub fn preset(mut self, preset: Preset) -> Self {
        self.config.preset = Some(preset);
        self
    }

    /// Timers that differ from those of the preset, see [`Config::timing`].
    pub fn timing(mut self, timing: TimingConfig) -> Self {
        self.config.timing = timing;
        self
    }

    /// One more address of another node, see [`Config::peers`].
    pub fn peer(mut self, address: impl ToString) -> Self {
        self.config.peers.push(address.to_string());
        self
    }

    /// Whether to look for others by broadcast, see [`Config::broadcast`].
    pub fn broadcast(mut self, broadcast: bool) -> Self {
        self.config.broadcast = broadcast;
        self
    }

    /// How long a role's task may take to end, see [`Config::stop_grace_ms`].
    pub fn stop_grace(mut self, stop_grace: Duration) -> Self {
        self.config.stop_grace_ms = millis(stop_grace);
        self
    }

    /// How long [`Cluster::converged`] waits, see [`Config::converge_timeout_ms`].
    pub fn converge_timeout(mut self, timeout: Duration) -> Self {
        self.config.converge_timeout_ms = millis(timeout);
        self
    }

    /// How long [`Cluster::leave`] tries to hand over, see [`Config::leave_patience_ms`].
    pub fn leave_patience(mut self, patience: Duration) -> Self {
        self.config.leave_patience_ms = millis(patience);
        self
    }

    /// Whether and how the node measures its own host, see [`Config::monitor`].
    pub fn monitor(mut self, monitor: MonitorConfig) -> Self {
        self.config.monitor = monitor;
        self
    }

    /// One more role that the cluster should keep running.
    pub fn role(mut self, spec: RoleSpec) -> Self {
        self.config.roles.push(spec);
        self
    }

    /// One more label of this node, see [`Config::labels`].
    pub fn label(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.labels.insert(label.into(), value.into());
        self
    }

    /// Registers how to build roles of a kind; this node then is a candidate for all roles of that kind, whichever node
    /// declared them.
    ///
    /// The factory is called at each start of such a role here and its future run as a task. The task is to run until
    /// [`RoleContext::stopped`]; ending before, failing and panicking count as failures, after which it is started
    /// again with growing pauses.
    pub fn role_kind<F, R>(mut self, kind: impl Into<String>, factory: F) -> Self
    where
        F: Fn(RoleContext) -> R + Send + Sync + 'static,
        R: Future<Output = RoleResult> + Send + 'static,
    {
        self.factories.add(kind.into(), factory);
        self
    }

    /// Registers a [`DistrServer`] as the kind of roles, as [`Builder::role_kind`] does with tasks. The factory is called at
    /// each start and can look at the role's arguments. [`Cluster::server`] gives a handle to the one that runs here.
    ///
    /// ```no_run
    /// # use unisono::{DistrServer, Lww, RoleSpec, ServerConfig, ServerContext, ServerResult};
    /// # struct Visits;
    /// # impl DistrServer for Visits {
    /// #     type Call = String;
    /// #     type Reply = u64;
    /// #     type Cast = ();
    /// #     type Key = String;
    /// #     type Value = Lww<u64>;
    /// #     fn config(&self) -> ServerConfig {
    /// #         ServerConfig::new("visits")
    /// #     }
    /// #     async fn handle_call(&mut self, _: String, _: &ServerContext<Self>) -> ServerResult<u64> {
    /// #         Ok(1)
    /// #     }
    /// # }
    /// let builder = unisono::Cluster::builder()
    ///     .server_kind("visits", |_| Visits)
    ///     .role(RoleSpec::new("visits"));
    /// ```
    pub fn server_kind<S, F>(self, kind: impl Into<String>, factory: F) -> Self
    where
        S: DistrServer,
        F: Fn(&RoleContext) -> S + Send + Sync + 'static,
    {
        let factory = Arc::new(factory);
        self.role_kind(kind, move |context| as_role(Arc::clone(&factory), None, context))
    }

    /// [`Builder::server_kind`] for a server that is called from every node, as the [`RoleProtocol`](super::RoleProtocol) of its role:
    /// `cluster.role::<Visits>("visits").call(..)`. Its messages have to be types that can be encoded.
    ///
    /// What others send waits in the mailbox of the role, see [`Mailbox`](super::Mailbox), and is dealt with in turn with
    /// what comes from handles.
    pub fn reachable_server_kind<S, F>(self, kind: impl Into<String>, factory: F) -> Self
    where
        S: DistrServer,
        S::Call: Serialize + DeserializeOwned,
        S::Reply: Serialize + DeserializeOwned,
        S::Cast: Serialize + DeserializeOwned,
        F: Fn(&RoleContext) -> S + Send + Sync + 'static,
    {
        let factory = Arc::new(factory);
        self.role_kind(kind, move |context| as_role(Arc::clone(&factory), Some(reached()), context))
    }

    /// Registers a function that others call by name, see [`Cluster::on_node`]. It is told what they ask and who asks (see
    /// [`Member::replica`](crate::Member::replica)). Up to 256 calls run at once, each as a task; 1,024 more wait, and
    /// further ones are refused. A panic is told to the caller.
    ///
    /// ```no_run
    /// let builder = unisono::Cluster::builder().handler("free spaces", |deck: String, _| async move { deck.len() as u32 });
    /// ```
    pub fn handler<Q, R, F, Fut>(mut self, name: impl Into<String>, handler: F) -> Self
    where
        Q: DeserializeOwned,
        R: Serialize,
        F: Fn(Q, ReplicaId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.factories.handlers.add(name.into(), handler);
        self
    }

    /// One more way to find other nodes, besides broadcast and [`Config::peers`].
    pub fn strategy(mut self, strategy: impl Strategy) -> Self {
        self.strategies.push(Box::new(strategy));
        self
    }

    /// Checks the settings, binds the ports and lets the node run on the current tokio runtime. It returns before the
    /// node has joined; await [`Cluster::ready`] for that.
    ///
    /// Cancel safe: dropping the future leaves nothing behind.
    pub async fn start(self) -> Result<Cluster, StartError> {
        tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        #[cfg(feature = "testkit")]
        if self.host.is_some() {
            return self.start_simulated();
        }
        let settings = self.config.settings()?;
        self.check_kinds()?;
        let draw = Draw::new()?;
        let bound = driver::bind(&BindConfig {
            net: settings.net,
            cluster_port: self.config.port,
            bind: settings.bind,
            port: self.config.own_port,
            advertise: settings.advertise,
        })
        .await?;
        let Self { config, factories, mut strategies, .. } = self;
        if !settings.peers.is_empty() {
            strategies.push(Box::new(StaticList::new(settings.peers.iter().copied())));
        }
        let beacon = config.broadcast.then_some(BeaconConfig { replica: draw.replica, seed: draw.seed });
        let plan = Plan::new(&config, &settings, factories);
        Ok(run(plan, Discovery { strategies, beacon }, draw, bound))
    }

    fn check_kinds(&self) -> Result<(), ConfigError> {
        if let Some(kind) = &self.factories.twice {
            return Err(ConfigError::KindTwice { kind: kind.clone() });
        }
        if let Some(kind) = self.factories.kinds().into_iter().find(|kind| !RoleSpec::is_name(kind)) {
            return Err(ConfigError::Kind { kind });
        }
        if let Some(handler) = &self.factories.handlers.twice {
            return Err(ConfigError::HandlerTwice { handler: handler.clone() });
        }
        for role in self.config.roles.iter().filter(|role| !self.factories.has(&role.kind)) {
            tracing::warn!(role = role.name, kind = role.kind, "no factory for it here; another node has to host it");
        }
        Ok(())
    }

    /// A builder whose node runs on a simulated host.
    #[cfg(feature = "testkit")]
    pub(crate) fn on(host: Box<dyn SimulatedHost>) -> Self {
        // Not a loopback network, so that the timers are those of a LAN unless others are asked for.
        let config = Config { net: "10.0.0.0/8".to_owned(), ..Config::default() };
        Self { config, host: Some(host), ..Self::default() }
    }

    #[cfg(feature = "testkit")]
    fn start_simulated(mut self) -> Result<Cluster, StartError> {
        let host = self.host.take().expect("asked for only where there is a host");
        self.config.node = Some(host.node().to_owned());
        let settings = self.config.settings()?;
        self.check_kinds()?;
        let plan = Plan::new(&self.config, &settings, self.factories);
        Ok(host.start(plan))
    }
}

/// How a node is to find others.
struct Discovery {
    strategies: Vec<Box<dyn Strategy>>,
    beacon: Option<BeaconConfig>,
}

fn run(plan: Plan, discovery: Discovery, draw: Draw, bound: Bound) -> Cluster {
    let Draw { replica, seed, hash_seed } = draw;
    let clock = Clock::start();
    let now = clock.now();
    let address = bound.address();
    let node = plan.node.clone().unwrap_or_else(|| default_node(address));
    let lanes = std::thread::available_parallelism().map_or(1, NonZero::get);
    let store = Arc::new(Store::new(StoreConfig { lanes, ..StoreConfig::new(replica, hash_seed) }));
    let identity = Identity { address, node: node.clone(), replica, boot: now.wall_ms, renewal: 0 };
    let mut engine = Engine::new(now, plan.engine_config(identity, seed), Arc::clone(&store));
    let board = Arc::<Board>::default();
    engine.set_board(Arc::clone(&board));
    let Plan { cluster, runner, stop_grace, handle, .. } = plan;
    let driver = bound.run(RunConfig {
        engine,
        store: store.clone(),
        clock: clock.clone(),
        cluster,
        strategies: discovery.strategies,
        beacon: discovery.beacon,
        runner,
        stop_grace,
    });
    let config = handle.monitor;
    let run = Run { node, replica, address, store, board: Arc::clone(&board), clock: clock.clone() };
    let cluster = handle.make(run, driver);
    cluster.measure(config, board, clock);
    cluster
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategies: Vec<_> = self.strategies.iter().map(|strategy| strategy.name()).collect();
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("kinds", &self.factories)
            .field("strategies", &strategies)
            .finish()
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
