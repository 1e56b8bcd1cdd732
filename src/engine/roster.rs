//! The roster's part: admission, eviction, and islands that meet.
//!
//! The roster says whose promises are awaited before a tombstone goes, and whose messages count. It changes here only,
//! and whatever depends on it is brought up to date here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::message::Message;
use super::{Denial, Engine, Event};
use crate::crdt::Roster;
use crate::id::{NodeId, ReplicaId};
use crate::membership::{Identity, Liveness};
use crate::replication;
use crate::sabotage::Rule;
use crate::time::Instant;

/// So many replicas of a roster surely fit a datagram: each takes 10 bytes for its id, 5 for its length, 10 for its boot
/// and 66 for the longest name.
pub(super) const PART: usize = 14;

/// So many datagrams are spent on one change of the roster.
const MOST_PARTS: usize = 4;

/// The pause between evictions for the tombstone quota.
const QUOTA_PAUSE: Duration = Duration::from_secs(30);

impl Engine {
    /// Whether this node belongs to a cluster, if only one of its own, and may write.
    pub(super) fn formed(&self) -> bool {
        self.store.is_open()
    }

    /// Admits a newcomer, as its sponsor, and tells the others. One that was evicted while it tried before begins anew,
    /// with nothing, so nothing can come back with it.
    pub(super) fn admit(&mut self, identity: &Identity) {
        let (replica, node) = (identity.replica, &identity.node);
        let mut admitted = self.roster.about([replica]);
        admitted.admit(replica, node.clone(), identity.boot.max(self.roster.boot_for(replica, node)));
        if !admitted.is_admitted(replica) {
            admitted.readmit(replica);
        }
        self.change_roster(None, &admitted);
    }

    /// Whether this node may be a newcomer's sponsor. One that is about to leave is only if nobody else could be: whoever
    /// knows the newcomer by its word alone may have missed it when it is gone.
    pub(super) fn may_admit(&self, identity: &Identity) -> bool {
        let stays = |peer: &ReplicaId| *peer != identity.replica && !self.leavers.contains(peer);
        let is_needed = self.leaving.is_none() || (!self.said_goodbye() && !self.live().iter().any(stays));
        is_needed && self.outrun_by(identity).is_none()
    }

    /// The later run of the same node that is here and lives, if there is one. What then asks to be admitted is mostly a hello that was
    /// long under way, of a process that is no more; a new process whose clock was set back asks again, and is admitted
    /// once its predecessor is known to be gone.
    pub(super) fn outrun_by(&self, identity: &Identity) -> Option<&Identity> {
        let (boot, newest) = self.roster.newest_of(&identity.node)?;
        let is_later = newest != identity.replica && self.roster.is_admitted(newest) && boot >= identity.boot;
        let living = |(identity, liveness)| (liveness != Liveness::Down).then_some(identity);
        let lives = || if newest == self.own { Some(self.swim.identity()) } else { living(self.swim.member(newest)?) };
        is_later.then(lives).flatten()
    }

    /// Evicts a member and tells the others.
    pub(super) fn evict(&mut self, replica: ReplicaId, why: &str) {
        if self.roster.is_admitted(replica) {
            let mut evicted = self.roster.about([replica]);
            evicted.evict(replica);
            self.change_roster(None, &evicted);
            self.event(Event::Evicted { replica, why: why.to_owned() });
        }
    }

    /// Evicts all runs of a node, at an operator's word.
    pub(super) fn evict_node(&mut self, node: &NodeId) -> Result<(), Denial> {
        if !self.formed() {
            return Err(Denial::NotReady);
        }
        let is_run = |replica: &ReplicaId| self.roster.get(*replica).is_some_and(|admission| admission.node == *node);
        let runs: Vec<ReplicaId> = self.roster.members().filter(is_run).collect();
        if runs.is_empty() {
            return Err(Denial::Unknown(node.clone()));
        }
        if runs.iter().any(|run| *run == self.own || self.gossip.live.contains(run)) {
            return Err(Denial::Lives(node.clone()));
        }
        runs.into_iter().for_each(|run| self.evict(run, "an operator had it forgotten"));
        Ok(())
    }

    /// Takes in the roster of somebody else.
    pub(super) fn join_roster(&mut self, other: &Roster) {
        self.take_roster(None, other);
    }

    /// Takes in what somebody changed, and passes on what was news.
    pub(super) fn roster_delta(&mut self, sender: ReplicaId, delta: &Roster) {
        self.take_roster(Some(sender), delta);
    }

    fn take_roster(&mut self, from: Option<ReplicaId>, other: &Roster) {
        // Of a change that everybody passes on, most copies are no news.
        if !self.roster.includes(other) {
            self.change_roster(from, other);
        }
    }

    /// A member says that it leaves. From now on it counts no more, but it lives until membership says otherwise.
    pub(super) fn member_leaves(&mut self, replica: ReplicaId) {
        let Some((identity, _)) = self.swim.member(replica) else { return };
        let node = identity.node.clone();
        if !self.leavers.insert(replica) {
            return;
        }
        self.event(Event::Left { node, replica });
        self.evict(replica, "it left");
        self.members_changed();
    }

    /// Evicts members that have been Down for long: from then on nobody waits for their promises.
    pub(super) fn evict_long_down(&mut self) {
        let now = self.now.instant;
        let silent = &self.gossip.silent;
        self.silent_since.retain(|replica, _| silent.contains(replica));
        let since = silent.iter().map(|replica| (*replica, *self.silent_since.entry(*replica).or_insert(now)));
        let hasty = self.sabotage.breaks(Rule::DownReplacesRoster);
        let too_long = |since: Instant| hasty || now.since(since) >= self.config.timing.evict_after;
        let evicted: Vec<_> = since.filter(|(_, since)| too_long(*since)).collect();
        for (replica, _) in evicted {
            self.evict(replica, "it was Down for too long");
        }
        self.evict_for_quota();
    }

    /// Too many removed rows are kept for members that are Down: the one that has been so for longest has to go. Then it
    /// takes a few reports until they can be collected; before that nobody else is evicted. Nor is anybody while a session
    /// is what keeps them.
    fn evict_for_quota(&mut self) {
        let now = self.now.instant;
        let recently = self.evicted_for_quota.is_some_and(|at| now.since(at) < QUOTA_PAUSE);
        let stats = self.store.stats();
        if recently || stats.holds > 0 || stats.tombstones <= self.config.tombstone_quota {
            return;
        }
        let down = self.down_since.iter().filter(|(replica, _)| self.roster.is_admitted(**replica));
        if let Some((replica, _)) = down.min_by_key(|(replica, since)| (**since, **replica)) {
            let replica = *replica;
            self.evicted_for_quota = Some(now);
            self.evict(replica, "removed rows kept for it exceeded the quota");
        }
    }

    /// Joins `other`, and brings up to date what follows from it: for those whom it concerns alone, since each member of a
    /// large cluster hears of each admission.
    fn change_roster(&mut self, from: Option<ReplicaId>, other: &Roster) {
        let fingerprint = self.roster.fingerprint();
        let concerned = self.concerned_by(other);
        let about = |roster: &Roster| roster.about(concerned.iter().copied());
        let before = about(&self.roster);
        self.roster.join(other);
        if self.formed() || self.roster.is_admitted(self.own) {
            self.stay_in_roster(&before);
        }
        if self.roster.fingerprint() == fingerprint {
            return;
        }
        let after = about(&self.roster);
        let delta = after.difference(&before);
        let (come, gone): (Vec<_>, Vec<_>) = concerned.iter().partition(|replica| after.is_admitted(**replica));
        for replica in come.iter().filter(|replica| **replica != self.own) {
            let length = |roster: &Roster| roster.get(*replica).map(|admission| admission.length);
            if length(&before).is_some() && length(&before) < length(&after) {
                self.foreign.insert(*replica);
            }
        }
        for replica in gone.iter().filter(|replica| before.is_admitted(**replica)) {
            self.peers.forget(*replica);
            self.foreign.remove(replica);
            // Its rows go with it.
            self.work.reread();
        }
        // First: who is in the roster is heard of.
        self.store.set_alone(self.roster.members().all(|member| member == self.own));
        self.store.change_roster(&come, &gone, self.roster.fingerprint());
        debug_assert!(self.store.has_roster(&self.roster.member_set()));
        self.members_changed();
        self.touch();
        self.merge_early(&come);
        // In a small cluster the one who changed it tells everybody; in a large one everybody passes it on.
        if from.is_none() || self.live().len() > replication::EAGER_TO_ALL {
            let parts = delta.parts(PART);
            // Whoever misses that much is told by its digest, and fetches it.
            for part in parts.into_iter().take(MOST_PARTS) {
                self.broadcast(&Message::Roster(part), from);
            }
        }
    }

    /// Whose standing may be another once `other` is joined: those in it, the runs that they replace, and this node.
    fn concerned_by(&self, other: &Roster) -> BTreeSet<ReplicaId> {
        let mut concerned = BTreeSet::from([self.own]);
        concerned.extend(self.roster.newest_of(&self.config.identity.node).map(|(_, newest)| newest));
        for (replica, admission) in other.iter() {
            concerned.insert(replica);
            concerned.extend(self.roster.newest_of(&admission.node).map(|(_, newest)| newest));
            if self.roster.get(replica).is_some_and(|known| known.node != admission.node) {
                // A forgery, which may bring back whoever was replaced by one that never was.
                return self.roster.iter().chain(other.iter()).map(|(replica, _)| replica).collect();
            }
        }
        concerned
    }

    /// Somebody evicted this node while it lives: it was out of reach for long. It comes back as an island of its own,
    /// and since either side may have collected what the other still holds, nobody's context counts until the buckets
    /// were compared.
    fn stay_in_roster(&mut self, before: &Roster) {
        if self.roster.is_admitted(self.own) || self.leaving.is_some() || !before.is_admitted(self.own) {
            return;
        }
        if let Some(newer) = self.roster.superseded_by(self.own) {
            let is_alive = self.swim.member(newer).is_some_and(|(_, liveness)| liveness != Liveness::Down);
            if is_alive {
                // Two processes of one name live. The newer has the name.
                return self.give_way(newer);
            }
            // A former run whose clock was ahead of what it is now.
            let node = self.swim.identity().node.clone();
            let boot = self.roster.boot_for(self.own, &node);
            self.roster.admit(self.own, node, boot);
        }
        if !self.formed() {
            // It has nothing yet that could be an island: its next sponsor admits it again.
            return;
        }
        self.roster.readmit(self.own);
        self.foreign.extend(self.roster.members().filter(|replica| *replica != self.own));
    }
}
