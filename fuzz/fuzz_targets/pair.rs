//! Two nodes that reach each other at once, and a third hand on the wire between them.
//!
//! ```text
//!   larry ◀── queue of inputs ──▶ gary      frames on a stream: Hello ▶ ◀ Welcome, Pull ▶ ◀ rows, End
//!                 ▲                                            ▲ slipped in before the first, the second, ...
//!            meddler
//! ```
//!
//! Larry is alone first and holds a row; gary joins him. So each has admitted the other, each end of every kind of stream
//! exists, and what the meddler slips in meets a node in the midst of things.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unisono::ReplicaId;
use unisono::engine::{Engine, EngineConfig, Input, Letter, Output, Phase, RoleReport, RoleStart, StreamId};
use unisono::store::{Store, TableName};
use unisono::time::{Instant, Now};
use unisono::wire;

use crate::process::{self, address};

/// What one instant may make the two do: more is a conversation without an end.
const INPUTS_AT_ONCE: usize = 10_000;

/// One end of a stream: whose, and its number there.
pub(crate) type End = (usize, StreamId);

/// Decides what arrives at an end in place of a frame, the `usize`-th one on that stream.
pub(crate) type Meddler = Box<dyn FnMut(End, usize, Bytes) -> Vec<Bytes>>;

/// The two, and what is under way to them.
pub(crate) struct Pair {
    engines: [Engine; 2],
    stores: [Arc<Store>; 2],
    now: Now,
    queue: VecDeque<(usize, Input)>,
    streams: BTreeMap<End, End>,
    /// How many frames have arrived at an end.
    arrived: BTreeMap<End, usize>,
    accepted: u64,
    meddler: Meddler,
}

/// A frame whose kind and body these bytes are, with the right sum.
pub(crate) fn framed(bytes: &[u8]) -> Bytes {
    let Some((kind, body)) = bytes.split_first() else { return Bytes::new() };
    let mut frame = wire::open_frame(*kind);
    frame.extend_from_slice(body);
    wire::seal_frame(frame)
}

/// The same as the first frame of a stream, which begins as a datagram does.
pub(crate) fn first(bytes: &[u8]) -> Bytes {
    let Some((kind, body)) = bytes.split_first() else { return Bytes::new() };
    wire::seal([&wire::open(*kind)[..], body].concat())
}

/// Who a node is.
pub(crate) fn replica(node: usize) -> ReplicaId {
    ReplicaId(if node == 0 { 1 } else { 2 })
}

impl Pair {
    /// Two nodes that have met, as far as the meddler let them.
    pub(crate) fn met(meddler: Meddler) -> Self {
        let now = Now { instant: Instant::from_nanos(1), wall_ms: 1_700_000_000_000 };
        let [(larry, store), (gary, others)] =
            [0, 1].map(|node| process::start(now, node, replica(node), EngineConfig::TOMBSTONE_QUOTA));
        let mut pair = Self {
            engines: [larry, gary],
            stores: [store, others],
            now,
            queue: VecDeque::new(),
            streams: BTreeMap::new(),
            arrived: BTreeMap::new(),
            accepted: 0,
            meddler,
        };
        // Larry forms a cluster of his own before he hears of gary.
        pair.drain(0);
        pair.until(|pair| pair.stores[0].is_open() || pair.settled());
        pair.writes(0, b"gate 1");
        pair.drain(1);
        for node in [0, 1] {
            pair.hears(node, Input::Discovered { address: address(1 - node) });
        }
        pair.until(Self::settled);
        pair
    }

    /// Whether both are in a cluster with each other.
    pub(crate) fn settled(&self) -> bool {
        self.engines.iter().all(|engine| {
            let status = engine.status();
            status.phase == Phase::Clustered && status.members.iter().filter(|member| member.in_view).count() == 2
        })
    }

    /// The application writes at a node, if that is ready.
    pub(crate) fn writes(&mut self, node: usize, value: &[u8]) {
        let cars = TableName::new("cars").expect("a valid name");
        if self.stores[node].put(self.now, &cars, b"ABC 123", value).is_ok() {
            self.hears(node, Input::StoreChanged);
        }
    }

    /// The application sends the other node a letter of these bytes, and one that holds nothing.
    pub(crate) fn mails(&mut self, node: usize, bytes: &Bytes) {
        let letter = |bytes| Letter { number: 1, to: replica(1 - node), until: None, bytes };
        self.hears(node, Input::Mail(vec![letter(bytes.clone()), letter(Bytes::new())]));
    }

    /// Lets something happen to a node, and all that follows from it at once.
    pub(crate) fn hears(&mut self, node: usize, input: Input) {
        self.queue.push_back((node, input));
        self.come_to_rest();
    }

    /// Bytes arrive on each stream that is open, at both ends, and on a new one.
    pub(crate) fn frames(&mut self, bytes: &Bytes) {
        let open: Vec<End> = self.streams.keys().copied().collect();
        for (node, stream) in open {
            self.hears(node, Input::Frame { stream, bytes: bytes.clone() });
        }
        for node in [0, 1] {
            self.opens_and_says(node, std::slice::from_ref(bytes));
        }
    }

    /// Somebody opens a stream to a node, says this on it, and is gone.
    pub(crate) fn opens_and_says(&mut self, node: usize, frames: &[Bytes]) {
        let stream = self.next_accepted();
        self.hears(node, Input::Accepted { stream, from: address(1 - node) });
        for bytes in frames {
            self.hears(node, Input::Frame { stream, bytes: bytes.clone() });
        }
        self.hears(node, Input::Closed { stream });
    }

    /// A few deadlines more.
    pub(crate) fn goes_on(&mut self) {
        for _ in 0..24 {
            self.deadline();
        }
    }

    fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if condition(self) {
                return;
            }
            self.deadline();
        }
    }

    /// Lets time pass until the next deadline of either.
    fn deadline(&mut self) {
        let due = |node: usize| self.engines[node].poll_timeout().map(|due| (due, node));
        let Some((due, node)) = [0, 1].into_iter().filter_map(due).min() else { return };
        let passed = due.since(self.now.instant).max(Duration::from_micros(100));
        self.now.instant = self.now.instant + passed;
        self.now.wall_ms = 1_700_000_000_000 + self.now.instant.as_nanos() / 1_000_000;
        self.hears(node, Input::Deadline);
    }

    fn come_to_rest(&mut self) {
        for _ in 0..INPUTS_AT_ONCE {
            let Some((node, input)) = self.queue.pop_front() else { return };
            self.engines[node].handle(self.now, input);
            self.drain(node);
        }
        panic!("the two do not come to rest");
    }

    fn next_accepted(&mut self) -> StreamId {
        self.accepted += 1;
        StreamId(self.accepted * 2 + 1)
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.engines[node].poll_output() {
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        let other = 1 - node;
        match output {
            Output::Datagram { to, bytes } => {
                assert!(bytes.len() <= wire::MAX_DATAGRAM);
                if to == address(other) {
                    self.queue.push_back((other, Input::Datagram { from: address(node), bytes }));
                }
            }
            Output::Connect { stream, to } if to == address(other) => {
                let far = (other, self.next_accepted());
                self.streams.insert((node, stream), far);
                self.streams.insert(far, (node, stream));
                self.queue.push_back((other, Input::Accepted { stream: far.1, from: address(node) }));
                self.queue.push_back((node, Input::Connected { stream }));
            }
            Output::Connect { stream, .. } => {
                self.queue.push_back((node, Input::ConnectFailed { stream, refused: true }));
            }
            Output::Frame { stream, bytes } => {
                assert!(bytes.len() <= wire::MAX_FRAME);
                if let Some(far) = self.streams.get(&(node, stream)).copied() {
                    let arrived = self.arrived.entry(far).or_default();
                    for bytes in (self.meddler)(far, *arrived, bytes) {
                        self.queue.push_back((far.0, Input::Frame { stream: far.1, bytes }));
                    }
                    *arrived += 1;
                }
                self.queue.push_back((node, Input::Flushed { stream }));
            }
            Output::Close { stream } => {
                if let Some((far, stream)) = self.streams.remove(&(node, stream)) {
                    self.streams.remove(&(far, stream));
                    self.queue.push_back((far, Input::Closed { stream }));
                }
            }
            Output::StartRole(RoleStart { spec, token, .. }) => {
                let report = RoleReport::Running { role: spec.name.clone(), token };
                self.queue.push_back((node, Input::Role(report)));
            }
            Output::StopRole { role, token } => {
                self.queue.push_back((node, Input::Role(RoleReport::stopped(role, token))));
            }
            _ => {}
        }
    }
}
