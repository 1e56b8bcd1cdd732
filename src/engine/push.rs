//! Own rows pushed over streams, as long as there are more of them than datagrams carry.
//!
//! ```text
//!   sparse: datagrams ──── too many for datagrams, or a row that fits none ───▶ dense: one stream to each peer
//!         ▲                                                                         │
//!         └───────── a second in which datagrams would have done, and all is sent ──┘
//! ```
//!
//! Datagrams are faster where there are few rows: nothing waits for anything. Where there are many, they overflow the
//! receiver's buffers, and what is lost costs sessions. A stream loses nothing and holds the sender back; rows wait in
//! the backlog, then in the store's outbox, and what has no room there is left to repair. In a crowd, where rows are
//! passed on from member to member, nothing is pushed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::{Purpose, kind};
use super::rows::{GATHER, Packing};
use super::streams::StreamPhase;
use super::timers::Timer;
use super::{Engine, Output, StreamId};
use crate::id::ReplicaId;
use crate::replication::{self, Allowance, Backlog, EAGER_TO_ALL, Push};
use crate::store::Row;
use crate::time::Instant;
use crate::wire::{self, Malformed};

/// For so long a peer is not pushed to whose stream ended.
const REST: Duration = Duration::from_secs(1);

/// For so long after its last frame a stream is trusted to bring what is missing of its sender.
const TRUSTED: Duration = Duration::from_secs(1);

/// The pushes of this node.
#[derive(Debug)]
pub(super) struct Pushing {
    dense: bool,
    /// Whether rows came since the last housekeeping that datagrams would not have carried.
    was_dense: bool,
    allowance: Allowance,
    /// Until then rows stay in the outbox, so that many of them go out in a frame.
    gathers_until: Instant,
    pub(super) backlog: Backlog,
    pub(super) to: BTreeMap<ReplicaId, Pushed>,
    /// Who is not pushed to until then.
    resting: BTreeMap<ReplicaId, Instant>,
}

/// One peer that rows are pushed to.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) stream: StreamId,
    /// The peer takes rows.
    pub(super) open: bool,
    pub(super) place: Push,
}

impl Pushed {
    /// Whether what is taken from the outbox now could be sent at once. Else it waits there, and frames get larger.
    fn wants(&self, end: u64) -> bool {
        self.open && self.place.next() == end && self.place.has_room()
    }
}

impl Pushing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dense: false,
            was_dense: false,
            allowance: Allowance::new(now),
            gathers_until: now,
            backlog: Backlog::default(),
            to: BTreeMap::new(),
            resting: BTreeMap::new(),
        }
    }

    /// Whether rows are to be taken from the outbox now.
    pub(super) fn may_take(&self, now: Instant) -> bool {
        let end = self.backlog.end();
        let is_wanted = || self.to.is_empty() || self.to.values().any(|pushed| pushed.wants(end));
        !self.dense || (self.gathers_until <= now && self.backlog.has_room() && is_wanted())
    }

    /// Whether so many datagrams may carry rows now, or rows are pushed.
    pub(super) fn is_sparse(&mut self, now: Instant, datagrams: usize, all_fit: bool) -> bool {
        let sparse = all_fit && self.allowance.take(now, datagrams);
        self.was_dense |= !sparse;
        self.dense |= !sparse;
        !self.dense
    }

    /// Whether the stream of a push does not get rid of what was sent on it.
    pub(super) fn is_waiting(&self, peer: ReplicaId) -> bool {
        self.to.get(&peer).is_some_and(|pushed| pushed.place.is_waiting())
    }

    fn enqueue(&mut self, rows: &[Row], packing: Packing) {
        let mut rows = rows;
        while !rows.is_empty() {
            let (mut count, mut bytes) = (1, rows[0].max_size());
            while let Some(row) = rows.get(count)
                && bytes + row.max_size() <= packing.frame
            {
                bytes += row.max_size();
                count += 1;
            }
            let (frame, rest) = rows.split_at(count);
            self.backlog.push(wire::seal_frame(replication::pack_all(frame, wire::open_frame(kind::ROWS))));
            rows = rest;
        }
    }

    /// Lets go what all have. If there is no room nevertheless though somebody has everything, the slowest lose their
    /// places.
    fn trim(&mut self) -> Vec<StreamId> {
        let slowest = |to: &BTreeMap<_, Pushed>| to.values().map(|pushed| pushed.place.next()).min();
        let mut given_up = Vec::new();
        loop {
            let end = self.backlog.end();
            self.backlog.forget_before(slowest(&self.to).unwrap_or(end));
            let is_waited_for = self.to.values().any(|pushed| pushed.place.next() == end);
            if self.backlog.has_room() || !is_waited_for {
                return given_up;
            }
            let first = self.backlog.first();
            let is_slowest = |pushed: &Pushed| pushed.place.next() == first;
            given_up.extend(self.to.values().filter(|pushed| is_slowest(pushed)).map(|pushed| pushed.stream));
            self.to.retain(|_, pushed| !is_slowest(pushed));
        }
    }
}

impl Engine {
    /// Whether there are so many members that rows are passed on.
    fn passes_on(&self) -> bool {
        self.live().len() > EAGER_TO_ALL
    }

    /// Sends rows that were written here: in datagrams, or over streams.
    pub(super) fn spread_own(&mut self, rows: &[Row]) {
        if self.passes_on() {
            self.stop_pushing();
            return self.spread(rows);
        }
        if self.live().is_empty() {
            return self.stop_pushing();
        }
        if self.pushing.dense {
            let bytes: usize = rows.iter().map(Row::max_size).sum();
            let all_fit = rows.iter().all(|row| row.max_size() <= self.packing.body);
            self.pushing.is_sparse(self.now.instant, bytes.div_ceil(self.packing.body.max(1)), all_fit);
        } else if self.spread_sparse(rows) {
            return;
        }
        self.push(rows);
    }

    fn push(&mut self, rows: &[Row]) {
        let (now, first) = (self.now.instant, self.pushing.backlog.end());
        self.pushing.enqueue(rows, self.packing);
        let peers: Vec<ReplicaId> = self.live().iter().copied().collect();
        let gone = self.pushing.to.iter().filter(|(peer, _)| !self.live().contains(peer));
        let gone: Vec<StreamId> = gone.map(|(_, pushed)| pushed.stream).collect();
        gone.into_iter().for_each(|stream| self.drop_stream(stream, None));
        for peer in peers {
            let rests = self.pushing.resting.get(&peer).is_some_and(|until| *until > now);
            if !rests
                && !self.pushing.to.contains_key(&peer)
                && let Some(address) = self.address_of(peer)
            {
                let stream = self.open_stream(peer, address, Purpose::Push, false);
                self.pushing.to.insert(peer, Pushed { stream, open: false, place: Push::new(first) });
            }
        }
        self.push_on();
    }

    /// Lets rows gather for a moment, if they are pushed.
    pub(super) fn gather(&mut self) {
        if self.pushing.dense {
            self.pushing.gathers_until = self.now.instant + GATHER;
            self.timers.set(Timer::Push, self.pushing.gathers_until);
        }
    }

    /// Sends what the windows have room for.
    pub(super) fn push_on(&mut self) {
        let Self { pushing, outputs, stats, .. } = self;
        for Pushed { stream, place, .. } in pushing.to.values_mut().filter(|pushed| pushed.open) {
            while let Some(bytes) = place.poll(&pushing.backlog) {
                stats.stream_bytes += bytes.len() as u64;
                outputs.push_back(Output::Frame { stream: *stream, bytes });
            }
        }
        self.trim_backlog();
    }

    fn trim_backlog(&mut self) {
        for stream in self.pushing.trim() {
            self.stats.pushes_given_up += 1;
            self.drop_stream(stream, None);
        }
    }

    /// A peer takes rows.
    pub(super) fn push_welcomed(&mut self, peer: ReplicaId) {
        if let Some(pushed) = self.pushing.to.get_mut(&peer) {
            pushed.open = true;
        }
        self.push_on();
    }

    /// A frame left for the wire: there is room for one more.
    pub(super) fn push_flushed(&mut self, peer: ReplicaId) {
        if let Some(pushed) = self.pushing.to.get_mut(&peer) {
            pushed.place.flushed();
        }
        self.push_on();
    }

    /// A push ended before its time.
    pub(super) fn push_ended(&mut self, peer: ReplicaId) {
        self.pushing.to.remove(&peer);
        self.pushing.resting.insert(peer, self.now.instant + REST);
        self.trim_backlog();
    }

    /// Goes back to datagrams where these would do, once all that was pushed is sent.
    pub(super) fn calm_down(&mut self) {
        let (now, end) = (self.now.instant, self.pushing.backlog.end());
        self.pushing.resting.retain(|_, until| *until > now);
        let is_done = |place: &Push| place.next() == end && !place.is_waiting();
        let sent = self.pushing.to.values().all(|pushed| is_done(&pushed.place));
        if !std::mem::take(&mut self.pushing.was_dense) && sent {
            self.stop_pushing();
        }
    }

    fn stop_pushing(&mut self) {
        self.pushing.dense = false;
        for Pushed { stream, .. } in std::mem::take(&mut self.pushing.to).into_values() {
            self.streams.open.remove(&stream);
            self.outputs.push_back(Output::Close { stream });
        }
        self.pushing.trim();
    }

    /// Rows that a member pushes. Returns whether they can be read.
    pub(super) fn pushed_rows(&mut self, stream: StreamId, body: &[u8]) -> Result<(), Malformed> {
        let sender = self.streams.open.get(&stream).and_then(|state| state.peer);
        if !sender.is_some_and(|sender| self.roster.is_admitted(sender)) {
            self.stats.outside_roster += 1;
            self.drop_stream(stream, None);
            return Ok(());
        }
        self.take_eager(body)
    }

    /// Whose missing writes are about to come over streams, in order. Where one is missing before others it does not come.
    pub(super) fn expected(&self) -> Vec<ReplicaId> {
        let (now, gaps) = (self.now.instant, self.store.gaps());
        let pushed = self
            .streams
            .open
            .values()
            .filter(|state| matches!(state.phase, StreamPhase::Pushed) && now.since(state.heard) < TRUSTED);
        let mut expected: Vec<_> = pushed.filter_map(|state| state.peer).filter(|peer| !gaps.contains(peer)).collect();
        expected.sort_unstable();
        expected.dedup();
        expected.truncate(EAGER_TO_ALL);
        expected
    }
}
