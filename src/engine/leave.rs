//! The way out: hand over the roles, see every own write in another member's hands, say goodbye.

use std::time::Duration;

use super::message::Message;
use super::roster::PART;
use super::timers::Timer;
use super::{Engine, Event, Output, Reply};
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

/// What the driver may need beyond a stop grace to say that a task is aborted. A task that never comes to an await is
/// waited for no longer.
const SLACK: Duration = Duration::from_secs(1);

/// How long the driver may take to abort a task at once.
const ABORT: Duration = Duration::from_millis(100);

/// How long each part of leaving may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For handing over roles and rows; the time that tasks take to end is not part of it.
    pub(super) hand_over: Duration,
    /// The stop grace of roles that name none.
    pub(super) stop_grace: Duration,
    /// For all of it: tasks that do not end in time are aborted before their stop grace is over.
    pub(super) deadline: Option<Duration>,
}

/// A leave under way.
#[derive(Debug)]
pub(super) struct Leaving {
    request: u64,
    since: Instant,
    patience: Patience,
    /// When it has to be over.
    deadline: Option<Instant>,
    stage: Stage,
    /// The roles whose tasks had to be aborted, and after how long.
    aborted: Vec<(String, Duration)>,
}

/// ```text
///   Draining ── all roles run elsewhere ───────────┐
///      └── half the patience ─▶ Stopping           │
///                                  │ no task runs here any more, or those that do were aborted
///                                  ▼               ▼
///                               Handing ──▶ Saving ── somebody holds all ─▶ Goodbye ── all took note, and answers
///                      successors have shown  └──────── patience ─────────────▲        are through ──▶ Gone
///                      themselves, or a quarter of the patience
/// ```
///
/// In `Stopping` each task has its own stop grace. A deadline aborts what still runs when it is near.
#[derive(Debug)]
enum Stage {
    Draining,
    Stopping {
        /// They were all told so, because of the deadline.
        aborting: bool,
    },
    Handing,
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

impl Leaving {
    fn new(request: u64, since: Instant, patience: Patience, stage: Stage) -> Self {
        let deadline = patience.deadline.map(|deadline| since + deadline);
        Self { request, since, patience, deadline, stage, aborted: Vec::new() }
    }

    /// When the deadline ends the present stage, if there is one.
    fn limit(&self, now: Instant) -> Option<Instant> {
        let deadline = self.deadline?;
        let all = deadline.since(self.since);
        let keep =
            |part: u32, most: u64| self.since + all.saturating_sub((all / part).min(Duration::from_millis(most)));
        // The tasks have all but two seconds of it, or all but a quarter.
        let cut = keep(4, 2_000);
        Some(match self.stage {
            Stage::Draining => now + cut.since(now) / 2,
            Stage::Stopping { .. } => cut,
            Stage::Handing => keep(6, 1_200),
            Stage::Saving(_) => keep(12, 500),
            Stage::Goodbye { .. } | Stage::Gone => deadline,
        })
    }
}

impl Engine {
    pub(super) fn begin_leaving(&mut self, request: u64, patience: Patience) {
        let since = self.now.instant;
        match &self.leaving {
            Some(Leaving { stage: Stage::Gone, .. }) => {
                let reply = Reply::LeftWithUnsaved(self.unsaved());
                return self.outputs.push_back(Output::Reply { request, reply });
            }
            Some(_) => return self.hurry(patience.deadline),
            None => {}
        }
        self.leaving = Some(Leaving::new(request, since, patience, Stage::Draining));
        self.status.changed();
        let others = self.work.view().any(|member| member != self.own);
        if !(self.formed() && others) {
            return self.stop_roles();
        }
        self.wait_until(since + patience.hand_over / 2);
        self.declare_self();
    }

    /// The present stage of leaving ends then at the latest.
    fn wait_until(&mut self, until: Instant) {
        let limit = self.leaving.as_ref().and_then(|leaving| leaving.limit(self.now.instant));
        self.timers.set(Timer::LeavePatience, limit.map_or(until, |limit| limit.min(until)));
    }

    /// It is asked again to leave, and has less time.
    fn hurry(&mut self, deadline: Option<Duration>) {
        let (now, Some(leaving), Some(deadline)) = (self.now.instant, &mut self.leaving, deadline) else { return };
        leaving.deadline = Some(leaving.deadline.map_or(now + deadline, |before| before.min(now + deadline)));
        // A goodbye takes no time that would be worth it.
        if !matches!(leaving.stage, Stage::Goodbye { .. } | Stage::Gone)
            && let Some(limit) = leaving.limit(now)
        {
            self.timers.set_earlier(Timer::LeavePatience, limit);
        }
    }

    /// What still runs here is asked to end, each task within its own stop grace. A role that is being handed to another
    /// member still is; the others start elsewhere once this node is gone.
    fn stop_roles(&mut self) {
        self.work.stop_all(self.now);
        let Some(leaving) = &mut self.leaving else { return };
        leaving.stage = Stage::Stopping { aborting: false };
        let grace = leaving.patience.stop_grace;
        let graces = self.work.unfinished().map(|(_, _, spec)| spec.stop_grace_ms.map_or(grace, Duration::from_millis));
        let last = self.now.instant + graces.max().unwrap_or_default() + SLACK;
        let broken = self.sabotage.breaks(Rule::LeaveCutsOff);
        let until = if broken { leaving.since + leaving.patience.hand_over } else { last };
        self.wait_until(until);
    }

    /// The time of the tasks is over. Those that still run are aborted, and waited for only as long as that takes.
    fn abort_roles(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        let unfinished: Vec<_> = self.work.unfinished().map(|(role, started, _)| (role.to_owned(), started)).collect();
        if matches!(leaving.stage, Stage::Stopping { aborting: false }) && leaving.deadline.is_some() {
            leaving.stage = Stage::Stopping { aborting: true };
            let aborts = unfinished.into_iter().map(|(role, started)| Output::AbortRole { role, started });
            self.outputs.extend(aborts);
            self.timers.set(Timer::LeavePatience, self.now.instant + ABORT);
            return;
        }
        let after = self.now.instant.since(leaving.since);
        for (role, _) in unfinished {
            self.note_aborted(&role, after);
            self.event(Event::RoleAborted { role, after });
        }
        self.hand_over();
    }

    /// A task had to be aborted.
    pub(super) fn note_aborted(&mut self, role: &str, after: Duration) {
        if let Some(leaving) = &mut self.leaving {
            leaving.aborted.push((role.to_owned(), after));
        }
    }

    /// No task runs here any more. Those that were to have the roles are about to start them, and are given what the tasks
    /// left only as long as this node is in their view.
    fn hand_over(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.stage = Stage::Handing;
        let until = self.now.instant + leaving.patience.hand_over / 4;
        self.wait_until(until);
        self.check_leaving();
    }

    /// Another member is to hold what was written here. What the tasks took to end is not taken from the patience for this.
    fn save(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.stage = Stage::Saving(self.store.base_of(self.own));
        let patience = leaving.patience.hand_over;
        let until = (leaving.since + patience).max(self.now.instant + patience / 2);
        self.wait_until(until);
        self.ask_all();
        self.check_leaving();
    }

    /// Another process has this one's name and place for good. Nobody counts on what this one says any more, so it must
    /// run no role and keep silent.
    pub(super) fn stand_back(&mut self) {
        let patience = Patience { hand_over: Duration::ZERO, stop_grace: Duration::ZERO, deadline: None };
        self.leaving = Some(Leaving::new(0, self.now.instant, patience, Stage::Gone));
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
        let Some(leaving) = &self.leaving else { return };
        match &leaving.stage {
            Stage::Draining if self.work.handed_over() => {
                self.stop_roles();
                self.check_leaving();
            }
            Stage::Stopping { .. } if self.work.idle() => self.hand_over(),
            Stage::Handing if self.work.handed_over() => self.save(),
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
            Stage::Draining | Stage::Stopping { .. } | Stage::Handing | Stage::Gone => {}
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
            Some(Stage::Stopping { .. }) if self.sabotage.breaks(Rule::LeaveCutsOff) => self.say_goodbye(),
            Some(Stage::Stopping { .. }) => self.abort_roles(),
            Some(Stage::Handing) => self.save(),
            Some(Stage::Saving(_)) => self.say_goodbye(),
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
            Stage::Draining | Stage::Stopping { .. } | Stage::Handing | Stage::Saving(_) => false,
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
        let mut until = self.now.instant + GOODBYE;
        if let Some(leaving) = &mut self.leaving {
            until = leaving.deadline.map_or(until, |deadline| deadline.min(until));
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
        let (request, aborted) = (leaving.request, std::mem::take(&mut leaving.aborted));
        let reply = match () {
            () if !aborted.is_empty() => Reply::LeftWithAborted { aborted, unsaved },
            () if !unsaved.is_empty() => Reply::LeftWithUnsaved(unsaved),
            () => Reply::Left,
        };
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
