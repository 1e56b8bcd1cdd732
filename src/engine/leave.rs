//! The way out: hand over the roles, see every own write in another member's hands, say goodbye.

use std::time::Duration;

use super::message::Message;
use super::roster::PART;
use super::timers::Timer;
use super::{Engine, Output, Reply};
use crate::id::ReplicaId;
use crate::replication;
use crate::sabotage::Rule;
use crate::store::Row;
use crate::time::Instant;

/// How often the others are asked how much they hold.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How many unsaved rows are named at the most.
const NAMED: usize = 1_000;

/// How long everybody has to take note of the goodbye. Whoever does not will find this node Down, and think it died.
const GOODBYE: Duration = Duration::from_millis(500);

/// A leave under way.
#[derive(Debug)]
pub(super) struct Leaving {
    request: u64,
    since: Instant,
    /// When it is too late to wait for anything but the goodbye.
    until: Instant,
    stage: Stage,
}

/// ```text
///   Draining ── all roles run elsewhere ─▶ Stopping ── no role runs here ─▶ Saving ── somebody holds all ─▶ Goodbye
///      └────── half the patience ────────────▲ └───────────────────────────────┴──────── patience ────────────▲ │
///                                                     Gone ◀── all took note, and answers are through ──────────┘
/// ```
#[derive(Debug)]
enum Stage {
    Draining,
    Stopping,
    /// So many own writes must be in somebody's hands.
    Saving(u64),
    Goodbye {
        until: Instant,
        unsaved: Vec<String>,
        /// Since when everybody has taken note.
        noted: Option<Instant>,
    },
    Gone,
}

impl Engine {
    pub(super) fn begin_leaving(&mut self, request: u64, patience: Duration) {
        if matches!(self.leaving, Some(Leaving { stage: Stage::Gone, .. })) {
            let reply = Reply::LeftWithUnsaved(self.unsaved());
            return self.outputs.push_back(Output::Reply { request, reply });
        }
        if self.leaving.is_some() {
            return;
        }
        let since = self.now.instant;
        self.leaving = Some(Leaving { request, since, until: since + patience, stage: Stage::Draining });
        self.status.changed();
        let others = self.work.view().any(|member| member != self.own);
        if !(self.formed() && others) {
            return self.stop_roles();
        }
        self.timers.set(Timer::LeavePatience, since + patience / 2);
        self.declare_self();
    }

    /// Whatever still runs here ends now; the others start it once this node is gone.
    fn stop_roles(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.stage = Stage::Stopping;
        self.timers.set(Timer::LeavePatience, leaving.until);
        self.work.stop_all(self.now);
    }

    /// Another process has this one's name and place for good. Nobody counts on what this one says any more, so it must
    /// run no role and keep silent.
    pub(super) fn stand_back(&mut self) {
        let now = self.now.instant;
        self.leaving = Some(Leaving { request: 0, since: now, until: now, stage: Stage::Gone });
        self.store.close();
        self.work.stop_all(self.now);
        self.swim.leave(self.now.instant);
        self.status.changed();
    }

    /// Whether this node has evicted itself. Before that it is still there for whoever comes for its rows: that is what it
    /// waits for.
    pub(super) fn said_goodbye(&self) -> bool {
        let stage = self.leaving.as_ref().map(|leaving| &leaving.stage);
        matches!(stage, Some(Stage::Goodbye { .. } | Stage::Gone))
            || (stage.is_some() && self.sabotage.breaks(Rule::LeaverServesNobody))
    }

    /// Whether this node has left or was replaced: it says nothing any more.
    pub(super) fn is_gone(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| matches!(leaving.stage, Stage::Gone))
    }

    /// Looks whether the next step of leaving can be taken.
    pub(super) fn check_leaving(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        match &leaving.stage {
            Stage::Draining if self.work.handed_over() => {
                self.stop_roles();
                self.check_leaving();
            }
            Stage::Stopping if self.work.idle() => {
                leaving.stage = Stage::Saving(self.store.base_of(self.own));
                self.ask_all();
                self.check_leaving();
            }
            Stage::Saving(until) => {
                let until = *until;
                if self.nobody_stays() || self.best_holder() >= until {
                    self.say_goodbye();
                }
            }
            Stage::Goodbye { until, noted, .. } => {
                let (until, noted) = (*until, *noted);
                if self.now.instant >= until || self.may_go(noted) {
                    self.go();
                }
            }
            Stage::Draining | Stage::Stopping | Stage::Gone => {}
        }
    }

    /// The largest part of this node's writes that a member holds which lives and stays. What it said before this node
    /// began to leave does not count: of two that leave at once, each would hold the other's writes and take them along.
    fn best_holder(&self) -> u64 {
        let Some(leaving) = &self.leaving else { return 0 };
        let held = self.live().iter().filter_map(|peer| self.peers.held_by(*peer, leaving.since));
        held.flatten().max().unwrap_or(0)
    }

    /// Whether everybody else leaves too, and nobody in the roster may come back: then there is nothing to wait for.
    fn nobody_stays(&self) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        let mut others = self.roster.members().filter(|member| *member != self.own);
        others.all(|member| self.peers.held_by(member, leaving.since) == Some(None))
    }

    /// Patience is over: leave, whether or not everything is in other hands.
    pub(super) fn leave_now(&mut self) {
        match self.leaving.as_ref().map(|leaving| &leaving.stage) {
            Some(Stage::Draining) => self.stop_roles(),
            Some(Stage::Stopping | Stage::Saving(_)) => self.say_goodbye(),
            Some(Stage::Goodbye { .. }) => self.check_leaving(),
            Some(Stage::Gone) | None => {}
        }
    }

    /// Asks again whatever the present stage waits for.
    pub(super) fn ask_all(&mut self) {
        let Some(leaving) = &self.leaving else { return };
        let goodbye = match leaving.stage {
            Stage::Gone => return,
            Stage::Goodbye { .. } => true,
            Stage::Draining | Stage::Stopping | Stage::Saving(_) => false,
        };
        for peer in self.live().clone() {
            if goodbye {
                self.send(peer, &Message::Leave);
                self.tell_admitted(peer);
            }
            self.ask_digest(peer, false);
        }
        self.timers.set_earlier(Timer::Probe, self.now.instant + ASK_AGAIN);
    }

    /// Evicts this node from the roster and says so. Membership is told last: news of a death travel on their own
    /// ways, and must not overtake the news that it was meant.
    fn say_goodbye(&mut self) {
        self.store.close();
        let unsaved = self.unsaved();
        let until = self.now.instant + GOODBYE;
        if let Some(leaving) = &mut self.leaving {
            leaving.stage = Stage::Goodbye { until, unsaved, noted: None };
        }
        self.evict(self.own, "it leaves");
        self.timers.set(Timer::LeavePatience, until);
        self.ask_all();
        self.check_leaving();
    }

    /// Nobody can fetch from this node any more whom it admitted, so it tells those who may have missed it; in a large
    /// cluster they tell each other.
    fn tell_admitted(&mut self, peer: ReplicaId) {
        let took_note = self.took_note(peer);
        if !took_note && self.live().len() <= replication::EAGER_TO_ALL {
            for part in self.roster.admitted().parts(PART) {
                self.send(peer, &Message::Roster(part));
            }
        }
    }

    fn took_note(&self, peer: ReplicaId) -> bool {
        let last = self.peers.get(peer).and_then(|peer| peer.last.as_ref());
        last.is_some_and(|(_, last)| last.roster == self.roster.fingerprint())
    }

    /// Whether everybody has taken note, and what was sent here before that has come and been answered.
    fn may_go(&mut self, noted: Option<Instant>) -> bool {
        if !self.all_took_note() {
            return false;
        }
        let (now, settle) = (self.now.instant, self.config.timing.settle);
        if self.has_no_mail() || noted.is_some_and(|noted| now.since(noted) >= settle) {
            return true;
        }
        if noted.is_none()
            && let Some(Leaving { stage: Stage::Goodbye { until, noted, .. }, .. }) = &mut self.leaving
        {
            *noted = Some(now);
            *until = (*until).min(now + settle);
            self.timers.set(Timer::LeavePatience, *until);
        }
        false
    }

    fn all_took_note(&self) -> bool {
        self.live().iter().all(|peer| self.took_note(*peer))
    }

    fn go(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        let Stage::Goodbye { unsaved, .. } = std::mem::replace(&mut leaving.stage, Stage::Gone) else { return };
        let request = leaving.request;
        let reply = if unsaved.is_empty() { Reply::Left } else { Reply::LeftWithUnsaved(unsaved) };
        self.timers.stop(Timer::LeavePatience);
        self.swim.leave(self.now.instant);
        self.drain_membership();
        self.publish_status();
        self.outputs.push_back(Output::Reply { request, reply });
    }

    /// The rows that go with this node, as `table/key`: those written here that no other member holds for certain, and
    /// when nobody else is left, those of members that departed too. System rows are not counted: what a node said of
    /// itself goes with it, and its roles are in its configuration.
    fn unsaved(&self) -> Vec<String> {
        let known = self.store.context();
        let mut have = known.clone();
        have.remove(self.own);
        // Whoever is only out of reach may still hold what was removed here, and has to be told of the removal.
        let is_last = self.roster.members().all(|member| member == self.own);
        if is_last {
            for departed in known.replicas().filter(|author| !self.roster.is_admitted(*author)) {
                have.remove(departed);
            }
        }
        let held = self.best_holder();
        if held > 0 {
            have.add_range(self.own, 1, held);
        }
        let mut serving = self.store.serve(&have);
        let mut names = Vec::new();
        while let Some(rows) = serving.next_rows(usize::MAX) {
            // Where nothing else is left, a removal loses nothing.
            let no_loss = |row: &Row| row.table.is_reserved() || (is_last && row.entry.is_tombstone());
            let lasting = rows.iter().filter(|row| !no_loss(row));
            names.extend(lasting.map(|row| format!("{}/{}", row.table.as_str(), row.key.escape_ascii())));
            if names.len() >= NAMED {
                names.truncate(NAMED);
                break;
            }
        }
        names
    }
}
