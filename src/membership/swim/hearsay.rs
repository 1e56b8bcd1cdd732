//! When a Down record is a verdict, and when an accusation to be checked.
//!
//! In SWIM a Down record overrides whatever is believed of its subject (Das, Gupta, Motivala, "SWIM", 2002, section 4.2).
//! A node that was cut off holds all others as Down and says so when it returns: in its gossip, in news, and when member
//! lists are exchanged. Taken as it stands, that makes healthy members Down to each other. So does the verdict of a member
//! that is cut off from the subject and not from here.
//!
//! ```text
//!   found Down here, or not heard of ──▶ away ── lists exchanged, none of its Down records contradicts ours ──▶ as all others
//!
//!   Down(subject), the subject is held as Alive:
//!     from a member that is away ─┬─ the subject was heard since that member went away ──▶ refuted
//!                                 └─ otherwise ──▶ asked ─┬─ any word of it within the probe timeout ──▶ refuted
//!                                                         └─ none ──▶ suspected, like a member whose probe failed
//!     from another member ─┬─ the subject was heard within one suspicion ──▶ asked ─┬─ any word of it ──▶ refuted
//!                          │                                                        └─ none ──▶ Down
//!                          └─ otherwise, or proved by watchers ──▶ Down at once
//! ```
//!
//! The news of a crash is as fast as without these rules: a host that vanished in silence was not heard for a whole
//! suspicion before it was found Down, and what watchers proved is pushed as news, which is believed. A contradicted
//! exchange leaves its sender away: it may repeat its record in a datagram that it has queued already. That ends when the
//! subject came back to it under a renewed identity, which the next exchange, or equal fingerprints of the lists, shows.

use std::collections::BTreeMap;

use super::Swim;
use crate::id::ReplicaId;
use crate::membership::{Change, Identity, Liveness, Record, direct};
use crate::sabotage::Rule;
use crate::time::Instant;

/// Who was heard when, who was away since when, and who is asked whether it lives.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    heard: BTreeMap<ReplicaId, Instant>,
    away: BTreeMap<ReplicaId, Instant>,
    /// Accused members that are asked whether they live.
    checks: BTreeMap<ReplicaId, Check>,
}

/// An accused member that has to answer.
#[derive(Debug)]
struct Check {
    /// When it is asked again, or judged.
    due: Instant,
    /// A question, or its answer, may be lost.
    asked_twice: bool,
    /// It is Down if it does not answer, and suspected otherwise.
    is_verdict: bool,
}

/// How far the word of a member goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// It was away since then.
    Away(Instant),
    /// It was not, and tells what it heard, or found by its own probes.
    Plain,
}

impl Hearsay {
    /// A member proved to be there.
    pub(super) fn hear(&mut self, now: Instant, replica: ReplicaId) {
        self.heard.insert(replica, now);
        self.checks.remove(&replica);
    }

    /// Follows what became of members.
    pub(super) fn follow(&mut self, now: Instant, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Down(identity) => drop(self.away.entry(identity.replica).or_insert(now)),
                Change::Replaced { old, .. } => self.forget(old.replica),
                _ => {}
            }
        }
    }

    /// A run is gone for good.
    pub(super) fn forget(&mut self, replica: ReplicaId) {
        self.heard.remove(&replica);
        self.away.remove(&replica);
        self.checks.remove(&replica);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.checks.values().map(|check| check.due).min()
    }
}

impl Swim {
    /// A member sent something, of whatever kind.
    pub fn heard_from(&mut self, now: Instant, replica: ReplicaId) {
        self.hearsay.hear(now, replica);
    }

    /// When a member was heard last, by a datagram of whatever kind.
    pub fn heard(&self, replica: ReplicaId) -> Option<Instant> {
        self.hearsay.heard.get(&replica).copied()
    }

    /// A member of the cluster that this node has not heard of for some time, if ever: when it comes, it was away.
    pub fn missing(&mut self, now: Instant, replica: ReplicaId) {
        self.hearsay.away.entry(replica).or_insert(now);
    }

    /// Drops what is remembered of runs that are neither listed nor `known` otherwise.
    pub fn forget_unknown(&mut self, known: impl Fn(ReplicaId) -> bool) {
        let members = &self.members;
        let stays = |replica: &ReplicaId| members.find(*replica).is_some() || known(*replica);
        self.hearsay.heard.retain(|replica, _| stays(replica));
        self.hearsay.away.retain(|replica, _| stays(replica));
    }

    /// How much is remembered of whom was heard and who was away.
    #[cfg(test)]
    pub(in crate::membership) fn remembered_contacts(&self) -> usize {
        self.hearsay.heard.len() + self.hearsay.away.len()
    }

    /// Takes news from a member, which are proved: all, unless it was away. Returns those that were taken.
    pub fn apply_news(&mut self, now: Instant, from: ReplicaId, mut records: Vec<Record>) -> Vec<Record> {
        self.collector.now = now;
        if matches!(self.word_of(from), Word::Away(_)) {
            self.screen(from, &mut records);
        }
        self.apply(now, records.clone());
        records
    }

    /// Member lists were exchanged: its records, or nothing where the fingerprints were equal.
    pub fn exchanged(&mut self, now: Instant, with: ReplicaId, records: Option<Vec<Record>>) {
        self.collector.now = now;
        let mut records = records.unwrap_or_default();
        if !self.screen(with, &mut records) {
            self.hearsay.away.remove(&with);
        }
        if !records.is_empty() {
            self.apply(now, records);
        }
    }

    /// Takes out the records that are mere accusations, and sees to these. Returns whether there were any.
    fn screen(&mut self, from: ReplicaId, records: &mut Vec<Record>) -> bool {
        let word = self.word_of(from);
        let is_accusation =
            |record: &mut Record| record.state == Liveness::Down && self.is_doubtful(&record.identity, from, word);
        let accusing: Vec<Record> = records.extract_if(.., is_accusation).collect();
        accusing.iter().for_each(|record| self.accuse(&record.identity, word));
        !accusing.is_empty()
    }

    /// The same for a datagram; `None` if there is nothing to take out.
    pub(super) fn screen_datagram(&mut self, bytes: &[u8]) -> Option<bytes::Bytes> {
        let source = direct::source(bytes)?;
        if source.renewal > 0 && self.members.find(source.replica).is_none() {
            // Others found it Down once, and this node does not know what has become of that.
            self.missing(self.collector.now, source.replica);
        }
        let word = self.word_of(source.replica);
        let mut accused = Vec::new();
        let rest = direct::thin_out(bytes, |identity, state| {
            let accuses = state == Some(foca::State::Down) && self.is_doubtful(identity, source.replica, word);
            if accuses {
                accused.push(identity.clone());
            }
            !accuses
        });
        accused.iter().for_each(|identity| self.accuse(identity, word));
        rest.filter(|_| !accused.is_empty()).map(|(bytes, _)| bytes)
    }

    fn word_of(&self, replica: ReplicaId) -> Word {
        self.hearsay.away.get(&replica).map_or(Word::Plain, |since| Word::Away(*since))
    }

    /// Whether this identity's being Down has to be checked, if `from` says so.
    fn is_doubtful(&self, identity: &Identity, from: ReplicaId, word: Word) -> bool {
        // A member that leaves says so of itself.
        if identity.replica == from || self.sabotage.breaks(Rule::HearsayTaken) || !self.contradicts(identity) {
            return false;
        }
        let held = self.members.at(identity.address).and_then(|held| self.heard(held.identity.replica));
        let lately = |heard: Instant| self.collector.now.since(heard) < self.collector.timing.suspicion;
        word != Word::Plain || held.is_some_and(lately)
    }

    /// Whether this identity's being Down would be news of a member that is not held as Down here.
    fn contradicts(&self, identity: &Identity) -> bool {
        let held = self.members.at(identity.address);
        held.is_some_and(|held| held.state != Liveness::Down && !held.identity.supersedes(identity))
    }

    /// The member at this address is said to be Down.
    fn accuse(&mut self, accused: &Identity, word: Word) {
        let Some(held) = self.members.at(accused.address).cloned() else { return };
        let (replica, now) = (held.identity.replica, self.collector.now);
        let heard_since = |since: Instant| self.heard(replica).is_some_and(|heard| heard > since);
        match word {
            Word::Away(since) if heard_since(since) => self.stats.accusations_refuted += 1,
            // Under suspicion it is told so often enough.
            Word::Away(_) if held.state == Liveness::Suspect => {}
            _ if self.left => {}
            _ => {
                let is_verdict = word == Word::Plain;
                if let Some(check) = self.hearsay.checks.get_mut(&replica) {
                    check.is_verdict |= is_verdict;
                    return;
                }
                self.stats.accusations_checked += 1;
                let due = now + self.collector.timing.probe_timeout / 2;
                self.hearsay.checks.insert(replica, Check { due, asked_twice: false, is_verdict });
                self.send(&held.identity, direct::question(&self.own(), &held.identity));
            }
        }
    }

    /// Asks the accused once more, and judges those that did not answer.
    pub(super) fn judge_accused(&mut self) {
        let now = self.collector.now;
        let due: Vec<ReplicaId> =
            self.hearsay.checks.iter().filter(|(_, check)| check.due <= now).map(|(replica, _)| *replica).collect();
        for replica in due {
            let Some(mut check) = self.hearsay.checks.remove(&replica) else { continue };
            let Some(held) = self.members.find(replica).filter(|held| held.state != Liveness::Down).cloned() else {
                continue;
            };
            if !check.asked_twice {
                check.due = now + self.collector.timing.probe_timeout / 2;
                check.asked_twice = true;
                self.hearsay.checks.insert(replica, check);
                self.send(&held.identity, direct::question(&self.own(), &held.identity));
            } else if check.is_verdict {
                self.update(vec![Record { state: Liveness::Down, ..held }]);
            } else {
                self.suspect(now, replica);
            }
        }
    }
}
