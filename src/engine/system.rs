//! What the system tables say, decoded once: only rows that changed are read again, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::message::{AGREE, CLAIMS, MEMBERS, MemberInfo, ROLES, TOKENS};
use super::role_rows::RoleRows;
use crate::convergence::Fingerprint;
use crate::id::ReplicaId;
use crate::roles::{Claim, FencingToken, Given, InstanceId, split_token_key};
use crate::sabotage::Sabotage;
use crate::signals;
use crate::store::{Key, Store, TableName, split_owner_key};
use crate::wire;

/// The names of the system tables.
pub(super) struct Tables {
    pub(super) members: TableName,
    pub(super) claims: TableName,
    pub(super) agree: TableName,
    pub(super) roles: TableName,
    pub(super) tokens: TableName,
    /// How busy each member is.
    pub(super) signals: TableName,
}

impl Tables {
    fn all(&self) -> [&TableName; 6] {
        [&self.members, &self.claims, &self.agree, &self.roles, &self.tokens, &self.signals]
    }

    /// Whether the picture is drawn from this table; there are other reserved ones.
    pub(super) fn has(&self, table: &TableName) -> bool {
        self.all().contains(&table)
    }
}

/// The system tables, as they were when they were last read.
pub(super) struct System {
    pub(super) tables: Tables,
    decoded: Decoded,
    stale: Stale,
    sabotage: Sabotage,
}

/// What stands in the rows, as far as it can be read.
#[derive(Default, PartialEq, Debug)]
struct Decoded {
    members: BTreeMap<ReplicaId, MemberInfo>,
    reports: BTreeMap<ReplicaId, Fingerprint>,
    claims: BTreeMap<(String, ReplicaId), Claim>,
    roles: RoleRows,
    given: Given,
    loads: BTreeMap<ReplicaId, u8>,
}

/// What has to be read again.
enum Stale {
    Rows(BTreeSet<(TableName, Key)>),
    All,
}

impl System {
    pub(super) fn new(sabotage: Sabotage) -> Self {
        let name = |name| TableName::new(name).expect("the names of system tables are well formed");
        let tables = Tables {
            members: name(MEMBERS),
            claims: name(CLAIMS),
            agree: name(AGREE),
            roles: name(ROLES),
            tokens: name(TOKENS),
            signals: name(signals::TABLE),
        };
        Self { tables, decoded: Decoded::default(), stale: Stale::All, sabotage }
    }

    /// This row may have changed.
    pub(super) fn note(&mut self, table: &TableName, key: &Key) {
        if let Stale::Rows(rows) = &mut self.stale {
            rows.insert((table.clone(), key.clone()));
        }
    }

    /// Any row may have changed.
    pub(super) fn note_all(&mut self) {
        self.stale = Stale::All;
    }

    /// Reads what may have changed. Every token that is read, in a claim or by itself, goes through `see`.
    pub(super) fn refresh(&mut self, store: &Store, mut see: impl FnMut(&str, FencingToken, InstanceId)) {
        match std::mem::replace(&mut self.stale, Stale::Rows(BTreeSet::new())) {
            Stale::Rows(rows) => {
                for (table, key) in rows {
                    let value = store.get(&table, &key);
                    self.decoded.put(&self.tables, &table, &key, value.as_deref(), &mut see);
                }
                debug_assert!(self.is_true_to(store));
            }
            Stale::All => self.decoded = Decoded::read(&self.tables, store, self.sabotage, &mut see),
        }
    }

    /// Whether the rows that nobody but engines writes are in the store as they were read.
    fn is_true_to(&self, store: &Store) -> bool {
        let Decoded { members, reports, claims, given, loads, .. } =
            Decoded::read(&self.tables, store, self.sabotage, &mut |_, _, _| {});
        let own = &self.decoded;
        (&members, &reports, &claims) == (&own.members, &own.reports, &own.claims)
            && (&given, &loads) == (&own.given, &own.loads)
    }

    /// What each member says of itself.
    pub(super) fn members(&self) -> &BTreeMap<ReplicaId, MemberInfo> {
        &self.decoded.members
    }

    /// The fingerprint that each node reports.
    pub(super) fn reports(&self) -> &BTreeMap<ReplicaId, Fingerprint> {
        &self.decoded.reports
    }

    /// What is claimed, by role and holder.
    pub(super) fn claims(&self) -> &BTreeMap<(String, ReplicaId), Claim> {
        &self.decoded.claims
    }

    /// The fencing tokens that were given.
    pub(super) fn given(&self) -> &Given {
        &self.decoded.given
    }

    /// The bucket of the load that a member published last; 0 if it published none.
    pub(super) fn load(&self, member: ReplicaId) -> u8 {
        self.decoded.loads.get(&member).copied().unwrap_or_default()
    }

    /// What is asked for under each role's name.
    pub(super) fn roles(&self) -> &RoleRows {
        &self.decoded.roles
    }
}

impl Decoded {
    fn read(
        tables: &Tables,
        store: &Store,
        sabotage: Sabotage,
        see: &mut impl FnMut(&str, FencingToken, InstanceId),
    ) -> Self {
        let mut decoded = Self { roles: RoleRows::new(sabotage), ..Self::default() };
        for table in tables.all() {
            for (key, value) in store.table(table).snapshot().iter() {
                decoded.put(tables, table, &key, Some(&value), see);
            }
        }
        decoded
    }

    /// Takes over what stands in a row now: nothing, where it is gone or cannot be read.
    fn put(
        &mut self,
        tables: &Tables,
        table: &TableName,
        key: &Key,
        value: Option<&[u8]>,
        see: &mut impl FnMut(&str, FencingToken, InstanceId),
    ) {
        if *table == tables.roles {
            return self.roles.put(key, value);
        }
        if *table == tables.tokens {
            let Some((role, token)) = split_token_key(key) else { return };
            let started = decode(value).map(|stamp| InstanceId { stamp, replica: token.replica });
            started.iter().for_each(|started| see(role, token, *started));
            return self.given.set(role, token, started);
        }
        let Some((owner, name)) = split_owner_key(key) else { return };
        if *table == tables.claims {
            let (Ok(role), claim) = (String::from_utf8(name.to_vec()), decode::<Claim>(value)) else { return };
            if let Some(Claim { token, started, .. }) = &claim {
                see(&role, *token, *started);
            }
            set(&mut self.claims, (role, owner), claim);
        } else if !name.is_empty() {
            // One row each is what a member has to say here.
        } else if *table == tables.agree {
            set(&mut self.reports, owner, decode(value));
        } else if *table == tables.signals {
            set(&mut self.loads, owner, value.map(signals::load_in));
        } else if *table == tables.members {
            set(&mut self.members, owner, decode(value));
        }
    }
}

fn decode<T: DeserializeOwned>(value: Option<&[u8]>) -> Option<T> {
    value.and_then(|value| wire::decode(value).ok())
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
