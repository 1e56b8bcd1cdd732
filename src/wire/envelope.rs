//! What stands in front of every datagram.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::sum::{SUM_BYTES, is_sum, sum};
use super::{MAX_DATAGRAM, MAX_FRAME, Malformed, Versions};
use crate::id::ReplicaId;

/// The kind of a beacon, whose body discovery reads and whose envelope ends behind the sum.
pub const BEACON: u8 = 0;

/// The kind of what says nothing but which versions its sender speaks: the answer to whatever he could not read. Read
/// whatever its version is, and never answered.
pub const VERSIONS: u8 = 255;

const MAGIC: [u8; 2] = *b"un";

/// As much as most datagrams hold.
const USUAL: usize = 512;

/// Where the sum begins. It covers all that is before it but the magic, and all behind it.
const FRONT: usize = 6;

/// Where the bytes begin that follow the sum, and the length of the shortest envelope.
const SUMMED: usize = FRONT + SUM_BYTES;

/// What stands at the very front of a datagram, and of the first frame that either side sends on a stream: the same in
/// all versions, for ever, so that any two nodes can at least say that they do not understand each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Front {
    /// The versions that the sender speaks.
    pub versions: Versions,
    /// The one in which this is written.
    pub version: u8,
    /// What it is.
    pub kind: u8,
}

/// Names a cluster in eight bytes.
pub fn cluster_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The kind of a datagram that is ours, of whatever version.
pub fn kind_of(datagram: &[u8]) -> Result<u8, Malformed> {
    match datagram {
        [magic_1, magic_2, _, _, _, kind, ..] if [*magic_1, *magic_2] == MAGIC => Ok(*kind),
        _ => Err(Malformed),
    }
}

/// The first bytes of a datagram of a kind, with room for the versions and the sum that [`seal_in`] puts there when it
/// is complete.
pub fn open(kind: u8) -> Vec<u8> {
    // Most datagrams are far from the largest, and memory for a few hundred bytes is the cheapest there is.
    let mut datagram = Vec::with_capacity(USUAL);
    datagram.extend_from_slice(&MAGIC);
    datagram.extend_from_slice(&[0, 0, 0, kind]);
    datagram.extend_from_slice(&[0; SUM_BYTES]);
    datagram
}

/// Completes a datagram that [`open`] began, written in one of the versions that its sender speaks.
pub fn seal_in(version: u8, versions: Versions, mut datagram: Vec<u8>) -> Bytes {
    datagram[2..5].copy_from_slice(&[versions.low, versions.high, version]);
    let sum = sum(front_of(&datagram), &datagram[SUMMED..]);
    datagram[FRONT..SUMMED].copy_from_slice(&sum);
    datagram.into()
}

/// Completes a datagram in the highest version of this build.
pub fn seal(datagram: Vec<u8>) -> Bytes {
    seal_in(Versions::OURS.high, Versions::OURS, datagram)
}

/// The front of a datagram whose sum is right, and what stands behind the sum.
pub fn unseal(datagram: &[u8]) -> Result<(Front, &[u8]), Malformed> {
    if datagram.len() > MAX_DATAGRAM { Err(Malformed) } else { unseal_first(datagram) }
}

/// The same of the first frame of a stream, which may be longer.
pub fn unseal_first(bytes: &[u8]) -> Result<(Front, &[u8]), Malformed> {
    let kind = kind_of(bytes)?;
    let (front, rest) = bytes.split_at_checked(SUMMED).ok_or(Malformed)?;
    let (versions, version) = (Versions { low: front[2], high: front[3] }, front[4]);
    if bytes.len() <= MAX_FRAME && versions.has(version) && is_sum(&front[FRONT..], front_of(front), rest) {
        Ok((Front { versions, version, kind }, rest))
    } else {
        Err(Malformed)
    }
}

/// The versions, the version and the kind, as the sum takes them.
fn front_of(bytes: &[u8]) -> u64 {
    u64::from(u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]))
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

    /// The bytes of the envelope, for the body to be put behind them; [`seal_in`] when it is complete.
    pub fn open(&self) -> Vec<u8> {
        let mut bytes = open(self.kind);
        bytes.extend_from_slice(&self.cluster.to_be_bytes());
        bytes.extend_from_slice(&self.sender.0.to_be_bytes());
        bytes
    }

    /// Splits what stands behind the sum of a datagram of this kind, of a version that is understood.
    pub fn read(kind: u8, rest: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (cluster, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (sender, body) = rest.split_first_chunk().ok_or(Malformed)?;
        let (cluster, sender) = (u64::from_be_bytes(*cluster), ReplicaId(u64::from_be_bytes(*sender)));
        Ok((Self { kind, cluster, sender }, body))
    }

    /// Splits a datagram of a version of this build into envelope and body.
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (front, rest) = unseal(datagram)?;
        if Versions::OURS.has(front.version) { Self::read(front.kind, rest) } else { Err(Malformed) }
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

    /// No version will ever change these bytes.
    #[test]
    fn the_front_is_pinned() {
        let versions = Versions { low: 2, high: 7 };
        let mut datagram = open(9);
        datagram.extend_from_slice(b"body");
        let datagram = seal_in(5, versions, datagram);
        let sum = xxhash_rust::xxh3::xxh3_64_with_seed(b"body", 0x0207_0509).to_be_bytes();
        assert_eq!(datagram, [&b"un\x02\x07\x05\x09"[..], &sum[4..], b"body"].concat());
        assert_eq!(unseal(&datagram), Ok((Front { versions, version: 5, kind: 9 }, &b"body"[..])));
        assert_eq!(Envelope::split(&datagram), Err(Malformed), "it is of another version");
        assert_eq!(unseal(&seal_in(8, versions, open(9))), Err(Malformed), "none of those that its sender speaks");
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
