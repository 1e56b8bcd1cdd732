//! The way in: find somebody who has a cluster and be admitted, or be the first.
//!
//! ```text
//!            a member is up            welcome             end
//!   looking ────────────────▶ asking ──────────▶ pulling ──────▶ ready
//!      │  ▲                     │ not formed, busy, lost
//!      │  └─────────────────────┘
//!      └─ nobody there for a while, or everybody there is new and this is the lowest of them ──▶ ready, alone
//! ```
//!
//! Several nodes that start at once would otherwise wait for each other for ever, so one of them has to be first. If
//! two are (they did not hear each other in time), they are islands, and islands merge.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::RngExt;

use super::message::{Purpose, Refusal};
use super::timers::Timer;
use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::time::Instant;

/// The pause after which somebody who could not admit this node is asked again.
const RETRY: Duration = Duration::from_millis(50);

/// The pause after which a node is asked again that refused this one for what will hardly have changed.
const KEPT_OUT_RETRY: Duration = Duration::from_secs(1);

/// After so many times the longest wait a node that was admitted by nobody makes a cluster of its own, whoever is
/// there: those who are there are then met as islands.
const LAST_RESORT: u32 = 10;

/// Among many that start at once, a newcomer asks no more than so many in the pause after which they are asked again. One
/// that was admitted is sponsor to others at once, so a thousand are in after a few pauses; if all asked as fast as they
/// are turned away, each would have asked everybody before the first of them has a cluster.
const ASK_AT_ONCE: usize = 8;

/// Among many, so many that have no cluster stand for all of them.
const SAMPLE: usize = 64;

/// What a node that is not ready yet knows.
#[derive(Debug, Default)]
pub(super) struct Joining {
    alone_at: Instant,
    last_resort_at: Instant,
    /// Until then nobody is asked, since all would give the same reason.
    pause_until: Instant,
    asking: Option<ReplicaId>,
    /// Who said that it has no cluster either, or could not be asked, and when.
    turned_down: BTreeMap<ReplicaId, (Instant, bool)>,
    /// When the last of many were asked.
    asked: VecDeque<Instant>,
}

impl Engine {
    pub(super) fn begin_joining(&mut self) {
        let (least, most) = self.config.timing.alone_after;
        let spread = most.saturating_sub(least);
        let wait = least + spread.mul_f64(self.random.random_range(0.0..1.0));
        self.join.alone_at = self.now.instant + wait;
        self.join.last_resort_at = self.now.instant + most * LAST_RESORT;
        self.timers.set(Timer::Join, self.join.alone_at);
    }

    /// A member was found: ask it at once.
    pub(super) fn try_join_soon(&mut self) {
        if self.join.asking.is_none() {
            self.timers.set_earlier(Timer::Join, self.now.instant);
        }
    }

    /// Asks the next member, or makes a cluster of one.
    pub(super) fn try_join(&mut self) {
        let now = self.now.instant;
        if self.formed() || self.join.asking.is_some() || self.leaving.is_some() {
            return;
        }
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
        let turned_down = &self.join.turned_down;
        let is_new = |replica: &ReplicaId| turned_down.get(replica).is_some_and(|(_, new)| *new);
        let sampled = crowd && turned_down.keys().filter(|replica| is_new(replica)).count() >= SAMPLE;
        let none_formed = there.iter().all(|(replica, _)| *replica > self.own && (sampled || is_new(replica)));
        // Whoever was admitted somewhere must not give up on it: its sponsors would meet it as an island without rows.
        let admitted_nowhere = self.live().is_empty();
        let is_kept_out = self.kept_out().is_some();
        if is_kept_out && now < self.join.pause_until {
            return self.timers.set_earlier(Timer::Join, self.join.pause_until);
        }
        if !is_kept_out
            && ((now >= self.join.last_resort_at && admitted_nowhere) || (now >= self.join.alone_at && none_formed))
        {
            return self.form_alone();
        }
        let ripe = |replica: ReplicaId| turned_down.get(&replica).is_none_or(|(at, _)| now.since(*at) >= RETRY);
        let next = there.into_iter().filter(|(replica, _)| ripe(*replica)).min_by_key(|(replica, _)| {
            // Those not asked yet first, then whoever was asked longest ago. Many begin each with another.
            let turn = if crowd { replica.0 ^ self.own.0 } else { replica.0 };
            (turned_down.get(replica).map(|(at, _)| *at), turn)
        });
        let mut again = now + RETRY;
        if let Some((sponsor, address)) = next {
            self.join.asking = Some(sponsor);
            if self.join.asked.len() == ASK_AT_ONCE {
                self.join.asked.pop_front();
            }
            self.join.asked.push_back(now);
            self.open_stream(sponsor, address, Purpose::Join, false);
        } else if now < self.join.alone_at && turned_down.is_empty() {
            again = self.join.alone_at;
        }
        self.timers.set_earlier(Timer::Join, again);
    }

    /// Why this node is not admitted to a cluster that is there: then it makes none of its own beside it, which would only
    /// be in its way.
    pub(super) fn kept_out(&self) -> Option<String> {
        self.name_trouble().or_else(|| self.speech_trouble())
    }

    /// The member asked cannot admit this node, or is gone.
    pub(super) fn join_failed(&mut self, sponsor: ReplicaId, refusal: Option<&Refusal>) {
        if self.join.asking == Some(sponsor) {
            self.join.asking = None;
        }
        if matches!(refusal, Some(Refusal::NameTaken(_) | Refusal::Protocol(..))) {
            self.join.pause_until = self.now.instant + KEPT_OUT_RETRY;
        }
        let new = matches!(refusal, Some(Refusal::NotFormed));
        self.join.turned_down.insert(sponsor, (self.now.instant, new));
        self.timers.set_earlier(Timer::Join, self.now.instant);
    }

    /// Somebody who has no cluster either asks for one. Among many that spares asking it.
    pub(super) fn asked_by_newcomer(&mut self, newcomer: ReplicaId) {
        if self.is_crowd() && self.swim.member(newcomer).is_some() {
            self.join.turned_down.insert(newcomer, (self.now.instant, true));
        }
    }

    fn form_alone(&mut self) {
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
