//! What stands in front of every datagram.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::sum::{SUM_BYTES, is_sum, sum};
use super::{MAX_DATAGRAM, Malformed};
use crate::id::ReplicaId;

/// The lowest protocol version that this build speaks.
pub const PROTOCOL_MIN: u8 = 1;

/// The highest protocol version that this build speaks.
pub const PROTOCOL_MAX: u8 = 1;

/// The kind of a beacon, whose body discovery reads and whose envelope ends behind the sum.
pub const BEACON: u8 = 0;

const MAGIC: [u8; 2] = *b"un";

/// As much as most datagrams hold.
const USUAL: usize = 512;

/// Where the bytes begin that the sum covers, and the length of the shortest envelope.
const SUMMED: usize = 4 + SUM_BYTES;

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

/// The first bytes of a datagram of a kind, with room for the sum that [`seal`] puts there when it is complete. A beacon
/// is of the lowest version: it is heard before anybody knows what the other speaks.
pub fn open(kind: u8) -> Vec<u8> {
    let version = if kind == BEACON { PROTOCOL_MIN } else { PROTOCOL_MAX };
    // Most datagrams are far from the largest, and memory for a few hundred bytes is the cheapest there is.
    let mut datagram = Vec::with_capacity(USUAL);
    datagram.extend_from_slice(&MAGIC);
    datagram.extend_from_slice(&[version, kind]);
    datagram.extend_from_slice(&[0; SUM_BYTES]);
    datagram
}

/// Completes a datagram that [`open`] began.
pub fn seal(mut datagram: Vec<u8>) -> Bytes {
    let sum = sum(datagram[3], &datagram[SUMMED..]);
    datagram[4..SUMMED].copy_from_slice(&sum);
    datagram.into()
}

/// The kind of a datagram whose sum is right, and what stands behind the sum.
pub fn unseal(datagram: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let kind = kind_of(datagram)?;
    let (front, rest) = datagram.split_at_checked(SUMMED).ok_or(Malformed)?;
    if is_sum(&front[4..], kind, rest) { Ok((kind, rest)) } else { Err(Malformed) }
}

/// Puts a body, at most [`MAX_PADDED`](super::MAX_PADDED) bytes, behind its length, and fills the datagram up to its
/// largest if asked to: whoever is not known yet gets no longer answer than what he sends.
pub fn push_padded(datagram: &mut Vec<u8>, body: &[u8], fill: bool) {
    let length = u16::try_from(body.len()).expect("a body fits a datagram");
    datagram.extend_from_slice(&length.to_be_bytes());
    datagram.extend_from_slice(body);
    if fill {
        datagram.resize(MAX_DATAGRAM, 0);
    }
}

/// The body that [`push_padded`] put there.
pub fn split_padded(padded: &[u8]) -> Result<&[u8], Malformed> {
    let (length, rest) = padded.split_first_chunk::<2>().ok_or(Malformed)?;
    rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(Malformed)
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
    pub const BYTES: usize = SUMMED + 8 + 8;

    /// The bytes of the envelope, for the body to be put behind them; [`seal`] when it is complete.
    pub fn open(&self) -> Vec<u8> {
        let mut bytes = open(self.kind);
        bytes.extend_from_slice(&self.cluster.to_be_bytes());
        bytes.extend_from_slice(&self.sender.0.to_be_bytes());
        bytes
    }

    /// Splits a datagram into envelope and body.
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (kind, rest) = unseal(datagram)?;
        let (cluster, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (sender, body) = rest.split_first_chunk().ok_or(Malformed)?;
        let (cluster, sender) = (u64::from_be_bytes(*cluster), ReplicaId(u64::from_be_bytes(*sender)));
        Ok((Self { kind, cluster, sender }, body))
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
        let mut bytes = seal(bytes).to_vec();
        assert_eq!(Envelope::split(&bytes), Ok((envelope, &b"body"[..])));
        for short in 0..bytes.len() {
            assert_eq!(Envelope::split(&bytes[..short]), Err(Malformed));
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Envelope::split(&bytes), Err(Malformed), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes.resize(MAX_DATAGRAM + 1, 0);
        assert_eq!(Envelope::split(&bytes), Err(Malformed));
    }

    #[test]
    fn padding_is_taken_off_again() {
        let mut datagram = Vec::new();
        push_padded(&mut datagram, b"announce", true);
        assert_eq!(datagram.len(), MAX_DATAGRAM);
        assert_eq!(split_padded(&datagram), Ok(&b"announce"[..]));
        assert_eq!(split_padded(&datagram[..9]), Err(Malformed));
        assert_eq!(split_padded(&datagram[..1]), Err(Malformed));
    }

    #[test]
    fn the_name_of_a_cluster_hashes_the_same_for_ever() {
        assert_eq!(cluster_hash("unisono"), 0x3f8f_d643_eff3_cd3c);
    }
}
