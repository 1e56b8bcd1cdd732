//! What all handles to one node share.
//!
//! ```text
//!   Cluster (application) ──┬─▶ Keep ── dropped with the last of them: stops the node
//!                           ▼
//!   Cluster (RoleContext) ─▶ Node ─▶ driver, commands, status
//!                             └────▶ Local ◀── Table          what needs no engine to answer
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::mail::Post;
use super::server::Servers;
use super::signals::Load;
use super::table::{Tables, WriteError};
use crate::driver::{Clock, Commander, Driver, Latest, Reader};
use crate::engine::{Event, Phase, Status};
use crate::id::{NodeId, ReplicaId};
use crate::store::Store;
use crate::table::Author;
use crate::time::Now;

/// How long the calls of a handle wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) converge: Duration,
    pub(super) leave: Duration,
    pub(super) stop_grace: Duration,
}

/// What a table needs: the store, the time, and whether a write would still be heard by anybody.
pub(super) struct Local {
    pub(super) store: Arc<Store>,
    pub(super) tables: Tables,
    pub(super) author: Author,
    clock: Clock,
    gone: Latest<bool>,
}

impl Local {
    pub(super) fn new(store: Arc<Store>, clock: Clock, node: &NodeId) -> Self {
        let author = Author::new(store.replica(), node);
        let tables = Tables::new(Arc::clone(&store));
        Self { store, tables, author, clock, gone: Latest::new(false) }
    }

    /// The time of a write, and an error once the node is gone.
    pub(super) fn writable(&self) -> Result<Now, WriteError> {
        if self.is_gone() { Err(WriteError::Gone) } else { Ok(self.now()) }
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Turns true when the node stops.
    pub(super) fn gone(&self) -> Reader<bool> {
        self.gone.reader()
    }

    pub(super) fn close(&self) {
        self.gone.set(true);
    }
}

/// One running node, or what is left of it.
pub(super) struct Node {
    pub(super) node: NodeId,
    pub(super) replica: ReplicaId,
    pub(super) address: SocketAddr,
    pub(super) patience: Patience,
    pub(super) local: Arc<Local>,
    pub(super) load: Load,
    pub(super) commander: Commander,
    pub(super) servers: Servers,
    pub(super) post: Arc<Post>,
    status: Reader<Arc<Status>>,
    /// Never read, only subscribed from: each reader of events starts from its own now.
    events: broadcast::Receiver<Event>,
    driver: Mutex<Option<Driver>>,
}

/// Who runs, where, and with what patience.
pub(super) struct Parts {
    pub(super) node: NodeId,
    pub(super) replica: ReplicaId,
    pub(super) address: SocketAddr,
    pub(super) patience: Patience,
    pub(super) local: Local,
    pub(super) load: Load,
    pub(super) post: Arc<Post>,
}

impl Node {
    pub(super) fn new(parts: Parts, driver: Driver) -> Self {
        let Parts { node, replica, address, patience, local, load, post } = parts;
        Self {
            node,
            replica,
            address,
            patience,
            local: Arc::new(local),
            load,
            commander: driver.commander(),
            servers: Servers::new(),
            post,
            status: driver.status(),
            events: driver.events(),
            driver: Mutex::new(Some(driver)),
        }
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.resubscribe()
    }

    pub(super) fn statuses(&self) -> Reader<Arc<Status>> {
        self.status.clone()
    }

    pub(super) fn status(&self) -> Arc<Status> {
        let status = self.status.get();
        if self.local.is_gone() && status.phase != Phase::Left {
            // It was cut off in the middle and could not say so itself.
            return Arc::new(Status { phase: Phase::Left, ..Status::clone(&status) });
        }
        status
    }

    /// Stops everything at once, as a crash would. What was left of it can still be read.
    pub(super) fn stop(&self) {
        self.local.close();
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(driver);
    }
}

/// Held by the handles of the application, and only by them.
pub(super) struct Keep(pub(super) Arc<Node>);

impl Drop for Keep {
    fn drop(&mut self) {
        self.0.stop();
    }
}
