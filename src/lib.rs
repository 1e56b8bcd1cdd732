//! Nodes that play in unison without a conductor.

pub mod id;
pub mod time;

pub mod cluster;
pub mod convergence;
pub mod crdt;
pub mod discovery;
pub mod driver;
pub mod engine;
pub mod membership;
pub mod replication;
pub mod roles;
pub mod signals;
pub mod store;
pub mod table;
pub mod wire;

#[cfg(feature = "testkit")]
pub mod testkit;

pub use id::{NodeId, NodeIdError, ReplicaId};
pub use cluster::{Config, ConfigError};
