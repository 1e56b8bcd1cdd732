//! Calling out on the subnet, and hearing others do so.
//!
//! ```text
//!   pace ─▶ beacon ─▶ own socket ─▶ broadcast address : cluster port ─▶ every beacon socket of the subnet
//!                              └──▶ on loopback also unicast to the first 16 node ports
//!   beacon socket ──┐
//!   own socket ─────┴▶ in the subnet? our cluster? not ourselves? ─▶ after 0–50 ms ─▶ Context::found
//! ```
//!
//! What goes out leaves from the node's own socket, whose source address lies in the subnet. Replies are none of this
//! module's business: whoever is found is announced to by membership.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use super::beacon::is_beacon;
use super::beacon::{Beacon, is_of_other_version};
use super::beacon_socket::BeaconSocket;
use super::pace::Pace;
use super::{Context, Run, Strategy};
use crate::id::ReplicaId;
use crate::wire;

/// What the default strategy needs to know of the node that only its caller can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BeaconConfig {
    /// Who calls, so that its own beacons are no find.
    pub replica: ReplicaId,
    /// The seed of the jitter between beacons. Two nodes with one seed call at the same times, and nothing worse.
    pub seed: u64,
}

/// Whoever calls on the subnet and is not looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stranger {
    /// A node of another cluster.
    OfCluster {
        address: SocketAddr,
        /// The hash of the name of its cluster.
        cluster: u64,
    },
    /// A node whose beacon is of a version that is not understood: all there is of it.
    OfVersion { from: SocketAddr, bytes: Bytes },
}

/// What became of the beacons, counted since the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct BeaconCounts {
    /// Beacons sent; a beacon that goes to several addresses counts once.
    pub sent: AtomicU64,
    /// Beacons of other nodes of this cluster.
    pub heard: AtomicU64,
    /// Datagrams that are no beacon.
    pub malformed: AtomicU64,
    /// Datagrams from outside the subnet.
    pub outside: AtomicU64,
    /// Beacons of other clusters.
    pub foreign: AtomicU64,
}

/// The default strategy: beacons to the subnet's broadcast address.
///
/// The driver makes it for a node that is configured with it, since it shares the node's own socket.
#[derive(Debug)]
pub struct Broadcast {
    setup: BroadcastSetup,
    /// Beacons that arrived at the node's own socket.
    unicast: mpsc::Receiver<(SocketAddr, Bytes)>,
    rng: SmallRng,
    /// Found, and reported when their time comes.
    finds: BTreeSet<(Instant, SocketAddr)>,
}

/// What the driver makes a [`Broadcast`] of.
#[derive(Clone, Debug)]
pub(crate) struct BroadcastSetup {
    pub(crate) cluster: String,
    pub(crate) config: BeaconConfig,
    pub(crate) net: IpNet,
    pub(crate) cluster_port: u16,
    /// Bound to the node's own address, allowed to broadcast.
    pub(crate) socket: Arc<UdpSocket>,
    /// Where `socket` is bound, which may differ from what is advertised.
    pub(crate) bound: SocketAddr,
    pub(crate) counts: Arc<BeaconCounts>,
    /// Where to tell of calls that are not for this node.
    pub(crate) strangers: mpsc::Sender<Stranger>,
}

impl BroadcastSetup {
    /// On loopback, a beacon also goes to so many node ports: not every system delivers 127.255.255.255.
    const NODE_PORTS: u16 = 16;

    /// Where each beacon goes.
    fn targets(&self) -> Vec<SocketAddr> {
        let mut targets = Vec::new();
        if let IpNet::V4(net) = self.net {
            targets.push(SocketAddr::new(net.broadcast().into(), self.cluster_port));
        }
        if self.bound.ip().is_loopback() {
            let ports = (1..=Self::NODE_PORTS).filter_map(|ahead| self.cluster_port.checked_add(ahead));
            targets.extend(ports.map(|port| SocketAddr::new(self.bound.ip(), port)));
        }
        targets.retain(|target| *target != self.bound);
        targets
    }
}

impl Broadcast {
    /// How late a find is reported, at most, unless this node is alone: a newcomer on a large subnet is not to be
    /// answered by everybody in the same millisecond.
    const SPREAD: Duration = Duration::from_millis(50);
    /// More finds than this at a time are left to the next beacon.
    const MOST_FINDS: usize = 256;

    pub(crate) fn new(setup: BroadcastSetup, unicast: mpsc::Receiver<(SocketAddr, Bytes)>) -> Self {
        let rng = SmallRng::seed_from_u64(setup.config.seed);
        Self { setup, unicast, rng, finds: BTreeSet::new() }
    }

    async fn call_and_listen(&mut self, context: Context) {
        let beacon = Beacon {
            cluster: wire::cluster_hash(&self.setup.cluster),
            address: context.own(),
            replica: self.setup.config.replica,
        };
        let (bytes, targets) = (beacon.encode(), self.setup.targets());
        let mut socket = BeaconSocket::new(self.setup.bound.ip(), self.setup.cluster_port);
        let mut alone = context.watch_alone();
        let mut pace = Pace::start(Instant::now(), *alone.borrow_and_update());
        loop {
            let find = self.finds.first().copied();
            tokio::select! {
                () = tokio::time::sleep_until(pace.due()) => {
                    if pace.fire(Instant::now(), &mut self.rng) {
                        self.send(&bytes, &targets);
                    }
                }
                (from, bytes) = socket.receive() => self.hear(from, &bytes, &beacon, &mut pace, &context),
                Some((from, bytes)) = self.unicast.recv() => self.hear(from, &bytes, &beacon, &mut pace, &context),
                Ok(()) = alone.changed() => {
                    pace.set_alone(Instant::now(), *alone.borrow_and_update(), &mut self.rng);
                }
                address = due(find) => {
                    self.finds.pop_first();
                    context.found(address).await;
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], targets: &[SocketAddr]) {
        self.setup.counts.sent.fetch_add(1, Ordering::Relaxed);
        for target in targets {
            // Past tokio, which believes a fresh socket to be full until its first event: the first beacon goes at once.
            // The next one makes good for a full buffer or a network that is down.
            if let Err(error) = SockRef::from(&*self.setup.socket).send_to(bytes, &(*target).into()) {
                tracing::debug!(%target, %error, "a beacon was not sent");
            }
        }
    }

    fn hear(&mut self, from: SocketAddr, bytes: &Bytes, own: &Beacon, pace: &mut Pace, context: &Context) {
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        if !self.setup.net.contains(&plain(from.ip())) {
            return count(&self.setup.counts.outside);
        }
        if is_of_other_version(bytes) {
            let _ = self.setup.strangers.try_send(Stranger::OfVersion { from, bytes: bytes.clone() });
            return;
        }
        let Some(beacon) = Beacon::decode(bytes) else {
            return count(&self.setup.counts.malformed);
        };
        if beacon.replica == own.replica {
            return;
        }
        if beacon.cluster != own.cluster {
            count(&self.setup.counts.foreign);
            // A node that is busy hears of it the next time.
            let (address, cluster) = (beacon.address, beacon.cluster);
            let _ = self.setup.strangers.try_send(Stranger::OfCluster { address, cluster });
            return;
        }
        count(&self.setup.counts.heard);
        pace.heard(beacon.replica);
        let waiting = self.finds.iter().any(|(_, address)| *address == beacon.address);
        if !waiting && self.finds.len() < Self::MOST_FINDS {
            let delay = if context.alone() { Duration::ZERO } else { Self::SPREAD.mul_f64(self.rng.random()) };
            self.finds.insert((Instant::now() + delay, beacon.address));
        }
    }
}

impl Strategy for Broadcast {
    fn name(&self) -> &str {
        "broadcast"
    }

    fn run(&mut self, context: Context) -> Run<'_> {
        Box::pin(self.call_and_listen(context))
    }
}

/// Waits for the time of the next find, for ever if there is none.
async fn due(find: Option<(Instant, SocketAddr)>) -> SocketAddr {
    match find {
        Some((at, address)) => {
            tokio::time::sleep_until(at).await;
            address
        }
        None => std::future::pending().await,
    }
}

/// An IPv4 address that a socket wrote in IPv6, as IPv4.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    fn beacon(cluster: &str, replica: u64, port: u16) -> Bytes {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Beacon { cluster: wire::cluster_hash(cluster), address, replica: ReplicaId(replica) }.encode()
    }

    #[tokio::test]
    async fn only_others_of_the_own_cluster_and_subnet_are_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let bound = socket.local_addr().unwrap();
        let (strangers, mut met) = mpsc::channel(16);
        let setup = BroadcastSetup {
            cluster: "parking".to_owned(),
            config: BeaconConfig { replica: ReplicaId(1), seed: 1 },
            net: "127.0.0.0/8".parse().unwrap(),
            cluster_port: bound.port(),
            socket: Arc::new(socket),
            bound,
            counts: Arc::default(),
            strangers,
        };
        let counts = Arc::clone(&setup.counts);
        let (unicast, heard) = mpsc::channel(16);
        let (sender, mut found) = mpsc::channel(16);
        let (_alone, is_alone) = watch::channel(true);
        let context = Context::new(SocketAddr::from(([127, 0, 0, 1], 9)), sender, is_alone);
        let mut broadcast = Broadcast::new(setup, heard);
        let task = tokio::spawn(async move { broadcast.run(context).await });

        let inside: SocketAddr = "127.0.0.1:2".parse().unwrap();
        let outside: SocketAddr = "10.0.0.1:2".parse().unwrap();
        let malformed = Bytes::from_static(b"un\x01\x01\x01\0bogus");
        let later = wire::Versions { low: 9, high: 9 };
        let of_later_version = wire::seal_in(9, later, [&wire::open(wire::BEACON)[..], b"who knows"].concat());
        for (from, bytes) in [
            (inside, beacon("elsewhere", 2, 12)),
            (outside, beacon("parking", 3, 13)),
            (inside, malformed),
            (inside, of_later_version.clone()),
            (inside, beacon("parking", 1, 14)), // what it sent itself
            (inside, beacon("parking", 5, 9)),  // its own address, from a run of it that is gone
            (inside, beacon("parking", 6, 16)),
        ] {
            unicast.send((from, bytes)).await.unwrap();
        }
        let first = tokio::time::timeout(Duration::from_secs(20), found.recv()).await.unwrap().unwrap();
        assert_eq!(first.port(), 16);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((count(&counts.foreign), count(&counts.outside), count(&counts.malformed)), (1, 1, 1));
        assert_eq!(count(&counts.heard), 2);
        let other = SocketAddr::from(([127, 0, 0, 1], 12));
        let cluster = wire::cluster_hash("elsewhere");
        assert_eq!(met.recv().await, Some(Stranger::OfCluster { address: other, cluster }));
        assert_eq!(met.recv().await, Some(Stranger::OfVersion { from: inside, bytes: of_later_version }));
        task.abort();
    }

    /// Where the kernel delivers 127.255.255.255 to every socket that shares the port, and not to one of them.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn one_beacon_is_heard_by_every_node_of_the_host() {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let own = IpAddr::from([127, 0, 0, 1]);
        let (mut first, mut second) = (BeaconSocket::new(own, port), BeaconSocket::new(own, port));
        let caller = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        caller.set_broadcast(true).unwrap();
        let call = async {
            loop {
                caller.send_to(b"here", ("127.255.255.255", port)).unwrap();
                tokio::task::yield_now().await;
            }
        };
        let both = async { tokio::join!(first.receive(), second.receive()) };
        let heard = tokio::time::timeout(Duration::from_secs(20), async {
            tokio::select! { heard = both => heard, () = call => unreachable!() }
        });
        let ((from, bytes), (also_from, _)) = heard.await.expect("both hear it");
        assert_eq!((from, also_from, &bytes[..]), (caller.local_addr().unwrap(), from, &b"here"[..]));
    }
}
