//! *Internal.*
//! Bounded, versioned bytes: the envelope of a datagram, the tag of a frame, the codec and the limits.
//!
//! ```text
//! front      'u' 'n' low high version kind | sum (4)              the same in all versions, for ever
//! datagram   front | cluster (8) | sender (8) | body              at most MAX_DATAGRAM bytes
//! beacon     front, of kind 0 | body of its own, see discovery
//! versions   front, of kind 255                                   all that is said to whom one cannot read
//! frame      front | body, the first of either side; then kind | sum (4) | body     at most MAX_FRAME bytes
//! ```
//!
//! A sender says which versions it speaks, and in which of them this is written: the highest that it knows to have in
//! common with the receiver, the lowest that it speaks where it knows nothing of him.
//!
//! This room knows bytes and limits; what the bodies mean is known where they are made. Nothing here allocates more
//! than the input is long, and no input panics: what does not decode is [`Malformed`], to be counted and dropped.

mod codec;
mod envelope;
mod frame;
mod limits;
mod sum;
mod versions;

pub use codec::{Malformed, decode, decode_prefix, encode, encode_onto};
pub use envelope::{
    BEACON, Envelope, Front, VERSIONS, cluster_hash, kind_of, open, push_padded, seal, seal_in, split_padded, unseal,
    unseal_first,
};
pub use frame::{open_frame, seal_frame, split_frame};
pub use limits::{MAX_BODY, MAX_DATAGRAM, MAX_FRAME, MAX_MEMBERS, MAX_PADDED};
pub use versions::{PROTOCOL_MAX, PROTOCOL_MIN, Versions};
