//! Letters passed on between two members whose link is broken: by this node, and by others for it.
//!
//! ```text
//!   larry ── Onward(harry, 7) ──▶ gary ── Of(larry) ──▶ harry         a letter is opaque to whoever passes it on
//!         ◀── Back(harry, 7) ────      it was certainly not sent: it may be sent again
//!         ◀── Broke(harry) ──────      what was passed on before may have arrived: it is not
//! ```
//!
//! One hop: what came from a member is handed to its receiver directly, or goes back. A letter leaves a relay once, so it
//! is dealt with once, or not at all. What a relay takes on is bounded in number, in bytes and in bytes per second.

use bytes::Bytes;

use super::Engine;
use super::mail::{Letter, MailEvent, Unsent};
use super::mail_queue::{Front, Queued};
use super::message::Purpose;
use super::{Arrived, Output};
use crate::id::ReplicaId;
use crate::sabotage::Rule;
use crate::time::Instant;

/// So many letters of others wait here to be passed on, and so many bytes of them.
const LETTERS: usize = 1_024;
const BYTES: usize = 4 << 20;

/// So many bytes are passed on in a second; as many at once. What stands around a letter counts too.
const BYTES_PER_SECOND: u64 = 8 << 20;
const AROUND: u64 = 256;

/// How much may be passed on now.
#[derive(Debug)]
pub(super) struct Passing {
    left: u64,
    filled: Instant,
}

impl Default for Passing {
    fn default() -> Self {
        Self { left: BYTES_PER_SECOND, filled: Instant::ZERO }
    }
}

impl Passing {
    fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let gained = now.since(self.filled).as_micros() * u128::from(BYTES_PER_SECOND) / 1_000_000;
        self.left = self.left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(BYTES_PER_SECOND);
        self.filled = now;
        let rest = self.left.checked_sub(bytes as u64 + AROUND);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }
}

impl Engine {
    /// Hands a letter to a member that reaches the receiver.
    pub(super) fn send_over(&mut self, relay: ReplicaId, letter: Letter) -> Result<(), Unsent> {
        let front = Front::Onward { to: letter.to, number: letter.number };
        self.enqueue(relay, Queued { front, letter })?;
        self.stats.sent_over_relays += 1;
        self.pump_mail(relay);
        Ok(())
    }

    /// Lets something wait for a peer, and opens a stream to it if there is none.
    pub(super) fn enqueue(&mut self, peer: ReplicaId, queued: Queued) -> Result<(), Unsent> {
        let now = self.now.instant;
        let has_way = self.mail.enqueue(now, peer, queued).map_err(|_| Unsent::Full)?.has_way();
        if !has_way && let Some(address) = self.address_of(peer) {
            let stream = self.open_stream(peer, address, Purpose::Mail, false);
            self.mail.opening(now, peer, stream);
        }
        self.watch_links();
        Ok(())
    }

    /// A member asks to pass a letter on.
    pub(super) fn pass_on(&mut self, from: ReplicaId, (to, number): (ReplicaId, u64), letter: Arrived) {
        let now = self.now.instant;
        let Arrived { left, bytes } = letter;
        let length = bytes.len();
        let (letters, waiting) = self.mail.passing();
        let has_room = letters < LETTERS && waiting + length <= BYTES;
        let may = !self.is_gone() && self.live().contains(&to) && !self.links.is_broken(to) && has_room;
        let letter = Letter { number, to, until: left.map(|left| now + left), bytes };
        let front = Front::Of(from);
        if !may || !self.links.passing.take(now, length) || self.enqueue(to, Queued { front, letter }).is_err() {
            self.stats.relays_refused += 1;
            return self.say(from, Front::Back { to, number });
        }
        self.stats.relayed += 1;
        self.stats.relayed_bytes += length as u64;
        self.pump_mail(to);
        if self.sabotage.breaks(Rule::RelayedTwice) {
            self.say(from, Front::Back { to, number });
        }
    }

    /// Says something to a peer about letters, if there is a stream to it. Where there is none any more, its end has said
    /// all there is to say.
    pub(super) fn say(&mut self, peer: ReplicaId, front: Front) {
        if self.mail.links.get(&peer).is_some_and(super::mail_queue::Link::has_way) {
            let letter = Letter { number: 0, to: peer, until: None, bytes: Bytes::new() };
            let _ = self.mail.enqueue(self.now.instant, peer, Queued { front, letter });
            self.pump_mail(peer);
        }
    }

    /// A relay did not send a letter and will not.
    pub(super) fn given_back(&mut self, relay: ReplicaId, to: ReplicaId, number: u64) {
        if self.mail.went_over(relay, to) {
            self.relay_failed(to, relay);
            let why = Unsent::NotReachable;
            self.outputs.push_back(Output::Mail(MailEvent::Returned { to, numbers: vec![number], why }));
        }
    }

    /// The stream between a relay and a member broke.
    pub(super) fn broke_behind(&mut self, relay: ReplicaId, to: ReplicaId) {
        if self.mail.went_over(relay, to) {
            self.relay_failed(to, relay);
            self.outputs.push_back(Output::Mail(MailEvent::Interrupted { peer: to }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_passed_on_is_bounded_in_bytes_and_letters_a_second() {
        let second = Instant::ZERO + Duration::from_secs(1);
        let mut passing = Passing::default();
        let taken = (0..100).take_while(|_| passing.take(Instant::ZERO, 1 << 20)).count();
        assert_eq!(taken, 7, "seven and what stands around them");
        assert!(passing.take(second, 1 << 20));
        let mut passing = Passing::default();
        let taken = (0..1_000_000).take_while(|_| passing.take(Instant::ZERO, 0)).count();
        assert_eq!(taken as u64, BYTES_PER_SECOND / AROUND);
    }
}
