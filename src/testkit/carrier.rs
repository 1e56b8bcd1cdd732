//! What the simulated network carries: datagrams that get lost, doubled and late, and streams that keep their order.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::host::NodeIndex;
use super::network::Way;
use super::simulation::{Happening, Simulation};
use crate::engine::{Input, StreamId};

/// One end of a stream: host, its life, the number there.
pub(super) type End = (usize, u64, StreamId);

/// How long somebody waits for an answer to an attempt to open a stream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Simulation {
    fn at(&self, address: SocketAddr) -> Option<usize> {
        self.hosts.iter().position(|host| host.address == address)
    }

    pub(super) fn datagram(&mut self, from: usize, to: SocketAddr, bytes: Bytes) {
        let Some(target) = self.at(to) else { return };
        match self.network.way(NodeIndex(from), NodeIndex(target)) {
            Way::Silent => {}
            Way::Rejecting => self.input(from, Duration::ZERO, Input::Unreachable { to }),
            Way::Open => {
                let from = self.hosts[from].address;
                for after in self.network.deliveries(&mut self.random) {
                    self.input(target, after, Input::Datagram { from, bytes: bytes.clone() });
                }
            }
        }
    }

    pub(super) fn connect(&mut self, from: usize, stream: StreamId, to: SocketAddr) {
        let after = self.network.draw_delay(&mut self.random);
        let Some(target) = self.at(to) else {
            return self.input(from, CONNECT_TIMEOUT, Input::ConnectFailed { stream, refused: false });
        };
        let (there, back) = (NodeIndex(from), NodeIndex(target));
        match (self.network.way(there, back), self.network.way(back, there)) {
            (Way::Rejecting, _) => self.input(from, after, Input::ConnectFailed { stream, refused: true }),
            (Way::Silent, _) | (_, Way::Silent) => {
                self.input(from, CONNECT_TIMEOUT, Input::ConnectFailed { stream, refused: false });
            }
            _ if self.hosts[target].engine.is_none() => {
                self.input(from, after * 2, Input::ConnectFailed { stream, refused: true });
            }
            _ => {
                self.hosts[target].accepted += 1;
                let far = (target, self.hosts[target].life, StreamId(self.hosts[target].accepted * 2 + 1));
                let near = (from, self.hosts[from].life, stream);
                self.streams.insert(near, far);
                self.streams.insert(far, near);
                self.input(target, after, Input::Accepted { stream: far.2, from: self.hosts[from].address });
                self.input(from, after * 2, Input::Connected { stream });
                self.arrivals.insert(far, self.now + after);
                self.arrivals.insert(near, self.now + after * 2);
            }
        }
    }

    /// When what is sent now arrives at an end of a stream: in order.
    fn arrival(&mut self, end: End) -> Duration {
        let drawn = self.now + self.network.draw_delay(&mut self.random);
        let last = self.arrivals.entry(end).or_insert(drawn);
        *last = drawn.max(*last + Duration::from_nanos(1));
        last.since(self.now)
    }

    pub(super) fn deliver_frame(&mut self, near: End, far: End, bytes: Bytes) {
        if self.network.way(NodeIndex(near.0), NodeIndex(far.0)) != Way::Open {
            self.held.push((near, far, bytes));
            return self.retry_held();
        }
        let after = self.arrival(far);
        let (host, life, stream) = far;
        self.schedule(after, Happening::Input { host, life, input: Input::Frame { stream, bytes } });
    }

    /// Frames that wait for the network go when it is open again and the stream still there.
    pub(super) fn retry_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        for (near, far, bytes) in held {
            if self.streams.get(&near) != Some(&far) {
                continue;
            }
            if self.network.way(NodeIndex(near.0), NodeIndex(far.0)) == Way::Open {
                self.deliver_frame(near, far, bytes);
            } else {
                self.held.push((near, far, bytes));
            }
        }
    }

    /// Closes a stream from one end; the other hears of it, if the network lets it.
    pub(super) fn hang_up(&mut self, near: End) {
        let Some(far) = self.streams.remove(&near) else { return };
        self.streams.remove(&far);
        if self.network.way(NodeIndex(near.0), NodeIndex(far.0)) == Way::Open {
            let after = self.arrival(far);
            let (host, life, stream) = far;
            self.schedule(after, Happening::Input { host, life, input: Input::Closed { stream } });
        }
        self.arrivals.remove(&near);
    }
}
