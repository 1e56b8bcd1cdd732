//! How busy the nodes are, and who is to be given work.
//!
//! ```text
//!   Cluster::signals ─▶ a struct of the application ─▶ Board ─▶ engine ─▶ rows of all nodes ┐
//!   status: the view, who hosts which roles ────────────────────────────────────────────────┴▶ AllocationList
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::handle::Cluster;
use super::monitor::Monitor;
use crate::engine::{Phase, Status};
use crate::id::ReplicaId;
use crate::roles::ClaimState;
use crate::signals::{self, AllocationList, Board, NodeLoad, Signals, SignalsError};
use crate::store::{Change, ChangeSink, Store, TableName};

/// The part of a node that deals with load.
pub(super) struct Load {
    board: Arc<Board>,
    pub(super) monitor: Arc<Monitor>,
    table: TableName,
    told: Arc<Told>,
    /// The list that was made last, and of which view.
    ranked: Mutex<Option<(Arc<Status>, AllocationList)>>,
    /// How often chance was asked for.
    draws: AtomicU64,
}

/// Some node told how busy it is since the list was made.
#[derive(Default)]
struct Told(AtomicBool);

impl ChangeSink for Told {
    fn changed(&self, _: &Change) -> bool {
        self.0.store(true, Ordering::Release);
        true
    }
}

impl Load {
    pub(super) fn new(store: &Store, board: Arc<Board>, monitor: Arc<Monitor>) -> Self {
        let table = TableName::new(signals::TABLE).expect("the names of system tables are well formed");
        let told = Arc::<Told>::default();
        store.table(&table).watch(told.clone());
        Self { board, monitor, table, told, ranked: Mutex::default(), draws: AtomicU64::default() }
    }

    /// The members of a view in the order of their load. Made anew only if the view or a load changed, so that asking for
    /// each piece of work costs nothing in a large cluster.
    fn list(&self, status: Arc<Status>, store: &Store) -> AllocationList {
        let mut ranked = self.ranked.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked before the rows are read, so that none is missed that comes meanwhile.
        let told = self.told.0.swap(false, Ordering::AcqRel);
        if let Some((of, list)) = &*ranked
            && Arc::ptr_eq(of, &status)
            && !told
        {
            return list.clone();
        }
        let list = rank(&status, store, &self.table);
        *ranked = Some((status, list.clone()));
        list
    }

    /// The same for equal runs: a node's chance follows from its replica id, which was drawn from what is truly random.
    fn draw(&self, replica: ReplicaId) -> u64 {
        let number = self.draws.fetch_add(1, Ordering::Relaxed);
        xxh3_64_with_seed(&number.to_le_bytes(), replica.0)
    }
}

fn rank(status: &Status, store: &Store, table: &TableName) -> AllocationList {
    let rows = store.owner_rows(table);
    let row_of = |replica: ReplicaId| {
        // One row each is what a member has to say here.
        let index = rows.binary_search_by(|(owner, name, _)| (*owner, name.as_slice()).cmp(&(replica, &[]))).ok()?;
        Some(&*rows[index].2)
    };
    let mut roles = BTreeMap::<ReplicaId, u32>::new();
    for host in status.roles.iter().flat_map(|role| &role.hosts) {
        let runs = !matches!(host.state, ClaimState::Stopped { .. } | ClaimState::Failed { .. });
        *roles.entry(host.replica).or_default() += u32::from(runs);
    }
    let members = status.members.iter().filter(|member| member.in_view);
    AllocationList::new(members.map(|member| {
        let roles = roles.get(&member.replica).copied().unwrap_or_default();
        NodeLoad::new(member.node.clone(), member.replica, member.address, row_of(member.replica), roles)
    }))
}

impl Cluster {
    /// The signals of this application, as [`signals!`](crate::signals!) declared them; from then on this node tells the
    /// others what they show, once a second at most and only if some part changed by more than about a quarter.
    ///
    /// Call it as often as you like, also before the node is ready: all structs of one kind are the same signals, and several
    /// kinds add up. On a node that is gone they can still be called, and nobody hears of it.
    ///
    /// # Errors
    ///
    /// [`SignalsError`] if a signal of that name is there with another kind or weight, or if there are too many. None of the
    /// struct's signals counts then.
    pub fn signals<S: Signals>(&self) -> Result<S, SignalsError> {
        self.node.load.board.signals()
    }

    /// The members of the view in the order of their load, the least busy first; see
    /// [`AllocationList`]. Empty while this node is joining, and once it is gone.
    ///
    /// A node that just came stands at 0 and is first, until it tells how busy it is; one that is Down or left is not in the
    /// list. The loads are as fresh as the nodes told them, a second or two. Printed with `{}` the list is a table.
    pub fn allocation_list(&self) -> AllocationList {
        let status = self.node.status();
        if matches!(status.phase, Phase::Joining | Phase::Left) {
            return AllocationList::new([]);
        }
        self.node.load.list(status, &self.node.local.store)
    }

    /// The least busy member, this node included. `None` while this node is joining, and once it is gone.
    ///
    /// All who ask within the same second get the same answer. Good for a piece of work now and then; where many are given
    /// out, take [`Cluster::allocate_spread`].
    pub fn allocate(&self) -> Option<NodeLoad> {
        self.allocation_list().first().cloned()
    }

    /// A member that is not busy: the less busy of two drawn at random. The least busy of n members gets 2/n of what is
    /// given out so, the busiest nothing, and nobody is overrun before it could say that it is busy now. `None` while
    /// this node is joining, and once it is gone.
    pub fn allocate_spread(&self) -> Option<NodeLoad> {
        self.allocation_list().spread(self.node.load.draw(self.replica())).cloned()
    }
}
