//! One process: its store, its roster, and the rows it has yet to send.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unisono::crdt::{Context, Roster};
use unisono::id::ReplicaId;
use unisono::sabotage::{Rule, Sabotage};
use unisono::store::{Row, Store, StoreConfig, TableName};
use unisono::time::{Instant, Now};

use super::oracle::Live;

/// A replica and what its engine would hold beside the store.
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) store: Arc<Store>,
    roster: Roster,
    members: BTreeSet<ReplicaId>,
    /// By how much this host's clock is wrong.
    pub(crate) skew_ms: i64,
    /// Who admitted it and has yet to complete its first pull; until then it neither writes nor takes eager rows.
    pub(crate) sponsor: Option<ReplicaId>,
    /// Rows that wait to be sent eagerly: its own, and news to forward.
    pub(crate) queue: Vec<Row>,
    /// Which group it was founded in; only tests of islands have more than one.
    pub(crate) island: usize,
    /// What others said they know, for the variant that collects by dot.
    contexts: Option<BTreeMap<ReplicaId, Context>>,
}

impl Replica {
    pub(crate) fn new(id: ReplicaId, sabotage: Sabotage, roster: Roster, skew_ms: i64) -> Self {
        let store = Arc::new(Store::new(StoreConfig { sabotage, ..StoreConfig::new(id, 7) }));
        let mut replica = Self {
            id,
            store,
            members: BTreeSet::new(),
            roster: Roster::default(),
            skew_ms,
            sponsor: None,
            queue: Vec::new(),
            island: 0,
            contexts: (sabotage.breaks(Rule::DotGc)).then(BTreeMap::new),
        };
        replica.set_roster(roster);
        replica
    }

    /// What this host reads from its clocks.
    pub(crate) fn now(&self, wall_ms: u64) -> Now {
        Now { instant: Instant::from_nanos(wall_ms * 1_000_000), wall_ms: wall_ms.saturating_add_signed(self.skew_ms) }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.sponsor.is_none()
    }

    /// The first pull is complete: from now on it may write.
    pub(crate) fn become_ready(&mut self) {
        self.sponsor = None;
        self.store.open();
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn members(&self) -> &BTreeSet<ReplicaId> {
        &self.members
    }

    /// Whether messages of this sender are taken.
    pub(crate) fn hears(&self, sender: ReplicaId) -> bool {
        self.members.contains(&sender)
    }

    pub(crate) fn set_roster(&mut self, roster: Roster) {
        self.members = roster.member_set();
        self.store.set_roster(&self.members, roster.fingerprint());
        self.roster = roster;
    }

    pub(crate) fn change_roster(&mut self, change: impl FnOnce(&mut Roster)) {
        let mut roster = self.roster.clone();
        change(&mut roster);
        self.set_roster(roster);
    }

    /// What goes along with reports for the variant that collects by dot: one's own context and what one heard.
    pub(crate) fn contexts_to_tell(&self) -> Vec<(ReplicaId, Context)> {
        let Some(contexts) = &self.contexts else { return Vec::new() };
        let heard = contexts.iter().map(|(id, context)| (*id, context.clone()));
        heard.chain([(self.id, self.store.context())]).collect()
    }

    pub(crate) fn hear_contexts(&mut self, told: Vec<(ReplicaId, Context)>) {
        let Some(contexts) = &mut self.contexts else { return };
        for (member, context) in told {
            // Contexts only grow: joining is taking the newer.
            let known = contexts.entry(member).or_default();
            known.join(&context);
            self.store.feed_context(member, known.clone());
        }
    }

    /// The ordinary rows it holds.
    pub(crate) fn live(&self) -> Live {
        let mut live = Live::new();
        for name in self.store.tables().into_iter().filter(|name| !name.as_str().starts_with('@')) {
            for (key, value) in self.store.table(&name).snapshot().iter() {
                live.insert((name.as_str().to_owned(), key.to_vec()), value.to_vec());
            }
        }
        live
    }

    pub(crate) fn owner_rows(&self, table: &TableName) -> Vec<(ReplicaId, Vec<u8>, Vec<u8>)> {
        let rows = self.store.owner_rows(table).into_iter();
        rows.map(|(owner, name, value)| (owner, name, value.to_vec())).collect()
    }
}
