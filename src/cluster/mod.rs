//! The public face: what an application holds.
//!
//! ```text
//!   Config ─▶ Builder ── start ──▶ Cluster ─┬─ status, members, roles, events      what this node sees
//!                                           ├─ Table<K, T> ─ Watch, Index          reads and writes, on the store
//!                                           ├─ signals, allocate                   how busy everybody is
//!                                           ├─ ready, until, converged,            commands to the engine
//!                                           │  await_visible, stats, leave
//!                                           └─ Snapshot                            all of it, as plain data
//!   factories ─▶ Runner ─▶ RoleContext ─▶ tasks of the application
//!   RoleRef, NodeRef ─▶ calls, casts ─▶ Mailbox of a role, handlers     wherever these are
//!   DistrServer ─▶ ServerHandle ─▶ calls, casts, answers
//! ```
//!
//! In come calls of the application, out go typed answers. Nothing here decides anything: what is agreed on, who hosts
//! what and which write wins is up to the rooms below.

mod ask;
pub(crate) mod builder;
mod config;
mod config_error;
#[cfg(feature = "config")]
mod config_source;
mod entropy;
mod error;
mod events;
mod explain;
mod handle;
mod host_name;
mod mail;
mod monitor;
mod node;
mod operate;
pub(crate) mod plan;
mod role;
mod roles;
mod server;
mod signals;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod timing;
mod visible;

pub use builder::Builder;
pub use config::{Config, Preset};
pub use config_error::ConfigError;
pub use entropy::EntropyError;
pub use error::{ConvergeError, LeaveError, OperateError, ReadyError, StartError, UntilError, VisibleError};
pub use events::{Events, Lagged};
pub use explain::ExplainError;
pub use handle::Cluster;
pub use mail::{Mailbox, Message, MessageError, NodeRef, Responder, RoleProtocol, RoleRef};
pub use monitor::{MonitorConfig, Usage};
pub use role::{HandOverError, RoleContext, RoleError, RoleResult, Starting};
pub use roles::{AddRoleError, RemoveRoleError};
pub use server::{
    CallError, CastError, DistrServer, ServeError, ServerConfig, ServerContext, ServerError, ServerHandle,
    ServerLookupError, ServerResult, ServerState, StopError,
};
pub use snapshot::{DigestSnapshot, Snapshot, StoreSnapshot, TableSnapshot};
pub use table::{
    Change, Conflict, Conflicts, Frozen, Index, Ordered, Rows, Scope, Table, TableConfig, TableError, Watch, WriteError,
};
pub use timing::TimingConfig;
