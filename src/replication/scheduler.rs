//! When is a repair session due, and with whom?
//!
//! A difference between two digests is normal while rows are under way. It is a reason for a session when it survives
//! two digests without progress, or persists however much else is going on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::ReplicaId;
use crate::store::Digest;
use crate::time::Instant;

/// How many sessions a node pulls at once; one per peer.
const PULLS_AT_ONCE: usize = 4;

/// A difference that lasts this long is a reason for a session though the digests change all the time: under a steady
/// stream of writes by one author, a lost row of another would otherwise never be missed. But then every peer differs,
/// in nothing but what is under way, and whoever is pulled from has nearly all: one such session per [`REST`] is enough.
const PERSISTENT: Duration = Duration::from_secs(1);

/// The pause between sessions over differences that do not hold still, with whomever: about as long as a row lost under a
/// steady stream of writes is missed.
const REST: Duration = Duration::from_millis(250);

/// How many sessions follow each other over a difference that stays the same; then one per [`PERSISTENT`].
const TRIES: u32 = 3;

/// What two nodes compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compared {
    /// Contexts and fingerprints of the maps.
    pub digest: Digest,
    /// The fingerprint of the roster.
    pub roster: u64,
}

/// What kind of session is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Due {
    /// Rosters differ: exchange them, then pull by contexts.
    Rosters,
    /// Contexts differ: pull what the other knows.
    Rows,
    /// Contexts are equal and the maps are not: compare them bucket by bucket, ignoring contexts.
    Buckets,
}

#[derive(Debug)]
struct Difference {
    due: Due,
    own: Compared,
    seen: u32,
    since: Instant,
    /// Since when nothing changed here.
    still: Instant,
    /// A session is due although it did not hold still.
    restless: bool,
}

/// Decides which sessions to start.
#[derive(Debug, Default)]
pub struct Scheduler {
    /// How far apart two digests must be for a difference to have survived the second.
    apart: Duration,
    differences: BTreeMap<ReplicaId, Difference>,
    holes: BTreeMap<ReplicaId, Instant>,
    pulling: BTreeMap<ReplicaId, Instant>,
    met: BTreeMap<ReplicaId, Instant>,
    /// When the last session was started over a difference that did not hold still.
    persisted: Option<Instant>,
    tried: BTreeMap<ReplicaId, Tried>,
}

/// A difference over which sessions were started, and which is still the same.
#[derive(Debug)]
struct Tried {
    due: Due,
    sides: [Compared; 2],
    times: u32,
    last: Instant,
}

impl Scheduler {
    /// `apart` is longer than a row is under way, and shorter than the pause between digests after a change. Too short,
    /// and two digests that cross take rows that are under way for lost ones; too long, and lost rows come late.
    pub fn new(apart: Duration) -> Self {
        Self { apart, ..Self::default() }
    }

    /// Another distance from now on.
    pub fn set_apart(&mut self, apart: Duration) {
        self.apart = apart;
    }

    /// Takes both sides of a comparison with `peer`; returns what is due with it now.
    pub fn compare(&mut self, now: Instant, peer: ReplicaId, own: Compared, theirs: Compared) -> Option<Due> {
        let due = match () {
            () if own == theirs => {
                self.differences.remove(&peer);
                self.tried.remove(&peer);
                return None;
            }
            () if own.roster != theirs.roster => Due::Rosters,
            () if own.digest.context != theirs.digest.context || own.digest.departed != theirs.digest.departed => {
                Due::Rows
            }
            () => Due::Buckets,
        };
        let first = Difference { due, own, seen: 0, since: now, still: now, restless: false };
        let difference = self.differences.entry(peer).or_insert(first);
        if difference.due != due {
            *difference = Difference { due, own, seen: 0, since: now, still: now, restless: false };
        }
        if difference.own != own {
            difference.own = own;
            difference.seen = 0;
            difference.still = now;
        }
        difference.seen += 1;
        let stands = difference.seen >= 2 && now.since(difference.still) >= self.apart;
        let rested = self.persisted.is_none_or(|last| now.since(last) >= REST);
        let persists = now.since(difference.since) >= PERSISTENT && rested;
        let ripe = (stands || persists) && self.may_pull(peer) && self.may_try(now, peer, due, [own, theirs]);
        if let Some(difference) = self.differences.get_mut(&peer) {
            difference.restless = ripe && !stands;
        }
        ripe.then_some(due)
    }

    /// Whether one more session may start over this difference. What a few sessions did not mend (a row that is refused
    /// here, say), the next will not either: without a rest the two would talk of nothing else, without an end.
    fn may_try(&mut self, now: Instant, peer: ReplicaId, due: Due, sides: [Compared; 2]) -> bool {
        let times = match self.tried.get(&peer).filter(|tried| tried.due == due && tried.sides == sides) {
            Some(tried) if tried.times >= TRIES && now.since(tried.last) < PERSISTENT => return false,
            Some(tried) => tried.times.saturating_add(1),
            None => 1,
        };
        self.tried.insert(peer, Tried { due, sides, times, last: now });
        true
    }

    /// Takes the authors with holes in their part of the context, in order; returns those whose hole is older than `patience`.
    pub fn holes(&mut self, now: Instant, authors: &[ReplicaId], patience: Duration) -> Vec<ReplicaId> {
        self.holes.retain(|author, _| authors.binary_search(author).is_ok());
        let mut old = Vec::new();
        for author in authors {
            let since = *self.holes.entry(*author).or_insert(now);
            if now.since(since) >= patience {
                old.push(*author);
            }
        }
        old
    }

    /// The moment at which the oldest hole has outlived `patience`.
    pub fn next_hole(&self, patience: Duration) -> Option<Instant> {
        self.holes.values().min().map(|since| *since + patience)
    }

    /// Whether a session with `peer` may start now.
    pub fn may_pull(&self, peer: ReplicaId) -> bool {
        self.pulling.len() < PULLS_AT_ONCE && !self.pulling.contains_key(&peer)
    }

    /// Whether a session with somebody outside the roster may start now: at most one a second, as it may end as it began.
    pub fn may_meet(&mut self, now: Instant, peer: ReplicaId) -> bool {
        self.met.retain(|_, at| now.since(*at) < PERSISTENT);
        self.may_pull(peer) && self.met.insert(peer, now).is_none()
    }

    /// A session with `peer` was started. Returns whether it is over a difference that does not hold still.
    pub fn started(&mut self, now: Instant, peer: ReplicaId) -> bool {
        let restless = self.differences.get(&peer).is_some_and(|difference| difference.restless);
        if restless {
            self.persisted = Some(now);
        }
        self.pulling.insert(peer, now);
        restless
    }

    /// A session with `peer` is over, well or not: the difference is counted anew.
    pub fn ended(&mut self, peer: ReplicaId) {
        self.pulling.remove(&peer);
        self.differences.remove(&peer);
        self.holes.clear();
    }

    /// A peer is gone.
    pub fn forget(&mut self, peer: ReplicaId) {
        self.ended(peer);
        self.tried.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Store, StoreConfig};

    fn compared(roster: u64) -> Compared {
        let store = Arc::new(Store::new(StoreConfig::new(ReplicaId(1), 1)));
        Compared { digest: store.digest(), roster }
    }

    /// Compares every millisecond, each session ends at once; returns how many there were.
    fn sessions(scheduler: &mut Scheduler, from: u64, to: u64, sides: impl Fn(u64) -> [Compared; 2]) -> usize {
        let peer = ReplicaId(2);
        let mut sessions = 0;
        for ms in from..to {
            let now = Instant::from_nanos(ms * 1_000_000);
            let [own, theirs] = sides(ms);
            if scheduler.compare(now, peer, own, theirs).is_some() {
                sessions += 1;
                scheduler.started(now, peer);
                scheduler.ended(peer);
            }
        }
        sessions
    }

    #[test]
    fn sessions_that_change_nothing_come_seldom() {
        let mut scheduler = Scheduler::default();
        let same = |_| [compared(1), compared(2)];
        let at_once = sessions(&mut scheduler, 1, 500, same);
        assert_eq!(at_once, 3);
        let later = sessions(&mut scheduler, 500, 10_500, same);
        assert!((9..=10).contains(&later), "{later} in ten seconds");
    }

    #[test]
    fn differences_that_do_not_hold_still_make_a_session_now_and_then() {
        let mut scheduler = Scheduler::default();
        let mut sessions = 0;
        for ms in 0..10_000 {
            let now = Instant::from_nanos(ms * 1_000_000);
            let peer = ReplicaId(2 + ms % 50);
            if scheduler.compare(now, peer, compared(2 * ms), compared(2 * ms + 1)).is_some() {
                sessions += 1;
                scheduler.started(now, peer);
                scheduler.ended(peer);
            }
        }
        assert!((32..=36).contains(&sessions), "{sessions} with fifty peers in ten seconds of writes");
    }

    #[test]
    fn digests_that_cross_are_no_two() {
        let mut scheduler = Scheduler::new(Duration::from_millis(50));
        let mut compare = |ms: u64| {
            let now = Instant::from_nanos(ms * 1_000_000);
            scheduler.compare(now, ReplicaId(2), compared(1), compared(2))
        };
        assert_eq!([compare(0), compare(2), compare(49)], [None; 3]);
        assert_eq!(compare(50), Some(Due::Rosters));
    }

    #[test]
    fn sessions_that_change_something_come_at_once() {
        let mut scheduler = Scheduler::default();
        let moving = |ms: u64| [compared(1), compared(2 + ms / 10)];
        assert_eq!(sessions(&mut scheduler, 1, 500, moving), 3 * 50, "the other side moves every 10 ms");
        let mut scheduler = Scheduler::default();
        let same = |_| [compared(1), compared(2)];
        assert_eq!(sessions(&mut scheduler, 1, 100, same), 3);
        assert_eq!(sessions(&mut scheduler, 100, 101, |_| [compared(2), compared(2)]), 0);
        assert_eq!(sessions(&mut scheduler, 101, 200, same), 3, "equal in between: another difference");
    }
}
