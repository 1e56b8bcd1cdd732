//! Letters: opaque bytes that the application sends to other members.
//!
//! ```text
//!   Input::Mail ─▶ queue of the peer ─▶ stream ─▶ ... ─▶ Output::Mail(Arrived)
//!                     └ Down, no way, too much waits ─▶ Output::Mail(Returned): it was certainly not sent
//!                                        └ the stream broke ─▶ Output::Mail(Interrupted): nobody knows what arrived
//! ```
//!
//! A stream is opened when there is a letter for a peer and closed after [`IDLE`] without one, so letters cost a cluster
//! nothing that sends none. Where a link is broken while both ends live, letters go over a member that reaches both (see
//! `links` and `relay`). A letter is sent once, or not at all. They pass the engine by: no letter changes what it
//! knows, so none of them lets the subsystems take their turn.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::mail_queue::{AROUND, Ended, Found, Front, Link, Queued, split_letter};
use super::message::kind;
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
    /// A stream with this member broke, or one behind a relay: what was sent before may or may not have arrived, and so may
    /// what it sent.
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
    /// It cannot be reached, neither directly nor over another member, or does not want to talk.
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

    pub(super) fn send_mail(&mut self, letters: Vec<Letter>) {
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
        let to = letter.to;
        if letter.bytes.len() > MAX_LETTER {
            return Err(Unsent::TooLarge);
        }
        if self.is_gone() || !self.live().contains(&to) {
            return Err(Unsent::NoMember);
        }
        if self.goes_around(to) {
            return self.send_around(letter);
        }
        self.enqueue(to, Queued { front: Front::Letter, letter })
    }

    pub(super) fn pump_mail(&mut self, peer: ReplicaId) {
        while let Some((stream, bytes)) = self.mail.poll(self.now.instant, peer) {
            self.stats.stream_bytes += bytes.len() as u64;
            self.outputs.push_back(Output::Frame { stream, bytes });
        }
    }

    /// The peer takes letters on a stream that was opened here.
    pub(super) fn mail_welcomed(&mut self, peer: ReplicaId, stream: StreamId) {
        self.mail.opened(self.now.instant, peer, stream);
        self.link_restored(peer);
        self.pump_mail(peer);
    }

    /// A member of the roster opened a stream for letters.
    pub(super) fn mail_accepted(&mut self, peer: ReplicaId, stream: StreamId) {
        self.mail.accepted(self.now.instant, peer, stream);
        self.link_restored(peer);
        self.pump_mail(peer);
    }

    fn mail_came(&mut self, from: ReplicaId, stream: StreamId, bytes: &Bytes) {
        // Who leaves still answers what was under way to it.
        if !self.roster.is_admitted(from) && !self.leavers.contains(&from) {
            self.stats.outside_roster += 1;
            return self.drop_stream(stream, None);
        }
        match read_letters(bytes) {
            Ok(came) => {
                self.mail.heard(self.now.instant, from);
                self.link_restored(from);
                self.take_letters(from, came);
            }
            Err(Malformed) => {
                self.stats.malformed += 1;
                self.drop_stream(stream, None);
            }
        }
    }

    /// What came on a stream, in order: letters, those of others and for others, and what is said about some.
    fn take_letters(&mut self, from: ReplicaId, came: Vec<(Front, Arrived)>) {
        let mut letters = Vec::new();
        for (front, letter) in came {
            if front == Front::Letter {
                letters.push(letter);
                continue;
            }
            self.arrived(from, &mut letters);
            match front {
                Front::Letter | Front::Pong => {}
                Front::Onward { to, number } => self.pass_on(from, (to, number), letter),
                Front::Of(origin) if self.roster.is_admitted(origin) || self.leavers.contains(&origin) => {
                    self.came_around(origin, from);
                    self.arrived(origin, &mut vec![letter]);
                }
                Front::Of(_) => self.stats.outside_roster += 1,
                Front::Back { to, number } => self.given_back(from, to, number),
                Front::Broke(to) => self.broke_behind(from, to),
                Front::Ping => self.say(from, Front::Pong),
            }
        }
        self.arrived(from, &mut letters);
    }

    fn arrived(&mut self, from: ReplicaId, letters: &mut Vec<Arrived>) {
        if !letters.is_empty() {
            let letters = std::mem::take(letters);
            self.outputs.push_back(Output::Mail(MailEvent::Arrived { from, letters }));
        }
    }

    /// A stream that carried letters, or was to, is gone. What of it was certainly not sent goes another way, or back.
    pub(super) fn mail_ended(&mut self, peer: ReplicaId, stream: StreamId, never_opened: bool) {
        let Some(ended) = self.mail.ended(peer, stream) else { return };
        let Ended { was_open, used, unsent, onward, senders } = ended;
        if never_opened {
            self.link_broken(peer);
        }
        // The other end closes a stream that rests, and nothing is lost with it. Its clock may be a little faster.
        let rested = unsent.is_empty() && self.now.instant.since(used) >= IDLE / 2;
        let broke = was_open && !(rested && self.live().contains(&peer));
        if broke || never_opened {
            self.lost_relay(peer);
        }
        let mut own = Vec::new();
        for Queued { front, letter } in unsent {
            match front {
                Front::Letter => own.push(letter),
                Front::Onward { to, .. } => self.send_all_around(to, [letter]),
                Front::Of(sender) => self.say(sender, Front::Back { to: peer, number: letter.number }),
                Front::Back { .. } | Front::Broke(_) | Front::Ping | Front::Pong => {}
            }
        }
        if self.links.is_broken(peer) {
            self.send_all_around(peer, own);
        } else {
            let why = if self.live().contains(&peer) { Unsent::NotReachable } else { Unsent::NoMember };
            self.return_letters(peer, own, why);
        }
        if broke {
            for peer in onward.into_iter().chain([peer]) {
                self.outputs.push_back(Output::Mail(MailEvent::Interrupted { peer }));
            }
            senders.into_iter().for_each(|sender| self.say(sender, Front::Broke(peer)));
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

fn read_letters(frame: &Bytes) -> Result<Vec<(Front, Arrived)>, Malformed> {
    let (kind, mut body) = wire::split_frame(frame)?;
    if kind != kind::MAIL {
        return Err(Malformed);
    }
    let mut letters = Vec::new();
    while !body.is_empty() {
        let Found { front, left, letter, rest } = split_letter(body)?;
        letters.push((front, Arrived { left, bytes: frame.slice_ref(letter) }));
        body = rest;
    }
    Ok(letters)
}
