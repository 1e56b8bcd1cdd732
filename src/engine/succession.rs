//! Whether the run that has a name still lives: looked at before another run takes that name.
//!
//! ```text
//!   another run wants the name ── the holder left, is Down, or another process listens at its address ──▶ it is free
//!        │ else: knock, by datagrams straight and over others, and by a stream
//!        ├── the holder answers ──▶ it is taken (or, while the holder leaves, not yet free)
//!        └── nothing for 500 ms, or its host refuses the stream and nothing comes for 200 ms ──▶ it is free
//! ```
//!
//! Two ask this: a sponsor to whom a newcomer comes with a name in use, and a node that hears of a run which superseded it
//! and of which it knows nothing else. What was found is proof, and goes into the admission.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::message::{Hello, Message, Purpose};
use super::timers::Timer;
use super::{Engine, StreamId};
use crate::crdt::{Proof, Roster};
use crate::id::ReplicaId;
use crate::membership::{Identity, Liveness, Record};
use crate::sabotage::Rule;
use crate::time::Instant;

/// A run that answers nothing for so long has lost its name to the one that wants it.
const SILENCE: Duration = Duration::from_millis(500);

/// The same for one whose host refuses connections, which a firewall may do for it: others reach it then.
const REFUSAL: Duration = Duration::from_millis(200);

/// The pause between knocks.
const AGAIN: Duration = Duration::from_millis(100);

/// So many others knock for this node.
const RELAYS: usize = 3;

/// So many wait at a time for what is found of one run.
const MOST_WAITING: usize = 16;

/// A newcomer that waits: its stream, what it said, and the version in which it is answered.
type Newcomer = (StreamId, Box<Hello>, u8);

/// One look at a run.
#[derive(Debug)]
struct Check {
    since: Instant,
    again: Instant,
    refused: bool,
    found: Option<Found>,
    stream: Option<StreamId>,
    newcomers: Vec<Newcomer>,
    /// What is not joined before it is known whether the run lives, since it takes this node's name.
    withheld: Roster,
}

/// What was found of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It answered.
    Lives,
    /// It answered, and is about to leave.
    Leaves,
    /// It is gone, by this proof.
    Gone(Proof),
}

/// A run that had a name, and the proof that it is gone.
pub(super) type Proved = (ReplicaId, Proof);

/// A run that was looked at, and what was found.
pub(super) type Looked = (ReplicaId, Found);

/// Runs that are looked at.
#[derive(Debug, Default)]
pub(super) struct Checks(BTreeMap<ReplicaId, Check>);

/// Whether a newcomer may have the name that it comes with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Name {
    /// It may: no run had it, or the one that had it is gone by this proof.
    Free(Option<Proved>),
    /// This run has it, and lives.
    Taken(Box<Identity>),
    /// The run that has it is about to leave.
    Leaves,
    /// This run has it, and must be looked at.
    Unsure(ReplicaId),
}

impl Engine {
    /// Whether a newcomer may have its name, for all that is known here and was found before.
    pub(super) fn name_for(&self, newcomer: &Identity, looked: Option<Looked>) -> Name {
        let holder = self.roster.holder_of(&newcomer.node).filter(|holder| *holder != newcomer.replica);
        let Some(holder) = holder else { return Name::Free(None) };
        if self.sabotage.breaks(Rule::UnprovedSuccession) {
            return Name::Free(Some((holder, Proof::Silent)));
        }
        if holder == self.own && self.roster.is_admitted(holder) {
            return Name::Taken(Box::new(self.swim.identity().clone()));
        }
        let member = self.swim.member(holder).map(|(identity, _)| identity);
        let is_replaced = member.is_some_and(|member| member.address == newcomer.address);
        if let Some(proof) = self.is_known_gone(holder).or(is_replaced.then_some(Proof::Replaced)) {
            return Name::Free(Some((holder, proof)));
        }
        match (looked.filter(|(run, _)| *run == holder), member) {
            (None, _) => Name::Unsure(holder),
            (Some((run, Found::Gone(proof))), _) => Name::Free(Some((run, proof))),
            (Some((_, Found::Lives)), Some(member)) => Name::Taken(Box::new(member.clone())),
            (Some((_, Found::Lives | Found::Leaves)), _) => Name::Leaves,
        }
    }

    /// What proves that a run is gone, for all that is known here.
    fn is_known_gone(&self, run: ReplicaId) -> Option<Proof> {
        if !self.roster.is_admitted(run) || self.leavers.contains(&run) {
            return Some(Proof::Left);
        }
        // The lists of members forget the Down sooner than the roster.
        let silent_for = |since: &Instant| self.now.instant.since(*since) >= SILENCE;
        let is_down = match self.swim.member(run) {
            Some((_, liveness)) => liveness == Liveness::Down,
            None => self.silent_since.get(&run).is_some_and(silent_for),
        };
        is_down.then_some(Proof::Down)
    }

    /// Whether one more newcomer may wait for what is found of a run.
    pub(super) fn may_look_for_newcomer(&self, run: ReplicaId) -> bool {
        self.checks.0.get(&run).is_none_or(|check| check.newcomers.len() < MOST_WAITING)
    }

    /// Looks at the run that has the name of a newcomer, which is answered when something was found.
    pub(super) fn look_for_newcomer(&mut self, run: ReplicaId, newcomer: Newcomer) {
        self.check(run).newcomers.push(newcomer);
    }

    /// What of a roster would take this node's name from it in favour of a run of which nothing else is known, and the
    /// rest. It is joined once it is known whether that run lives.
    pub(super) fn withhold_contested(&mut self, other: &Roster) -> Option<Roster> {
        let own = self.roster.get(self.own).filter(|_| self.roster.is_admitted(self.own) && self.leaving.is_none())?;
        let told = other.get(self.own).map_or(own.tenure, |told| told.tenure);
        let ahead = other.ahead_of(self.own, &own.node, &own.tenure.max(told));
        let holder = ahead.holder_of(&own.node).filter(|holder| ahead.is_admitted(*holder))?;
        if self.swim.member(holder).is_some() {
            return None;
        }
        let rest = other.without(&ahead);
        self.check(holder).withheld.join(&ahead);
        Some(rest)
    }

    /// The look at a run that is under way, or a new one.
    fn check(&mut self, run: ReplicaId) -> &mut Check {
        let now = self.now.instant;
        let is_new = !self.checks.0.contains_key(&run);
        let address = self.address_of(run).filter(|_| is_new);
        let stream = address.map(|address| self.open_stream(run, address, Purpose::Knock, false));
        self.checks.0.entry(run).or_insert_with(|| Check {
            since: now,
            again: now,
            refused: false,
            found: None,
            stream,
            newcomers: Vec::new(),
            withheld: Roster::default(),
        })
    }

    /// Knocks again where it is time, and ends what has come to an end; returns whether anything has.
    pub(super) fn tend_checks(&mut self) -> bool {
        if self.checks.0.is_empty() {
            return false;
        }
        let now = self.now.instant;
        let due: Vec<_> = self.checks.0.iter().filter(|(_, check)| check.again <= now).map(|(run, _)| *run).collect();
        due.into_iter().for_each(|run| self.knock(run));
        let found = |run: &ReplicaId| Some((*run, self.found_of(*run)?));
        let over: Vec<Looked> = self.checks.0.keys().filter_map(found).collect();
        let ended = !over.is_empty();
        over.into_iter().for_each(|(run, found)| self.end_check(run, found));
        match self.checks.0.values().map(|check| check.again.min(check.ends())).min() {
            Some(next) => self.timers.set(Timer::Names, next),
            None => self.timers.stop(Timer::Names),
        }
        ended
    }

    fn knock(&mut self, run: ReplicaId) {
        let now = self.now.instant;
        let Some(check) = self.checks.0.get_mut(&run) else { return };
        check.again = now + AGAIN;
        let knock = Message::Knock { at: run, by: self.own, sent: check.since };
        self.send(run, &knock);
        let mut others: Vec<ReplicaId> = self.live().iter().copied().filter(|other| *other != run).collect();
        for _ in 0..RELAYS.min(others.len()) {
            let other = others.swap_remove(self.random.random_range(0..others.len()));
            self.send(other, &knock);
        }
    }

    /// What was found, if the look is over.
    fn found_of(&self, run: ReplicaId) -> Option<Found> {
        let check = self.checks.0.get(&run)?;
        let member = self.swim.member(run).map(|(_, liveness)| liveness);
        let is_contested = !check.withheld.is_empty();
        if is_contested && member.is_some_and(|liveness| liveness != Liveness::Down) {
            return Some(Found::Lives);
        }
        let known = if is_contested {
            (member == Some(Liveness::Down)).then_some(Proof::Down)
        } else {
            self.is_known_gone(run)
        };
        if let Some(proof) = known {
            return Some(Found::Gone(proof));
        }
        if check.found.is_some() {
            return check.found;
        }
        let silent = self.now.instant.since(check.since);
        let alone = !self.live().iter().any(|other| *other != run);
        if check.refused && (alone || silent >= REFUSAL) {
            return Some(Found::Gone(Proof::Refused));
        }
        (silent >= SILENCE).then_some(Found::Gone(Proof::Silent))
    }

    fn end_check(&mut self, run: ReplicaId, found: Found) {
        let Some(check) = self.checks.0.remove(&run) else { return };
        if let Some(stream) = check.stream {
            self.end_knocking(stream);
        }
        match found {
            _ if check.withheld.is_empty() => {}
            Found::Gone(proof) => self.take_name_back(&check.withheld, proof),
            Found::Lives | Found::Leaves if self.swim.member(run).is_some() => self.join_roster(&check.withheld),
            // It is heard of again.
            Found::Lives | Found::Leaves => {}
        }
        for (stream, hello, version) in check.newcomers {
            if self.is_open(stream) {
                self.hello(stream, *hello, version, Some((run, found)));
            }
        }
    }

    /// A node asks after a run: this one, or one to which it is to be passed on.
    pub(super) fn asked_after(
        &mut self,
        from: SocketAddr,
        sender: ReplicaId,
        (at, by, sent): (ReplicaId, ReplicaId, Instant),
    ) {
        if at == self.own {
            if !self.is_gone() {
                let who = Box::new(self.swim.identity().clone());
                self.send_to(from, &Message::Here { who, by, sent, stays: self.leaving.is_none() });
            }
        } else if sender == by && self.roster.is_admitted(by) {
            self.send(at, &Message::Knock { at, by, sent });
        }
    }

    /// A run that was asked after answers, straight or over another.
    pub(super) fn answered_for(&mut self, sender: ReplicaId, message: Message) {
        let Message::Here { who, by, sent, stays } = &message else { return };
        if *by != self.own {
            if sender == who.replica {
                self.send(*by, &message);
            }
        } else if self.checks.0.get(&who.replica).is_some_and(|check| check.since == *sent) {
            let run = who.replica;
            if self.swim.member(run).is_none() {
                let identity = Identity::clone(who);
                self.swim.apply(self.now.instant, vec![Record { identity, incarnation: 0, state: Liveness::Alive }]);
            }
            self.found(run, if *stays { Found::Lives } else { Found::Leaves });
        }
    }

    /// The process at the address of a run says which one it is.
    pub(super) fn knock_welcomed(&mut self, run: ReplicaId, by: ReplicaId) {
        self.found(run, if run == by { Found::Lives } else { Found::Gone(Proof::Replaced) });
    }

    /// The stream to a run came to nothing: its host refused it, or the run itself since it is about to leave.
    pub(super) fn knock_failed(&mut self, run: ReplicaId, refused: bool, leaves: bool) {
        if leaves {
            return self.found(run, Found::Leaves);
        }
        if let Some(check) = self.checks.0.get_mut(&run) {
            check.refused |= refused;
            check.stream = None;
        }
    }

    fn found(&mut self, run: ReplicaId, found: Found) {
        if let Some(check) = self.checks.0.get_mut(&run) {
            check.found.get_or_insert(found);
        }
    }
}

impl Check {
    /// When nothing more is waited for.
    fn ends(&self) -> Instant {
        self.since + if self.refused { REFUSAL } else { SILENCE }
    }
}
