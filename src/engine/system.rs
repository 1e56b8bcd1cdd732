//! What the system tables say, decoded once: only rows that changed are read again, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::message::{AGREE, CLAIMS, MEMBERS, MemberInfo, ROLES};
use crate::convergence::Fingerprint;
use crate::id::ReplicaId;
use crate::roles::{Claim, RoleSpec};
use crate::store::{Key, Store, TableName, split_owner_key};
use crate::wire;

/// The names of the system tables.
pub(super) struct Tables {
    pub(super) members: TableName,
    pub(super) claims: TableName,
    pub(super) agree: TableName,
    pub(super) roles: TableName,
}

impl Tables {
    /// Whether the picture is drawn from this table; there are other reserved ones.
    pub(super) fn has(&self, table: &TableName) -> bool {
        [&self.members, &self.claims, &self.agree, &self.roles].contains(&table)
    }
}

/// The system tables, as they were when they were last read.
pub(super) struct System {
    pub(super) tables: Tables,
    decoded: Decoded,
    stale: Stale,
}

/// What stands in the rows, as far as it can be read.
#[derive(Default, PartialEq, Debug)]
struct Decoded {
    members: BTreeMap<ReplicaId, MemberInfo>,
    reports: BTreeMap<ReplicaId, Fingerprint>,
    claims: BTreeMap<(String, ReplicaId), Claim>,
    roles: BTreeMap<Key, RoleSpec>,
}

/// What has to be read again.
enum Stale {
    Rows(BTreeSet<(TableName, Key)>),
    All,
}

impl System {
    pub(super) fn new() -> Self {
        let name = |name| TableName::new(name).expect("the names of system tables are well formed");
        let tables = Tables { members: name(MEMBERS), claims: name(CLAIMS), agree: name(AGREE), roles: name(ROLES) };
        Self { tables, decoded: Decoded::default(), stale: Stale::All }
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

    /// Reads what may have changed. Every claim that is read goes through `see`.
    pub(super) fn refresh(&mut self, store: &Store, mut see: impl FnMut(&str, &Claim)) {
        match std::mem::replace(&mut self.stale, Stale::Rows(BTreeSet::new())) {
            Stale::Rows(rows) => {
                for (table, key) in rows {
                    let value = store.get(&table, &key);
                    self.decoded.put(&self.tables, &table, &key, value.as_deref(), &mut see);
                }
                debug_assert!(self.is_true_to(store));
            }
            Stale::All => self.decoded = Decoded::read(&self.tables, store, &mut see),
        }
    }

    /// Whether the rows that nobody but engines writes are in the store as they were read.
    fn is_true_to(&self, store: &Store) -> bool {
        let Decoded { members, reports, claims, .. } = Decoded::read(&self.tables, store, &mut |_, _| {});
        (&members, &reports, &claims) == (&self.decoded.members, &self.decoded.reports, &self.decoded.claims)
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

    /// The roles that are asked for.
    pub(super) fn roles(&self) -> impl Iterator<Item = &RoleSpec> {
        self.decoded.roles.values()
    }
}

impl Decoded {
    fn read(tables: &Tables, store: &Store, see: &mut impl FnMut(&str, &Claim)) -> Self {
        let mut decoded = Self::default();
        for table in [&tables.members, &tables.claims, &tables.agree, &tables.roles] {
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
        see: &mut impl FnMut(&str, &Claim),
    ) {
        if *table == tables.roles {
            // Under another key its name could stand there twice.
            let spec = decode(value).filter(|spec: &RoleSpec| spec.name.as_bytes() == &**key);
            return set(&mut self.roles, key.clone(), spec);
        }
        let Some((owner, name)) = split_owner_key(key) else { return };
        if *table == tables.claims {
            let (Ok(role), claim) = (String::from_utf8(name.to_vec()), decode(value)) else { return };
            if let Some(claim) = &claim {
                see(&role, claim);
            }
            set(&mut self.claims, (role, owner), claim);
        } else if !name.is_empty() {
            // One row each is what a member has to say here.
        } else if *table == tables.agree {
            set(&mut self.reports, owner, decode(value));
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
