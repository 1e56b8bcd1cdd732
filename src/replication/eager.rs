//! Eager deltas: whole rows, each with its own dot, as many to a datagram as fit.

use rand::RngExt;

use crate::crdt::Dot;
use crate::id::ReplicaId;
use crate::store::Row;
use crate::wire::{self, Malformed};

/// Up to this many peers the author sends to everybody, and nobody forwards.
pub const EAGER_TO_ALL: usize = 16;

/// Beyond that, author and forwarders send to this many random peers each. A rumour that everybody passes on to 4
/// others reaches about 98 % (1 - e^-4 of those not yet reached, in the fixpoint of Demers et al., "Epidemic algorithms
/// for replicated database maintenance", 1987, section 1.4); repair reaches the rest.
pub const FANOUT: usize = 4;

/// Rows made ready to send.
#[derive(Debug, Default)]
pub struct Packed {
    /// Bodies, each of at most the length asked for.
    pub bodies: Vec<Vec<u8>>,
    /// The writes whose rows are too large for that: to be offered, and fetched by stream.
    pub too_large: Vec<Dot>,
}

/// Encodes rows one behind the other into bodies of at most `limit` bytes. `open` makes an empty body; what it puts in
/// front does not count against the limit.
pub fn pack<'a>(rows: impl IntoIterator<Item = &'a Row>, limit: usize, open: impl Fn() -> Vec<u8>) -> Packed {
    let mut packed = Packed::default();
    let mut body = open();
    let front = body.len();
    for row in rows {
        let before = body.len();
        body = wire::encode_onto(body, row);
        let row_length = body.len() - before;
        if row_length > limit {
            body.truncate(before);
            packed.too_large.push(row.entry.dot);
        } else if body.len() - front > limit {
            let moved = body.split_off(before);
            packed.bodies.push(std::mem::replace(&mut body, open()));
            body.extend_from_slice(&moved);
        }
    }
    if body.len() > front {
        packed.bodies.push(body);
    }
    packed
}

/// Decodes what [`pack`] put into one body.
pub fn unpack(mut body: &[u8]) -> Result<Vec<Row>, Malformed> {
    let mut rows = Vec::new();
    while !body.is_empty() {
        let (row, rest) = wire::decode_prefix(body)?;
        rows.push(row);
        body = rest;
    }
    Ok(rows)
}

/// Whom to send rows to: everybody in a small cluster, else a few at random, who are drawn to the front of the list.
pub fn targets(peers: &mut [ReplicaId], except: Option<ReplicaId>, random: &mut impl RngExt) -> Vec<ReplicaId> {
    let few = peers.len() > EAGER_TO_ALL;
    // One more than wanted: the one left out may be among them.
    let drawn = if few { FANOUT + 1 } else { 0 };
    for at in 0..drawn {
        let pick = random.random_range(at..peers.len());
        peers.swap(at, pick);
    }
    let wanted = if few { FANOUT } else { peers.len() };
    peers.iter().copied().filter(|peer| Some(*peer) != except).take(wanted).collect()
}
