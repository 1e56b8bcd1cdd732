//! What stands in front of every datagram.

use xxhash_rust::xxh3::xxh3_64;

use super::{MAX_DATAGRAM, Malformed};
use crate::id::ReplicaId;

/// The lowest protocol version that this build speaks.
pub const PROTOCOL_MIN: u8 = 1;

/// The highest protocol version that this build speaks.
pub const PROTOCOL_MAX: u8 = 1;

/// The kind of a beacon, whose body discovery reads and whose envelope ends behind the kind.
pub const BEACON: u8 = 0;

const MAGIC: [u8; 2] = *b"un";

/// Names a cluster in eight bytes.
pub fn cluster_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The kind of a datagram that is ours and of a version we speak.
pub fn kind_of(datagram: &[u8]) -> Result<u8, Malformed> {
    match datagram {
        [magic_1, magic_2, version, kind, ..]
            if [*magic_1, *magic_2] == MAGIC
                && (PROTOCOL_MIN..=PROTOCOL_MAX).contains(version)
                && datagram.len() <= MAX_DATAGRAM =>
        {
            Ok(*kind)
        }
        _ => Err(Malformed),
    }
}

/// What stands in front of the body of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// What the body is.
    pub kind: u8,
    /// The [`cluster_hash`] of the sender's cluster.
    pub cluster: u64,
    /// Who sends.
    pub sender: ReplicaId,
}

impl Envelope {
    /// The length of an envelope.
    pub const BYTES: usize = 4 + 8 + 8;

    /// The bytes of the envelope, for the body to be put behind them.
    pub fn open(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_DATAGRAM);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[PROTOCOL_MAX, self.kind]);
        bytes.extend_from_slice(&self.cluster.to_be_bytes());
        bytes.extend_from_slice(&self.sender.0.to_be_bytes());
        bytes
    }

    /// Splits a datagram into envelope and body.
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let kind = kind_of(datagram)?;
        let number = |at: usize| -> Result<u64, Malformed> {
            let bytes = datagram.get(at..at + 8).ok_or(Malformed)?;
            Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| Malformed)?))
        };
        let envelope = Self { kind, cluster: number(4)?, sender: ReplicaId(number(12)?) };
        Ok((envelope, &datagram[Self::BYTES..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_split() {
        let envelope = Envelope { kind: 3, cluster: cluster_hash("parking"), sender: ReplicaId(42) };
        let mut bytes = envelope.open();
        assert_eq!(bytes.len(), Envelope::BYTES);
        bytes.extend_from_slice(b"body");
        assert_eq!(Envelope::split(&bytes), Ok((envelope, &b"body"[..])));
        for short in 0..Envelope::BYTES {
            assert_eq!(Envelope::split(&bytes[..short]), Err(Malformed));
        }
        bytes.resize(MAX_DATAGRAM + 1, 0);
        assert_eq!(Envelope::split(&bytes), Err(Malformed));
    }

    #[test]
    fn the_name_of_a_cluster_hashes_the_same_for_ever() {
        assert_eq!(cluster_hash("unisono"), 0x9cd8_ae2b_aa2b_8d5e);
    }
}
