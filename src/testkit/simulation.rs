//! The scheduler: one queue of what happens when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::carrier::End;
use super::host::{Host, NodeIndex, NodeOptions};
use super::network::{Network, Way};
use crate::engine::{Command, Engine, Event, Input, Liveness, Output, Phase, Reply, RoleReport, Status, StreamId};
use crate::id::{NodeId, ReplicaId};
use crate::store::Store;
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
    Input { host: usize, life: u64, input: Input },
    Wake { host: usize },
    Beacon { host: usize, life: u64 },
}

/// A cluster on virtual time.
#[derive(Debug)]
pub struct Simulation {
    seed: u64,
    pub(super) random: SmallRng,
    pub(super) now: Instant,
    pub(super) hosts: Vec<Host>,
    pub(super) network: Network,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    counter: u64,
    pub(super) streams: BTreeMap<End, End>,
    /// When the last frame that is under way arrives at this end: streams keep order.
    pub(super) arrivals: BTreeMap<End, Instant>,
    /// Frames that cannot get through for now, as TCP keeps them.
    pub(super) held: Vec<(End, End, Bytes)>,
    trace: u64,
}

/// The wall clock at the start of every simulation.
const WALL_START_MS: u64 = 1_800_000_000_000;

impl Simulation {
    /// A network without hosts.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: SmallRng::seed_from_u64(seed),
            now: Instant::ZERO,
            hosts: Vec::new(),
            network: Network::default(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            counter: 0,
            streams: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            held: Vec::new(),
            trace: seed,
        }
    }

    /// Adds a host and starts a node on it.
    pub fn add(&mut self, options: NodeOptions) -> NodeIndex {
        let index = self.hosts.len();
        self.hosts.push(Host::new(index, options));
        self.boot(index);
        NodeIndex(index)
    }

    /// The rules of the network.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.since(Instant::ZERO)
    }

    /// Equal for equal runs: covers every input of every node and its time.
    pub fn trace_hash(&self) -> u64 {
        self.trace
    }

    /// The store of a node, to write to and to read from as an application would.
    pub fn store(&self, node: NodeIndex) -> &Arc<Store> {
        &self.hosts[node.0].store
    }

    /// The clocks as a node's driver reads them now.
    pub fn now_at(&self, node: NodeIndex) -> Now {
        self.clocks(node.0)
    }

    /// Sets the wall clock of a node's host: so many milliseconds ahead of true time, or behind.
    pub fn set_skew_ms(&mut self, node: NodeIndex, skew_ms: i64) {
        self.hosts[node.0].options.skew_ms = skew_ms;
    }

    /// To be called after writing to a store: wakes the engine.
    pub fn wrote(&mut self, node: NodeIndex) {
        self.input(node.0, Duration::ZERO, Input::StoreChanged);
    }

    /// Ends the process of a node at once; its host goes on and refuses connections.
    pub fn kill(&mut self, node: NodeIndex) {
        let host = &mut self.hosts[node.0];
        host.engine = None;
        host.status = None;
        host.tasks.clear();
        let life = host.life;
        let ends: Vec<End> = self.streams.keys().filter(|end| (end.0, end.1) == (node.0, life)).copied().collect();
        for end in ends {
            self.hang_up(end);
        }
    }

    /// Starts a new process on the host of a node, which remembers nothing.
    pub fn restart(&mut self, node: NodeIndex) {
        self.kill(node);
        self.boot(node.0);
    }

    /// Asks a node to leave; the answer is in [`Self::replies`].
    pub fn leave(&mut self, node: NodeIndex, patience: Duration) {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.input(node.0, Duration::ZERO, Input::Command(Command::Leave { request: 0, patience_ms }));
    }

    /// What a node answered to commands.
    pub fn replies(&self, node: NodeIndex) -> &[(u64, Reply)] {
        &self.hosts[node.0].replies
    }

    /// What happened at a node, since its host was added.
    pub fn events(&self, node: NodeIndex) -> &[Event] {
        &self.hosts[node.0].events
    }

    /// The engine of a node, if it runs.
    pub fn engine(&self, node: NodeIndex) -> Option<&Engine> {
        self.hosts[node.0].engine.as_ref()
    }

    /// What a node sees of the cluster, if it runs.
    pub fn status(&self, node: NodeIndex) -> Option<&Status> {
        self.hosts[node.0].status.as_deref()
    }

    /// The view of a node; empty if it does not run or is in none.
    pub fn view(&self, node: NodeIndex) -> Vec<NodeId> {
        let members = self.status(node).map(|status| status.members.as_slice()).unwrap_or_default();
        members.iter().filter(|member| member.in_view).map(|member| member.node.clone()).collect()
    }

    /// The nodes on which a task of this role runs now: what really runs, whatever anybody believes.
    pub fn running(&self, role: &str) -> Vec<NodeIndex> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].tasks.contains(role)).map(NodeIndex).collect()
    }

    /// How many streams of a node are open.
    pub fn open_streams(&self, node: NodeIndex) -> usize {
        let life = self.hosts[node.0].life;
        self.streams.range((node.0, life, StreamId(0))..=(node.0, life, StreamId(u64::MAX))).count()
    }

    /// All hosts whose node runs.
    pub fn alive(&self) -> Vec<NodeIndex> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].engine.is_some()).map(NodeIndex).collect()
    }

    /// Whether all nodes that run see each other as alive, agree, and hold equal tables.
    pub fn all_converged(&self) -> bool {
        let alive = self.alive();
        self.converged(&alive)
    }

    /// Whether these nodes see exactly each other, agree, and hold equal tables.
    pub fn converged(&self, nodes: &[NodeIndex]) -> bool {
        let mut names: Vec<NodeId> = nodes.iter().map(|node| self.hosts[node.0].options.node.clone()).collect();
        names.sort();
        let mut digests = nodes.iter().map(|node| self.store(*node).digest());
        let first = digests.next();
        digests.all(|digest| Some(digest) == first)
            && nodes.iter().all(|node| {
                let ready = self.status(*node).is_some_and(|status| {
                    let fine = |member: &crate::engine::Member| !member.in_view || member.liveness == Liveness::Alive;
                    status.agreed && status.phase != Phase::Joining && status.members.iter().all(fine)
                });
                ready && self.view(*node) == names
            })
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until a condition holds; returns how long that took.
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
            if !self.step(end) {
                let views = self.alive().into_iter().map(|node| (self.name(node), self.view(node))).collect();
                return Err(Timeout { seed: self.seed, within, views });
            }
        }
    }

    fn name(&self, node: NodeIndex) -> NodeId {
        self.hosts[node.0].options.node.clone()
    }

    fn clocks(&self, host: usize) -> Now {
        let ms = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wall_ms = (WALL_START_MS + ms).saturating_add_signed(self.hosts[host].options.skew_ms);
        Now { instant: self.now, wall_ms }
    }

    fn boot(&mut self, index: usize) {
        let (replica, seed) = (ReplicaId(self.random.random()), self.random.random());
        let now = self.clocks(index);
        self.hosts[index].boot(now, replica, seed);
        let life = self.hosts[index].life;
        self.schedule(Duration::ZERO, Happening::Beacon { host: index, life });
        self.drain(index);
    }

    pub(super) fn schedule(&mut self, after: Duration, happening: Happening) {
        self.counter += 1;
        let key = (self.now + after, self.counter);
        self.queue.push(Reverse(key));
        self.happenings.insert(key, happening);
    }

    pub(super) fn input(&mut self, host: usize, after: Duration, input: Input) {
        let life = self.hosts[host].life;
        self.schedule(after, Happening::Input { host, life, input });
    }

    /// Lets the next thing happen, if it does so by `end`.
    fn step(&mut self, end: Instant) -> bool {
        let Some(Reverse(key)) = self.queue.peek().copied() else { return false };
        if key.0 > end {
            return false;
        }
        self.queue.pop();
        self.now = key.0;
        if !self.held.is_empty() {
            self.retry_held();
        }
        match self.happenings.remove(&key) {
            Some(Happening::Input { host, life, input }) if self.hosts[host].life == life => self.handle(host, input),
            Some(Happening::Wake { host }) => {
                let due = self.hosts[host].engine.as_ref().and_then(Engine::poll_timeout);
                if due.is_some_and(|due| due <= self.now) {
                    self.handle(host, Input::Deadline);
                }
            }
            Some(Happening::Beacon { host, life }) if self.hosts[host].life == life => self.beacon(host, life),
            _ => {}
        }
        true
    }

    fn handle(&mut self, host: usize, input: Input) {
        let now = self.clocks(host);
        let Some(engine) = &mut self.hosts[host].engine else { return };
        if let Input::Datagram { bytes, .. } | Input::Frame { bytes, .. } = &input {
            self.trace = xxh3_64_with_seed(bytes, self.trace);
        }
        self.trace = xxh3_64_with_seed(&(host as u64).to_be_bytes(), self.trace ^ now.instant.as_nanos());
        engine.handle(now, input);
        self.drain(host);
    }

    /// Looks for others every second while alone, every 30 s otherwise, in the broadcast domain.
    fn beacon(&mut self, host: usize, life: u64) {
        let Some(engine) = &self.hosts[host].engine else { return };
        let phase = engine.status().phase;
        let address = self.hosts[host].address;
        for other in 0..self.hosts.len() {
            if other != host && self.network.way(NodeIndex(host), NodeIndex(other)) == Way::Open {
                let after = self.network.draw_delay(&mut self.random);
                self.input(other, after, Input::Discovered { address });
            }
        }
        let pause = if phase == Phase::Clustered { Duration::from_secs(30) } else { Duration::from_secs(1) };
        self.schedule(pause, Happening::Beacon { host, life });
    }

    fn drain(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].engine.as_mut().and_then(Engine::poll_output) {
            self.carry_out(host, output);
        }
        if let Some(due) = self.hosts[host].engine.as_ref().and_then(Engine::poll_timeout) {
            self.schedule(due.since(self.now), Happening::Wake { host });
        }
    }

    fn carry_out(&mut self, host: usize, output: Output) {
        match output {
            Output::Datagram { to, bytes } => self.datagram(host, to, bytes),
            Output::Connect { stream, to } => self.connect(host, stream, to),
            Output::Frame { stream, bytes } => {
                let end = (host, self.hosts[host].life, stream);
                if let Some(far) = self.streams.get(&end).copied() {
                    self.deliver_frame(end, far, bytes);
                }
                // As with full buffers: there is room again when the frame has arrived.
                let after = self.network.draw_delay(&mut self.random);
                self.input(host, after, Input::Flushed { stream });
            }
            Output::Close { stream } => self.hang_up((host, self.hosts[host].life, stream)),
            Output::StartRole { spec, token } => {
                self.hosts[host].tasks.insert(spec.name.clone());
                let report = RoleReport::Running { role: spec.name.clone(), token };
                self.input(host, Duration::ZERO, Input::Role(report));
            }
            Output::StopRole { role, token } => {
                self.hosts[host].tasks.remove(&role);
                self.input(host, Duration::from_millis(1), Input::Role(RoleReport::Stopped { role, token }));
            }
            Output::Status(status) => self.hosts[host].status = Some(status),
            Output::Event(event) => self.hosts[host].events.push(event),
            Output::Reply { request, reply } => {
                let left = matches!(reply, Reply::Left | Reply::LeftWithUnsaved(_));
                self.hosts[host].replies.push((request, reply));
                if left {
                    // What was sent is under way; the process ends.
                    self.kill(NodeIndex(host));
                }
            }
        }
    }
}
