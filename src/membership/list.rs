//! What is known of each member, kept beside `foca` so that changes are seen, found by replica, and hashed at once.
//!
//! In comes everything that `foca` applied, in order; out go [`Change`]s. One record per address.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use foca::{Member, State};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Identity;
use crate::id::ReplicaId;

/// What is believed of a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer, and may still refute that.
    Suspect,
    /// Taken for dead.
    Down,
}

/// What one node believes of one member: the unit of push-pull.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Who.
    pub identity: Identity,
    /// The member's refutation counter.
    pub incarnation: u16,
    /// What is believed of it.
    pub state: Liveness,
}

/// Something changed in the member list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A member is there that was unknown or Down.
    Up(Identity),
    /// A member is suspected.
    Suspected(Identity),
    /// A suspected member proved to be alive.
    Refuted(Identity),
    /// A member is Down. Says which identity was up before.
    Down(Identity),
    /// Another run is at the address of `old`: `old` is gone for good and `new` is up. Nothing else is said of either,
    /// but `old` may have been Down before.
    Replaced {
        /// Who was there.
        old: Identity,
        /// Who is there.
        new: Identity,
    },
    /// An identity moved and the run stayed: this node's own, or that of a member which nobody here held as Down.
    Renewed(Identity),
}

/// All records but our own.
#[derive(Default)]
pub(super) struct MemberList {
    records: BTreeMap<SocketAddr, Record>,
    by_replica: BTreeMap<ReplicaId, SocketAddr>,
    /// How many there are of each [`Liveness`].
    counts: [usize; 3],
    /// Sum of the fingerprints of all records.
    fingerprint: u64,
}

impl MemberList {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn count(&self, state: Liveness) -> usize {
        self.counts[state as usize]
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn at(&self, address: SocketAddr) -> Option<&Record> {
        self.records.get(&address)
    }

    pub(super) fn find(&self, replica: ReplicaId) -> Option<&Record> {
        self.by_replica.get(&replica).and_then(|address| self.records.get(address))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Takes over what `foca` applied.
    pub(super) fn put(&mut self, record: Record, changes: &mut Vec<Change>) {
        let address = record.identity.address;
        let new = record.clone();
        let old = self.records.insert(address, record);
        if old.as_ref() == Some(&new) {
            return;
        }
        if let Some(old) = &old {
            self.unlist(old);
        }
        self.by_replica.insert(new.identity.replica, address);
        self.counts[new.state as usize] += 1;
        self.fingerprint = self.fingerprint.wrapping_add(new.fingerprint());
        compare(old, new, changes);
    }

    /// `foca` forgets a member some time after it went Down.
    pub(super) fn forget_down(&mut self, identity: &Identity) {
        let held = self.records.get(&identity.address);
        if held.is_some_and(|record| record.identity == *identity && record.state == Liveness::Down)
            && let Some(old) = self.records.remove(&identity.address)
        {
            self.unlist(&old);
        }
    }

    fn unlist(&mut self, old: &Record) {
        if self.by_replica.get(&old.identity.replica) == Some(&old.identity.address) {
            self.by_replica.remove(&old.identity.replica);
        }
        self.counts[old.state as usize] -= 1;
        self.fingerprint = self.fingerprint.wrapping_sub(old.fingerprint());
    }
}

/// Says what the step from one record to another at the same address means.
fn compare(old: Option<Record>, new: Record, changes: &mut Vec<Change>) {
    use Liveness::{Alive, Down, Suspect};
    let identity = new.identity;
    let Some(old) = old else {
        match new.state {
            Alive => changes.push(Change::Up(identity)),
            Suspect => changes.extend([Change::Up(identity.clone()), Change::Suspected(identity)]),
            Down => {}
        }
        return;
    };
    match (old.state, new.state) {
        (Down, Down) => {}
        (_, Down) => changes.push(Change::Down(old.identity)),
        _ if old.identity.replica != identity.replica => {
            changes.push(Change::Replaced { old: old.identity, new: identity.clone() });
            if new.state == Suspect {
                changes.push(Change::Suspected(identity));
            }
        }
        (before, after) => {
            if before == Down {
                changes.push(Change::Up(identity.clone()));
            } else if old.identity != identity {
                changes.push(Change::Renewed(identity.clone()));
            }
            match (before, after) {
                (Suspect, Alive) => changes.push(Change::Refuted(identity)),
                (Alive | Down, Suspect) => changes.push(Change::Suspected(identity)),
                _ => {}
            }
        }
    }
}

impl Record {
    /// The same on every node and in every release; nothing for a Down member.
    pub(super) fn fingerprint(&self) -> u64 {
        if self.state == Liveness::Down {
            return 0;
        }
        // No record is too large for a vector; should it ever be, all nodes see the same zero.
        postcard::to_stdvec(self).map_or(0, |bytes| xxh3_64(&bytes))
    }
}

impl From<Member<Identity>> for Record {
    fn from(member: Member<Identity>) -> Self {
        let state = match member.state() {
            State::Alive => Liveness::Alive,
            State::Suspect => Liveness::Suspect,
            State::Down => Liveness::Down,
        };
        Self { identity: member.id().clone(), incarnation: member.incarnation(), state }
    }
}

impl From<Record> for Member<Identity> {
    fn from(record: Record) -> Self {
        let state = match record.state {
            Liveness::Alive => State::Alive,
            Liveness::Suspect => State::Suspect,
            Liveness::Down => State::Down,
        };
        Self::new(record.identity, record.incarnation, state)
    }
}
