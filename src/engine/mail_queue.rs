//! Letters that wait, and the streams that carry them.
//!
//! ```text
//!   letter ─▶ queue of the peer (bounded) ─▶ frames of many letters, at most two under way ─▶ a stream with the peer
//!                 └ too much waits: Full          └ whose time is over is left out
//! ```
//!
//! A stream carries letters both ways, so that an answer takes the way that the question came. Where both ends opened
//! one at the same time, each sends on its own. A queue also holds what is passed on between others, and what is said about
//! letters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::StreamId;
use super::mail::Letter;
use super::message::kind;
use crate::id::ReplicaId;
use crate::time::Instant;
use crate::wire::{self, MAX_FRAME, Malformed};

/// So much may wait for one peer, in letters and in bytes.
pub(super) const PEER_LETTERS: usize = 16_384;
pub(super) const PEER_BYTES: usize = 8 << 20;
/// So many bytes may wait for all peers together.
pub(super) const ALL_BYTES: usize = 64 << 20;
/// A frame is not filled further once it is so long.
const FRAME: usize = 64 << 10;
/// So many frames of a stream are under way at once.
const FRAMES_AT_ONCE: usize = 2;
/// What stands around a letter in a frame, at most: the front of the frame and of the letter, the time left, the length.
pub(super) const AROUND: usize = 64;

/// A stream that carries 250 KB a second is slow, and not silent.
const EACH_BYTE: Duration = Duration::from_micros(4);

/// What stands in front of each letter in a frame, and in front of what is said about letters, which has no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Front {
    /// A letter for the receiver.
    Letter,
    /// A letter that the receiver is to pass on.
    Onward {
        /// For whom it is.
        to: ReplicaId,
        /// What its sender calls it.
        number: u64,
    },
    /// A letter for the receiver, of this member, which the sender passes on.
    Of(ReplicaId),
    /// This letter was not passed on, and will not be.
    Back {
        /// For whom it was.
        to: ReplicaId,
        /// What its sender calls it.
        number: u64,
    },
    /// The stream to this member broke: what was passed on before may or may not have arrived.
    Broke(ReplicaId),
    /// Say that you are there.
    Ping,
    /// I am.
    Pong,
}

/// Something that waits for a peer.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) front: Front,
    pub(super) letter: Letter,
}

/// What is left of a stream that is gone.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) was_open: bool,
    /// Since when nothing went or came.
    pub(super) used: Instant,
    /// What has no way any more.
    pub(super) unsent: Vec<Queued>,
    /// For whom letters went over the peer.
    pub(super) onward: BTreeSet<ReplicaId>,
    /// Whose letters were passed on to the peer.
    pub(super) senders: BTreeSet<ReplicaId>,
}

/// A stream that carries letters.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) stream: StreamId,
    pub(super) open: bool,
    under_way: usize,
    /// Since when something is sent and nothing came from the peer.
    silent_since: Option<Instant>,
    /// How many bytes were sent since then.
    silent_bytes: usize,
    pinged: bool,
}

impl Way {
    fn new(stream: StreamId, open: bool) -> Self {
        Self { stream, open, under_way: 0, silent_since: None, silent_bytes: 0, pinged: false }
    }
}

/// All there is between this node and one peer.
#[derive(Debug)]
pub(super) struct Link {
    /// The stream that was opened here.
    pub(super) out: Option<Way>,
    /// The one that the peer opened.
    pub(super) back: Option<Way>,
    queue: VecDeque<Queued>,
    bytes: usize,
    /// For whom letters went to the peer to be passed on.
    onward: BTreeSet<ReplicaId>,
    /// Whose letters went to the peer.
    senders: BTreeSet<ReplicaId>,
    /// When a frame last went or came.
    pub(super) used: Instant,
}

/// The letters of this node.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) links: BTreeMap<ReplicaId, Link>,
    /// What waits, in all.
    bytes: usize,
    /// What of that is passed on for others: letters and bytes.
    passing: (usize, usize),
}

impl Link {
    fn new(now: Instant) -> Self {
        let (onward, senders) = (BTreeSet::new(), BTreeSet::new());
        Self { out: None, back: None, queue: VecDeque::new(), bytes: 0, onward, senders, used: now }
    }

    /// The stream that letters go out on now.
    fn carrier(&mut self) -> Option<&mut Way> {
        let Self { out, back, .. } = self;
        out.as_mut().filter(|way| way.open).or(back.as_mut())
    }

    fn ways(&mut self) -> impl Iterator<Item = &mut Way> {
        self.out.iter_mut().chain(&mut self.back)
    }

    pub(super) fn has_way(&self) -> bool {
        self.out.is_some() || self.back.is_some()
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_at_rest(&mut self) -> bool {
        self.queue.is_empty() && self.ways().all(|way| way.under_way == 0)
    }

    /// The same, where any wait at all: the queue is not looked through for nothing.
    fn count_passing(&self, all: (usize, usize)) -> (usize, usize) {
        if all.0 == 0 { (0, 0) } else { self.passing() }
    }

    /// The letters of others, and their bytes, that wait for the peer.
    fn passing(&self) -> (usize, usize) {
        let passed = self.queue.iter().filter(|queued| matches!(queued.front, Front::Of(_)));
        passed.fold((0, 0), |(letters, bytes), queued| (letters + 1, bytes + queued.letter.bytes.len()))
    }

    fn fill(&mut self, now: Instant) -> Option<Bytes> {
        let mut frame = None;
        while let Some(Queued { letter, .. }) = self.queue.front() {
            let length = frame.as_ref().map_or(0, Vec::len);
            if length >= FRAME || length + letter.bytes.len() + AROUND > MAX_FRAME {
                break;
            }
            let Queued { front, letter } = self.queue.pop_front().expect("it was looked at");
            self.bytes -= letter.bytes.len();
            if letter.is_late(now) {
                continue;
            }
            let left = letter.until.map_or(0, |until| micros(until.since(now)).max(1));
            match front {
                Front::Onward { to, .. } => drop(self.onward.insert(to)),
                Front::Of(sender) => drop(self.senders.insert(sender)),
                _ => {}
            }
            let head = (front, left, letter.bytes.len() as u64);
            let mut bytes = wire::encode_onto(frame.unwrap_or_else(|| wire::open_frame(kind::MAIL)), &head);
            bytes.extend_from_slice(&letter.bytes);
            frame = Some(bytes);
        }
        frame.map(wire::seal_frame)
    }
}

impl Mail {
    /// Lets a letter wait, or gives it back if too much waits already.
    #[cfg(test)]
    pub(super) fn push(&mut self, now: Instant, letter: Letter) -> Result<&mut Link, Queued> {
        self.enqueue(now, letter.to, Queued { front: Front::Letter, letter })
    }

    /// Lets something wait for this peer, which need not be the receiver, or gives it back.
    pub(super) fn enqueue(&mut self, now: Instant, peer: ReplicaId, queued: Queued) -> Result<&mut Link, Queued> {
        let link = self.links.entry(peer).or_insert_with(|| Link::new(now));
        let bytes = queued.letter.bytes.len();
        let has_room = link.queue.len() < PEER_LETTERS
            && link.bytes.saturating_add(bytes) <= PEER_BYTES
            && self.bytes.saturating_add(bytes) <= ALL_BYTES;
        if !has_room {
            return Err(queued);
        }
        if let Front::Of(_) = queued.front {
            self.passing = (self.passing.0 + 1, self.passing.1 + bytes);
        }
        link.bytes += bytes;
        self.bytes += bytes;
        link.queue.push_back(queued);
        Ok(link)
    }

    /// The next frame for a peer, if there is room for one, and the stream to send it on.
    pub(super) fn poll(&mut self, now: Instant, peer: ReplicaId) -> Option<(StreamId, Bytes)> {
        let link = self.links.get_mut(&peer)?;
        link.carrier().filter(|way| way.under_way < FRAMES_AT_ONCE)?;
        let (before, passed) = (link.bytes, link.count_passing(self.passing));
        let frame = link.fill(now);
        self.bytes -= before - link.bytes;
        self.pass_less(passed, peer);
        let frame = frame?;
        let link = self.links.get_mut(&peer)?;
        link.used = now;
        let way = link.carrier()?;
        way.under_way += 1;
        way.silent_since.get_or_insert(now);
        way.silent_bytes += frame.len();
        Some((way.stream, frame))
    }

    /// There are fewer letters of others than before in the queue of this peer.
    fn pass_less(&mut self, before: (usize, usize), peer: ReplicaId) {
        let after = self.links.get(&peer).map_or((0, 0), |link| link.count_passing(self.passing));
        self.passing.0 -= before.0 - after.0;
        self.passing.1 -= before.1 - after.1;
    }

    /// How many letters of others wait here, and how many bytes of them.
    pub(super) fn passing(&self) -> (usize, usize) {
        self.passing
    }

    /// A frame left for the wire. That is no sign of the peer: buffers on the way take it, too.
    pub(super) fn flushed(&mut self, peer: ReplicaId, stream: StreamId) {
        let ways = self.links.get_mut(&peer).into_iter().flat_map(Link::ways);
        for way in ways.filter(|way| way.stream == stream) {
            way.under_way = way.under_way.saturating_sub(1);
        }
    }

    /// Whether something was sent anywhere of which no sign came back yet.
    pub(super) fn awaits_signs(&mut self) -> bool {
        let mut links = self.links.values_mut();
        links.any(|link| !link.queue.is_empty() || link.ways().any(|way| !way.open || way.silent_since.is_some()))
    }

    /// The streams on which nothing comes for so long that a sign is to be asked for, and those for so long that there is
    /// none to come. Large letters take their time: so much for each byte.
    pub(super) fn silent(&mut self, now: Instant, silence: Duration) -> [Vec<(ReplicaId, StreamId)>; 2] {
        let [mut ask, mut give_up] = [Vec::new(), Vec::new()];
        for (peer, link) in &mut self.links {
            for way in link.ways().filter(|way| way.open) {
                let Some(since) = way.silent_since else { continue };
                let (silent, bytes) = (now.since(since), u32::try_from(way.silent_bytes).unwrap_or(u32::MAX));
                if silent >= silence + EACH_BYTE.saturating_mul(bytes) {
                    give_up.push((*peer, way.stream));
                } else if silent >= silence / 4 && !std::mem::replace(&mut way.pinged, true) {
                    ask.push((*peer, way.stream));
                }
            }
        }
        [ask, give_up]
    }

    /// Whether letters of this node wait for a peer.
    pub(super) fn has_waiting(&self, peer: ReplicaId) -> bool {
        self.links.get(&peer).is_some_and(|link| !link.queue.is_empty())
    }

    /// Takes the letters of this node out of the queue of a peer.
    pub(super) fn take_own(&mut self, peer: ReplicaId) -> Vec<Letter> {
        let Some(link) = self.links.get_mut(&peer) else { return Vec::new() };
        let (own, others): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut link.queue).into_iter().partition(|queued| queued.front == Front::Letter);
        link.queue = others;
        let bytes: usize = own.iter().map(|queued| queued.letter.bytes.len()).sum();
        link.bytes -= bytes;
        self.bytes -= bytes;
        own.into_iter().map(|queued| queued.letter).collect()
    }

    /// Whether a letter for this member was handed to a relay, on a stream that still is.
    pub(super) fn went_over(&self, relay: ReplicaId, to: ReplicaId) -> bool {
        self.links.get(&relay).is_some_and(|link| link.onward.contains(&to))
    }

    /// Whether a stream does not get rid of what was sent on it.
    pub(super) fn is_waiting(&self, peer: ReplicaId, stream: StreamId) -> bool {
        let link = self.links.get(&peer);
        let mut ways = link.into_iter().flat_map(|link| link.out.iter().chain(&link.back));
        ways.any(|way| way.stream == stream && way.under_way > 0)
    }

    pub(super) fn opening(&mut self, now: Instant, peer: ReplicaId, stream: StreamId) {
        self.links.entry(peer).or_insert_with(|| Link::new(now)).out = Some(Way::new(stream, false));
    }

    pub(super) fn opened(&mut self, now: Instant, peer: ReplicaId, stream: StreamId) {
        if let Some(link) = self.links.get_mut(&peer)
            && let Some(way) = link.out.as_mut().filter(|way| way.stream == stream)
        {
            way.open = true;
            link.used = now;
        }
    }

    pub(super) fn accepted(&mut self, now: Instant, peer: ReplicaId, stream: StreamId) {
        let link = self.links.entry(peer).or_insert_with(|| Link::new(now));
        link.back = Some(Way::new(stream, true));
        link.used = now;
    }

    pub(super) fn heard(&mut self, now: Instant, peer: ReplicaId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.used = now;
            for way in link.ways() {
                (way.silent_since, way.silent_bytes, way.pinged) = (None, 0, false);
            }
        }
    }

    /// A stream is gone.
    pub(super) fn ended(&mut self, peer: ReplicaId, stream: StreamId) -> Option<Ended> {
        let link = self.links.get_mut(&peer)?;
        let was_open = link.ways().any(|way| way.stream == stream && way.open);
        for way in [&mut link.out, &mut link.back] {
            way.take_if(|way| way.stream == stream);
        }
        let used = link.used;
        if link.has_way() {
            let (onward, senders) = (link.onward.clone(), link.senders.clone());
            return Some(Ended { was_open, used, unsent: Vec::new(), onward, senders });
        }
        let passed = link.passing();
        let Link { bytes, queue, onward, senders, .. } = self.links.remove(&peer)?;
        self.bytes -= bytes;
        self.pass_less(passed, peer);
        Some(Ended { was_open, used, unsent: queue.into(), onward, senders })
    }

    /// Drops letters whose time is over.
    pub(super) fn drop_late(&mut self, now: Instant) {
        let mut passing = (0, 0);
        for link in self.links.values_mut() {
            let before = link.bytes;
            link.queue.retain(|queued| !queued.letter.is_late(now));
            link.bytes = link.queue.iter().map(|queued| queued.letter.bytes.len()).sum();
            self.bytes -= before - link.bytes;
            let (letters, bytes) = link.passing();
            passing = (passing.0 + letters, passing.1 + bytes);
        }
        self.passing = passing;
    }
}

/// A letter in the body of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) front: Front,
    /// How much of its time was left when it was sent.
    pub(super) left: Option<Duration>,
    pub(super) letter: &'a [u8],
    /// What follows it.
    pub(super) rest: &'a [u8],
}

/// Takes the next letter off the body of a frame.
pub(super) fn split_letter(body: &[u8]) -> Result<Found<'_>, Malformed> {
    let ((front, left, length), rest) = wire::decode_prefix::<(Front, u64, u64)>(body)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (letter, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    Ok(Found { front, left: (left > 0).then(|| Duration::from_micros(left)), letter, rest })
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
