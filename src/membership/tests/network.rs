//! A network of SWIM machines in memory: virtual time, latency, loss and cuts, all from one seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::id::{NodeId, ReplicaId};
use crate::membership::{Change, Identity, Liveness, Swim, SwimOutput, Timing};
use crate::time::Instant;

/// The identity of node `number`, as it starts.
pub(super) fn identity(number: usize) -> Identity {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    Identity {
        address: ([10, 0, high, low], 4_871).into(),
        node: NodeId::new(format!("node-{number}")).unwrap(),
        replica: ReplicaId(number as u64 + 1),
        boot: 1_000,
        renewal: 0,
    }
}

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Option<Swim>>,
    /// Everything each node said, with the time.
    pub(super) changes: Vec<Vec<(Instant, Change)>>,
    /// Share of datagrams lost.
    pub(super) loss: f64,
    /// Which side of a cut each node is on; datagrams between sides are lost.
    pub(super) side: Vec<u8>,
    pub(super) sent: u64,
    /// How many deadlines came.
    pub(super) woken: u64,
    pub(super) refused: u64,
    wire: BTreeMap<(Instant, u64), (usize, Bytes)>,
    by_address: BTreeMap<SocketAddr, usize>,
    rng: Xoshiro256PlusPlus,
    count: u64,
    deadlines: BTreeMap<usize, Instant>,
}

impl Network {
    pub(super) fn new(size: usize, timing: &Timing, seed: u64) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: (0..size).map(|n| Some(Swim::new(identity(n), timing, seed * 1_000_003 + n as u64))).collect(),
            changes: vec![Vec::new(); size],
            loss: 0.0,
            side: vec![0; size],
            sent: 0,
            woken: 0,
            refused: 0,
            wire: BTreeMap::new(),
            by_address: (0..size).map(|n| (identity(n).address, n)).collect(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            count: 0,
            deadlines: BTreeMap::new(),
        }
    }

    /// Everybody joined by announcing to the first, and by one push-pull with it.
    pub(super) fn joined(size: usize, timing: &Timing, seed: u64) -> Self {
        let mut network = Self::new(size, timing, seed);
        for node in 1..size {
            network.act(node, |swim, now| swim.announce(now, identity(0).address));
            network.run(Duration::from_millis(10));
            network.push_pull(node, 0);
        }
        for node in 1..size {
            network.push_pull(node, 0);
        }
        network.run(Duration::from_millis(100));
        assert!(network.all_see(size - 1), "seed {seed}: {:?}", network.counts());
        network
    }

    pub(super) fn swim(&self, node: usize) -> &Swim {
        self.nodes[node].as_ref().unwrap()
    }

    pub(super) fn act<R>(&mut self, node: usize, act: impl FnOnce(&mut Swim, Instant) -> R) -> Option<R> {
        let now = self.now;
        let result = self.nodes[node].as_mut().map(|swim| act(swim, now));
        self.drain(node);
        result
    }

    pub(super) fn push_pull(&mut self, one: usize, other: usize) {
        let records = self.act(one, |swim, _| swim.records());
        let answer = self.act(other, |swim, _| swim.records());
        if let (Some(records), Some(answer)) = (records, answer) {
            self.act(other, |swim, now| swim.apply(now, records));
            self.act(one, |swim, now| swim.apply(now, answer));
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
        self.deadlines.remove(&node);
    }

    pub(super) fn restart(&mut self, node: usize, identity: Identity, timing: &Timing) {
        self.nodes[node] = Some(Swim::new(identity, timing, 77));
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds; returns how long it took.
    pub(super) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !holds(self) {
            assert!(self.step(start + limit), "not within {limit:?}: {:?}", self.counts());
        }
        self.now.since(start)
    }

    /// Handles the next datagram or deadline at or before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let datagram = self.wire.first_key_value().map(|(key, _)| key.0);
        let deadline = self.deadlines.iter().map(|(node, at)| (*at, *node)).min();
        let Some(at) = [datagram, deadline.map(|(at, _)| at)].into_iter().flatten().min().filter(|at| *at <= end)
        else {
            return false;
        };
        self.now = self.now.max(at);
        if datagram == Some(at) {
            let (_, (node, bytes)) = self.wire.pop_first().unwrap();
            if let Some(Err(_)) = self.act(node, |swim, now| swim.handle_datagram(now, &bytes)) {
                self.refused += 1;
            }
        } else if let Some((_, node)) = deadline {
            self.woken += 1;
            self.act(node, |swim, now| swim.handle_deadline(now, |_| true));
        }
        true
    }

    fn drain(&mut self, node: usize) {
        let Some(swim) = self.nodes[node].as_mut() else { return };
        // Comparing is dear; a large network is looked at now and then.
        if self.changes.len() <= 20 || self.sent.is_multiple_of(1_000) {
            assert!(swim.mirrors_foca(), "node {node} keeps another list than foca");
        }
        let outputs: VecDeque<SwimOutput> = std::iter::from_fn(|| swim.poll()).collect();
        match swim.poll_timeout() {
            Some(at) => self.deadlines.insert(node, at),
            None => self.deadlines.remove(&node),
        };
        for output in outputs {
            match output {
                SwimOutput::Change(change) => self.changes[node].push((self.now, change)),
                SwimOutput::Send { to, bytes } => self.send(node, to, bytes),
                SwimOutput::Contested { rival, .. } => panic!("{rival} is a second one at the address of node {node}"),
            }
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Bytes) {
        assert!(bytes.len() <= crate::wire::MAX_DATAGRAM - 4);
        self.sent += 1;
        let Some(&to) = self.by_address.get(&to) else { return };
        if self.side[from] != self.side[to] || self.rng.random_bool(self.loss) {
            return;
        }
        let latency = Duration::from_micros(self.rng.random_range(100..2_000));
        self.count += 1;
        self.wire.insert((self.now + latency, self.count), (to, bytes));
    }

    /// How many others each living node holds as not Down.
    pub(super) fn counts(&self) -> Vec<usize> {
        let up = |swim: &Swim| swim.members().filter(|(_, state)| *state != Liveness::Down).count();
        self.nodes.iter().flatten().map(up).collect()
    }

    pub(super) fn all_see(&self, others: usize) -> bool {
        self.counts().iter().all(|count| *count == others)
    }

    /// Whether everybody holds everybody at the address and under the identity that it has.
    pub(super) fn whole(&self) -> bool {
        let living: Vec<&Swim> = self.nodes.iter().flatten().collect();
        living.iter().all(|one| {
            living.iter().filter(|other| other.identity().address != one.identity().address).all(|other| {
                one.member(other.identity().replica)
                    .is_some_and(|(identity, state)| identity == other.identity() && state != Liveness::Down)
            })
        })
    }

    pub(super) fn renewals(&self) -> u64 {
        self.nodes.iter().flatten().map(|swim| swim.stats().renewals).sum()
    }

    pub(super) fn said(&self, node: usize, wanted: impl Fn(&Change) -> bool) -> bool {
        self.changes[node].iter().any(|(_, change)| wanted(change))
    }
}
