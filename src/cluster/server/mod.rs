//! Servers whose brain is a table: [`DistrServer`].
//!
//! ```text
//!   Cluster::serve ──▶ supervise ──┐ restarts after a pause       Builder::server_kind ──▶ role ──┐ the role is restarted
//!                                  ▼                                                              ▼
//!                                 live: ready ─▶ created? ─▶ init ─▶ one message or change after the other ─▶ terminate
//!                                   ▲              │                         ▲
//!   ServerHandle ─▶ Door ─▶ mailbox ┘           Creation                     └── Table, Watch
//!                                          _tables, @creating
//! ```
//!
//! In come calls and casts of the application and changes of the table, out go answers, each of the type that the server
//! declares. A [`ServerHandle`] shares a `Door` with the server: what it does now, and the mailbox of its present life. A
//! life has a mailbox of its own, so whatever is in the mailbox of one that ends is answered with an error. `creation`
//! decides on which node a table is created, by rows of two system tables and nothing else.

mod behaviour;
mod config;
mod context;
mod creation;
mod desk;
mod door;
mod error;
mod handle;
mod life;
mod records;
mod registry;
mod restarts;
mod role;
mod supervise;

pub use behaviour::{DistrServer, ServerError, ServerResult};
pub use config::ServerConfig;
pub use context::ServerContext;
pub use error::{CallError, CastError, ServeError, ServerLookupError, StopError};
pub use handle::{ServerHandle, ServerState};
pub(super) use registry::Servers;
pub(super) use role::{as_role, reached};
