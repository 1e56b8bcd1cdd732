//! Two engines, what is under way between them, and what must hold of everything that an engine says.
//!
//! ```text
//!   node 0 ──Output──▶ datagrams, in any order ──▶ node 1          each output is checked and hashed;
//!          ──Output──▶ streams, in order ────────▶                 what arrives when, the script says
//! ```
//!
//! Nothing happens here by itself: time, arrivals and what becomes of a role's task are asked for one by one. What the
//! engines are told is true, as long as only the methods named here are used; [`Stage::hears`] lets anything be told.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use unisono::engine::{Engine, Input, Output, Phase, RoleReport, RoleStart, StreamId};
use unisono::store::{Store, TableName};
use unisono::time::{Instant, Now};
use unisono::wire;
use unisono::{FencingToken, ReplicaId};

use crate::process::{self, address};

/// What one input may make an engine say: two nodes and a few rows give no reason for more.
const MOST_OUTPUTS: usize = 2_000;
const MOST_BYTES: usize = 8 << 20;
/// How often a deadline may be due again at the instant at which it was handled.
const MOST_ROUNDS: usize = 16;
/// How many inputs may follow from each other at one instant.
const MOST_AT_ONCE: usize = 20_000;
/// Few, so that they are forgotten early.
const TOMBSTONES: u64 = 100;
/// What a node writes by itself, at the most.
const OWN_ROWS: u64 = 64 << 10;

/// One end of a stream: whose, and its number there.
type End = (usize, StreamId);

/// One process and what is on its way to it.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<Store>,
    pub(crate) datagrams: Vec<Input>,
    pub(crate) streams: VecDeque<Input>,
    /// Of tasks that were asked to end.
    pub(crate) reports: VecDeque<RoleReport>,
    pub(crate) tasks: BTreeMap<String, FencingToken>,
    last_tokens: BTreeMap<String, FencingToken>,
    /// By how much its wall clock is wrong.
    pub(crate) skew_ms: i64,
    /// Bytes that came in or were written here.
    fed: u64,
}

/// The two.
pub(crate) struct Stage {
    pub(crate) nodes: [Node; 2],
    pub(crate) instant: Instant,
    /// Neither hears the other.
    pub(crate) apart: bool,
    open: BTreeMap<End, End>,
    accepted: u64,
    started: u64,
    hasher: DefaultHasher,
}

impl Node {
    fn new(now: Now, node: usize, replica: ReplicaId, skew_ms: i64) -> Self {
        let (engine, store) = process::start(now, node, replica, TOMBSTONES);
        Self {
            engine,
            store,
            datagrams: Vec::new(),
            streams: VecDeque::new(),
            reports: VecDeque::new(),
            tasks: BTreeMap::new(),
            last_tokens: BTreeMap::new(),
            skew_ms,
            fed: 0,
        }
    }
}

fn reads(instant: Instant, skew_ms: i64) -> Now {
    let wall_ms = (1_700_000_000_000 + instant.as_nanos() / 1_000_000).saturating_add_signed(skew_ms);
    Now { instant, wall_ms }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let instant = Instant::from_nanos(1);
        let node = |node: usize| Node::new(reads(instant, 0), node, ReplicaId(node as u64 + 1), 0);
        let mut stage = Self {
            nodes: [node(0), node(1)],
            instant,
            apart: false,
            open: BTreeMap::new(),
            accepted: 0,
            started: 2,
            hasher: DefaultHasher::new(),
        };
        for node in [0, 1] {
            stage.drain(node);
        }
        stage
    }

    /// What the nodes said so far, in a word.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn now(&self, node: usize) -> Now {
        reads(self.instant, self.nodes[node].skew_ms)
    }

    /// Whether both are in one cluster, hold the same, and agree on it for long enough.
    pub(crate) fn is_one(&self) -> bool {
        let digests = self.nodes.each_ref().map(|node| node.store.digest());
        digests[0] == digests[1]
            && self.nodes.iter().all(|node| {
                let status = node.engine.status();
                status.phase == Phase::Clustered
                    && status.agreed
                    && status.members.iter().filter(|member| member.in_view).count() == 2
            })
    }

    /// Lets something happen to a node.
    pub(crate) fn hears(&mut self, at: usize, input: Input) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        match &input {
            Input::Datagram { bytes, .. } | Input::Frame { bytes, .. } => node.fed += bytes.len() as u64,
            Input::Role(RoleReport::Stopped { role, token, .. })
            | Input::Role(RoleReport::Failed { role, token, .. }) => {
                if let Input::Role(RoleReport::Failed { why, .. }) = &input {
                    node.fed += why.len() as u64;
                }
                if node.tasks.get(role) == Some(token) {
                    node.tasks.remove(role);
                }
            }
            _ => {}
        }
        node.engine.handle(now, input);
        self.drain(at);
        let node = &self.nodes[at];
        assert!(node.store.stats().bytes <= node.fed + OWN_ROWS, "more is stored than came in");
    }

    /// Handles the deadline of a node while one is due.
    pub(crate) fn deadlines(&mut self, at: usize) {
        for _ in 0..MOST_ROUNDS {
            if self.nodes[at].engine.poll_timeout().is_none_or(|due| due > self.instant) {
                return;
            }
            self.hears(at, Input::Deadline);
        }
        panic!("a deadline is due again and again at {:?}", self.instant);
    }

    /// Time passes, and deadlines are handled at its end: late, if they were due before.
    pub(crate) fn passes(&mut self, span: Duration) {
        self.instant = self.instant + span;
        self.deadlines(0);
        self.deadlines(1);
    }

    /// Time passes until the next deadline of either, and all that is under way arrives.
    pub(crate) fn goes_on(&mut self) {
        let due = self.nodes.iter().filter_map(|node| node.engine.poll_timeout()).min();
        self.passes(due.map_or(Duration::from_secs(1), |due| due.since(self.instant)));
        self.arrives();
    }

    /// Everything under way arrives, and everything that follows from it.
    pub(crate) fn arrives(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let quiet =
                [0, 1].into_iter().all(|at| !self.stream_input(at) && !self.datagram(at, 0) && !self.report(at));
            if quiet {
                return;
            }
        }
        panic!("the two do not come to rest");
    }

    /// The next thing that happens on a stream.
    pub(crate) fn stream_input(&mut self, at: usize) -> bool {
        let next = self.nodes[at].streams.pop_front();
        next.map(|input| self.hears(at, input)).is_some()
    }

    /// Any datagram.
    pub(crate) fn datagram(&mut self, at: usize, which: usize) -> bool {
        let datagrams = &mut self.nodes[at].datagrams;
        let next = (!datagrams.is_empty()).then(|| datagrams.remove(which % datagrams.len()));
        next.map(|input| self.hears(at, input)).is_some()
    }

    /// A task that was asked to end has ended.
    pub(crate) fn report(&mut self, at: usize) -> bool {
        let next = self.nodes[at].reports.pop_front();
        next.map(|report| self.hears(at, Input::Role(report))).is_some()
    }

    /// The application writes or removes.
    pub(crate) fn writes(&mut self, at: usize, key: u8, value: Option<usize>) {
        let (now, table) = (self.now(at), TableName::new("cars").expect("a valid name"));
        let node = &mut self.nodes[at];
        let done = match value {
            Some(length) => node.store.put(now, &table, &[key], &vec![key; length]).is_ok(),
            None => node.store.remove(now, &table, &[key]).is_ok(),
        };
        if done {
            node.fed += 1 + value.unwrap_or_default() as u64;
            self.hears(at, Input::StoreChanged);
        }
    }

    /// All streams break, at both ends.
    pub(crate) fn breaks(&mut self) {
        for (at, stream) in std::mem::take(&mut self.open).into_keys() {
            self.nodes[at].streams.push_back(Input::Closed { stream });
        }
    }

    /// The process ends without a word, and another takes its place.
    pub(crate) fn restarts(&mut self, at: usize) {
        self.breaks();
        self.started += 1;
        let skew_ms = self.nodes[at].skew_ms;
        self.nodes[at] = Node::new(reads(self.instant, skew_ms), at, ReplicaId(self.started), skew_ms);
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        let (mut outputs, mut bytes) = (0, 0);
        while let Some(output) = self.nodes[at].engine.poll_output() {
            outputs += 1;
            bytes += self.hash_of(at, &output);
            self.carry_out(at, output);
        }
        assert!(outputs <= MOST_OUTPUTS && bytes <= MOST_BYTES, "{outputs} outputs, {bytes} bytes, for one input");
    }

    /// Adds an output to the hash; returns how many bytes it carries.
    fn hash_of(&mut self, at: usize, output: &Output) -> usize {
        let hashing = &mut Hashing(&mut self.hasher);
        let (told, bytes) = match output {
            // Most of what is said are bytes, and to write these out costs as much as all else together.
            Output::Datagram { to, bytes } => (write!(hashing, "{at} {:?} {to}", self.instant), &bytes[..]),
            Output::Frame { stream, bytes } => (write!(hashing, "{at} {:?} {stream:?}", self.instant), &bytes[..]),
            other => (write!(hashing, "{at} {:?} {other:?}", self.instant), &[][..]),
        };
        told.expect("hashing does not fail");
        self.hasher.write(bytes);
        bytes.len()
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        let far = 1 - at;
        match output {
            Output::Datagram { to, bytes } => {
                assert!(bytes.len() <= wire::MAX_DATAGRAM);
                if to == address(far) && !self.apart {
                    self.nodes[far].datagrams.push(Input::Datagram { from: address(at), bytes });
                }
            }
            Output::Connect { stream, to } if to == address(far) && !self.apart => {
                self.accepted += 1;
                let there = (far, StreamId(self.accepted * 2 + 1));
                self.open.insert((at, stream), there);
                self.open.insert(there, (at, stream));
                self.nodes[far].streams.push_back(Input::Accepted { stream: there.1, from: address(at) });
                self.nodes[at].streams.push_back(Input::Connected { stream });
            }
            Output::Connect { stream, .. } => {
                self.nodes[at].streams.push_back(Input::ConnectFailed { stream, refused: false });
            }
            Output::Frame { stream, bytes } => {
                assert!(bytes.len() <= wire::MAX_FRAME);
                if let Some((far, stream)) = self.open.get(&(at, stream)).copied() {
                    self.nodes[far].streams.push_back(Input::Frame { stream, bytes });
                }
                self.nodes[at].streams.push_back(Input::Flushed { stream });
            }
            Output::Close { stream } => {
                if let Some((far, stream)) = self.open.remove(&(at, stream)) {
                    self.open.remove(&(far, stream));
                    self.nodes[far].streams.push_back(Input::Closed { stream });
                }
            }
            Output::StartRole(RoleStart { spec, token, .. }) => self.starts(at, &spec.name, token),
            Output::StopRole { role, token } => {
                self.nodes[at].reports.push_back(RoleReport::stopped(role, token));
            }
            _ => {}
        }
    }

    fn starts(&mut self, at: usize, role: &str, token: FencingToken) {
        let node = &mut self.nodes[at];
        let running = node.tasks.insert(role.to_owned(), token);
        assert_eq!(running, None, "{role} is started beside itself");
        let last = node.last_tokens.insert(role.to_owned(), token);
        assert!(last < Some(token), "{role} starts under {token:?}, not above {last:?}");
        node.reports.push_back(RoleReport::Running { role: role.to_owned(), token });
    }
}

struct Hashing<'a>(&'a mut DefaultHasher);

impl std::fmt::Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
