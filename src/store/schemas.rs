//! What the application says of its tables, for the engine to tell the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Store;

/// The longest schema that is told as it is.
const MAX_SCHEMA: usize = 256;

/// What was declared, and whether the engine has seen it.
#[derive(Debug, Default)]
pub(super) struct Schemas(Mutex<(BTreeMap<String, String>, bool)>);

impl Store {
    /// Says which schema the application uses for a table. A very long one is cut, and ends with a hash of the whole.
    pub fn declare(&self, table: &str, schema: &str) {
        let schema = match schema.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_SCHEMA - 20).last() {
            Some(cut) if schema.len() > MAX_SCHEMA => {
                format!("{}... {:016x}", &schema[..cut], xxhash_rust::xxh3::xxh3_64(schema.as_bytes()))
            }
            _ => schema.to_owned(),
        };
        let mut schemas = self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.0.insert(table.to_owned(), schema);
        schemas.1 = true;
    }

    /// All that was declared, if there is anything new since the last time.
    pub fn newly_declared(&self) -> Option<BTreeMap<String, String>> {
        let mut schemas = self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut schemas.1).then(|| schemas.0.clone())
    }

    /// Gives everything out anew the next time.
    pub fn declare_again(&self) {
        self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
    }
}

#[cfg(test)]
mod tests {
    use crate::id::ReplicaId;
    use crate::store::{Store, StoreConfig};

    #[test]
    fn what_is_new_is_given_out_once_and_long_ones_are_told_apart() {
        let store = Store::new(StoreConfig::new(ReplicaId(1), 0));
        assert_eq!(store.newly_declared(), None);
        let long = "é".repeat(300);
        for (table, schema) in [("a", "String -> Counter"), ("b", &long), ("c", &format!("{long}!"))] {
            store.declare(table, schema);
        }
        let declared = store.newly_declared().unwrap();
        assert_eq!(declared["a"], "String -> Counter");
        assert!(declared["b"].len() <= super::MAX_SCHEMA && declared["b"] != declared["c"]);
        assert_eq!(store.newly_declared(), None);
        store.declare_again();
        assert_eq!(store.newly_declared().map(|all| all.len()), Some(3));
    }
}
