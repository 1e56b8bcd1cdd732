//! Any bytes as a datagram: nothing that arrives may panic, and an answer goes to nobody but who asked.
//!
//! ```text
//! cargo +nightly fuzz run datagram
//! ```
//!
//! The bytes go to a node as they are, and once more behind an envelope of its own cluster, so that the search for
//! eight bytes of cluster name does not keep the fuzzer from the bodies. Then its clock goes on, as what was taken in
//! may do its harm at the next deadline.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use unisono::engine::{Engine, EngineConfig, Input, Output, Timing};
use unisono::membership::Identity;
use unisono::store::{Row, Store, StoreConfig};
use unisono::time::{Instant, Now};
use unisono::wire::{self, Envelope};
use unisono::{NodeId, ReplicaId};

const CLUSTER: &str = "fuzz";
const SENDER: ReplicaId = ReplicaId(2);
const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4872);

fuzz_target!(|data: &[u8]| {
    let _ = wire::decode::<Row>(data);
    let mut node = Node::new();
    node.hears(Bytes::copy_from_slice(data));
    if let Some((kind, body)) = data.split_first() {
        let envelope = Envelope { kind: *kind, cluster: wire::cluster_hash(CLUSTER), sender: SENDER };
        let mut datagram = envelope.open();
        datagram.extend_from_slice(body);
        node.hears(Bytes::from(datagram));
    }
    node.goes_on();
});

struct Node {
    engine: Engine,
    now: Now,
}

impl Node {
    fn new() -> Self {
        let now = Now { instant: Instant::from_nanos(1), wall_ms: 1_700_000_000_000 };
        let replica = ReplicaId(1);
        let address = SocketAddr::new(FROM.ip(), 4871);
        let node = NodeId::new("larry").expect("a valid name");
        let config = EngineConfig {
            cluster: CLUSTER.to_owned(),
            identity: Identity { address, node, replica, boot: now.wall_ms, renewal: 0 },
            timing: Timing::local(),
            kinds: Default::default(),
            roles: Vec::new(),
            seed: 7,
        };
        let store = Arc::new(Store::new(StoreConfig::new(replica, 7)));
        let mut node = Self { engine: Engine::new(now, config, store), now };
        node.drain();
        node
    }

    fn hears(&mut self, bytes: Bytes) {
        self.engine.handle(self.now, Input::Datagram { from: FROM, bytes });
        self.drain();
    }

    /// A few deadlines more.
    fn goes_on(&mut self) {
        for _ in 0..8 {
            let Some(next) = self.engine.poll_timeout() else { return };
            let passed = next.since(self.now.instant).max(Duration::from_millis(1));
            self.now.instant = self.now.instant + passed;
            self.now.wall_ms += u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            self.engine.handle(self.now, Input::Deadline);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Datagram { bytes, .. } => assert!(bytes.len() <= wire::MAX_DATAGRAM),
                Output::Frame { bytes, .. } => assert!(bytes.len() <= wire::MAX_FRAME),
                _ => {}
            }
        }
    }
}
