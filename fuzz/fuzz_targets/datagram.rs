//! Any bytes, wherever bytes may arrive: nothing panics, nothing sent is larger than it may be, and no two nodes are made
//! to talk without an end.
//!
//! ```text
//! cargo +nightly fuzz run datagram
//! ```
//!
//! The bytes are slipped into streams while two nodes meet (see `pair`). Then they arrive at both as a datagram as they
//! are, behind an envelope of the cluster from a stranger and from each other, so that the search for sixteen bytes of
//! cluster and sender does not keep the fuzzer from the bodies, and as a frame on every stream. Then time goes on, as
//! what was taken in may do its harm at the next deadline.

#![no_main]

mod pair;
mod process;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use unisono::ReplicaId;
use unisono::engine::Input;
use unisono::store::Row;
use unisono::wire::{self, Envelope};

use pair::{Meddler, Pair, first, framed, replica};
use process::{CLUSTER, address};

/// How many times bytes are slipped into streams that go to one of them.
const SLIPS: usize = 4;

/// In nobody's roster.
const STRANGER: ReplicaId = ReplicaId(3);

fuzz_target!(|data: &[u8]| {
    let _ = wire::decode::<Row>(data);
    let bytes = Bytes::copy_from_slice(data);
    let alone = Pair::met(Box::new(|_, _, frame| vec![frame]));
    assert!(alone.settled(), "the two meet");
    for mut pair in [alone, Pair::met(slips_in(framed(data)))] {
        datagrams(&mut pair, &bytes);
        pair.mails(0, &bytes::Bytes::copy_from_slice(data));
        pair.frames(&framed(data));
        pair.frames(&first(data));
        pair.goes_on();
    }
});

/// Slips the bytes in before the first frame of the first stream to a node, the second one of the second, and so on: a
/// stream on which they are out of place is closed, and the next one is tried.
fn slips_in(bytes: Bytes) -> Meddler {
    let mut slipped = [0; 2];
    Box::new(move |(node, _), arrived, frame| {
        if arrived == slipped[node] % 2 && slipped[node] < SLIPS {
            slipped[node] += 1;
            return vec![bytes.clone(), frame];
        }
        vec![frame]
    })
}

fn datagrams(pair: &mut Pair, bytes: &Bytes) {
    for node in [0, 1] {
        let from = address(1 - node);
        pair.hears(node, Input::Datagram { from, bytes: bytes.clone() });
        let Some((kind, body)) = bytes.split_first() else { return };
        for sender in [STRANGER, replica(1 - node)] {
            let envelope = Envelope { kind: *kind, cluster: wire::cluster_hash(CLUSTER), sender };
            let mut datagram = envelope.open();
            datagram.extend_from_slice(body);
            pair.hears(node, Input::Datagram { from, bytes: wire::seal(datagram) });
        }
    }
}
