//! The bytes of a beacon: kind 0 and the sum, then who calls, from which cluster, and where it listens.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::ReplicaId;
use crate::wire::{self, Versions};

/// One call of a node: here I am.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Beacon {
    /// The hash of the name of its cluster.
    pub(super) cluster: u64,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Who calls, so that a node knows its own beacons.
    pub(super) replica: ReplicaId,
}

/// Whether it is a beacon of a version that is not understood.
pub(super) fn is_of_other_version(datagram: &[u8]) -> bool {
    let front = wire::unseal(datagram).ok().map(|(front, _)| front);
    front.is_some_and(|front| front.kind == wire::BEACON && !Versions::OURS.has(front.version))
}

/// Whether a datagram is meant for discovery. Says nothing about its body.
pub(crate) fn is_beacon(datagram: &[u8]) -> bool {
    wire::kind_of(datagram) == Ok(wire::BEACON)
}

impl Beacon {
    pub(super) fn encode(&self) -> Bytes {
        // It is heard before anybody knows what the other speaks.
        wire::seal_in(Versions::OURS.low, Versions::OURS, wire::encode_onto(wire::open(wire::BEACON), self))
    }

    /// `None` for whatever is no beacon: of another kind or version, damaged, with a body too short or too long, or from
    /// an address at which nobody can listen.
    pub(super) fn decode(datagram: &[u8]) -> Option<Self> {
        let (front, body) = wire::unseal(datagram).ok()?;
        let beacon: Self = wire::decode(body).ok()?;
        let ip = beacon.address.ip();
        let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
        let nobody = beacon.address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast;
        (front.kind == wire::BEACON && Versions::OURS.has(front.version) && !nobody).then_some(beacon)
    }
}

/// Decodes a beacon and encodes it anew, for whoever tests that nothing is lost on the way.
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub fn recode_beacon(datagram: &[u8]) -> Option<Bytes> {
    Beacon::decode(datagram).map(|beacon| beacon.encode())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beacon(address: &str) -> Beacon {
        Beacon { cluster: wire::cluster_hash("parking"), address: address.parse().unwrap(), replica: ReplicaId(7) }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let mut expected = b"un\x01\x01\x01\x00>qc\xad".to_vec();
        // postcard: varint of the hash, variant 0 (IPv4), 4 bytes, varint of the port, varint of the replica.
        expected.extend(postcard::to_stdvec(&0xebd8_9ff8_c7b4_bc0b_u64).unwrap());
        expected.extend([0, 10, 0, 0, 1, 0x87, 0x26, 7]);
        let pinned = Beacon { cluster: 0xebd8_9ff8_c7b4_bc0b, ..beacon("10.0.0.1:4871") };
        assert_eq!(pinned.encode(), expected);
        assert_eq!(Beacon::decode(&expected), Some(pinned));
    }

    #[test]
    fn addresses_at_which_nobody_listens_are_refused() {
        for address in ["0.0.0.0:4871", "10.0.0.1:0", "224.0.0.1:4871", "255.255.255.255:4871", "[::]:1", "[ff02::1]:1"]
        {
            assert_eq!(Beacon::decode(&beacon(address).encode()), None, "{address}");
        }
    }

    #[test]
    fn trailing_bytes_other_versions_other_kinds_and_flipped_bits_are_refused() {
        let bytes = beacon("10.0.0.1:4871").encode();
        assert!(Beacon::decode(&bytes).is_some());
        assert_eq!(Beacon::decode(&[&bytes[..], &[0]].concat()), None);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Beacon::decode(&other), None, "bit {bit}");
        }
        let body = &bytes[10..];
        let other = wire::seal([&wire::open(wire::BEACON + 1), body].concat());
        assert_eq!(Beacon::decode(&other), None);
        let longer = wire::seal([&wire::open(wire::BEACON), body, &[0]].concat());
        assert_eq!(Beacon::decode(&longer), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), headed in any::<bool>()) {
            let sealed = || wire::seal([&wire::open(wire::BEACON)[..], &bytes].concat());
            let bytes = if headed { sealed() } else { bytes.into() };
            let _ = is_beacon(&bytes);
            if let Some(beacon) = Beacon::decode(&bytes) {
                prop_assert_eq!(Beacon::decode(&beacon.encode()), Some(beacon));
            }
        }

        #[test]
        fn every_beacon_comes_back(cluster: u64, ip: [u8; 4], port in 1..=u16::MAX, replica: u64) {
            prop_assume!(ip[0] != 0 && ip[0] < 224);
            let beacon = Beacon { cluster, address: SocketAddr::from((ip, port)), replica: ReplicaId(replica) };
            prop_assert_eq!(Beacon::decode(&beacon.encode()), Some(beacon));
            prop_assert!(is_beacon(&beacon.encode()));
        }
    }
}
