//! Letters: opaque bytes that the application sends to other members.
//!
//! ```text
//!   Input::Mail ─▶ queue of the peer ─▶ stream ─▶ ... ─▶ Output::Mail(Arrived)
//!                     └ Down, no way, too much waits ─▶ Output::Mail(Returned): it was certainly not sent
//!                                        └ the stream broke ─▶ Output::Mail(Interrupted): nobody knows what arrived
//! ```
//!
//! A stream is opened when there is a letter for a peer and closed after [`IDLE`] without one, so letters cost a cluster
//! nothing that sends none. A letter is sent once, or not at all. They pass the engine by: no letter changes what it
//! knows, so none of them lets the subsystems take their turn.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::mail_queue::{AROUND, Found, Link, split_letter};
use super::message::{Purpose, kind};
use super::streams::StreamPhase;
use super::{Engine, Input, Output, StreamId};
use crate::id::ReplicaId;
use crate::time::Instant;
use crate::wire::{self, MAX_FRAME, Malformed};

/// The largest letter, in bytes.
pub const MAX_LETTER: usize = MAX_FRAME - AROUND;

/// A stream on which nothing went or came for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Some bytes for another member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Letter {
    /// What [`MailEvent::Returned`] calls it.
    pub number: u64,
    /// For whom.
    pub to: ReplicaId,
    /// When nobody is interested any more, by this node's clock: it is not sent after that.
    pub until: Option<Instant>,
    /// At most [`MAX_LETTER`] bytes.
    pub bytes: Bytes,
}

/// A letter that came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// How much of its time was left when it was sent.
    pub left: Option<Duration>,
    /// What it says.
    pub bytes: Bytes,
}

/// What became of letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailEvent {
    /// They came, in the order in which they were sent.
    Arrived {
        /// Who sent them, a member of the roster.
        from: ReplicaId,
        /// The letters.
        letters: Vec<Arrived>,
    },
    /// They were not sent and will not be.
    Returned {
        /// For whom they were.
        to: ReplicaId,
        /// Their numbers.
        numbers: Vec<u64>,
        /// Why.
        why: Unsent,
    },
    /// A stream with this member broke: what was sent before may or may not have arrived, and so may what it sent.
    Interrupted {
        /// Who is at the other end.
        peer: ReplicaId,
    },
}

/// Why a letter was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsent {
    /// No member of that id lives.
    NoMember,
    /// It cannot be reached, or does not want to talk.
    NotReachable,
    /// Too much waits for it already, or for all.
    Full,
    /// The letter is too large.
    TooLarge,
}

impl Letter {
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Engine {
    /// Deals with an input that is about letters only; any other is given back.
    pub(super) fn mail_input(&mut self, input: Input) -> Option<Input> {
        match input {
            Input::Mail(letters) => self.send_mail(letters),
            Input::Frame { stream, bytes } => match self.mail_peer(stream) {
                Some(peer) => self.mail_came(peer, stream, &bytes),
                None => return Some(Input::Frame { stream, bytes }),
            },
            Input::Flushed { stream } => match self.mail_peer(stream) {
                Some(peer) => {
                    self.mail.flushed(peer, stream);
                    self.pump_mail(peer);
                }
                None => return Some(Input::Flushed { stream }),
            },
            other => return Some(other),
        }
        None
    }

    /// Who is at the other end of a stream that carries letters. Something happened on it.
    fn mail_peer(&mut self, stream: StreamId) -> Option<ReplicaId> {
        let now = self.now.instant;
        let state = self.streams.open.get_mut(&stream).filter(|state| matches!(state.phase, StreamPhase::Mail))?;
        state.heard = now;
        state.peer
    }

    fn send_mail(&mut self, letters: Vec<Letter>) {
        let mut touched = Vec::new();
        for letter in letters {
            let (to, number) = (letter.to, letter.number);
            if let Err(why) = self.take_letter(letter) {
                let numbers = vec![number];
                self.outputs.push_back(Output::Mail(MailEvent::Returned { to, numbers, why }));
            } else if touched.last() != Some(&to) {
                touched.push(to);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|peer| self.pump_mail(peer));
    }

    fn take_letter(&mut self, letter: Letter) -> Result<(), Unsent> {
        let (now, to) = (self.now.instant, letter.to);
        if letter.bytes.len() > MAX_LETTER {
            return Err(Unsent::TooLarge);
        }
        if self.is_gone() || !self.live().contains(&to) {
            return Err(Unsent::NoMember);
        }
        let has_way = self.mail.push(now, letter).map_err(|_| Unsent::Full)?.has_way();
        if !has_way && let Some(address) = self.address_of(to) {
            let stream = self.open_stream(to, address, Purpose::Mail, false);
            self.mail.opening(now, to, stream);
        }
        Ok(())
    }

    fn pump_mail(&mut self, peer: ReplicaId) {
        while let Some((stream, bytes)) = self.mail.poll(self.now.instant, peer) {
            self.stats.stream_bytes += bytes.len() as u64;
            self.outputs.push_back(Output::Frame { stream, bytes });
        }
    }

    /// The peer takes letters on a stream that was opened here.
    pub(super) fn mail_welcomed(&mut self, peer: ReplicaId, stream: StreamId) {
        self.mail.opened(self.now.instant, peer, stream);
        self.pump_mail(peer);
    }

    /// A member of the roster opened a stream for letters.
    pub(super) fn mail_accepted(&mut self, peer: ReplicaId, stream: StreamId) {
        self.mail.accepted(self.now.instant, peer, stream);
        self.pump_mail(peer);
    }

    fn mail_came(&mut self, from: ReplicaId, stream: StreamId, bytes: &Bytes) {
        // Who leaves still answers what was under way to it.
        if !self.roster.is_admitted(from) && !self.leavers.contains(&from) {
            self.stats.outside_roster += 1;
            return self.drop_stream(stream, None);
        }
        match read_letters(bytes) {
            Ok(letters) => {
                self.mail.heard(self.now.instant, from);
                self.outputs.push_back(Output::Mail(MailEvent::Arrived { from, letters }));
            }
            Err(Malformed) => {
                self.stats.malformed += 1;
                self.drop_stream(stream, None);
            }
        }
    }

    /// A stream that carried letters, or was to, is gone.
    pub(super) fn mail_ended(&mut self, peer: ReplicaId, stream: StreamId) {
        let Some((was_open, used, unsent)) = self.mail.ended(peer, stream) else { return };
        if !unsent.is_empty() {
            let why = if self.live().contains(&peer) { Unsent::NotReachable } else { Unsent::NoMember };
            let numbers = unsent.iter().map(|letter| letter.number).collect();
            self.outputs.push_back(Output::Mail(MailEvent::Returned { to: peer, numbers, why }));
        }
        // The other end closes a stream that rests, and nothing is lost with it. Its clock may be a little faster.
        let rested = unsent.is_empty() && self.now.instant.since(used) >= IDLE / 2;
        if was_open && !(rested && self.live().contains(&peer)) {
            self.outputs.push_back(Output::Mail(MailEvent::Interrupted { peer }));
        }
        self.pump_mail(peer);
    }

    /// Whether nothing was ever sent or came, or not for long.
    pub(super) fn has_no_mail(&self) -> bool {
        self.mail.links.is_empty()
    }

    /// Closes streams that rest. Whoever opened one closes it.
    pub(super) fn tend_mail(&mut self) {
        let now = self.now.instant;
        self.mail.drop_late(now);
        let rests = |link: &mut Link| link.is_at_rest() && now.since(link.used) >= IDLE;
        let resting = self.mail.links.iter_mut().filter_map(|(peer, link)| {
            let stream = link.out.as_ref().filter(|way| way.open)?.stream;
            rests(link).then_some((*peer, stream))
        });
        let resting: Vec<_> = resting.collect();
        for (peer, stream) in resting {
            self.mail.ended(peer, stream);
            self.streams.open.remove(&stream);
            self.outputs.push_back(Output::Close { stream });
        }
    }
}

fn read_letters(frame: &Bytes) -> Result<Vec<Arrived>, Malformed> {
    let (kind, mut body) = wire::split_frame(frame)?;
    if kind != kind::MAIL {
        return Err(Malformed);
    }
    let mut letters = Vec::new();
    while !body.is_empty() {
        let Found { left, letter, rest } = split_letter(body)?;
        letters.push(Arrived { left, bytes: frame.slice_ref(letter) });
        body = rest;
    }
    Ok(letters)
}
