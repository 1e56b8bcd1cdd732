//! A codec that looks on: `foca` tells of members going up and down only, but it encodes whatever it applied (to
//! gossip it) and the header of whatever it sends, and decodes whatever it reads. Listening there costs nothing per
//! member, where comparing lists after each datagram would.
//!
//! It depends on `foca` 2 encoding each update that it applied, once: `handle_apply_summary`. A test compares the
//! lists after every step, so a `foca` that stops doing that is noticed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, PostcardCodec};

use super::Identity;

/// What passed the codec.
pub(super) struct Seen {
    /// Our identity, to know an address conflict with ourselves.
    pub(super) own: Identity,
    /// Our refutation counter, which `foca` keeps to itself, as the last header sent told it.
    pub(super) incarnation: u16,
    /// What was applied since it was last taken.
    pub(super) applied: Vec<Member<Identity>>,
    /// The header of the datagram being made.
    pub(super) sending: Option<Kind>,
    /// Who sent the datagram being read.
    pub(super) source: Option<Identity>,
    /// Somebody that others take for the holder of our address, and that wins against us.
    pub(super) ahead: Option<Identity>,
}

/// What the outbox must know of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A list of members.
    Feed,
    /// Asks for an answer.
    Ping,
    /// Tells the receiver that it is Down.
    TurnUndead,
    /// Anything else.
    Other,
}

impl Seen {
    /// Notes an identity at our address that others may prefer to ours: a predecessor that ran on a faster clock.
    pub(super) fn note_ahead(&mut self, identity: &Identity) {
        if identity.address == self.own.address && identity.supersedes(self.ahead.as_ref().unwrap_or(&self.own)) {
            self.ahead = Some(identity.clone());
        }
    }
}

/// The codec; clones see the same.
#[derive(Clone)]
pub(super) struct Tap(Arc<Mutex<Seen>>);

impl Tap {
    pub(super) fn new(own: Identity) -> Self {
        let seen = Seen { own, incarnation: 0, applied: Vec::new(), sending: None, source: None, ahead: None };
        Self(Arc::new(Mutex::new(seen)))
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Codec<Identity> for Tap {
    type Error = postcard::Error;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), Self::Error> {
        let mut seen = self.seen();
        seen.incarnation = header.src_incarnation;
        seen.sending = Some(match header.message {
            Message::Feed => Kind::Feed,
            Message::Ping(_) | Message::IndirectPing { .. } => Kind::Ping,
            Message::TurnUndead => Kind::TurnUndead,
            _ => Kind::Other,
        });
        PostcardCodec.encode_header(header, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, Self::Error> {
        let header: Header<Identity> = PostcardCodec.decode_header(buf)?;
        let mut seen = self.seen();
        seen.source = Some(header.src.clone());
        seen.note_ahead(&header.dst);
        Ok(header)
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), Self::Error> {
        PostcardCodec.encode_member(member, buf)?;
        let mut seen = self.seen();
        // A feed lists members that did not change. Outside a datagram an update is encoded because it was applied.
        if seen.sending != Some(Kind::Feed) {
            seen.applied.push(member.clone());
        }
        Ok(())
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, Self::Error> {
        let member: Member<Identity> = PostcardCodec.decode_member(buf)?;
        self.seen().note_ahead(member.id());
        Ok(member)
    }
}
