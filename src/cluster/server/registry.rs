//! The servers of one node.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use super::door::Shared;
use super::{DistrServer, ServerConfig, ServerLookupError, ServerState};
use crate::cluster::Table;
use crate::cluster::node::Node;
use crate::driver::{Latest, Reader};

/// What a node knows of its servers.
pub(in crate::cluster) struct Servers {
    /// All of them are to end.
    stop: Latest<bool>,
    /// How many run that are no roles.
    running: Latest<usize>,
    counting: Mutex<()>,
    /// How many there were.
    served: AtomicU64,
    /// The servers that are roles, by role: each a `Shared` of its type.
    roles: Mutex<BTreeMap<String, Weak<dyn Any + Send + Sync>>>,
    /// Who would create a table, by table: one at a time.
    turns: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// The tables of this node alone that were created.
    own: Mutex<BTreeSet<String>>,
}

impl Servers {
    pub(in crate::cluster) fn new() -> Self {
        Self {
            stop: Latest::new(false),
            running: Latest::new(0),
            counting: Mutex::default(),
            served: AtomicU64::new(0),
            roles: Mutex::default(),
            turns: Mutex::default(),
            own: Mutex::default(),
        }
    }

    /// Asks all servers that are no roles to end, and returns when they have. Each has its stop grace.
    pub(in crate::cluster) async fn stop_all(&self) {
        self.stop.set(true);
        self.running.reader().wait_for(|running| *running == 0).await;
    }

    pub(super) fn stop(&self) -> Reader<bool> {
        self.stop.reader()
    }

    /// A number that no other server of this node has.
    pub(super) fn number(&self) -> u64 {
        self.served.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let _counting = locked(&self.counting);
        self.running.set(change(self.running.get()));
    }

    /// What the start of a role shares with the handles to it: the same as the last start, if somebody still has one.
    pub(super) fn role<S: DistrServer>(
        &self,
        role: &str,
        config: ServerConfig,
        table: Table<S::Key, S::Value>,
        gone: Reader<bool>,
    ) -> Arc<Shared<S>> {
        let mut roles = locked(&self.roles);
        if let Some(shared) = shared::<S>(&roles, role).filter(|shared| *shared.config() == config) {
            return shared;
        }
        let shared = Shared::new(config, table, Some(role.to_owned()), gone);
        roles.retain(|_, server| server.strong_count() > 0);
        let server: Arc<dyn Any + Send + Sync> = shared.clone();
        roles.insert(role.to_owned(), Arc::downgrade(&server));
        shared
    }

    /// The server that is a role and runs here.
    pub(super) fn of_role<S: DistrServer>(&self, role: &str) -> Result<Arc<Shared<S>>, ServerLookupError> {
        let roles = locked(&self.roles);
        if roles.get(role).is_none_or(|server| server.strong_count() == 0) {
            return Err(ServerLookupError::NotHere { role: role.to_owned() });
        }
        let asked = std::any::type_name::<S>();
        let other = || ServerLookupError::OtherServer { role: role.to_owned(), asked };
        let shared = shared::<S>(&roles, role).ok_or_else(other)?;
        match shared.state() {
            ServerState::Starting | ServerState::Running => Ok(shared),
            _ => Err(ServerLookupError::NotHere { role: role.to_owned() }),
        }
    }

    /// Whether a table of this node alone was created.
    pub(super) fn has_own(&self, table: &str) -> bool {
        locked(&self.own).contains(table)
    }

    pub(super) fn add_own(&self, table: &str) {
        locked(&self.own).insert(table.to_owned());
    }

    /// Waits until no other server of this node is about to create the table.
    pub(super) async fn turn(&self, table: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = locked(&self.turns);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let there = turns.get(table).and_then(Weak::upgrade);
            there.unwrap_or_else(|| {
                let turn = Arc::<tokio::sync::Mutex<()>>::default();
                turns.insert(table.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

fn shared<S: DistrServer>(roles: &BTreeMap<String, Weak<dyn Any + Send + Sync>>, role: &str) -> Option<Arc<Shared<S>>> {
    roles.get(role)?.upgrade()?.downcast().ok()
}

/// Nothing is left half done under these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a server that is no role, as long as it lives.
pub(super) struct Counted(Arc<Node>);

impl Counted {
    pub(super) fn new(node: &Arc<Node>) -> Self {
        node.servers.count(|running| running + 1);
        Self(Arc::clone(node))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.servers.count(|running| running - 1);
    }
}
