//! A cluster under a hostile schedule: what can happen, drawn step by step from a seed.
//!
//! ```text
//!   seed ─▶ Profile (how many nodes and keys, how often what) ─▶ step, step, step … ─▶ heal ─▶ check
//! ```
//!
//! What the engine does around the store is done here in its plainest form: it refuses messages of strangers, admits a
//! joiner at one sponsor, lets it write after one complete pull, and spreads rosters and reports by packets that may be
//! lost or come late.

use std::collections::BTreeMap;

use unisono::NodeId;
use unisono::crdt::{Roster, Value};
use unisono::id::ReplicaId;
use unisono::sabotage::{Rule, Sabotage};
use unisono::store::{Outbox, TableName, Update};

use super::Rng;
use super::counts::Counts;
use super::network::{Body, Network, Packet, Progress, Session};
use super::oracle::{Oracle, Write};
use super::profile::{Action, Profile};
use super::replica::Replica;

/// The cluster and its story.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) sabotage: Sabotage,
    pub(crate) profile: Profile,
    pub(crate) wall_ms: u64,
    pub(crate) nodes: Vec<Replica>,
    pub(crate) net: Network,
    pub(crate) oracle: Oracle,
    pub(crate) counts: Counts,
    boot: u64,
    values: u64,
}

/// For how long a row that ends is put at the most.
const LONGEST_TTL_MS: usize = 300;

/// The table of the owner rows.
pub(crate) fn claims() -> TableName {
    TableName::new("@claims").expect("a table name")
}

impl World {
    /// A cluster whose islands, told by their sizes, were founded each on its own.
    pub(crate) fn new(mut rng: Rng, sabotage: Sabotage, profile: Profile, islands: &[usize]) -> Self {
        let mut nodes = Vec::new();
        for (island, &size) in islands.iter().enumerate() {
            let mut roster = Roster::default();
            let ids: Vec<_> = (0..size).map(|_| ReplicaId(rng.next())).collect();
            for (i, id) in ids.iter().enumerate() {
                roster.admit(*id, node_id(nodes.len() + i), 1);
            }
            for id in ids {
                let mut replica = Replica::new(id, sabotage, roster.clone(), profile.skew(&mut rng));
                replica.island = island;
                replica.store.open();
                nodes.push(replica);
            }
        }
        let mut oracle = Oracle::default();
        oracle.authors_may_go_back = sabotage.breaks(Rule::ReuseId);
        Self {
            rng,
            sabotage,
            profile,
            wall_ms: 1_700_000_000_000,
            nodes,
            net: Network::default(),
            oracle,
            counts: Counts::default(),
            boot: 1,
            values: 0,
        }
    }

    pub(crate) fn run(&mut self, steps: usize) -> Result<(), String> {
        for t in 0..steps {
            self.wall_ms += self.rng.below(3) as u64;
            let action = self.profile.draw(&mut self.rng, t);
            self.step(action)?;
            let fingerprint = self.nodes[0].roster().fingerprint();
            self.counts.differing_rosters +=
                usize::from(self.nodes.iter().any(|node| node.roster().fingerprint() != fingerprint));
        }
        Ok(())
    }

    fn step(&mut self, action: Action) -> Result<(), String> {
        let i = self.rng.below(self.nodes.len());
        if self.rng.percent(20) {
            self.expire(i);
        }
        match action {
            Action::Write if self.nodes[i].is_ready() => self.write(i)?,
            Action::Write => {}
            Action::Flush => self.flush(i),
            Action::Deliver => {
                for _ in 0..self.rng.between(1, 8) {
                    if let Some(packet) = self.net.arrive(&mut self.rng, self.profile.again_percent) {
                        self.deliver(packet);
                    }
                }
            }
            Action::Lose => self.net.lose(&mut self.rng),
            Action::OpenSession => self.open_session(i),
            Action::StepSession => self.step_session(),
            Action::Interrupt => {
                if let Some(ends) = self.net.random_session(&mut self.rng) {
                    self.net.sessions.remove(&ends);
                    self.counts.interrupted += 1;
                }
            }
            Action::Report => self.report(i),
            Action::Gossip => self.gossip(i),
            Action::Collect => self.collect(i),
            Action::Crash => self.crash(i),
            Action::Join => self.join(i),
            Action::Wait => self.wall_ms += self.rng.below(40) as u64,
        }
        Ok(())
    }

    /// Another node of the same island.
    fn peer(&mut self, i: usize) -> Option<usize> {
        let island = self.nodes[i].island;
        let peers: Vec<_> = (0..self.nodes.len()).filter(|&j| j != i && self.nodes[j].island == island).collect();
        (!peers.is_empty()).then(|| *self.rng.pick(&peers))
    }

    pub(crate) fn index_of(&self, id: ReplicaId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    pub(crate) fn write(&mut self, i: usize) -> Result<(), String> {
        let k = self.rng.below(self.profile.keys);
        let (table, key) = (if k.is_multiple_of(3) { "doors" } else { "cars" }, format!("key-{k}"));
        match self.rng.below(100) {
            0..10 => self.write_own(i),
            10..45 => self.put(i, table, key.as_bytes())?,
            45..55 => self.put_for(i, table, key.as_bytes())?,
            55..90 => self.remove(i, table, key.as_bytes())?,
            _ => self.update(i, table, key.as_bytes())?,
        }
        Ok(())
    }

    fn value(&mut self) -> Vec<u8> {
        self.values += 1;
        self.values.to_string().into_bytes()
    }

    pub(crate) fn put(&mut self, i: usize, table: &str, key: &[u8]) -> Result<(), String> {
        let (value, name) = (self.value(), name(table));
        let node = &self.nodes[i];
        let observed = node.store.get(&name, key);
        node.store.put(node.now(self.wall_ms), &name, key, &value).map_err(|e| e.to_string())?;
        self.take_outbox(i, observed)
    }

    /// A row that ends.
    fn put_for(&mut self, i: usize, table: &str, key: &[u8]) -> Result<(), String> {
        let (value, name, ttl) = (self.value(), name(table), self.rng.below(LONGEST_TTL_MS));
        let node = &self.nodes[i];
        let observed = node.store.get(&name, key);
        let ttl = Some(std::time::Duration::from_millis(ttl as u64));
        let (now, table) = (node.now(self.wall_ms), node.store.table(&name));
        node.store.put_in(now, &table, key, &value, ttl).map_err(|e| e.to_string())?;
        self.take_outbox(i, observed)
    }

    /// Ends the rows of node `i` whose time is over, which is late at times.
    fn expire(&mut self, i: usize) {
        self.counts.expired += self.nodes[i].store.expire(self.nodes[i].now(self.wall_ms));
    }

    /// Waits until the time of all rows that end is over by every clock.
    pub(crate) fn outlive(&mut self) {
        self.wall_ms += (LONGEST_TTL_MS + 2 * self.profile.skew_ms + 1) as u64;
        (0..self.nodes.len()).for_each(|i| self.expire(i));
    }

    pub(crate) fn remove(&mut self, i: usize, table: &str, key: &[u8]) -> Result<(), String> {
        let node = &self.nodes[i];
        let removed = node.store.remove(node.now(self.wall_ms), &name(table), key).map_err(|e| e.to_string())?;
        self.take_outbox(i, removed)
    }

    fn update(&mut self, i: usize, table: &str, key: &[u8]) -> Result<(), String> {
        let (value, dice) = (self.value(), self.rng.below(3));
        let node = &self.nodes[i];
        let now = node.now(self.wall_ms);
        let observed = node.store.update(now, &name(table), key, |old| {
            let update = match dice {
                0 => Update::Keep,
                1 => Update::Remove,
                _ => Update::Put(value),
            };
            (update, old.cloned())
        });
        self.take_outbox(i, observed.map_err(|e| e.to_string())?)
    }

    /// Owner rows stay in the outbox until the next other write, so that they are coalesced.
    fn write_own(&mut self, i: usize) {
        let own = [b"load".as_slice(), b"gate"][self.rng.below(2)];
        let value = self.value();
        let node = &self.nodes[i];
        let now = node.now(self.wall_ms);
        if self.rng.percent(20) {
            node.store.remove_own(now, &claims(), own).expect("an open store");
            self.oracle.record_own(node.id, own, None);
        } else {
            node.store.put_own(now, &claims(), own, &value).expect("an open store");
            self.oracle.record_own(node.id, own, Some(value));
        }
    }

    /// Hands what was written over to the oracle and to the queue of rows to send.
    fn take_outbox(&mut self, i: usize, observed: Option<Value>) -> Result<(), String> {
        let Outbox { rows, .. } = self.nodes[i].store.take_outbox(usize::MAX);
        for row in &rows {
            if row.table.as_str().starts_with('@') {
                continue;
            }
            self.counts.writes += 1;
            self.oracle.record(Write {
                place: (row.table.as_str().to_owned(), row.key.to_vec()),
                dot: row.entry.dot,
                stamp: row.entry.stamp.0,
                rank_time: row.entry.rank_time.0,
                ends: row.entry.expires.is_some(),
                value: row.entry.value.as_ref().map(|value| value.to_vec()),
                observed: observed.as_ref().map(|value| value.to_vec()),
            })?;
        }
        self.nodes[i].queue.extend(rows);
        Ok(())
    }

    fn flush(&mut self, i: usize) {
        if self.nodes[i].queue.is_empty() {
            return;
        }
        let batch = self.rng.between(1, self.nodes[i].queue.len().min(4));
        let rows: Vec<_> = self.nodes[i].queue.drain(..batch).collect();
        let from = self.nodes[i].id;
        for to in self.nodes[i].members().clone() {
            if to != from && self.rng.percent(self.profile.send_percent) {
                let packet = Packet { from, to, body: Body::Rows(rows.clone()) };
                self.net.send(&mut self.rng, packet, self.profile.late_percent);
            }
        }
    }

    pub(crate) fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, body } = packet;
        let Some(i) = self.index_of(to) else { return };
        // A roster is taken from anybody: how else would one hear of a joiner.
        if !self.nodes[i].hears(from) && !matches!(body, Body::Roster(_)) {
            self.counts.refused += 1;
            return;
        }
        match body {
            Body::Rows(_) if !self.nodes[i].is_ready() && !self.sabotage.breaks(Rule::EarlyEager) => {
                self.counts.refused += 1;
            }
            Body::Rows(rows) => {
                let merged = self.nodes[i].store.merge(self.nodes[i].now(self.wall_ms), rows);
                if self.rng.percent(self.profile.forward_percent) {
                    self.nodes[i].queue.extend(merged.news);
                }
            }
            Body::Reports(reports, contexts) => {
                for report in reports {
                    self.nodes[i].store.observe_report(report);
                }
                self.nodes[i].hear_contexts(contexts);
            }
            Body::Roster(roster) => self.nodes[i].change_roster(|ours| {
                ours.join(&roster);
            }),
        }
    }

    fn open_session(&mut self, i: usize) {
        let sponsor = self.nodes[i].sponsor.and_then(|sponsor| self.index_of(sponsor));
        let Some(j) = sponsor.or_else(|| self.peer(i)) else { return };
        let have = self.nodes[i].store.context();
        self.net.sessions.entry((self.nodes[i].id, self.nodes[j].id)).or_insert_with(|| Session::new(have));
    }

    fn step_session(&mut self) {
        let Some(ends) = self.net.random_session(&mut self.rng) else { return };
        let (Some(a), Some(b)) = (self.index_of(ends.0), self.index_of(ends.1)) else { return };
        let session = self.net.sessions.get_mut(&ends).expect("it was just picked");
        let [requester, responder] = self.nodes.get_disjoint_mut([a, b]).expect("two replicas");
        match session.step(&mut self.rng, self.wall_ms, requester, responder, self.sabotage) {
            Progress::Going => return,
            Progress::Refused => self.counts.refused += 1,
            Progress::Complete if self.nodes[a].sponsor == Some(ends.1) => self.nodes[a].become_ready(),
            Progress::Complete => {}
        }
        self.net.sessions.remove(&ends);
    }

    /// Tells all of the island whom one hears what one promises and what others promised.
    fn report(&mut self, i: usize) {
        let node = &self.nodes[i];
        let mut reports = vec![node.store.report(node.now(self.wall_ms))];
        reports.extend(node.store.reports());
        let (from, body) = (node.id, Body::Reports(reports, node.contexts_to_tell()));
        for to in self.nodes[i].members().clone() {
            if to != from && self.rng.percent(self.profile.send_percent) {
                let packet = Packet { from, to, body: body.clone() };
                self.net.send(&mut self.rng, packet, 1);
            }
        }
    }

    fn gossip(&mut self, i: usize) {
        let Some(j) = self.peer(i) else { return };
        let body = Body::Roster(self.nodes[i].roster().clone());
        let packet = Packet { from: self.nodes[i].id, to: self.nodes[j].id, body };
        self.net.send(&mut self.rng, packet, 5);
    }

    pub(crate) fn collect(&mut self, i: usize) {
        self.counts.collected += self.nodes[i].store.collect(self.nodes[i].now(self.wall_ms));
    }

    /// Node `i` loses its memory and starts anew, if somebody is left who could admit it and nobody is orphaned by it.
    ///
    /// A joiner is an orphan once nobody else is left who ever heard of it: the others may go on and collect without it,
    /// so it could come back as an island only. That is the subject of other tests.
    fn crash(&mut self, i: usize) {
        let ready = |j: &usize| *j != i && self.nodes[*j].is_ready() && self.nodes[*j].island == self.nodes[i].island;
        let others: Vec<_> = (0..self.nodes.len()).filter(ready).collect();
        let witnessed = |j: &usize| others.iter().any(|w| w != j && self.nodes[*w].hears(self.nodes[*j].id));
        if others.is_empty() || (others.len() > 1 && !others.iter().all(witnessed)) {
            return;
        }
        self.counts.crashes += 1;
        let gone = self.nodes[i].id;
        let sponsor = *self.rng.pick(&others);
        self.start(i, sponsor);
        // Whoever it was about to let in has parts of its state and no promise: it starts again elsewhere.
        for j in 0..self.nodes.len() {
            if j != i && self.nodes[j].sponsor == Some(gone) {
                let sponsor = *self.rng.pick(&others);
                self.start(j, sponsor);
            }
        }
    }

    /// A node that was not there before; its sponsor is of the island it comes to.
    fn join(&mut self, sponsor: usize) {
        if self.nodes.len() < self.profile.most_nodes && self.nodes[sponsor].is_ready() {
            self.start(self.nodes.len(), sponsor);
        }
    }

    /// Starts node `i`, again or for the first time, and `sponsor` admits it.
    pub(crate) fn start(&mut self, i: usize, sponsor: usize) {
        let old = self.nodes.get(i).map(|node| node.id);
        let reused = old.filter(|_| self.sabotage.breaks(Rule::ReuseId));
        let id = reused.unwrap_or_else(|| ReplicaId(self.rng.next()));
        self.boot += 1;
        let (boot, evict) = (self.boot, self.rng.percent(50));
        self.nodes[sponsor].change_roster(|roster| {
            roster.admit(id, node_id(i), boot);
            // Who starts again under a new id has a newer boot, which is enough; an operator may evict all the same.
            if let Some(old) = old.filter(|old| evict && *old != id) {
                roster.evict(old);
            }
        });
        let skew_ms = self.profile.skew(&mut self.rng);
        let mut replica = Replica::new(id, self.sabotage, self.nodes[sponsor].roster().clone(), skew_ms);
        replica.island = self.nodes[sponsor].island;
        replica.sponsor = Some(self.nodes[sponsor].id);
        match old {
            None => self.nodes.push(replica),
            Some(old) => {
                self.net.close_sessions_of(old);
                self.nodes[i] = replica;
            }
        }
        self.open_session(i);
    }

    /// How many tombstones each replica holds.
    pub(crate) fn tombstones(&self) -> BTreeMap<ReplicaId, u64> {
        self.nodes.iter().map(|node| (node.id, node.store.stats().tombstones)).collect()
    }
}

fn name(table: &str) -> TableName {
    TableName::new(table).expect("a table name")
}

pub(crate) fn node_id(i: usize) -> NodeId {
    NodeId::new(format!("node-{i}")).expect("a node name")
}
