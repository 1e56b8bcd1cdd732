//! Watch streams: a process that dies on a live host is known in milliseconds.
//!
//! Each member keeps one idle stream to each of its three successors on the [ring](super::ring). The operating system
//! closes the streams of a dead process and refuses new ones; both arrive at once, where a probe would have to wait.
//!
//! ```text
//!             Open                 opened
//!   ┌───────────────▶ Opening ─────────────────▶ Open
//!   │                  │  ▲ ▲                     │
//!   │          failed  │  │ └─────────────────────┘  ended; another watcher asks: close, open afresh
//!   │                  ▼  │ told, asked
//!   └── backoff ─── Waiting
//!
//!   failed, refused, after an authenticated stream ──▶ Suspect + Tell the target's other watchers
//!   own refusal + another watcher's within 3 s ──────▶ Down   (only two members live: own refusal ──▶ Down)
//!   answered by a newer boot ────────────────────────▶ Down
//! ```
//!
//! A refusal by itself proves little: a firewall that rejects packets between two nodes refuses as well. So it counts
//! only where a stream to that very run at that address existed, and Down takes two watchers. Who is asked opens a
//! fresh connection, since an open stream may outlive a firewall's change, and only a refusal of that confirms.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Identity;
use super::ring::Ring;
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::Instant;

/// How long another watcher's refusal stands beside our own.
const REFUSAL_COUNTS: Duration = Duration::from_secs(3);
/// The least time between two connections opened because others asked.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The first wait after a failed attempt; it doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait.
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// For how long an observer that was wrong twice says nothing about that target.
const PATH_LOST: Duration = Duration::from_secs(3_600);
/// How often one must be wrong to lose the path.
const WRONG_LIMIT: u8 = 2;

/// What [`Watchers`] want done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchOutput {
    /// Open a stream to this member and make it authenticate; answer with one of `opened`, `answered_by`, `failed`.
    Open(Identity),
    /// Close the stream, or give the attempt up. No answer.
    Close(ReplicaId),
    /// Its host refuses us. Put it under suspicion.
    Suspect(ReplicaId),
    /// Tell a member that we saw a refusal.
    Tell {
        /// Another watcher.
        to: ReplicaId,
        /// The target.
        about: ReplicaId,
    },
    /// Ask a member to look for itself.
    Ask {
        /// Another watcher.
        to: ReplicaId,
        /// The target.
        about: ReplicaId,
    },
    /// It is proved to be gone. Declare it Down and push that to everybody.
    Down(ReplicaId),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Opening,
    Open,
    Waiting { until: Instant },
}

/// What we know of one successor.
struct Watch {
    identity: Identity,
    state: State,
    backoff: Duration,
    /// A stream to this run at this address was authenticated once.
    authenticated: bool,
    /// When we were last refused, since it was last opened.
    refused: Option<Instant>,
    /// When others were refused.
    told: BTreeMap<ReplicaId, Instant>,
    /// When we last opened a connection because we were asked.
    checked: Option<Instant>,
    /// Down was said and nothing has disproved it yet.
    said_down: bool,
}

/// How right we were about a run; outlives its place among our successors, and its being Down: mostly it is when it comes
/// back from there that we were wrong.
#[derive(Default)]
struct Record {
    accused: bool,
    wrong: u8,
    lost_until: Option<Instant>,
    /// When it was accused last.
    at: Instant,
}

/// The watch streams of one node. A machine without IO: report what became of streams, then [`poll`](Self::poll)
/// until nothing comes, then sleep until [`poll_timeout`](Self::poll_timeout).
pub struct Watchers {
    own: ReplicaId,
    ring: Ring,
    watches: BTreeMap<ReplicaId, Watch>,
    records: BTreeMap<ReplicaId, Record>,
    outputs: VecDeque<WatchOutput>,
    sabotage: Sabotage,
}

impl Watchers {
    /// Watches nobody yet.
    pub fn new(own: ReplicaId) -> Self {
        Self {
            own,
            ring: Ring::default(),
            watches: BTreeMap::new(),
            records: BTreeMap::new(),
            outputs: VecDeque::new(),
            sabotage: Sabotage::default(),
        }
    }

    /// Breaks rules on purpose.
    #[must_use]
    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        Self { sabotage, ..self }
    }

    /// The members that are alive or suspect, ourselves included, in any order. Call it whenever they change.
    pub fn set_members(&mut self, now: Instant, live: &[Identity]) {
        self.ring = Ring::new(live);
        let wanted: BTreeMap<ReplicaId, Identity> =
            self.ring.successors(self.own).map(|identity| (identity.replica, identity.clone())).collect();
        let gone: Vec<ReplicaId> = self
            .watches
            .iter()
            .filter(|(replica, watch)| wanted.get(replica).is_none_or(|new| new.address != watch.identity.address))
            .map(|(replica, _)| *replica)
            .collect();
        for replica in gone {
            self.watches.remove(&replica);
            self.outputs.push_back(WatchOutput::Close(replica));
        }
        for (replica, identity) in wanted {
            if let Some(watch) = self.watches.get_mut(&replica) {
                watch.identity = identity;
            } else {
                self.outputs.push_back(WatchOutput::Open(identity.clone()));
                self.watches.insert(replica, Watch::new(identity));
            }
        }
        let live: Vec<ReplicaId> = live.iter().map(|identity| identity.replica).collect();
        self.records.retain(|replica, record| live.contains(replica) || now.since(record.at) < PATH_LOST);
    }

    /// The far end authenticated as this run.
    pub fn opened(&mut self, _now: Instant, target: ReplicaId) {
        let Some(watch) = self.watches.get_mut(&target) else {
            self.outputs.push_back(WatchOutput::Close(target));
            return;
        };
        watch.state = State::Open;
        watch.backoff = FIRST_BACKOFF;
        watch.authenticated = true;
        watch.refused = None;
        watch.said_down = false;
    }

    /// The far end authenticated as somebody else.
    pub fn answered_by(&mut self, now: Instant, target: ReplicaId, other: &Identity) {
        let Some(watch) = self.watches.get(&target) else { return };
        if other.replica == target {
            self.opened(now, target);
        } else if other.address == watch.identity.address && other.boot > watch.identity.boot {
            self.retry_later(now, target);
            self.say_down(target);
        } else {
            self.retry_later(now, target);
        }
    }

    /// An open stream ended, in order or not.
    pub fn ended(&mut self, _now: Instant, target: ReplicaId) {
        if let Some(watch) = self.watches.get_mut(&target)
            && watch.state == State::Open
        {
            watch.state = State::Opening;
            self.outputs.push_back(WatchOutput::Open(watch.identity.clone()));
        }
    }

    /// An attempt failed: `refused` if the host answered that nobody listens, otherwise silence or no route.
    pub fn failed(&mut self, now: Instant, target: ReplicaId, refused: bool) {
        let Some(watch) = self.watches.get_mut(&target) else { return };
        let first = watch.backoff == FIRST_BACKOFF;
        let authenticated = watch.authenticated;
        if refused && authenticated {
            watch.refused = Some(now);
        }
        self.retry_later(now, target);
        if !authenticated || self.path_lost(now, target) {
            return;
        }
        if refused {
            let record = self.records.entry(target).or_default();
            (record.accused, record.at) = (true, now);
            self.notify_others(target, |to, about| WatchOutput::Tell { to, about });
            if !self.judge(now, target) {
                self.outputs.push_back(WatchOutput::Suspect(target));
            }
        } else if first {
            self.notify_others(target, |to, about| WatchOutput::Ask { to, about });
        }
    }

    /// Another watcher saw a refusal.
    pub fn told_refused(&mut self, now: Instant, from: ReplicaId, about: ReplicaId) {
        if from == self.own || !self.ring.predecessors(about).any(|watcher| watcher.replica == from) {
            return;
        }
        let Some(watch) = self.watches.get_mut(&about) else { return };
        watch.told.insert(from, now);
        if !self.judge(now, about) {
            self.check(now, about);
        }
    }

    /// Another watcher asks what we see.
    pub fn asked(&mut self, now: Instant, from: ReplicaId, about: ReplicaId) {
        if from != self.own && self.ring.predecessors(about).any(|watcher| watcher.replica == from) {
            self.check(now, about);
        }
    }

    /// Something makes us doubt this member, if we watch it: look afresh.
    pub fn look(&mut self, now: Instant, about: ReplicaId) {
        self.check(now, about);
    }

    /// The target proved to be alive after we accused it, or came back as the same run after we declared it Down.
    pub fn refuted(&mut self, now: Instant, target: ReplicaId) {
        if let Some(watch) = self.watches.get_mut(&target) {
            watch.said_down = false;
            watch.refused = None;
            watch.told.clear();
        }
        let Some(record) = self.records.get_mut(&target).filter(|record| record.accused) else { return };
        record.accused = false;
        record.wrong += 1;
        if record.wrong >= WRONG_LIMIT {
            *record = Record { lost_until: Some(now + PATH_LOST), at: now, ..Record::default() };
        }
    }

    /// Opens what has waited long enough.
    pub fn handle_deadline(&mut self, now: Instant) {
        for watch in self.watches.values_mut() {
            if matches!(watch.state, State::Waiting { until } if until <= now) {
                watch.state = State::Opening;
                self.outputs.push_back(WatchOutput::Open(watch.identity.clone()));
            }
        }
    }

    /// When [`handle_deadline`](Self::handle_deadline) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = |watch: &Watch| if let State::Waiting { until } = watch.state { Some(until) } else { None };
        self.watches.values().filter_map(waiting).min()
    }

    /// How many records are kept.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.records.len()
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<WatchOutput> {
        self.outputs.pop_front()
    }

    fn path_lost(&self, now: Instant, target: ReplicaId) -> bool {
        self.records.get(&target).and_then(|record| record.lost_until).is_some_and(|until| until > now)
    }

    fn retry_later(&mut self, now: Instant, target: ReplicaId) {
        if let Some(watch) = self.watches.get_mut(&target) {
            watch.state = State::Waiting { until: now + watch.backoff };
            watch.backoff = (watch.backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Looks afresh, at most once a second, whatever others ask for.
    fn check(&mut self, now: Instant, about: ReplicaId) {
        let Some(watch) = self.watches.get_mut(&about) else { return };
        if watch.state == State::Opening || watch.checked.is_some_and(|at| now.since(at) < CHECK_EVERY) {
            return;
        }
        watch.checked = Some(now);
        if watch.state == State::Open {
            self.outputs.push_back(WatchOutput::Close(about));
        }
        watch.state = State::Opening;
        self.outputs.push_back(WatchOutput::Open(watch.identity.clone()));
    }

    /// Says Down if there are refusals enough; returns whether there are.
    fn judge(&mut self, now: Instant, target: ReplicaId) -> bool {
        let only_two = self.ring.len() == 2 || self.sabotage.breaks(Rule::OneRefusal);
        let lost = self.path_lost(now, target);
        let Some(watch) = self.watches.get_mut(&target) else { return false };
        let counts = |at: Instant| now.since(at) <= REFUSAL_COUNTS;
        watch.told.retain(|_, at| counts(*at));
        let enough = watch.refused.is_some_and(counts) && (only_two || !watch.told.is_empty()) && !lost;
        if enough {
            self.say_down(target);
        }
        enough
    }

    fn say_down(&mut self, target: ReplicaId) {
        if let Some(watch) = self.watches.get_mut(&target)
            && !std::mem::replace(&mut watch.said_down, true)
        {
            self.outputs.push_back(WatchOutput::Down(target));
        }
    }

    fn notify_others(&mut self, about: ReplicaId, make: impl Fn(ReplicaId, ReplicaId) -> WatchOutput) {
        let own = self.own;
        let others = self.ring.predecessors(about).map(|watcher| watcher.replica).filter(|watcher| *watcher != own);
        self.outputs.extend(others.map(|to| make(to, about)));
    }
}

impl Watch {
    fn new(identity: Identity) -> Self {
        Self {
            identity,
            state: State::Opening,
            backoff: FIRST_BACKOFF,
            authenticated: false,
            refused: None,
            told: BTreeMap::new(),
            checked: None,
            said_down: false,
        }
    }
}
