//! How fast and how large one node's table is, beside chitchat and the types of the `crdts` crate.
//!
//! ```text
//! cd benches
//! cargo bench                                  # all: puts, gets, two readers, puts under a snapshot, watching
//! cargo bench -- get                           # what has `get` in its name
//! cargo run --release --bin memory             # bytes beyond key and value, at 100,000 and 1,000,000 keys
//! cargo run --release --bin memory -- 10000    # at 10,000 keys
//! ```
//!
//! Keys have 16 bytes and values 64. unisono is used as an application does it: through a typed table of a running
//! node. The others are used through plain values in the same thread, without the lock that an application would put
//! around them; which is in their favour. After each run all keys are read, and must hold what was written last.
//!
//! Puts and gets are told in the processor time of the thread that makes them, which other programs disturb less than
//! the time of the day. What the node does meanwhile in its own thread, some 100 ns for each put, is not in it; the
//! store alone has no other thread. Watchers are told in the time that passes.
//!
//! It is a package of its own, so that nobody who tests the crate has to build what it is compared with.

#![warn(missing_docs)]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chitchat::{Chitchat, ChitchatConfig, ChitchatId, ProtocolVersion};
use crdts::{CmRDT, LWWReg, MVReg};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::runtime::Runtime;
use unisono::store::{Store, StoreConfig, StoredTable, TableName};
use unisono::time::Now;
use unisono::{Cluster, Lww, ReplicaId, Table};

/// How many keys are written and read.
pub const KEYS: u64 = 100_000;

/// So many bytes, encoded as bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Exactly<const N: usize>;

        impl<const N: usize> Visitor<'_> for Exactly<N> {
            type Value = Bytes<N>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{N} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                bytes.try_into().map(Bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }

        deserializer.deserialize_bytes(Exactly)
    }
}

/// A key.
pub type Key = Bytes<16>;

/// A value.
pub type Value = Bytes<64>;

/// The `number`-th key: 16 hexadecimal digits in no order.
pub fn key(number: u64) -> Key {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // An odd factor: distinct numbers stay distinct.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Bytes(std::array::from_fn(|digit| DIGITS[(mixed >> (4 * digit) & 15) as usize]))
}

/// The `number`-th key of another order than that in which they are written.
pub fn shuffled(number: u64, keys: u64) -> u64 {
    number * 7_919 % keys
}

/// A value that tells in which round it was written.
pub fn value(round: u64) -> Value {
    Bytes([b'a' + (round % 26) as u8; 64])
}

/// What can hold rows.
pub trait Rows {
    /// What it is called in the reports.
    const NAME: &'static str;

    /// None yet.
    fn empty() -> Self;

    /// Writes a row.
    fn put(&mut self, key: Key, value: Value);

    /// Reads a row.
    fn get(&self, key: Key) -> Option<Value>;

    /// Whether all keys are there and hold what was written in that round.
    fn check(&self, keys: u64, round: u64) {
        let there = (0..keys).filter(|number| self.get(key(*number)) == Some(value(round))).count();
        assert_eq!(there as u64, keys, "{}: every write that was acknowledged is there", Self::NAME);
    }
}

/// A table of a running node.
pub struct Node {
    /// The table.
    pub table: Table<Key, Lww<Value>>,
    _cluster: Cluster,
}

/// Where nodes run: not in the thread that measures.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    })
}

impl Rows for Node {
    const NAME: &'static str = "unisono";

    fn empty() -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let name = format!("bench-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let cluster = runtime().block_on(async {
            let cluster = Cluster::builder().name(&name).port(24_500).start().await.expect("a node");
            cluster.ready(Duration::from_secs(30)).await.expect("ready");
            cluster
        });
        Self { table: cluster.table("rows").expect("a table"), _cluster: cluster }
    }

    fn put(&mut self, key: Key, value: Value) {
        self.table.insert(&key, &value).expect("ready");
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.table.get(&key)
    }
}

/// The store alone, without a node: what is written is taken at once, as if it were sent.
pub struct Alone {
    store: Store,
    table: std::sync::Arc<StoredTable>,
}

impl Rows for Alone {
    const NAME: &'static str = "unisono, the store alone";

    fn empty() -> Self {
        let store = Store::new(StoreConfig::new(ReplicaId(1), 1));
        store.open();
        let table = store.table(&TableName::new("rows").expect("a name"));
        Self { store, table }
    }

    fn put(&mut self, key: Key, value: Value) {
        let now = Now { wall_ms: 1_000_000, ..Now::default() };
        self.store.put_in(now, &self.table, &key.0, &value.0, None).expect("open");
        self.store.take_outbox(1);
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.table.read(&key.0, |bytes| Bytes(bytes.try_into().expect("64 bytes")))
    }
}

/// The state of a chitchat node: texts.
pub struct Chat(Chitchat);

impl Rows for Chat {
    const NAME: &'static str = "chitchat";

    fn empty() -> Self {
        let address = ([127, 0, 0, 1], 24_499).into();
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new("bench", 0, address),
            cluster_id: "bench".into(),
            gossip_interval: Duration::from_secs(1),
            listen_addr: address,
            seed_nodes: Vec::new(),
            failure_detector_config: Default::default(),
            marked_for_deletion_grace_period: Duration::from_secs(3_600),
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let (_, seeds) = tokio::sync::watch::channel(Default::default());
        Self(Chitchat::with_chitchat_id_and_seeds(config, seeds, Vec::new()))
    }

    fn put(&mut self, key: Key, value: Value) {
        let text = |bytes| std::str::from_utf8(bytes).expect("digits and letters");
        self.0.self_node_state().set(text(&key.0), text(&value.0));
    }

    fn get(&self, key: Key) -> Option<Value> {
        let key = std::str::from_utf8(&key.0).expect("digits");
        let state = self.0.node_state(self.0.self_chitchat_id())?;
        state.get(key).map(|text| Bytes(text.as_bytes().try_into().expect("64 bytes")))
    }
}

/// `crdts::Map` of registers that keep all concurrent values.
pub struct Map(crdts::Map<Key, MVReg<Value, u8>, u8>);

impl Rows for Map {
    const NAME: &'static str = "crdts Map of MVReg";

    fn empty() -> Self {
        Self(crdts::Map::new())
    }

    fn put(&mut self, key: Key, value: Value) {
        let context = self.0.read_ctx().derive_add_ctx(1);
        let write = self.0.update(key, context, |register, context| register.write(value, context));
        self.0.apply(write);
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.0.get(&key).val?.read().val.first().copied()
    }
}

/// `crdts::LWWReg`, which cannot be in a `crdts::Map`, in a map of the standard library.
#[derive(Default)]
pub struct Registers {
    rows: BTreeMap<Key, LWWReg<Value, u64>>,
    clock: u64,
}

impl Rows for Registers {
    const NAME: &'static str = "BTreeMap of crdts LWWReg";

    fn empty() -> Self {
        Self::default()
    }

    fn put(&mut self, key: Key, value: Value) {
        self.clock += 1;
        let clock = self.clock;
        let register = self.rows.entry(key).or_insert_with(|| LWWReg { val: value, marker: 0 });
        register.update(value, clock);
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.rows.get(&key).map(|register| register.val)
    }
}
