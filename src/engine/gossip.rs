//! Digests: where everybody stands, what that says about missing rows, and the reports that stable time needs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::message::{DigestMessage, Message};
use super::timers::Timer;
use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::replication::{Compared, Due, median_offset_ms};
use crate::sabotage::Rule;
use crate::store::{Report, Row};
use crate::time::Instant;
use crate::wire::Versions;

/// How many random members are asked at a time. Their answers compare as well as our questions, so every member is
/// heard about four times a pause, however large the cluster.
const ASK: usize = 2;

/// How many of those that differed are asked again at a time. While everybody writes everybody differs, in what is under
/// way; what is lost goes on to differ.
const RECHECK: usize = 4;

/// How many reports of others a digest passes on: what fits a datagram beside the rest, generously counted.
const REPORTS: usize = 6;

/// For how long after a change digests are sent at the busy pace.
const BUSY: Duration = Duration::from_secs(1);

/// How many digests of single tables an answer holds at the most.
const TABLES: usize = 16;

/// How seldom a wrong clock is reported.
const CLOCK_EVENT: Duration = Duration::from_secs(60);

/// The state of the gossip.
#[derive(Debug)]
pub(super) struct Gossip {
    /// Whether what follows is out of date.
    pub(super) stale: bool,
    /// Members of the roster that are not Down, this node excluded.
    pub(super) live: BTreeSet<ReplicaId>,
    /// The same in some order, for drawing lots.
    pub(super) peers: Vec<ReplicaId>,
    /// Members that are not Down, in the roster or not, in some order, for drawing lots.
    pub(super) alive: Vec<ReplicaId>,
    /// Members of the roster that are Down or not heard of.
    pub(super) silent: BTreeSet<ReplicaId>,
    /// Rows to pass on.
    pub(super) news: Vec<Row>,
    /// When the member list was last exchanged.
    pub(super) exchanged: Instant,
    busy_until: Instant,
    /// Whose digest differed the last time: to be asked again soon.
    recheck: BTreeSet<ReplicaId>,
    /// Whose report was passed on last: the next digest goes on behind it.
    last_report: ReplicaId,
    clock_event_after: Instant,
}

impl Gossip {
    pub(super) fn new() -> Self {
        Self {
            stale: false,
            live: BTreeSet::new(),
            peers: Vec::new(),
            alive: Vec::new(),
            silent: BTreeSet::new(),
            news: Vec::new(),
            exchanged: Instant::ZERO,
            busy_until: Instant::ZERO,
            recheck: BTreeSet::new(),
            last_report: ReplicaId(0),
            clock_event_after: Instant::ZERO,
        }
    }
}

impl Engine {
    /// Something changed: compare digests soon, and more often for a while.
    pub(super) fn touch(&mut self) {
        let now = self.now.instant;
        self.gossip.busy_until = now + BUSY;
        self.timers.set_earlier(Timer::Digest, now + self.config.timing.digest_busy);
    }

    pub(super) fn send_digests(&mut self) {
        let now = self.now.instant;
        let timing = &self.config.timing;
        let busy = now < self.gossip.busy_until || !self.gossip.recheck.is_empty();
        self.timers.set(Timer::Digest, now + if busy { timing.digest_busy } else { timing.digest_idle });
        if !self.formed() || self.is_gone() {
            return;
        }
        let mut targets = std::mem::take(&mut self.gossip.recheck);
        // Also those outside the roster: so do islands find out about each other.
        let alive = &mut self.gossip.alive;
        for at in 0..ASK.min(alive.len()) {
            let pick = self.random.random_range(at..alive.len());
            alive.swap(at, pick);
            targets.insert(alive[at]);
        }
        for target in targets {
            self.ask_digest(target, false);
        }
    }

    pub(super) fn ask_digest(&mut self, peer: ReplicaId, detailed: bool) {
        let digest = self.digest_message(peer, None, detailed);
        self.send(peer, &Message::Digest(Box::new(digest)));
    }

    fn digest_message(&mut self, to: ReplicaId, answers: Option<Instant>, detailed: bool) -> DigestMessage {
        DigestMessage {
            sent: self.now.instant,
            answers: answers.map(|sent| (to, sent)),
            wall_ms: self.now.wall_ms,
            digest: self.store.digest(),
            roster: self.roster.fingerprint(),
            members: self.swim.fingerprint(),
            base_of_receiver: self.leaving.is_none().then(|| self.store.base_of(to)),
            reports: self.reports_to_pass_on(),
            tables: Vec::new(),
            detailed,
            spoken: self.spoken_by_all(),
        }
    }

    /// This node's own report and a few of the others', in turn.
    fn reports_to_pass_on(&mut self) -> Vec<Report> {
        if !self.formed() {
            return Vec::new();
        }
        let others = self.store.reports_behind(self.gossip.last_report, REPORTS);
        self.gossip.last_report = others.last().map_or(self.own, |report| report.replica);
        let mut passed = Vec::with_capacity(1 + others.len());
        passed.push(self.store.report(self.now));
        passed.extend(others);
        passed
    }

    pub(super) fn compared(&self) -> Compared {
        Compared { digest: self.store.digest(), roster: self.roster.fingerprint() }
    }

    /// Somebody says where it stands.
    pub(super) fn digest(&mut self, from: SocketAddr, sender: ReplicaId, mut digest: DigestMessage) {
        if !self.formed() || self.swim.member(sender).is_none() {
            return;
        }
        let theirs = Compared { digest: digest.digest, roster: digest.roster };
        if digest.answers.is_none() {
            self.answer(from, sender, &digest);
        }
        if !self.roster.is_admitted(sender) {
            return self.meet_island(sender, digest.spoken);
        }
        self.told_spoken(sender, digest.spoken);
        if digest.members == self.swim.fingerprint() {
            self.swim.exchanged(self.now.instant, sender, None);
        }
        self.store.observe_reports(&std::mem::take(&mut digest.reports));
        let counts = self.gossip.live.contains(&sender);
        let outdated = self.peers.is_outdated(sender, digest.sent);
        self.peers.hear(self.now, (sender, self.own), counts, digest);
        if outdated {
            return;
        }
        let own = self.compared();
        if own != theirs {
            if self.gossip.recheck.len() < RECHECK {
                self.gossip.recheck.insert(sender);
            }
            self.timers.set_earlier(Timer::Digest, self.now.instant + self.config.timing.digest_busy);
        }
        let due = self.scheduler.compare(self.now.instant, sender, own, theirs);
        let due = due.or(self.sabotage.breaks(Rule::RestlessRepair).then_some(Due::Rows));
        let passed = |due: &Due| *due == Due::Buckets && self.sabotage.breaks(Rule::NoBucketRepair);
        if let Some(due) = due.filter(|due| !passed(due)) {
            self.pull_from(sender, due);
        }
    }

    /// Somebody has a cluster of its own: pull from it, which unites the rosters on the way. Not so with those who leave,
    /// nor where a newer process has taken the name of either, nor where not all of both speak one protocol version.
    fn meet_island(&mut self, sender: ReplicaId, spoken: Versions) {
        if self.refused_for_versions(spoken).is_some() {
            return self.say_if_not_understood(sender, spoken);
        }
        let replaced = self.roster.is_superseded(sender) || self.roster.is_superseded(self.own);
        if !replaced && !self.leavers.contains(&sender) && self.scheduler.may_meet(self.now.instant, sender) {
            self.pull_from(sender, Due::Rosters);
        }
    }

    fn answer(&mut self, from: SocketAddr, sender: ReplicaId, question: &DigestMessage) {
        let mut answer = self.digest_message(sender, Some(question.sent), false);
        if question.detailed && self.roster.is_admitted(sender) {
            answer.reports.clear();
            answer.tables = self.store.table_digests();
            answer.tables.truncate(TABLES);
        }
        self.send_to(from, &Message::Digest(Box::new(answer)));
    }

    /// Follows the median of the members' clocks.
    pub(super) fn update_clock_offset(&mut self) {
        if let Some(offsets) = self.peers.moved_offsets() {
            self.store.set_clock_offset_ms(self.now, median_offset_ms(offsets));
        }
    }

    pub(super) fn clock_ahead(&mut self, replica: ReplicaId, ahead: Duration) {
        self.stats.ahead += 1;
        if self.now.instant >= self.gossip.clock_event_after {
            self.gossip.clock_event_after = self.now.instant + CLOCK_EVENT;
            self.event(Event::ClockAhead { replica, ahead });
        }
    }
}
