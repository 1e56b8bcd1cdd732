//! Datagrams: whom they come from, what is in them, and how they leave.

use std::net::SocketAddr;

use super::Engine;
use super::message::{Message, kind};
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::wire::{self, Envelope};

impl Engine {
    pub(super) fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let Ok((front, rest)) = wire::unseal(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        if !self.reads(front) {
            return self.unread(from, front);
        }
        let Ok((envelope, body)) = Envelope::read(front.kind, rest) else {
            self.stats.malformed += 1;
            return;
        };
        if envelope.cluster != self.cluster {
            self.stats.foreign_cluster += 1;
            return self.other_cluster(from, envelope.cluster);
        }
        if envelope.sender == self.own {
            return;
        }
        // A member's id is random, and told to members only: enough to keep strangers apart, not those who listen.
        let known = self.swim.member(envelope.sender);
        let is_member = known.is_some_and(|(_, liveness)| liveness != Liveness::Down);
        if !self.guard.admits(self.now.instant, envelope.sender, (from, bytes.len()), is_member) {
            self.stats.over_rate += 1;
            return;
        }
        self.speech.hear(from, front.versions);
        self.swim.heard_from(self.now.instant, envelope.sender);
        let outcome = match envelope.kind {
            kind::SWIM => wire::split_padded(body)
                .and_then(|body| self.swim.handle_datagram(self.now.instant, body).map_err(|_| wire::Malformed)),
            kind::ROWS => self.eager_rows(envelope.sender, body),
            kind::MESSAGE => wire::decode(body).map(|message| self.message(from, envelope.sender, message)),
            _ => Err(wire::Malformed),
        };
        if outcome.is_err() {
            self.stats.malformed += 1;
        }
    }

    fn message(&mut self, from: SocketAddr, sender: ReplicaId, message: Message) {
        if let Message::Digest(digest) = message {
            return self.digest(from, sender, *digest);
        }
        if message == Message::Leave {
            // Also from outside the roster: the news that it was evicted may have come first.
            return self.member_leaves(sender);
        }
        if let Message::Namesake { to, from } = message {
            if to == self.own && from.replica == sender {
                self.met(&from);
            }
            return;
        }
        if !self.roster.is_admitted(sender) {
            self.stats.outside_roster += 1;
            return;
        }
        match message {
            Message::Digest(_) | Message::Leave | Message::Namesake { .. } => {}
            Message::Offer(dots) => self.offered(sender, &dots),
            Message::Roster(delta) => self.roster_delta(sender, &delta),
            Message::News(records) => self.news_of_members(sender, records),
            Message::Refused(about) => self.watchers.told_refused(self.now.instant, sender, about),
            Message::Look(about) => self.watchers.asked(self.now.instant, sender, about),
        }
    }

    /// Sends a message to a member, if its address is known.
    pub(super) fn send(&mut self, to: ReplicaId, message: &Message) {
        if let Some(address) = self.address_of(to) {
            self.send_to(address, message);
        }
    }

    pub(super) fn send_to(&mut self, address: SocketAddr, message: &Message) {
        let bytes = wire::encode_onto(self.envelope(kind::MESSAGE).open(), message);
        if bytes.len() > wire::MAX_DATAGRAM {
            self.stats.oversized += 1;
            return;
        }
        self.output_datagram(address, bytes);
    }

    /// Sends a datagram that is complete but for its versions and its sum, unless a stranger would get too much.
    pub(super) fn output_datagram(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if !self.guard.may_send(to, bytes.len()) {
            self.stats.answers_withheld += 1;
            return;
        }
        self.guard.sent(to, bytes.len());
        let bytes = self.speech.seal_for(to, bytes);
        self.put_out(to, bytes);
    }

    pub(super) fn envelope(&self, kind: u8) -> Envelope {
        Envelope { kind, cluster: self.cluster, sender: self.own }
    }
}
