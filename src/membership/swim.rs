//! The SWIM machine: `foca` with what it lacks.
//!
//! Call order: any of the methods that take `now`, then [`Swim::poll`] until it returns nothing, then sleep until
//! [`Swim::poll_timeout`] and call [`Swim::handle_deadline`]. A late call is taken for a sign of bad health: whatever
//! would have accused others meanwhile is put off by as much.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use foca::{Foca, Member, NoCustomBroadcast, Timer};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::collector::{Collector, Nobody};
use super::list::MemberList;
use super::tap::Tap;
use super::{Change, Identity, Liveness, Record, Timing, direct};
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::Instant;
use crate::wire;

mod hearsay;
mod judge;
mod outbid;
mod settle;

/// What [`Swim`] wants done or known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SwimOutput {
    /// Send a datagram. May be lost.
    Send {
        /// Where to.
        to: SocketAddr,
        /// Its body, without the envelope.
        bytes: Bytes,
    },
    /// The member list changed.
    Change(Change),
    /// Another process claims our address, and outbade us again and again.
    Contested {
        /// Who.
        rival: Identity,
        /// Whether it gave up and we are at that address; else it is left to him for a minute.
        keeps: bool,
    },
}

/// Why a datagram was dropped. It is counted; there is nothing to do about it, unless it comes from a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed datagram, dropped: {why}; look for a sender of another version at its source")]
pub struct Malformed {
    why: String,
}

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SwimStats {
    /// Datagrams that could not be read.
    pub malformed: u64,
    /// Notices of being Down that were kept back, since their target had refuted meanwhile.
    pub turn_undead_dropped: u64,
    /// How often our own identity moved: others held us as Down, or a predecessor was ahead.
    pub renewals: u64,
    /// Records beyond [`wire::MAX_MEMBERS`].
    pub records_dropped: u64,
    /// Suspects that were told directly.
    pub suspects_told: u64,
    /// Accusations by members that were away, of others that were heard since.
    pub accusations_refuted: u64,
    /// The same of others that had to be asked.
    pub accusations_checked: u64,
    /// How often we ran so late that judging others was put off.
    pub stalls: u64,
}

/// More records of unknown members than a datagram holds.
const DATAGRAM_RECORDS: usize = 64;

/// Who is alive, by SWIM. See the [module](super).
pub struct Swim {
    foca: Foca<Identity, Tap, Xoshiro256PlusPlus, NoCustomBroadcast>,
    tap: Tap,
    collector: Collector,
    members: MemberList,
    /// Our own record as it was hashed last, and its fingerprint.
    own: (Record, u64),
    outputs: VecDeque<SwimOutput>,
    rng: Xoshiro256PlusPlus,
    /// When the next Down member is announced to, if there is any.
    announce_down_at: Option<Instant>,
    /// Whom we accused and have not heard of since, and when they are told again.
    accused: BTreeMap<ReplicaId, (Identity, Instant)>,
    left: bool,
    outbid: outbid::Outbid,
    hearsay: hearsay::Hearsay,
    stats: SwimStats,
    sabotage: Sabotage,
    #[cfg(test)]
    pub(super) unfiltered: bool,
}

impl Swim {
    /// A node that knows nobody yet. `seed` decides whom it probes when; give each node its own.
    pub fn new(identity: Identity, timing: &Timing, seed: u64) -> Self {
        let tap = Tap::new(identity.clone());
        let own = Record { identity: identity.clone(), incarnation: 0, state: Liveness::Alive };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let config = timing.foca(wire::MAX_PADDED);
        let foca = Foca::new(identity, config, Xoshiro256PlusPlus::seed_from_u64(rng.random()), tap.clone());
        Self {
            foca,
            collector: Collector::new(tap.clone(), timing.clone()),
            tap,
            members: MemberList::default(),
            own: (own.clone(), own.fingerprint()),
            outputs: VecDeque::new(),
            rng,
            announce_down_at: None,
            accused: BTreeMap::new(),
            left: false,
            outbid: outbid::Outbid::default(),
            hearsay: hearsay::Hearsay::default(),
            stats: SwimStats::default(),
            sabotage: Sabotage::default(),
            #[cfg(test)]
            unfiltered: false,
        }
    }

    /// Breaks rules on purpose.
    #[must_use]
    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        Self { sabotage, ..self }
    }

    /// Who we are. `renewal`, and `boot` where a predecessor is ahead, may move.
    pub fn identity(&self) -> &Identity {
        self.foca.identity()
    }

    /// Other timers from now on; what is under way ends by the old ones. They must be [valid](Timing::validate).
    pub fn set_timing(&mut self, timing: Timing) {
        let taken = self.foca.set_config(timing.foca(wire::MAX_PADDED));
        debug_assert!(taken.is_ok(), "only other probe periods are refused: {taken:?}");
        self.collector.timing = timing;
    }

    /// Takes a datagram without its envelope.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Malformed> {
        if self.left {
            return Ok(());
        }
        self.collector.now = now;
        let (thin, screened);
        let mut bytes = bytes;
        if let Some(rest) = self.screen_datagram(bytes) {
            screened = rest;
            bytes = &screened;
        }
        self.make_room();
        if self.members.len() + DATAGRAM_RECORDS > wire::MAX_MEMBERS {
            let mut room = wire::MAX_MEMBERS.saturating_sub(self.members.len());
            let (members, own) = (&self.members, self.foca.identity().address);
            let Some((rest, dropped)) = direct::thin_out(bytes, |identity, _| {
                let known = identity.address == own || members.at(identity.address).is_some();
                let fits = known || room > 0;
                room -= usize::from(fits && !known);
                fits
            }) else {
                self.stats.records_dropped += 1;
                return Ok(());
            };
            self.stats.records_dropped += dropped;
            thin = rest;
            bytes = &thin;
        }
        let deaf;
        if self.sabotage.breaks(Rule::NoIncarnation) {
            let own = self.foca.identity().address;
            deaf = direct::thin_out(bytes, |identity, _| identity.address != own);
            bytes = deaf.as_ref().map_or(bytes, |(bytes, _)| bytes);
        }
        let before = self.foca.identity().clone();
        let outcome = self.foca.handle_data(bytes, &mut self.collector);
        let source = self.tap.seen().source.take();
        let renewed = self.foca.identity().clone();
        // Whoever made us move holds us as Down, and hears of us soonest by an announcement of the new identity.
        if let (true, Some(source)) = (before != renewed, &source) {
            let _ = self.foca.announce(source.clone(), &mut self.collector);
        }
        if outcome.is_ok() {
            self.collector.heard = now;
            source.iter().for_each(|source| self.hearsay.hear(now, source.replica));
        }
        self.settle();
        if let (true, Some(source)) = (renewed != *self.foca.identity(), source) {
            self.announce_to(source);
        }
        outcome.map_err(|error| {
            self.stats.malformed += 1;
            Malformed { why: error.to_string() }
        })
    }

    /// Fires what is due. Who is Down is announced to now and then only if `acquainted` knows that run: one datagram with
    /// a forged source would otherwise set us talking to somebody for as long as the Down are remembered.
    pub fn handle_deadline(&mut self, now: Instant, acquainted: impl Fn(ReplicaId) -> bool) {
        self.collector.now = now;
        if let Some(due) = self.collector.next_deadline()
            && now.since(due) > self.collector.timing.probe_timeout
        {
            self.stats.stalls += 1;
            self.collector.health.missed();
            // What arrived meanwhile is read after this; it gets the time of one answer.
            self.collector.postpone_judgement(now.since(due) + self.collector.timing.probe_timeout);
        }
        if self.silence_ends().is_some_and(|at| at <= now) {
            self.accuse_all();
        }
        while let Some(timer) = self.collector.next_due() {
            self.fire(timer);
        }
        if self.announce_down_at.is_some_and(|at| at <= now) {
            self.announce_down_at = None;
            self.announce_to_down(acquainted);
            self.settle();
        }
        self.tell_accused();
        self.judge_accused();
        let outlasted = self.outbid.outlasted(now);
        self.outputs.extend(outlasted.map(|rival| SwimOutput::Contested { rival, keeps: true }));
    }

    fn fire(&mut self, timer: Timer<Identity>) {
        let forgotten = if let Timer::RemoveDown(identity) = &timer { Some(identity.clone()) } else { None };
        // The errors are those of an engine that drops timers, and of encoding, which cannot fail here; `foca` goes on
        // after both.
        let _ = self.foca.handle_timer(timer, &mut self.collector);
        self.settle();
        if let Some(identity) = forgotten {
            self.members.forget_down(&identity);
            self.hearsay.forget(identity.replica);
        }
    }

    /// Forgets those who have been Down for longest, if the list is full: whoever comes is worth more. (A host whose
    /// processes come and go, each at another port, leaves one after the other.)
    fn make_room(&mut self) {
        while self.members.len() + DATAGRAM_RECORDS > wire::MAX_MEMBERS {
            let Some(timer) = self.collector.take_oldest_removal() else { return };
            self.fire(timer);
        }
    }

    /// When [`handle_deadline`](Self::handle_deadline) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let told = self.accused.values().map(|(_, at)| *at).min();
        let due =
            [self.collector.next_deadline(), self.announce_down_at, self.hearsay.next_deadline(), self.silence_ends()];
        due.into_iter().flatten().chain(told).min()
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<SwimOutput> {
        self.outputs.pop_front()
    }

    /// Says hello to whoever listens at an address. It answers with members it knows.
    pub fn announce(&mut self, now: Instant, to: SocketAddr) {
        self.collector.now = now;
        let identity = self.members.at(to).map_or_else(|| Identity::placeholder(to), |held| held.identity.clone());
        self.announce_to(identity);
    }

    /// Everything known, ourselves and Down members included: one side of a push-pull.
    pub fn records(&self) -> Vec<Record> {
        self.members.iter().cloned().chain([self.own()]).collect()
    }

    /// The other side of a push-pull.
    ///
    /// A Down record about an unknown address is passed over. It says nothing new, and taking it would keep the dead
    /// in the lists for ever: members forget them at different times, and would learn of them from each other again.
    pub fn apply(&mut self, now: Instant, mut records: Vec<Record>) {
        if self.left {
            return;
        }
        self.collector.now = now;
        let own = self.identity().clone();
        self.make_room();
        let mut room = wire::MAX_MEMBERS.saturating_sub(self.members.len());
        records.retain(|record| {
            let known = record.identity.address == own.address || self.members.at(record.identity.address).is_some();
            if !known && record.state == Liveness::Down {
                return false;
            }
            let fits = known || room > 0;
            room -= usize::from(fits && !known);
            self.stats.records_dropped += u64::from(!fits);
            fits
        });
        for record in &records {
            self.tap.seen().note_ahead(&record.identity);
        }
        self.collector.heard = now;
        let accused = records.iter().any(|record| record.identity == own && record.state == Liveness::Suspect);
        self.update(records);
        if accused {
            // With nobody to gossip to, `foca` raised the incarnation in silence. This makes it show.
            let _ = self.foca.announce(own, &mut Nobody);
            self.note_own();
        }
    }

    /// A hash of all records that are not Down, for comparing before a push-pull. Equal lists have equal fingerprints
    /// in any order. Down members count by their absence, as they are forgotten here sooner and there later.
    pub fn fingerprint(&self) -> u64 {
        debug_assert_eq!(self.own.1, self.own().fingerprint());
        self.members.fingerprint().wrapping_add(self.own.1)
    }

    /// What is known of a run, unless it is our own.
    pub fn member(&self, replica: ReplicaId) -> Option<(&Identity, Liveness)> {
        self.members.find(replica).map(|record| (&record.identity, record.state))
    }

    /// All that is known of a run, unless it is our own.
    pub fn record(&self, replica: ReplicaId) -> Option<&Record> {
        self.members.find(replica)
    }

    /// What is known of whoever is at an address, unless it is our own.
    pub fn at(&self, address: SocketAddr) -> Option<(&Identity, Liveness)> {
        self.members.at(address).map(|record| (&record.identity, record.state))
    }

    /// Everybody known but ourselves, Down members included, ordered by address.
    pub fn members(&self) -> impl Iterator<Item = (&Identity, Liveness)> {
        self.members.iter().map(|record| (&record.identity, record.state))
    }

    /// Tells a few members that we go, and falls silent: every later datagram is ignored.
    pub fn leave(&mut self, now: Instant) {
        if self.left {
            return;
        }
        self.collector.now = now;
        let _ = self.foca.leave_cluster(&mut self.collector);
        // Nobody gossips for us if all three that `foca` picked miss it.
        let _ = self.foca.gossip(&mut self.collector);
        self.settle();
        self.left = true;
        self.note_own();
        self.collector.clear_timers();
        self.accused.clear();
        self.announce_down_at = None;
    }

    /// What happened so far.
    pub fn stats(&self) -> SwimStats {
        self.stats
    }

    fn own(&self) -> Record {
        let state = if self.left { Liveness::Down } else { Liveness::Alive };
        Record { identity: self.identity().clone(), incarnation: self.tap.seen().incarnation, state }
    }

    /// Hashes our own record if it changed.
    fn note_own(&mut self) {
        let (held, _) = &self.own;
        let state = if self.left { Liveness::Down } else { Liveness::Alive };
        let same = (held.incarnation, held.state) == (self.tap.seen().incarnation, state);
        if !same || held.identity != *self.foca.identity() {
            let own = self.own();
            self.own = (own.clone(), own.fingerprint());
        }
    }

    fn update(&mut self, records: Vec<Record>) {
        // Only encoding can fail, and an identity always fits.
        let _ = self.foca.apply_many(records.into_iter().map(Member::from), true, &mut self.collector);
        self.settle();
    }

    /// Whether the list that we keep is `foca`'s.
    #[cfg(test)]
    pub(super) fn mirrors_foca(&self) -> bool {
        let own = self.identity().address;
        let key = |record: &Record| record.identity.address;
        let mut theirs: Vec<Record> = self.foca.iter_membership_state().cloned().map(Record::from).collect();
        theirs.retain(|record| record.identity.address != own);
        theirs.sort_by_key(key);
        self.members.iter().eq(&theirs)
    }
}
