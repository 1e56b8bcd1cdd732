//! Stable time: up to when everything that was written has arrived at every member of the roster.
//!
//! ```text
//!   a: promise (seq 7, clock 40) ──report──▶ b: knows a up to 7, so it covers a up to 40
//!   b: covered = least over the roster of the newest promise within its own context ──report──▶ everybody
//!   stable time = least `covered` over the roster
//! ```
//!
//! A promise (seq, clock) says: all my writes after `seq` are stamped above `clock`. It is true for ever, whatever the
//! roster. A report counts only when it was made under exactly the present roster, or a member that one side has and
//! the other has not might still write, or be owed, something older; and only when the context for departed replicas is
//! the same everywhere, since nobody speaks for those any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::crdt::Context;
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::Stamp;

/// What a member tells about itself so that tombstones can be collected. All taken at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who.
    pub replica: ReplicaId,
    /// Counts its reports; a later one replaces an earlier one.
    pub version: u64,
    /// Its promise: all its writes after this one …
    pub seq: u64,
    /// … are stamped above this.
    pub clock: Stamp,
    /// The least, over its roster, of the newest promise that lies in its context.
    pub covered: Stamp,
    /// The fingerprint of its roster.
    pub roster: u64,
    /// A hash of its context as far as it is about replicas outside its roster.
    pub departed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Promise {
    seq: u64,
    clock: Stamp,
}

/// The newest promise that is covered, and newer ones that are not yet, in order.
#[derive(Clone, Debug, Default)]
struct Promises {
    covered: Option<Promise>,
    pending: Vec<Promise>,
}

impl Promises {
    /// Enough to have one just above any base; the oldest and the newest matter most, so the middle is thinned.
    const PENDING: usize = 8;

    fn add(&mut self, promise: Promise) {
        let last = self.pending.last().or(self.covered.as_ref());
        if last.is_some_and(|last| promise.clock <= last.clock || promise.seq < last.seq) {
            return;
        }
        self.pending.push(promise);
        if self.pending.len() > Self::PENDING {
            self.pending.remove(Self::PENDING / 2);
        }
    }

    /// The newest promise whose writes are all known, given that they are up to `base`.
    fn covered(&mut self, base: u64) -> Stamp {
        let covered = self.pending.partition_point(|promise| promise.seq <= base);
        if let Some(newest) = self.pending.drain(..covered).next_back() {
            self.covered = Some(newest);
        }
        self.covered.map_or(Stamp::default(), |promise| promise.clock)
    }
}

/// What this replica knows about stable time.
#[derive(Debug)]
pub(super) struct Stability {
    me: ReplicaId,
    fingerprint: u64,
    version: u64,
    reports: BTreeMap<ReplicaId, Report>,
    promises: BTreeMap<ReplicaId, Promises>,
    sabotage: Sabotage,
}

impl Stability {
    pub(super) fn new(me: ReplicaId, sabotage: Sabotage) -> Self {
        Self { me, fingerprint: 0, version: 0, reports: BTreeMap::new(), promises: BTreeMap::new(), sabotage }
    }

    pub(super) fn set_roster(&mut self, members: &BTreeSet<ReplicaId>, fingerprint: u64) {
        self.fingerprint = fingerprint;
        let stale = self.sabotage.breaks(Rule::StaleReports);
        self.reports.retain(|replica, report| members.contains(replica) && (stale || report.roster == fingerprint));
        self.promises.retain(|replica, _| members.contains(replica));
    }

    /// Makes a report. `clock` was drawn just now, so every later write is stamped above it.
    pub(super) fn report(
        &mut self,
        roster: &BTreeSet<ReplicaId>,
        context: &Context,
        (seq, clock): (u64, Stamp),
        departed: u64,
    ) -> Report {
        let covered_of = |promises: &mut BTreeMap<ReplicaId, Promises>, member| {
            promises.get_mut(&member).map_or(Stamp::default(), |known| known.covered(context.base(member)))
        };
        let others = roster.iter().filter(|member| **member != self.me);
        let covered = others.map(|&member| covered_of(&mut self.promises, member)).fold(clock, Stamp::min);
        // Read before the writes of the last moment, which are stamped below the clock.
        let early = self.reports.get(&self.me).filter(|_| self.sabotage.breaks(Rule::UnlockedPromise));
        let seq = early.map_or(seq, |report| report.seq);
        self.version += 1;
        let version = self.version;
        let report = Report { replica: self.me, version, seq, clock, covered, roster: self.fingerprint, departed };
        self.reports.insert(self.me, report);
        report
    }

    /// Takes another member's report into account; an older one than the last is dropped.
    pub(super) fn observe(&mut self, roster: &BTreeSet<ReplicaId>, report: Report) {
        let known = self.reports.get(&report.replica);
        if report.replica == self.me
            || !roster.contains(&report.replica)
            || known.is_some_and(|known| known.version >= report.version)
        {
            return;
        }
        self.reports.insert(report.replica, report);
        self.promises.entry(report.replica).or_default().add(Promise { seq: report.seq, clock: report.clock });
    }

    /// Stable time, if every member has reported under this very roster, with these very departed replicas.
    pub(super) fn stable_time(&self, roster: &BTreeSet<ReplicaId>, departed: u64) -> Option<Stamp> {
        let mut stable = None;
        for member in roster {
            let report = self.reports.get(member)?;
            let fresh = report.roster == self.fingerprint || self.sabotage.breaks(Rule::StaleReports);
            let counts = fresh && report.departed == departed;
            if !counts {
                return None;
            }
            stable = Some(stable.map_or(report.covered, |least: Stamp| least.min(report.covered)));
        }
        stable
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.reports.values()
    }
}
