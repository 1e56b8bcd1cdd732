//! The scheduler: one queue of what happens when, one engine on each host, one network between them.
//!
//! ```text
//!   Queue ── next ──▶ deliver ──▶ Engine::handle ──▶ carry out ─┬─▶ datagrams, streams ── Network ──▶ Queue
//!     ▲                                                          ├─▶ role tasks
//!     └──────────── deadlines, beacons ──────────────────────────┴─▶ status, events, replies
//! ```

mod datagrams;
mod drive;
pub(super) mod faults;
mod look;
mod queue;
mod streams;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::queue::Queue;
use self::streams::{End, Pipe};
pub use self::tasks::Habits;
pub(super) use self::tasks::{Pretended, Turn};
use super::host::{Host, NodeIndex, NodeOptions};
use super::network::{Network, Way};
use super::trace::{Recorder, Step, Trace};
use crate::engine::Input;
use crate::id::NodeId;
use crate::roles::FencingToken;
use crate::store::{Store, TableName, WriteError};
use crate::time::{Instant, Now};

/// A condition did not come true in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: the condition did not hold within {within:?} of virtual time; views: {views:?}")]
pub struct Timeout {
    /// The seed that repeats it.
    pub seed: u64,
    /// How long was waited.
    pub within: Duration,
    /// The view of each node that runs, at the end.
    pub views: Vec<(NodeId, Vec<NodeId>)>,
}

#[derive(Debug)]
pub(super) enum Happening {
    /// Something that only this process of the host can hear.
    Input {
        host: usize,
        life: u64,
        input: Input,
    },
    /// A packet for the host's address: whichever process is there hears it.
    Packet {
        host: usize,
        input: Input,
    },
    Wake {
        host: usize,
        life: u64,
    },
    Beacon {
        host: usize,
        life: u64,
    },
    /// A pretended role task of this process.
    Task {
        host: usize,
        life: u64,
        task: Box<(String, FencingToken, Turn)>,
    },
    GiveUp {
        end: End,
        since: Instant,
    },
}

/// A cluster on virtual time.
#[derive(Debug)]
pub struct Simulation {
    seed: u64,
    random: SmallRng,
    now: Instant,
    pub(super) hosts: Vec<Host>,
    network: Network,
    /// The version of the network's rules that was looked at last.
    network_seen: u64,
    queue: Queue,
    pipes: BTreeMap<End, Pipe>,
    /// Ends with something that does not get through for now.
    stuck: BTreeSet<End>,
    trace_hash: u64,
    recorder: Option<Recorder>,
}

/// The wall clock at the start of every simulation.
pub(super) const WALL_START_MS: u64 = 1_800_000_000_000;

impl Simulation {
    /// A network without hosts.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: SmallRng::seed_from_u64(seed),
            now: Instant::ZERO,
            hosts: Vec::new(),
            network: Network::default(),
            network_seen: 0,
            queue: Queue::default(),
            pipes: BTreeMap::new(),
            stuck: BTreeSet::new(),
            trace_hash: seed,
            recorder: None,
        }
    }

    /// The seed that everything follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a host and starts a node on it, at any time.
    pub fn add(&mut self, options: NodeOptions) -> NodeIndex {
        let index = self.hosts.len();
        self.hosts.push(Host::new(index, options));
        self.boot(index);
        NodeIndex(index)
    }

    /// The rules of the network.
    pub fn network(&self) -> Network {
        self.network.clone()
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.since(Instant::ZERO)
    }

    /// Equal for equal runs: covers every input of every node and its time.
    pub fn trace_hash(&self) -> u64 {
        self.trace_hash
    }

    /// Records from now on what happens to every node; to be called before the first is added. Only writes by
    /// [`Self::put`] and [`Self::remove`] are in it.
    ///
    /// # Panics
    ///
    /// If a node was added before.
    pub fn record(&mut self) {
        assert!(self.hosts.is_empty(), "a trace begins before the first node");
        self.recorder = Some(Recorder::new(self.seed));
    }

    /// What was recorded so far.
    pub fn take_trace(&mut self) -> Option<Trace> {
        self.recorder.take().map(Recorder::finish)
    }

    /// The store of a node, to write to and to read from as an application would.
    pub fn store(&self, node: NodeIndex) -> &Arc<Store> {
        &self.hosts[node.0].store
    }

    /// Writes at a node, as its application would.
    ///
    /// # Errors
    ///
    /// As [`Store::put`].
    pub fn put(&mut self, node: NodeIndex, table: &TableName, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.write(node, table, key, Some(value))
    }

    /// Removes at a node, as its application would.
    ///
    /// # Errors
    ///
    /// As [`Store::remove`].
    pub fn remove(&mut self, node: NodeIndex, table: &TableName, key: &[u8]) -> Result<(), WriteError> {
        self.write(node, table, key, None)
    }

    fn write(
        &mut self,
        node: NodeIndex,
        table: &TableName,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        let now = self.now_at(node);
        if let Some(recorder) = &mut self.recorder {
            let write = || (table.clone(), key.to_vec(), value.map(<[u8]>::to_vec));
            recorder.step(self.now, now, node.0, || Step::Write(write()));
        }
        let store = &self.hosts[node.0].store;
        match value {
            Some(value) => drop(store.put(now, table, key, value)?),
            None => drop(store.remove(now, table, key)?),
        }
        self.wrote(node);
        Ok(())
    }

    /// To be called after writing to a store directly: wakes the engine.
    pub fn wrote(&mut self, node: NodeIndex) {
        self.input(node.0, Duration::ZERO, Input::StoreChanged);
    }

    /// The clocks as a node's driver reads them now: the monotone one counts from the start of its process.
    pub fn now_at(&self, node: NodeIndex) -> Now {
        let host = &self.hosts[node.0];
        let wall_ms = self.true_wall_ms().saturating_add_signed(host.options.skew_ms);
        Now { instant: Instant::ZERO + self.now.since(host.booted), wall_ms }
    }

    /// What a wall clock shows that is right.
    pub(super) fn true_wall_ms(&self) -> u64 {
        WALL_START_MS + u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX - WALL_START_MS)
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now + span);
    }

    /// When something happens next, if nobody does anything before.
    pub(super) fn next_event(&self) -> Option<Instant> {
        self.queue.next()
    }

    /// Lets time pass up to a moment.
    pub(super) fn run_to(&mut self, end: Instant) {
        while self.step(end).is_some() {}
        self.now = self.now.max(end);
    }

    /// Lets time pass until a condition holds; returns how long that took.
    ///
    /// # Errors
    ///
    /// [`Timeout`], with what the nodes see.
    pub fn run_until(
        &mut self,
        within: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, Timeout> {
        let start = self.now;
        let end = start + within;
        loop {
            if condition(self) {
                return Ok(self.now.since(start));
            }
            if self.step(end).is_none() {
                let views = self.alive().into_iter().map(|node| (self.name(node), self.view(node))).collect();
                return Err(Timeout { seed: self.seed, within, views });
            }
        }
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.queue.push(self.now + after, happening);
    }

    pub(super) fn input(&mut self, host: usize, after: Duration, input: Input) {
        let life = self.hosts[host].life;
        self.schedule(after, Happening::Input { host, life, input });
    }

    /// Whether anything gets from one host to another.
    pub(super) fn way(&self, from: usize, to: usize) -> Way {
        if !self.hosts[from].plugged || !self.hosts[to].plugged {
            return Way::Silent;
        }
        self.network.way(NodeIndex(from), NodeIndex(to))
    }
}

#[cfg(test)]
mod tests;
