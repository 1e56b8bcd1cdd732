//! [`DistrServer`]: what an application writes.

use std::error::Error;
use std::future::{Future, ready};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ServerConfig, ServerContext};
use crate::cluster::{Change, Lagged};
use crate::table::TableValue;

/// Why a server cannot go on; any error and any text turns into it with `?` or `.into()`.
pub type ServerError = Box<dyn Error + Send + Sync>;

/// What the methods of a server return. An error ends this start of the server, and it is started again: for what is the
/// caller's business, let [`DistrServer::Reply`] be a `Result`.
pub type ServerResult<T = ()> = Result<T, ServerError>;

#[doc = include_str!("tutorial.md")]
pub trait DistrServer: Sized + Send + 'static {
    /// What a call asks; an enum, if there is more than one thing to ask.
    type Call: Send + 'static;
    /// What a call is answered with.
    type Reply: Send + 'static;
    /// What is told without waiting for an answer. A server that takes no casts says
    /// [`Infallible`](std::convert::Infallible), and nobody can send it one.
    type Cast: Send + 'static;
    /// The keys of the table.
    type Key: Serialize + DeserializeOwned + Send + 'static;
    /// The value type of the table, such as [`Lww<u32>`](crate::Lww).
    type Value: TableValue<Value: Send>;

    /// Which table this server keeps, and how it wants to be run. Asked once for each server, and for each start of a
    /// role, before anything else.
    fn config(&self) -> ServerConfig;

    /// Fills the table when it is new. It runs where the table is created and, in a cluster that has it, not at all: see
    /// [When the table is new](#when-the-table-is-new) for what is promised. An error or a panic ends this start; the table
    /// then is not created, and this server or another one tries again.
    fn created(&mut self, context: &ServerContext<Self>) -> impl Future<Output = ServerResult> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// Prepares what is not in the table. It runs at each start, before the first message.
    fn init(&mut self, context: &ServerContext<Self>) -> impl Future<Output = ServerResult> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// Answers a call. The caller of one that ends with an error or a panic gets [`CallError::Failed`](super::CallError).
    fn handle_call(
        &mut self,
        call: Self::Call,
        context: &ServerContext<Self>,
    ) -> impl Future<Output = ServerResult<Self::Reply>> + Send;

    /// Takes in what was told. Unless written, it drops the cast and says so in the log.
    fn handle_cast(
        &mut self,
        cast: Self::Cast,
        context: &ServerContext<Self>,
    ) -> impl Future<Output = ServerResult> + Send {
        drop(cast);
        tracing::warn!(table = context.table().name(), "a cast was dropped: this server has no `handle_cast`");
        ready(Ok(()))
    }

    /// Takes in a change of the table, by whichever node, if [`ServerConfig::changes`] asks for them. [`Lagged`] says how
    /// many were dropped because this server was more than 1,024 behind: read the table afresh.
    fn handle_change(
        &mut self,
        change: Result<Change<Self::Key, <Self::Value as TableValue>::Value>, Lagged>,
        context: &ServerContext<Self>,
    ) -> impl Future<Output = ServerResult> + Send {
        let _ = (change, context);
        ready(Ok(()))
    }

    /// Cleans up. It runs when the server is asked to end, by [`ServerHandle::stop`](super::ServerHandle::stop), by
    /// [`Cluster::leave`](crate::Cluster::leave) or because its role moves, and `init` was done; it still can write to the
    /// table. Not after an error or a panic, and not when the node crashes.
    fn terminate(self, context: &ServerContext<Self>) -> impl Future<Output = ()> + Send {
        let _ = context;
        ready(())
    }
}
