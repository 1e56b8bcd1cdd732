//! Eager deltas: whole rows, each with its own dot, as many to a datagram as fit.

use rand::RngExt;

use super::codec::{Encoder, Rows};
use crate::crdt::Dot;
use crate::id::ReplicaId;
use crate::store::Row;
use crate::wire::Malformed;

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
    let (mut body, mut encoder) = (open(), Encoder::new());
    let front = body.len();
    for row in rows {
        let before = body.len();
        encoder.put(row, &mut body);
        if body.len() - front <= limit {
            continue;
        }
        body.truncate(before);
        if before > front {
            packed.bodies.push(std::mem::replace(&mut body, open()));
        }
        encoder = Encoder::new();
        encoder.put(row, &mut body);
        if body.len() - front > limit {
            body.truncate(front);
            encoder = Encoder::new();
            packed.too_large.push(row.entry.dot);
        }
    }
    if body.len() > front {
        packed.bodies.push(body);
    }
    packed
}

/// Encodes rows one behind the other, however many bytes that takes, behind what is there.
pub fn pack_all<'a>(rows: impl IntoIterator<Item = &'a Row>, mut body: Vec<u8>) -> Vec<u8> {
    let mut encoder = Encoder::new();
    rows.into_iter().for_each(|row| encoder.put(row, &mut body));
    body
}

/// Decodes what [`pack`] put into one body.
pub fn unpack(body: &[u8]) -> Result<Vec<Row>, Malformed> {
    Rows::new(body).collect()
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
