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
use std::ops::Bound;

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

    /// `base` tells up to where the author's writes are known here; a member that wrote nothing since its last promise
    /// needs it not.
    fn add(&mut self, promise: Promise, base: impl FnOnce() -> u64) {
        let last = self.pending.last().or(self.covered.as_ref());
        if last.is_some_and(|last| promise.clock <= last.clock || promise.seq < last.seq) {
            return;
        }
        if self.pending.is_empty() && self.covered.is_some_and(|covered| covered.seq == promise.seq) {
            self.covered = Some(promise);
            return;
        }
        self.covered(base());
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

/// What is known of one member.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Its newest report, and after how many changes of the roster it came.
    report: Option<(Report, u64)>,
    promises: Promises,
}

/// What this replica knows about stable time.
#[derive(Debug)]
pub(super) struct Stability {
    me: ReplicaId,
    fingerprint: u64,
    /// How often the roster changed.
    changes: u64,
    version: u64,
    /// All members of the roster, and nobody else but this replica.
    known: BTreeMap<ReplicaId, Known>,
    /// The other member that is covered least, and up to when. What is covered only grows, so the least stays the least
    /// for as long as that one does not move.
    least: Option<(Stamp, ReplicaId)>,
    sabotage: Sabotage,
}

impl Stability {
    pub(super) fn new(me: ReplicaId, sabotage: Sabotage) -> Self {
        Self { me, fingerprint: 0, changes: 0, version: 0, known: BTreeMap::new(), least: None, sabotage }
    }

    /// Some come and some go. Reports made under another roster than this are forgotten: passed over from now on, as there
    /// may be a thousand of them and a thousand changes in a second.
    pub(super) fn change_roster(&mut self, come: &[ReplicaId], gone: &[ReplicaId], fingerprint: u64) {
        self.fingerprint = fingerprint;
        self.changes += 1;
        self.least = None;
        for replica in gone {
            self.known.remove(replica);
        }
        for replica in come {
            self.known.entry(*replica).or_default();
        }
    }

    /// The newest report of a member, unless it was made under another roster and came before the last change of this one.
    fn newest(&self, known: &Known) -> Option<Report> {
        let (report, changes) = known.report?;
        let kept = changes == self.changes || self.sabotage.breaks(Rule::StaleReports);
        (kept || report.roster == self.fingerprint).then_some(report)
    }

    /// Makes a report. `clock` was drawn just now, so every later write is stamped above it.
    pub(super) fn report(
        &mut self,
        roster: &BTreeSet<ReplicaId>,
        context: &Context,
        (seq, clock): (u64, Stamp),
        departed: u64,
    ) -> Report {
        let covered = self.least_covered(roster, context).map_or(clock, |least| least.min(clock));
        // Read before the writes of the last moment, which are stamped below the clock.
        let before = self.known.get(&self.me).and_then(|known| self.newest(known));
        let early = before.filter(|_| self.sabotage.breaks(Rule::UnlockedPromise));
        let seq = early.map_or(seq, |report| report.seq);
        self.version += 1;
        let version = self.version;
        let report = Report { replica: self.me, version, seq, clock, covered, roster: self.fingerprint, departed };
        self.known.entry(self.me).or_default().report = Some((report, self.changes));
        report
    }

    /// The least, over the other members, of the newest promise that lies in the context.
    fn least_covered(&mut self, roster: &BTreeSet<ReplicaId>, context: &Context) -> Option<Stamp> {
        let known = &mut self.known;
        let mut covered_of = |member: ReplicaId| {
            known.get_mut(&member).map_or(Stamp::default(), |known| known.promises.covered(context.base(member)))
        };
        if self.least.is_none_or(|(stamp, member)| covered_of(member) > stamp) {
            let others = roster.iter().filter(|member| **member != self.me);
            self.least = others.map(|member| (covered_of(*member), *member)).min();
        }
        let least = self.least.map(|(stamp, _)| stamp);
        debug_assert_eq!(least, roster.iter().filter(|id| **id != self.me).map(|id| covered_of(*id)).min());
        least
    }

    /// Takes another member's report into account; an older one than the last is dropped.
    pub(super) fn observe(&mut self, context: &Context, report: Report) {
        let Some(known) = self.known.get(&report.replica).filter(|_| report.replica != self.me) else { return };
        if self.newest(known).is_some_and(|newest| newest.version >= report.version) {
            return;
        }
        let Some(known) = self.known.get_mut(&report.replica) else { return };
        known.report = Some((report, self.changes));
        known.promises.add(Promise { seq: report.seq, clock: report.clock }, || context.base(report.replica));
    }

    /// Stable time, if every member has reported under this very roster, with these very departed replicas.
    pub(super) fn stable_time(&self, roster: &BTreeSet<ReplicaId>, departed: u64) -> Option<Stamp> {
        let mut stable = None;
        for member in roster {
            let report = self.newest(self.known.get(member)?)?;
            let fresh = report.roster == self.fingerprint || self.sabotage.breaks(Rule::StaleReports);
            if !fresh || report.departed != departed {
                return None;
            }
            stable = Some(stable.map_or(report.covered, |least: Stamp| least.min(report.covered)));
        }
        stable
    }

    /// What this replica promised last, if anything yet under the present roster.
    pub(super) fn promised(&self) -> Option<Stamp> {
        self.newest(self.known.get(&self.me)?).map(|report| report.clock)
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = Report> {
        self.known.values().filter_map(|known| self.newest(known))
    }

    /// Up to so many reports of others: those of the members behind `last`, around the ring of replica ids.
    pub(super) fn reports_behind(&self, last: ReplicaId, count: usize) -> impl Iterator<Item = Report> {
        let after = (Bound::Excluded(last), Bound::Unbounded);
        let around = self.known.range(after).chain(self.known.range(..=last));
        around.filter(|(member, _)| **member != self.me).filter_map(|(_, known)| self.newest(known)).take(count)
    }
}
