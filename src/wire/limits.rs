//! The bounds of everything that crosses the wire.

/// The largest datagram, in bytes of UDP payload: fits an Ethernet frame with room for a tunnel (RFC 8085, 3.2).
pub const MAX_DATAGRAM: usize = 1_400;

/// The largest body of a datagram: what the envelope leaves.
pub const MAX_BODY: usize = MAX_DATAGRAM - super::Envelope::BYTES;

/// The largest body that can be padded.
pub const MAX_PADDED: usize = MAX_BODY - 2;

/// The largest frame of a stream, in bytes without its length prefix.
pub const MAX_FRAME: usize = 1 << 20;

/// The largest number of members a node keeps.
pub const MAX_MEMBERS: usize = 4_096;
