//! The way in: find a member that has a cluster and be admitted, or be the first.
//!
//! ```text
//!            a member is up            welcome             end
//!   looking ────────────────▶ asking ──────────▶ pulling ──────▶ ready
//!      │  ▲                     │ not formed, busy, lost, silent
//!      │  └─────────────────────┘
//!      └─ no member there for a while, or all of them are new and this is the lowest of them ──▶ ready, alone
//!      └─ the last resort: none of those there admitted this node, and each had its time for an answer ──▶ ready, alone
//! ```
//!
//! A member that does not answer at once is not waited for: the next one is asked meanwhile, and the first welcome is
//! taken. No cluster is founded while a member that is there was not asked, or says that it has a cluster.
//!
//! Several nodes that start at once would otherwise wait for each other for ever, so one of them has to be first. If
//! two are (they did not hear each other in time), they are islands, and islands merge.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::message::{Purpose, Refusal};
use super::timers::Timer;
use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::sabotage::Rule;
use crate::time::Instant;

/// The pause after which a member that could not admit this node is asked again; also how long one that was asked may take
/// before the next one is asked beside it.
const RETRY: Duration = Duration::from_millis(50);

/// The pause after which a node is asked again that refused this one for what will hardly have changed.
const KEPT_OUT_RETRY: Duration = Duration::from_secs(1);

/// How long a member may take to answer before it counts as one that does not. Its stream stays open, as a late welcome
/// is welcome all the same.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The pause after which a member is asked again that did not answer or could not be reached.
const FAILED_RETRY: Duration = Duration::from_millis(250);

/// After so many times the longest wait a node that was admitted nowhere makes a cluster of its own, if none of those
/// who are there has one to its knowledge. They are then met as islands.
const LAST_RESORT: u32 = 10;

/// So many members are waited for at a time. Among many that start at once, a newcomer also asks no more than so many in
/// the pause after which they are asked again. One that was admitted is sponsor to others at once, so a thousand are in
/// after a few pauses; if all asked as fast as they are turned away, each would have asked everybody before the first of
/// them has a cluster.
const ASK_AT_ONCE: usize = 8;

/// Among many, so many that have no cluster, or do not answer, stand for all of them.
const SAMPLE: usize = 64;

/// What a node that is not ready yet knows.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// When the first may be that no member was heard of that has a cluster.
    first_at: Instant,
    alone_at: Instant,
    last_resort_at: Instant,
    /// Until then no member is asked, since all would give the same reason.
    pause_until: Instant,
    /// Members that were asked and have not answered, and when that was.
    asking: BTreeMap<ReplicaId, Instant>,
    /// The member that welcomed this node, and whose rows are coming in.
    sponsor: Option<ReplicaId>,
    /// What came of asking each member the last time, and when.
    answers: BTreeMap<ReplicaId, (Instant, Answer)>,
    /// When the last of many were asked.
    asked: VecDeque<Instant>,
}

/// What came of asking a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// It has no cluster either.
    New,
    /// It has a cluster, and admits no node at the moment.
    Busy,
    /// It could not be reached, or did not answer in time.
    Failed,
}

impl Answer {
    /// The pause after which it is asked again.
    fn retry(self) -> Duration {
        if self == Self::Failed { FAILED_RETRY } else { RETRY }
    }
}

impl Joining {
    fn is(&self, replica: ReplicaId, answer: Answer) -> bool {
        self.answers.get(&replica).is_some_and(|(_, given)| *given == answer)
    }

    /// Whether at least so many gave this answer.
    fn has_sampled(&self, answer: Answer) -> bool {
        self.answers.values().filter(|(_, given)| *given == answer).take(SAMPLE).count() == SAMPLE
    }

    /// Members whose time for an answer is not over.
    fn awaited(&self, now: Instant) -> impl Iterator<Item = Instant> {
        self.asking.values().copied().filter(move |since| now.since(*since) < ANSWER_WITHIN)
    }

    fn is_ripe(&self, now: Instant, replica: ReplicaId) -> bool {
        let ripe = |(at, answer): &(Instant, Answer)| now.since(*at) >= answer.retry();
        !self.asking.contains_key(&replica) && self.answers.get(&replica).is_none_or(ripe)
    }
}

impl Engine {
    pub(super) fn begin_joining(&mut self) {
        let (least, most) = self.config.timing.alone_after;
        let spread = most.saturating_sub(least);
        let wait = least + spread.mul_f64(self.random.random_range(0.0..1.0));
        self.join.first_at = self.now.instant + least;
        self.join.alone_at = self.now.instant + wait;
        self.join.last_resort_at = self.now.instant + most * LAST_RESORT;
        self.timers.set(Timer::Join, self.join.alone_at);
    }

    /// A member was found: ask it at once.
    pub(super) fn try_join_soon(&mut self) {
        if self.join.asking.is_empty() && self.join.sponsor.is_none() {
            self.timers.set_earlier(Timer::Join, self.now.instant);
        }
    }

    /// Asks the next member, or makes a cluster of one.
    pub(super) fn try_join(&mut self) {
        let now = self.now.instant;
        if self.formed() || self.join.sponsor.is_some() || self.leaving.is_some() {
            return;
        }
        if self.sabotage.breaks(Rule::OneSponsorAtATime) && !self.join.asking.is_empty() {
            let founds = now >= self.join.last_resort_at && self.live().is_empty();
            return if founds { self.form_alone() } else { self.timers.set_earlier(Timer::Join, now + RETRY) };
        }
        self.note_silent_sponsors();
        let crowd = self.is_crowd();
        let oldest = self.join.asked.front().filter(|_| crowd && self.join.asked.len() >= ASK_AT_ONCE);
        if let Some(rested) = oldest.map(|at| *at + RETRY).filter(|rested| now < *rested) {
            return self.timers.set_earlier(Timer::Join, rested);
        }
        let there: Vec<_> = self
            .swim
            .members()
            .filter(|(_, liveness)| *liveness != Liveness::Down)
            .map(|(identity, _)| (identity.replica, identity.address))
            .collect();
        let is_kept_out = self.kept_out().is_some();
        if is_kept_out && now < self.join.pause_until {
            return self.timers.set_earlier(Timer::Join, self.join.pause_until);
        }
        let awaited = self.join.awaited(now).count();
        if !is_kept_out && self.may_found(&there) {
            // A member that is asked at this moment may have got a cluster since it was asked before. One that failed
            // had its time.
            let is_awaited = |(replica, since): (&ReplicaId, &Instant)| {
                now.since(*since) < ANSWER_WITHIN && !self.join.is(*replica, Answer::Failed)
            };
            if !self.join.asking.iter().any(is_awaited) {
                return self.form_alone();
            }
            return self.timers.set_earlier(Timer::Join, now + RETRY);
        }
        // A member that answers does so at once, and another one need not be asked.
        let patient = self.join.awaited(now).any(|since| now.since(since) < RETRY) || awaited >= ASK_AT_ONCE;
        let next =
            there.into_iter().filter(|(replica, _)| self.join.is_ripe(now, *replica)).min_by_key(|(replica, _)| {
                // Those not asked yet first, then the one that was asked longest ago. Many begin each with another.
                let turn = if crowd { replica.0 ^ self.own.0 } else { replica.0 };
                (self.join.answers.get(replica).map(|(at, _)| *at), turn)
            });
        let mut again = now + RETRY;
        if let Some((sponsor, address)) = next.filter(|_| !patient) {
            self.join.asking.insert(sponsor, now);
            if self.join.asked.len() == ASK_AT_ONCE {
                self.join.asked.pop_front();
            }
            self.join.asked.push_back(now);
            self.open_stream(sponsor, address, Purpose::Join, false);
        } else if now < self.join.alone_at && self.join.answers.is_empty() && self.join.asking.is_empty() {
            again = self.join.alone_at;
        }
        self.timers.set_earlier(Timer::Join, again);
    }

    /// Members that had their time for an answer count as those that do not answer, until they do.
    fn note_silent_sponsors(&mut self) {
        let now = self.now.instant;
        let silent = self.join.asking.iter().filter(|(_, since)| now.since(**since) >= ANSWER_WITHIN);
        let silent: Vec<_> = silent.map(|(replica, _)| *replica).collect();
        self.join.answers.extend(silent.into_iter().map(|replica| (replica, (now, Answer::Failed))));
    }

    /// Whether this node may make a cluster of its own beside these members: all of them are new and come after it, or it
    /// is time for the last resort, and each was asked and has no cluster that it would speak of.
    fn may_found(&self, there: &[(ReplicaId, SocketAddr)]) -> bool {
        let (now, join, crowd) = (self.now.instant, &self.join, self.is_crowd());
        let (new, failed) = (crowd && join.has_sampled(Answer::New), crowd && join.has_sampled(Answer::Failed));
        let is_new = |replica: ReplicaId| new || join.is(replica, Answer::New);
        // Those who know each other need no lot to tell who is first.
        let alone_at = if there.is_empty() { join.alone_at } else { join.first_at };
        if now >= alone_at && there.iter().all(|(replica, _)| *replica > self.own && is_new(*replica)) {
            return true;
        }
        // A node that was admitted somewhere must not give up on it: its sponsors would meet it as an island without rows.
        if now < join.last_resort_at || !self.live().is_empty() {
            return false;
        }
        let has_none = |replica: ReplicaId| is_new(replica) || failed || join.is(replica, Answer::Failed);
        let has_cluster = join
            .answers
            .iter()
            .any(|(replica, (_, answer))| *answer == Answer::Busy && there.iter().any(|(there, _)| there == replica));
        // Of several that get nowhere the lowest is first, and admits the others.
        let first = !there.iter().any(|(replica, _)| *replica < self.own && join.is(*replica, Answer::New));
        let (_, most) = self.config.timing.alone_after;
        let turn = first || now >= join.last_resort_at + most * LAST_RESORT;
        turn && !has_cluster && there.iter().all(|(replica, _)| has_none(*replica))
    }

    /// Why this node is not admitted to a cluster that is there: then it makes none of its own beside it, which would only
    /// be in its way.
    pub(super) fn kept_out(&self) -> Option<String> {
        self.name_trouble().or_else(|| self.speech_trouble())
    }

    /// The member asked cannot admit this node, or is gone.
    pub(super) fn join_failed(&mut self, sponsor: ReplicaId, refusal: Option<&Refusal>) {
        self.join.asking.remove(&sponsor);
        if self.join.sponsor == Some(sponsor) {
            self.join.sponsor = None;
        }
        if matches!(refusal, Some(Refusal::NameTaken(_) | Refusal::Protocol(..))) {
            self.join.pause_until = self.now.instant + KEPT_OUT_RETRY;
        }
        let answer = match refusal {
            Some(Refusal::NotFormed) => Answer::New,
            Some(Refusal::Busy) => Answer::Busy,
            _ => Answer::Failed,
        };
        self.join.answers.insert(sponsor, (self.now.instant, answer));
        self.timers.set_earlier(Timer::Join, self.now.instant);
    }

    /// A member welcomes this node: the others that were asked are not waited for any more.
    pub(super) fn join_welcomed(&mut self, sponsor: ReplicaId) {
        self.join.sponsor = Some(sponsor);
        self.close_asking(Some(sponsor));
    }

    /// Closes the streams on which members are asked, but for this one's. They have heard a hello, and admitted nothing.
    fn close_asking(&mut self, keep: Option<ReplicaId>) {
        for replica in std::mem::take(&mut self.join.asking).into_keys().filter(|replica| Some(*replica) != keep) {
            self.close_outgoing(Purpose::Join, replica);
        }
    }

    /// A member compares what it holds, so it has a cluster by now, whatever it answered before.
    pub(super) fn sponsor_heard(&mut self, member: ReplicaId) {
        if self.join.is(member, Answer::New) && !self.join.asking.contains_key(&member) {
            self.join.answers.remove(&member);
            if self.join.sponsor.is_none() {
                self.timers.set_earlier(Timer::Join, self.now.instant);
            }
        }
    }

    /// A node that has no cluster either asks for one. Among many that spares asking it.
    pub(super) fn asked_by_newcomer(&mut self, newcomer: ReplicaId) {
        if self.is_crowd() && self.swim.member(newcomer).is_some() {
            self.join.answers.insert(newcomer, (self.now.instant, Answer::New));
        }
    }

    fn form_alone(&mut self) {
        self.close_asking(None);
        let identity = self.swim.identity().clone();
        self.admit(&identity);
        self.become_ready();
    }

    /// Everything is pulled, or there is nothing to pull: from now on this node writes.
    pub(super) fn become_ready(&mut self) {
        self.join = Joining::default();
        self.timers.stop(Timer::Join);
        self.store.open();
        self.update_clock_offset();
        // What is declared now goes to those who are known now.
        self.follow_members();
        self.declare();
        self.status.changed();
        self.event(Event::Ready);
        self.touch();
        if self.is_crowd() {
            // To be heard of and to hear of others takes a few; the rest follows from their digests.
            return self.send_digests();
        }
        let others: Vec<_> = self.swim.members().map(|(identity, _)| identity.replica).collect();
        for other in others {
            self.ask_digest(other, false);
        }
    }
}
