//! The tables in use on a node: every handle to one name shares what is kept beside the rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::config::{Scope, TableConfig};
use super::error::TableError;
use crate::store::{Store, StoredTable, TableName};
use crate::table::{Groups, TableValue, describe};

/// What separates the name of a table from its form, in the store.
const FORM: char = '|';

/// What the application called a table, and the form of its values, from its name in the store.
pub(in crate::cluster) fn split_form(in_store: &str) -> (&str, &str) {
    in_store.split_once(FORM).unwrap_or((in_store, "lww"))
}

/// A table in use.
pub(in crate::cluster) struct Opened {
    pub(super) config: TableConfig,
    /// The name as the application gave it.
    pub(super) name: Arc<str>,
    schema: String,
    pub(super) store: Arc<Store>,
    pub(super) stored: Arc<StoredTable>,
    /// Where its values are made of shares: those of each key.
    pub(super) groups: Option<Arc<Groups>>,
}

/// All tables in use on a node.
pub(in crate::cluster) struct Tables {
    store: Arc<Store>,
    by_name: Mutex<BTreeMap<String, Arc<Opened>>>,
}

impl Tables {
    pub(in crate::cluster) fn new(store: Arc<Store>) -> Self {
        Self { store, by_name: Mutex::default() }
    }

    /// The table of that name; sets it up if it is not in use yet.
    pub(super) fn open<K, T: TableValue>(&self, config: TableConfig) -> Result<Arc<Opened>, TableError> {
        let name = TableName::new(&config.name)?;
        if name.is_reserved() || config.name.contains(FORM) {
            return Err(TableError::Reserved { name: config.name });
        }
        if config.ttl.is_some() && T::SHARES.is_some() {
            return Err(TableError::Ttl { name: config.name });
        }
        let schema = config.schema.clone().unwrap_or_else(describe::<K, T>);
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = by_name.get(&config.name) {
            opened.must_be_as(&config, &schema)?;
            return Ok(Arc::clone(opened));
        }
        let store = match config.scope.unwrap_or_default() {
            Scope::Replicated => &self.store,
            Scope::Local => self.store.unsent(),
        };
        // Tables of different forms are different tables: none reads the rows of another.
        let in_store = match T::SHARES {
            Some(form) => TableName::new(format!("{}{FORM}{form}", config.name))?,
            None => name,
        };
        let stored = store.table(&in_store);
        stored.set_quota(config.quota);
        let groups = T::SHARES.map(|_| {
            let groups = Arc::new(Groups::default());
            store.attach_from_start(&stored, Arc::clone(&groups) as _);
            groups
        });
        if config.scope.unwrap_or_default() == Scope::Replicated {
            store.declare(&config.name, &schema);
        }
        let name = config.name.as_str().into();
        let opened = Arc::new(Opened { name, schema, store: Arc::clone(store), stored, groups, config });
        by_name.insert(opened.config.name.clone(), Arc::clone(&opened));
        Ok(opened)
    }
}

impl Opened {
    /// What is not said need not be the same.
    fn must_be_as(&self, config: &TableConfig, schema: &str) -> Result<(), TableError> {
        let differs = |what, first: String, second: String| {
            Err(TableError::Differs { name: config.name.clone(), what, first, second })
        };
        let first = &self.config;
        if self.schema != schema {
            return differs("schema", self.schema.clone(), schema.to_owned());
        }
        if let Some(scope) = config.scope.filter(|scope| *scope != first.scope.unwrap_or_default()) {
            return differs("scope", first.scope.unwrap_or_default().to_string(), scope.to_string());
        }
        if config.quota.is_some() && config.quota != first.quota {
            return differs("quota", format!("{:?}", first.quota), format!("{:?}", config.quota));
        }
        if config.ttl.is_some() && config.ttl != first.ttl {
            return differs("ttl", format!("{:?}", first.ttl), format!("{:?}", config.ttl));
        }
        Ok(())
    }
}
