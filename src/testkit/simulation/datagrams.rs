//! Datagrams: lost, doubled, late, damaged.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Happening, Simulation};
use crate::engine::Input;
use crate::testkit::host::NodeIndex;
use crate::testkit::network::Way;

impl Simulation {
    pub(super) fn datagram(&mut self, from: usize, to: SocketAddr, bytes: Bytes) {
        let Some(target) = self.at(to) else { return };
        match self.way(from, target) {
            Way::Silent => {}
            Way::Rejecting => self.input(from, Duration::ZERO, Input::Unreachable { to }),
            Way::Open => {
                let link = (NodeIndex(from), NodeIndex(target));
                let copies = self.network.copies(&mut self.random, self.now, link, bytes.len());
                let from = self.hosts[from].address;
                for copy in copies {
                    let bytes = flipped(&mut self.random, bytes.clone(), copy.flips);
                    let input = Input::Datagram { from, bytes };
                    self.schedule(copy.after, Happening::Packet { host: target, input });
                }
            }
        }
    }

    /// Who has this address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<usize> {
        let SocketAddr::V4(v4) = address else { return None };
        let index = usize::try_from(v4.ip().to_bits() & 0xff_ffff).ok()?.checked_sub(1)?;
        (self.hosts.get(index)?.address == address).then_some(index)
    }
}

/// The bytes with so many bits flipped.
pub(super) fn flipped(random: &mut SmallRng, bytes: Bytes, flips: u32) -> Bytes {
    if flips == 0 || bytes.is_empty() {
        return bytes;
    }
    let mut damaged = BytesMut::from(&bytes[..]);
    for _ in 0..flips {
        let bit = random.random_range(0..damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    damaged.freeze()
}
