//! The collection of tombstones: only by stable time, and only while no session is open.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::core::{Core, Grave, Slot};
use super::stability::Report;
use super::table::Origin;
use super::{Store, row};
use crate::id::ReplicaId;
use crate::sabotage::Rule;
use crate::time::{Now, Stamp};

impl Store {
    /// Makes a report for stable time: promise, coverage, roster and departed replicas, all of one instant.
    pub fn report(&self, now: Now) -> Report {
        let mut core = self.lock();
        // The clock moves to estimated time even when nobody writes, or one idle member would hold up everybody.
        let promised = core.stability.promised().filter(|_| core.holds_promises);
        let clock = promised.unwrap_or_else(|| core.stamp(now));
        let departed = core.departed_hash();
        let Core { stability, roster, context, seq, .. } = &mut *core;
        stability.report(roster, context, (*seq, clock), departed)
    }

    /// Takes a member's report into account. Reports of others than members are dropped.
    pub fn observe_report(&self, report: Report) {
        self.observe_reports(&[report]);
    }

    /// Takes the reports of members into account. Those of others are dropped.
    pub fn observe_reports(&self, reports: &[Report]) {
        let mut core = self.lock();
        let Core { stability, context, .. } = &mut *core;
        reports.iter().for_each(|report| stability.observe(context, *report));
    }

    /// Up to so many of the newest reports of others, to be passed on: those of the members behind `last`, in a ring.
    pub fn reports_behind(&self, last: ReplicaId, count: usize) -> Vec<Report> {
        self.lock().stability.reports_behind(last, count).collect()
    }

    /// The newest report of each member, this replica's own included, ordered by member.
    pub fn reports(&self) -> Vec<Report> {
        self.lock().stability.reports().collect()
    }

    /// Up to when everything that was written has arrived everywhere, as far as this replica can tell.
    pub fn stable_time(&self) -> Option<Stamp> {
        self.lock().stable_time()
    }

    /// Collects tombstones; returns how many. Does nothing while a [`Hold`](super::Hold) lives.
    pub fn collect(&self, now: Now) -> usize {
        let mut core = self.lock();
        if core.graves.is_empty() || self.holds.load(Ordering::Acquire) > 0 {
            return 0;
        }
        let graves = self.collectable(&core, now);
        for (_, table, key) in &graves {
            let table = self.table(table);
            core.set(Slot::new(&table, key), None, Origin::Local);
        }
        if let Some((last, ..)) = graves.iter().max() {
            core.floor = core.floor.max(*last);
        }
        core.stats.collected += graves.len() as u64;
        graves.len()
    }

    fn collectable(&self, core: &Core, now: Now) -> Vec<Grave> {
        if core.sabotage.breaks(Rule::AgeGc) {
            return core.graves_until(Stamp::from_millis(now.wall_ms.saturating_sub(300)));
        }
        #[cfg(feature = "sabotage")]
        if core.sabotage.breaks(Rule::DotGc) {
            return self.graves_seen_by_all(core);
        }
        core.stable_time().map_or_else(Vec::new, |stable| core.graves_until(stable))
    }

    /// The tombstones whose dots every member is known to have seen.
    #[cfg(feature = "sabotage")]
    fn graves_seen_by_all(&self, core: &Core) -> Vec<Grave> {
        let knows = |member: &ReplicaId, dot| {
            *member == core.replica || core.fed_contexts.get(member).is_some_and(|context| context.contains(dot))
        };
        let seen_by_all = |(_, table, key): &&Grave| {
            let mark = Slot::new(&self.table(table), key).mark();
            mark.is_some_and(|mark| core.roster.iter().all(|member| knows(member, mark.dot)))
        };
        core.graves.iter().filter(seen_by_all).cloned().collect()
    }

    /// Tells a store that breaks [`Rule::DotGc`] what a member knows.
    #[cfg(feature = "sabotage")]
    pub fn feed_context(&self, member: ReplicaId, context: crate::crdt::Context) {
        self.lock().fed_contexts.insert(member, context);
    }

    /// Sets who belongs to the cluster. Forgets reports made under another roster, and deletes the owner rows of those
    /// who no longer belong; what is known of their writes stays known. One's own rows stay whatever the roster.
    pub fn set_roster(&self, members: &BTreeSet<ReplicaId>, fingerprint: u64) {
        let mut core = self.lock();
        let come: Vec<_> = members.difference(&core.roster).copied().collect();
        let gone: Vec<_> = core.roster.difference(members).copied().collect();
        self.move_roster(&mut core, &come, &gone, fingerprint);
    }

    /// As [`set_roster`](Self::set_roster), where all others stay as they are: those who `come` belong from now on, if they
    /// did not, and those who are `gone` do not, if they did.
    pub fn change_roster(&self, come: &[ReplicaId], gone: &[ReplicaId], fingerprint: u64) {
        self.move_roster(&mut self.lock(), come, gone, fingerprint);
    }

    fn move_roster(&self, core: &mut Core, come: &[ReplicaId], gone: &[ReplicaId], fingerprint: u64) {
        if core.change_roster(come, gone, fingerprint) {
            self.forget_owners(core, |core, owner| !core.roster.contains(&owner));
        }
    }

    /// Whether exactly these belong to the cluster.
    pub(crate) fn has_roster(&self, members: &BTreeSet<ReplicaId>) -> bool {
        self.lock().roster == *members
    }

    /// Deletes the owner rows of a member that is Down.
    #[cfg(feature = "sabotage")]
    pub(crate) fn forget_owner(&self, gone: ReplicaId) {
        self.forget_owners(&mut self.lock(), |_, owner| owner == gone);
    }

    fn forget_owners(&self, core: &mut Core, is_gone: impl Fn(&Core, ReplicaId) -> bool) {
        for table in self.all_tables().into_iter().filter(|table| table.name().is_owner()) {
            let shards = table.freeze();
            let mut gone: Vec<_> = shards
                .iter()
                .flat_map(|shard| shard.iter())
                .filter_map(|record| {
                    let (owner, _) = row::split_owner_key(record.key())?;
                    (owner != core.replica && is_gone(core, owner)).then(|| (owner, record.share_key()))
                })
                .collect();
            drop(shards);
            gone.sort_unstable();
            for (owner, key) in gone {
                core.set(Slot::new(&table, &key), None, Origin::Remote(owner));
            }
        }
    }
}

impl Core {
    pub(super) fn stable_time(&self) -> Option<Stamp> {
        self.stability.stable_time(&self.roster, self.departed_hash())
    }

    fn graves_until(&self, stable: Stamp) -> Vec<Grave> {
        self.graves.iter().take_while(|(stamp, ..)| *stamp <= stable).cloned().collect()
    }
}
