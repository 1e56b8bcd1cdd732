//! The hurting ends: everybody hears of everybody, pulls from everybody, and then all must be the same.

use std::collections::BTreeSet;

use super::network::{Body, Packet, pull};
use super::world::{World, claims};

impl World {
    /// Ends the chaos and checks that the cluster becomes one, stays so when what was still under way arrives, and rids
    /// itself of its tombstones.
    pub(crate) fn heal_and_check(&mut self) -> Result<(), String> {
        self.outlive();
        self.meet();
        self.synchronise();
        self.repair_buckets();
        self.check("after repair")?;
        while let Some(packet) = self.net.arrive(&mut self.rng, 0) {
            self.deliver(packet);
        }
        self.check("after late packets")?;
        // A late roster may tell of a process that both it and its sponsor did not survive.
        self.meet();
        self.settle_reports();
        let collected = self.counts.collected;
        for i in 0..self.nodes.len() {
            self.collect(i);
        }
        self.counts.collected = collected;
        // Where clocks are hours apart, stable time is what the slowest promises.
        if self.profile.skew_ms < 1_000 && self.tombstones().values().any(|count| *count > 0) {
            return Err(format!("tombstones stay although all is quiet: {:?}", self.nodes[0].store.reports()));
        }
        self.check("after the last collection")
    }

    /// Rosters reach everybody, and joiners finish their first pull.
    pub(crate) fn meet(&mut self) {
        let mut all = self.nodes[0].roster().clone();
        for node in &self.nodes {
            all.join(node.roster());
        }
        for node in &mut self.nodes {
            node.set_roster(all.clone());
        }
        self.net.sessions.clear();
        for i in 0..self.nodes.len() {
            let Some(sponsor) = self.nodes[i].sponsor else { continue };
            let j = self.index_of(sponsor).expect("a joiner without sponsor was restarted");
            pull(&mut self.rng, self.wall_ms, &mut self.nodes, i, j);
            self.nodes[i].become_ready();
        }
    }

    /// Complete sessions between all pairs until nothing is news.
    pub(crate) fn synchronise(&mut self) {
        for _ in 0..10 {
            let before: Vec<_> = self.nodes.iter().map(|node| node.store.digest()).collect();
            for a in 0..self.nodes.len() {
                for b in (0..self.nodes.len()).filter(|b| *b != a) {
                    pull(&mut self.rng, self.wall_ms, &mut self.nodes, a, b);
                }
            }
            if self.nodes.iter().map(|node| node.store.digest()).eq(before) {
                return;
            }
        }
        panic!("sessions never come to rest");
    }

    /// Where contexts are equal and contents are not, contexts cannot help.
    fn repair_buckets(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let (one, other) = (self.nodes[a].store.digest(), self.nodes[b].store.digest());
                if one.context == other.context && (one.root, one.owners) != (other.root, other.owners) {
                    self.counts.bucket_repairs += 1;
                    self.exchange_buckets(a, b);
                }
            }
        }
    }

    /// Bucket repair both ways over the whole map. It joins no contexts.
    pub(crate) fn exchange_buckets(&mut self, a: usize, b: usize) {
        let (one, other) = (&self.nodes[a], &self.nodes[b]);
        let hashes = (one.store.bucket_hashes(), other.store.bucket_hashes());
        let mut for_one = other.store.serve_buckets(&hashes.0);
        let mut for_other = one.store.serve_buckets(&hashes.1);
        while let Some(rows) = for_one.next_rows(200) {
            one.store.merge_buckets(one.now(self.wall_ms), rows);
        }
        while let Some(rows) = for_other.next_rows(200) {
            other.store.merge_buckets(other.now(self.wall_ms), rows);
        }
    }

    /// Everybody hears what everybody promises, until the promises cover all that was written.
    pub(crate) fn settle_reports(&mut self) {
        for _ in 0..3 {
            self.wall_ms += 1_000;
            for from in 0..self.nodes.len() {
                let report = self.nodes[from].store.report(self.nodes[from].now(self.wall_ms));
                for to in 0..self.nodes.len() {
                    let contexts = self.nodes[from].contexts_to_tell();
                    let (from, to) = (self.nodes[from].id, self.nodes[to].id);
                    self.deliver(Packet { from, to, body: Body::Reports(vec![report], contexts) });
                }
            }
        }
    }

    /// Whether all are the same, and what the oracle says they must be.
    pub(crate) fn check(&mut self, when: &str) -> Result<(), String> {
        let islands = self.nodes.iter().any(|node| node.island > 0);
        let first = &self.nodes[0];
        let (live, digest) = (first.live(), first.store.digest());
        for node in &self.nodes {
            let who = node.id;
            if node.live() != live {
                return Err(format!("{when}: {who} and {} hold different maps", first.id));
            }
            if let Some(dot) = self.oracle.dots().find(|dot| node.store.knows(*dot) != first.store.knows(*dot)) {
                return Err(format!("{when}: {who} and {} disagree on knowing {dot:?}", first.id));
            }
            let (ours, theirs) = (node.owner_rows(&claims()), first.owner_rows(&claims()));
            if ours != theirs {
                return Err(format!("{when}: {who} has the owner rows {ours:?}, {} has {theirs:?}", first.id));
            }
            if node.store.digest() != digest {
                return Err(format!("{when}: {who} has {:?}, {} has {digest:?}", node.store.digest(), first.id));
            }
            let resurrected = node.store.stats().resurrected;
            if resurrected > 0 && !islands {
                return Err(format!("{when}: {resurrected} rows came back at {who}"));
            }
        }
        if self.counts.bucket_repairs > 0 && !islands {
            return Err(format!("{when}: bucket repair was needed {} times", self.counts.bucket_repairs));
        }
        self.check_owner_rows(when)?;
        let expected = self.oracle.winners(|dot| first.store.knows(dot));
        for (place, value) in &expected {
            if live.get(place) != Some(value) {
                return Err(format!("{when}: {place:?} is {:?}, must be {value:?}", live.get(place)));
            }
        }
        let came_back = live.keys().filter(|place| !expected.contains_key(*place)).count();
        self.counts.came_back = self.counts.came_back.max(came_back);
        if came_back > 0 && !islands {
            return Err(format!("{when}: {came_back} removed keys are there"));
        }
        Ok(())
    }

    fn check_owner_rows(&self, when: &str) -> Result<(), String> {
        let alive: BTreeSet<_> = self.nodes.iter().map(|node| node.id).collect();
        let expected = self.oracle.owner_rows(&alive);
        for node in &self.nodes {
            let rows = node.owner_rows(&claims());
            if rows != expected {
                return Err(format!("{when}: owner rows at {}: {rows:?}, must be {expected:?}", node.id));
            }
        }
        Ok(())
    }
}
