//! *Internal.*
//! Bounded, versioned bytes: the envelope of a datagram, the tag of a frame, the codec and the limits.
//!
//! ```text
//! datagram   'u' 'n' version kind | sum (4) | cluster (8) | sender (8) | body  at most MAX_DATAGRAM bytes
//! beacon     'u' 'n' version 0    | sum (4) | body of its own, see discovery
//! frame      kind | sum (4) | body                                             at most MAX_FRAME bytes
//! ```
//!
//! This room knows bytes and limits; what the bodies mean is known where they are made. Nothing here allocates more
//! than the input is long, and no input panics: what does not decode is [`Malformed`], to be counted and dropped.

mod codec;
mod envelope;
mod frame;
mod limits;
mod sum;

pub use codec::{Malformed, decode, decode_prefix, encode, encode_onto};
pub use envelope::{
    BEACON, Envelope, PROTOCOL_MAX, PROTOCOL_MIN, cluster_hash, kind_of, open, push_padded, seal, split_padded, unseal,
};
pub use frame::{open_frame, seal_frame, split_frame};
pub use limits::{MAX_BODY, MAX_DATAGRAM, MAX_FRAME, MAX_MEMBERS, MAX_PADDED};
