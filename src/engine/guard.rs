//! What a datagram may cost before its sender is known, and how many of them anybody may send.
//!
//! A source address can be forged. So nobody is answered with more than he sent until he is a member, and announcements,
//! whose answer is a list of members, are padded to be worth it. (RFC 9000, 8.1, allows three times as much.)

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::ReplicaId;
use crate::time::Instant;
use crate::wire::MAX_MEMBERS;

/// So many datagrams a member may send per second, and at once. Far above what a member sends that is well: it guards
/// against one that is not.
const MEMBER: Rate = Rate { per_second: 200_000, at_once: 50_000 };

/// So many all strangers together may send: a thousand nodes that join at once get through within a second or two.
const STRANGERS: Rate = Rate { per_second: 2_000, at_once: 4_000 };

/// So many addresses that were unknown are announced to on the word of discovery. Whoever hears of a thousand at once
/// hears of the others from the first of these; and beacons can be forged, while an announcement is as large as a datagram.
const GREETINGS: Rate = Rate { per_second: 64, at_once: 64 };

#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: u64,
    at_once: u64,
}

/// A bucket that fills with time, and from which each datagram takes a token.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let nanos = u64::try_from(now.since(self.filled).as_nanos()).unwrap_or(u64::MAX);
        let gained = nanos / (1_000_000_000 / rate.per_second);
        if gained > 0 {
            self.tokens = rate.at_once.min(self.tokens.saturating_add(gained));
            self.filled = now;
        }
        let has = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        has
    }
}

/// Guards against floods, and against being made to flood others.
#[derive(Debug)]
pub(super) struct Guard {
    members: BTreeMap<ReplicaId, Bucket>,
    strangers: Bucket,
    greetings: Bucket,
    /// While a datagram of a stranger is handled: his address, and how much of what he sent is not yet answered.
    answering: Option<(SocketAddr, usize)>,
}

impl Guard {
    pub(super) fn new(now: Instant) -> Self {
        let strangers = Bucket { tokens: STRANGERS.at_once, filled: now };
        let greetings = Bucket { tokens: GREETINGS.at_once, filled: now };
        Self { members: BTreeMap::new(), strangers, greetings, answering: None }
    }

    /// Whether a datagram is to be handled.
    pub(super) fn admits(
        &mut self,
        now: Instant,
        sender: ReplicaId,
        (from, length): (SocketAddr, usize),
        is_member: bool,
    ) -> bool {
        self.answering = None;
        if !is_member {
            self.answering = Some((from, length));
            return self.strangers.take(now, STRANGERS);
        }
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&sender) {
            // Whoever was full again anyhow loses nothing by being forgotten.
            self.members.retain(|_, bucket| now.since(bucket.filled) < Duration::from_secs(1));
        }
        self.members.entry(sender).or_insert(Bucket { tokens: MEMBER.at_once, filled: now }).take(now, MEMBER)
    }

    /// Whether one more address that nobody is known at may be announced to.
    pub(super) fn may_greet(&mut self, now: Instant) -> bool {
        self.greetings.take(now, GREETINGS)
    }

    /// Whether this may be sent: a stranger who just said something gets no more for an answer, in however many
    /// pieces, than what he said.
    pub(super) fn may_send(&self, to: SocketAddr, length: usize) -> bool {
        self.answering.is_none_or(|(stranger, left)| stranger != to || length <= left)
    }

    /// This was sent.
    pub(super) fn sent(&mut self, to: SocketAddr, length: usize) {
        if let Some((stranger, left)) = &mut self.answering
            && *stranger == to
        {
            *left = left.saturating_sub(length);
        }
    }

    /// Whether no datagram of a stranger is being handled.
    pub(super) fn answers_nobody(&self) -> bool {
        self.answering.is_none()
    }

    /// The datagram is handled.
    pub(super) fn done(&mut self) {
        self.answering = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 4_871))
    }

    #[test]
    fn a_stranger_gets_no_more_than_he_sent() {
        let mut guard = Guard::new(Instant::ZERO);
        assert!(guard.admits(Instant::ZERO, ReplicaId(1), (address(1), 100), false));
        assert!(guard.may_send(address(1), 100));
        assert!(!guard.may_send(address(1), 101));
        guard.sent(address(1), 60);
        assert!(guard.may_send(address(1), 40) && !guard.may_send(address(1), 41), "not in two pieces either");
        assert!(guard.may_send(address(2), 1_400), "others are not concerned");
        guard.done();
        assert!(guard.may_send(address(1), 1_400));
        assert!(guard.admits(Instant::ZERO, ReplicaId(1), (address(1), 100), true));
        assert!(guard.may_send(address(1), 1_400), "a member is answered in full");
    }

    #[test]
    fn discovery_makes_nobody_announce_to_more_than_some_at_once() {
        let mut guard = Guard::new(Instant::ZERO);
        assert_eq!((0..1_000).filter(|_| guard.may_greet(Instant::ZERO)).count() as u64, GREETINGS.at_once);
        let later = Instant::ZERO + Duration::from_millis(500);
        assert_eq!((0..1_000).filter(|_| guard.may_greet(later)).count() as u64, GREETINGS.per_second / 2);
    }

    #[test]
    fn a_member_may_send_as_much_at_once_as_is_stated_and_not_one_more() {
        let mut guard = Guard::new(Instant::ZERO);
        let mut send = || guard.admits(Instant::ZERO, ReplicaId(3), (address(1), 100), true);
        let taken = (0..MEMBER.at_once - 1).filter(|_| send()).count() as u64;
        assert_eq!((taken, send(), send()), (MEMBER.at_once - 1, true, false));
    }

    #[test]
    fn strangers_share_one_bucket_and_members_do_not_feel_it() {
        let mut guard = Guard::new(Instant::ZERO);
        let flood =
            (0..10_000_u32).filter(|_| guard.admits(Instant::ZERO, ReplicaId(1), (address(1), 100), false)).count();
        assert_eq!(flood as u64, STRANGERS.at_once);
        assert!(!guard.admits(Instant::ZERO, ReplicaId(2), (address(2), 100), false));
        assert!(guard.admits(Instant::ZERO, ReplicaId(3), (address(3), 100), true));
        let later = Instant::ZERO + Duration::from_secs(1);
        assert!(guard.admits(later, ReplicaId(2), (address(2), 100), false));
    }
}
