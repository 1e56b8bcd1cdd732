//! Letters that wait, and the streams that carry them.
//!
//! ```text
//!   letter ─▶ queue of the peer (bounded) ─▶ frames of many letters, at most two under way ─▶ a stream with the peer
//!                 └ too much waits: Full          └ whose time is over is left out
//! ```
//!
//! A stream carries letters both ways, so that an answer takes the way that the question came. Where both ends opened
//! one at the same time, each sends on its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

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
/// What stands around a letter in a frame, at most: the front of the frame, the time left, the length.
pub(super) const AROUND: usize = 32;

/// A stream that carries letters.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) stream: StreamId,
    pub(super) open: bool,
    under_way: usize,
}

impl Way {
    fn new(stream: StreamId, open: bool) -> Self {
        Self { stream, open, under_way: 0 }
    }
}

/// All there is between this node and one peer.
#[derive(Debug)]
pub(super) struct Link {
    /// The stream that was opened here.
    pub(super) out: Option<Way>,
    /// The one that the peer opened.
    pub(super) back: Option<Way>,
    queue: VecDeque<Letter>,
    bytes: usize,
    /// When a frame last went or came.
    pub(super) used: Instant,
}

/// The letters of this node.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) links: BTreeMap<ReplicaId, Link>,
    /// What waits, in all.
    bytes: usize,
}

impl Link {
    fn new(now: Instant) -> Self {
        Self { out: None, back: None, queue: VecDeque::new(), bytes: 0, used: now }
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

    fn fill(&mut self, now: Instant) -> Option<Bytes> {
        let mut frame = None;
        while let Some(letter) = self.queue.front() {
            let length = frame.as_ref().map_or(0, Vec::len);
            if length >= FRAME || length + letter.bytes.len() + AROUND > MAX_FRAME {
                break;
            }
            let letter = self.queue.pop_front().expect("it was looked at");
            self.bytes -= letter.bytes.len();
            if letter.is_late(now) {
                continue;
            }
            let left = letter.until.map_or(0, |until| micros(until.since(now)).max(1));
            let head = (left, letter.bytes.len() as u64);
            let mut bytes = wire::encode_onto(frame.unwrap_or_else(|| wire::open_frame(kind::MAIL)), &head);
            bytes.extend_from_slice(&letter.bytes);
            frame = Some(bytes);
        }
        frame.map(wire::seal_frame)
    }
}

impl Mail {
    /// Lets a letter wait, or gives it back if too much waits already.
    pub(super) fn push(&mut self, now: Instant, letter: Letter) -> Result<&mut Link, Letter> {
        let link = self.links.entry(letter.to).or_insert_with(|| Link::new(now));
        let bytes = letter.bytes.len();
        let has_room = link.queue.len() < PEER_LETTERS
            && link.bytes.saturating_add(bytes) <= PEER_BYTES
            && self.bytes.saturating_add(bytes) <= ALL_BYTES;
        if !has_room {
            return Err(letter);
        }
        link.bytes += bytes;
        self.bytes += bytes;
        link.queue.push_back(letter);
        Ok(link)
    }

    /// The next frame for a peer, if there is room for one, and the stream to send it on.
    pub(super) fn poll(&mut self, now: Instant, peer: ReplicaId) -> Option<(StreamId, Bytes)> {
        let link = self.links.get_mut(&peer)?;
        link.carrier().filter(|way| way.under_way < FRAMES_AT_ONCE)?;
        let before = link.bytes;
        let frame = link.fill(now);
        self.bytes -= before - link.bytes;
        let frame = frame?;
        link.used = now;
        let way = link.carrier()?;
        way.under_way += 1;
        Some((way.stream, frame))
    }

    pub(super) fn flushed(&mut self, peer: ReplicaId, stream: StreamId) {
        let ways = self.links.get_mut(&peer).into_iter().flat_map(Link::ways);
        for way in ways.filter(|way| way.stream == stream) {
            way.under_way = way.under_way.saturating_sub(1);
        }
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
        }
    }

    /// A stream is gone: whether it was open, since when nothing went or came, and the letters that have no way any more.
    pub(super) fn ended(&mut self, peer: ReplicaId, stream: StreamId) -> Option<(bool, Instant, Vec<Letter>)> {
        let link = self.links.get_mut(&peer)?;
        let was_open = link.ways().any(|way| way.stream == stream && way.open);
        for way in [&mut link.out, &mut link.back] {
            way.take_if(|way| way.stream == stream);
        }
        let used = link.used;
        if link.has_way() {
            return Some((was_open, used, Vec::new()));
        }
        let link = self.links.remove(&peer)?;
        self.bytes -= link.bytes;
        Some((was_open, used, link.queue.into()))
    }

    /// Drops letters whose time is over.
    pub(super) fn drop_late(&mut self, now: Instant) {
        for link in self.links.values_mut() {
            let before = link.bytes;
            link.queue.retain(|letter| !letter.is_late(now));
            link.bytes = link.queue.iter().map(|letter| letter.bytes.len()).sum();
            self.bytes -= before - link.bytes;
        }
    }
}

/// A letter in the body of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// How much of its time was left when it was sent.
    pub(super) left: Option<Duration>,
    pub(super) letter: &'a [u8],
    /// What follows it.
    pub(super) rest: &'a [u8],
}

/// Takes the next letter off the body of a frame.
pub(super) fn split_letter(body: &[u8]) -> Result<Found<'_>, Malformed> {
    let ((left, length), rest) = wire::decode_prefix::<(u64, u64)>(body)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (letter, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    Ok(Found { left: (left > 0).then(|| Duration::from_micros(left)), letter, rest })
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: ReplicaId = ReplicaId(2);

    fn letter(number: u64, length: usize) -> Letter {
        Letter { number, to: PEER, until: None, bytes: vec![7; length].into() }
    }

    fn letters(frame: &[u8]) -> Vec<(Option<Duration>, usize)> {
        let (kind, mut body) = wire::split_frame(frame).unwrap();
        assert_eq!(kind, kind::MAIL);
        let mut found = Vec::new();
        while !body.is_empty() {
            let Found { left, letter, rest } = split_letter(body).unwrap();
            found.push((left, letter.len()));
            body = rest;
        }
        found
    }

    #[test]
    fn many_letters_share_a_frame_and_two_frames_are_under_way() {
        let (mut mail, now) = (Mail::default(), Instant::ZERO);
        mail.opening(now, PEER, StreamId(2));
        for number in 0..5_000 {
            mail.push(now, letter(number, 100)).unwrap();
        }
        assert!(mail.poll(now, PEER).is_none(), "the stream is not open");
        mail.opened(now, PEER, StreamId(2));
        let first = mail.poll(now, PEER).unwrap().1;
        assert!(letters(&first).len() > 500 && first.len() < FRAME + 200, "{}", first.len());
        assert!(mail.poll(now, PEER).is_some());
        assert!(mail.poll(now, PEER).is_none() && mail.is_waiting(PEER, StreamId(2)));
        mail.flushed(PEER, StreamId(2));
        assert!(mail.poll(now, PEER).is_some());
    }

    #[test]
    fn what_waits_is_bounded_for_a_peer_and_in_all() {
        let (mut mail, now) = (Mail::default(), Instant::ZERO);
        let taken = (0..100_000).take_while(|number| mail.push(now, letter(*number, 1)).is_ok()).count();
        assert_eq!(taken, PEER_LETTERS);
        let mut mail = Mail::default();
        let big = 1 << 20;
        let taken = (0..100).take_while(|number| mail.push(now, letter(*number, big)).is_ok()).count();
        assert_eq!(taken, PEER_BYTES / big);
        let others = (3..).take_while(|peer| {
            (0..8).all(|_| mail.push(now, Letter { to: ReplicaId(*peer), ..letter(0, big) }).is_ok())
        });
        assert_eq!(others.count(), (ALL_BYTES - PEER_BYTES) / PEER_BYTES);
        mail.opening(now, PEER, StreamId(2));
        let (_, _, back) = mail.ended(PEER, StreamId(2)).unwrap();
        assert_eq!(back.len(), PEER_BYTES / big);
        assert!(mail.push(now, letter(1, big)).is_ok(), "there is room again");
    }

    #[test]
    fn the_largest_letter_fits_a_frame_of_its_own() {
        let (mut mail, now) = (Mail::default(), Instant::ZERO);
        mail.accepted(now, PEER, StreamId(1));
        for length in [10, MAX_FRAME - AROUND, 10] {
            mail.push(now, letter(1, length)).unwrap();
        }
        let sent: Vec<_> = std::iter::from_fn(|| mail.poll(now, PEER)).map(|(_, frame)| frame).collect();
        assert_eq!(sent.iter().map(|frame| letters(frame).len()).collect::<Vec<_>>(), [1, 1]);
        assert!(sent.iter().all(|frame| frame.len() <= MAX_FRAME));
    }

    #[test]
    fn letters_whose_time_is_over_do_not_go_and_others_say_how_much_is_left() {
        let (mut mail, now) = (Mail::default(), Instant::ZERO);
        let second = Duration::from_secs(1);
        mail.accepted(now, PEER, StreamId(1));
        mail.push(now, Letter { until: Some(now + second), ..letter(1, 10) }).unwrap();
        mail.push(now, Letter { until: Some(now + 3 * second), ..letter(2, 20) }).unwrap();
        let (_, frame) = mail.poll(now + 2 * second, PEER).unwrap();
        assert_eq!(letters(&frame), [(Some(second), 20)]);
        mail.push(now, Letter { until: Some(now + second), ..letter(3, 10) }).unwrap();
        mail.drop_late(now + 2 * second);
        assert_eq!((mail.bytes, mail.links[&PEER].queue.len()), (0, 0));
    }

    #[test]
    fn a_length_that_lies_is_malformed() {
        let bytes = wire::encode(&(0_u64, u64::MAX));
        assert_eq!(split_letter(&bytes), Err(Malformed));
        let bytes = wire::encode_onto(Vec::new(), &(0_u64, 3_u64));
        assert_eq!(split_letter(&[&bytes[..], &[1, 2]].concat()), Err(Malformed));
    }
}
