//! Whole nodes, with their public face and the application's own code, on the simulated network.
//!
//! ```text
//!   test body, role tasks ── Cluster, Table ──▶ Application ─┐ tenant of a host
//!        │ partition, crash, settle                          ▼
//!        └──────────▶ TestCluster ─▶ Stage ─▶ Simulation: engines, network, one queue of events
//!                                     ▲
//!   tokio's paused clock ─ conductor ─┘  lets the simulation run up to now
//! ```
//!
//! In come the application's calls and what the test does to the cluster; out goes what production would make of them.
//! One task carries everything: nothing here opens a socket, reads a clock of the host or draws what the seed does not
//! give. What differs from production is what lies between two engines, and that time is tokio's paused one.

mod application;
mod conductor;
mod differences;
mod faults;
mod look;
mod partition;
mod run;
mod settle;
mod stage;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use differences::Differences;
pub use partition::Partition;
pub use settle::Unsettled;
use stage::{Berth, Shared};

use super::{Network, NodeIndex};
use crate::cluster::{Builder, Cluster, StartError};
use crate::driver::guard::AbortOnDrop;
use crate::id::NodeId;

/// How a node is set up, kept for its next start.
type Setup = Rc<dyn Fn(Builder) -> Builder>;

#[doc = include_str!("tutorial.md")]
pub struct TestCluster {
    shared: Arc<Shared>,
    setups: RefCell<BTreeMap<String, Setup>>,
    _conductor: AbortOnDrop,
}

impl TestCluster {
    /// An empty cluster in a runtime of your own, which has to be on one thread and paused from its start, as with
    /// `#[tokio::test(start_paused = true)]`. [`TestCluster::run`] needs none of that.
    ///
    /// # Panics
    ///
    /// Outside such a runtime.
    pub fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Handle::try_current();
        let runtime = runtime.expect("no tokio runtime is running here; use `TestCluster::run`");
        assert!(
            runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread && is_paused(),
            "a test cluster needs a runtime on one thread, with time paused from its start: `start_paused = true`"
        );
        let shared = Arc::new(Shared::new(seed));
        let _conductor = AbortOnDrop(runtime.spawn(conductor::conduct(Arc::clone(&shared))));
        Self { shared, setups: RefCell::default(), _conductor }
    }

    /// The seed that everything follows from.
    pub fn seed(&self) -> u64 {
        self.shared.with(|stage| stage.simulation.seed())
    }

    /// Starts a node on a simulated host of that name, as [`Builder::start`] does in production: it returns before the node
    /// has joined. The set-up is kept for [`TestCluster::restart`].
    ///
    /// Everything that `setup` asks for counts, such as roles, kinds of roles, the preset or the stop grace, except where to
    /// listen and how to look for others, which the simulated network decides. The preset is that of a LAN unless another
    /// is set. The test cluster keeps a handle to each node, so that it lives until it is crashed or leaves; see
    /// [`TestCluster::release`].
    ///
    /// # Errors
    ///
    /// As in production, if a setting is wrong.
    ///
    /// # Panics
    ///
    /// If a node of that name runs already.
    pub async fn start(&self, name: &str, setup: impl Fn(Builder) -> Builder + 'static) -> Result<Cluster, StartError> {
        self.start_with(name, Rc::new(setup)).await
    }

    /// [`TestCluster::start`] for each of these names, with the same set-up.
    ///
    /// # Errors
    ///
    /// As [`TestCluster::start`].
    pub async fn start_all<const N: usize>(
        &self,
        names: [&str; N],
        setup: impl Fn(Builder) -> Builder + 'static,
    ) -> Result<[Cluster; N], StartError> {
        let setup: Setup = Rc::new(setup);
        let mut started = Vec::with_capacity(N);
        for name in names {
            started.push(self.start_with(name, Rc::clone(&setup)).await?);
        }
        Ok(started.try_into().unwrap_or_else(|_| unreachable!("one handle for each name")))
    }

    async fn start_with(&self, name: &str, setup: Setup) -> Result<Cluster, StartError> {
        self.setups.borrow_mut().insert(name.to_owned(), Rc::clone(&setup));
        setup(self.builder(name)).start().await
    }

    /// A builder whose [`start`](Builder::start) runs the node on a simulated host of that name: for an application whose
    /// own code starts its node. Without a set-up to keep, such a node is not restarted but started again.
    pub fn builder(&self, name: &str) -> Builder {
        Builder::on(Box::new(Berth { shared: Arc::clone(&self.shared), name: name.to_owned() }))
    }

    /// The handle to the process that runs on a host now.
    ///
    /// # Panics
    ///
    /// If none runs there, or it was [released](TestCluster::release).
    pub fn node(&self, name: &str) -> Cluster {
        let found = self.shared.with(|stage| stage.running(name).map(|place| place.keep.clone()));
        let handle = found.unwrap_or_else(|| self.no_such(name));
        handle.unwrap_or_else(|| panic!("{name:?} was released: its handles are yours"))
    }

    /// Where tasks of this role really run now, whatever anybody believes: by name, those that were asked to end and have
    /// not yet included.
    pub fn running(&self, role: &str) -> Vec<NodeId> {
        self.shared.with(|stage| {
            let nodes = stage.simulation.running(role).into_iter();
            let mut nodes: Vec<NodeId> = nodes.map(|node| stage.simulation.name(node)).collect();
            nodes.sort();
            nodes
        })
    }

    /// The simulated network, for rules that are not partitions: loss, delays, slow links and so on. They concern what is
    /// sent from then on.
    ///
    /// ```
    /// # use unisono::testkit::{Rule, TestCluster};
    /// # TestCluster::run(1, |cluster| async move {
    /// # let _nodes = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
    /// let lossy = cluster.network().add(Rule::loss(0.2).from(&[cluster.index("larry")]));
    /// cluster.assert_converged().await;
    /// drop(lossy);
    /// # });
    /// ```
    pub fn network(&self) -> Network {
        self.shared.with(|stage| stage.simulation.network())
    }

    /// A host, as the rules of the [`network`](TestCluster::network) name it.
    ///
    /// # Panics
    ///
    /// If nothing was ever started there.
    pub fn index(&self, name: &str) -> NodeIndex {
        let index = self.shared.with(|stage| stage.places.get(name).map(|place| place.index));
        index.unwrap_or_else(|| self.no_such(name))
    }

    /// Lets virtual time pass.
    pub async fn advance(&self, span: Duration) {
        self.shared.advanced.set(self.shared.advanced.get() + span);
        tokio::time::sleep(span).await;
    }

    /// Virtual time since the cluster was made.
    pub fn elapsed(&self) -> Duration {
        self.shared.with(|stage| stage.simulation.elapsed())
    }

    /// Equal for equal runs: covers everything that reached a node, and when.
    pub fn trace_hash(&self) -> u64 {
        self.shared.with(|stage| stage.simulation.trace_hash())
    }

    /// Says what is there instead.
    #[track_caller]
    fn no_such<T>(&self, name: &str) -> T {
        let (known, names) = self.shared.with(|stage| {
            let names: Vec<String> = stage.names().into_iter().map(str::to_owned).collect();
            (stage.places.contains_key(name), look::list(&names))
        });
        let what =
            if known { "does not run: it crashed or left, `restart` starts it again" } else { "was never started" };
        panic!("{name:?} {what}; running: {}", if names.is_empty() { "none" } else { &names })
    }
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCluster").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Whether tokio's clock stands still. One that runs moves on within a few readings, each of which takes nanoseconds.
fn is_paused() -> bool {
    let first = tokio::time::Instant::now();
    (0..10_000).all(|_| tokio::time::Instant::now() == first)
}
