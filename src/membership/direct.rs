//! Datagrams of our own making in `foca`'s format, for what `foca` has no call for.
//!
//! ```text
//!   header (source, its incarnation, destination, message) | u16 number of updates | updates
//! ```

use bytes::{Buf, BufMut, Bytes};
use foca::{Codec, Header, Member, Message, PostcardCodec, State};

use super::{Identity, Record};

/// Tells a member what is believed of it, and asks for an answer.
///
/// A ping rather than a gossip message: the suspect applies the update first, so it raises its incarnation, and the
/// ack that it returns carries the new one. The accuser has the refutation after one round trip. The number of the
/// probe is 0; should it be the number of a probe of that member under way, the ack answers that one as truly.
pub(super) fn ping(own: &Record, to: &Identity, about: Record) -> Option<Bytes> {
    datagram(own, to, Message::Ping(0), Some(about))
}

/// Asks a member for an answer.
pub(super) fn question(own: &Record, to: &Identity) -> Option<Bytes> {
    datagram(own, to, Message::Ping(0), None)
}

/// Tells a member something that it needs to know about somebody.
pub(super) fn gossip(own: &Record, to: &Identity, about: Record) -> Option<Bytes> {
    datagram(own, to, Message::Gossip, Some(about))
}

/// Tells a member that it is Down.
pub(super) fn turn_undead(own: &Record, to: &Identity) -> Option<Bytes> {
    datagram(own, to, Message::TurnUndead, None)
}

fn datagram(own: &Record, to: &Identity, message: Message<Identity>, about: Option<Record>) -> Option<Bytes> {
    let header = Header { src: own.identity.clone(), src_incarnation: own.incarnation, dst: to.clone(), message };
    let mut bytes = Vec::with_capacity(256);
    PostcardCodec.encode_header(&header, &mut bytes).ok()?;
    if let Some(about) = about {
        bytes.put_u16(1);
        PostcardCodec.encode_member(&about.into(), &mut bytes).ok()?;
    }
    Some(bytes.into())
}

/// Who sent a datagram.
pub(super) fn source(mut bytes: &[u8]) -> Option<Identity> {
    let header: Header<Identity> = PostcardCodec.decode_header(&mut bytes).ok()?;
    Some(header.src)
}

/// A datagram without the updates that are not `wanted`. The sender is asked for as well, without a state.
///
/// `None` if the sender is not wanted or the bytes are malformed; else the datagram and how many updates were left out.
pub(super) fn thin_out(
    mut bytes: &[u8],
    mut wanted: impl FnMut(&Identity, Option<State>) -> bool,
) -> Option<(Bytes, u64)> {
    let header: Header<Identity> = PostcardCodec.decode_header(&mut bytes).ok()?;
    if !wanted(&header.src, None) {
        return None;
    }
    let mut thin = Vec::with_capacity(bytes.len());
    PostcardCodec.encode_header(&header, &mut thin).ok()?;
    if bytes.len() < 2 {
        thin.put_slice(bytes);
        return Some((thin.into(), 0));
    }
    let (mut kept, mut dropped) = (Vec::new(), 0);
    for _ in 0..bytes.get_u16() {
        let member: Member<Identity> = PostcardCodec.decode_member(&mut bytes).ok()?;
        if wanted(member.id(), Some(member.state())) { kept.push(member) } else { dropped += 1 }
    }
    thin.put_u16(u16::try_from(kept.len()).ok()?);
    for member in &kept {
        PostcardCodec.encode_member(member, &mut thin).ok()?;
    }
    thin.put_slice(bytes);
    Some((thin.into(), dropped))
}
