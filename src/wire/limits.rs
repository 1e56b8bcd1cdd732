//! The bounds of everything that crosses the wire.

/// The largest datagram, in bytes of UDP payload: fits an Ethernet frame with room for a tunnel (RFC 8085, 3.2).
pub const MAX_DATAGRAM: usize = 1_400;

/// What announcements, membership and rows keep to, in bytes of UDP payload: a path of IPv6 takes that with every header
/// (RFC 8200, 5), and QUIC requires as much (RFC 9000, 14). A larger datagram may vanish in a tunnel, without a word.
pub const SAFE_DATAGRAM: usize = 1_200;

/// The largest body of a datagram of rows: what the envelope leaves.
pub const MAX_BODY: usize = SAFE_DATAGRAM - super::Envelope::BYTES;

/// The largest body that can be padded.
pub const MAX_PADDED: usize = MAX_BODY - 2;

/// The largest frame of a stream, in bytes without its length prefix.
pub const MAX_FRAME: usize = 1 << 20;

/// The largest number of members a node keeps.
pub const MAX_MEMBERS: usize = 4_096;
