//! Which types each member uses for its tables, and who uses others than this node.
//!
//! ```text
//!   application opens a table ─▶ Store::declare ─▶ (once a second) own row in `@tables` ─▶ everybody
//!                                                   rows of others ─▶ compared with our own ─▶ SchemaDiffers
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Event};
use crate::id::ReplicaId;
use crate::store::{MAX_VALUE, TableName};
use crate::wire;

/// The name of the table in which each member says how it uses its tables.
const SCHEMAS: &str = "@tables";

/// What a member says: the names of its tables, and of their schemas.
type Declared = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(super) struct Schemas {
    own: Declared,
    /// The digest of the table when it was last compared.
    compared: u64,
    /// What was said already.
    said: BTreeSet<(ReplicaId, String)>,
}

impl Engine {
    /// Publishes what was declared since the last time, and looks whether others mean something else by the same names.
    pub(super) fn tend_schemas(&mut self) {
        let table = TableName::new(SCHEMAS).expect("the names of system tables are well formed");
        let declared = self.store.newly_declared();
        if let Some(declared) = &declared {
            let row = wire::encode(&fitting(declared));
            // Refused only while the node cannot write: it is declared again as soon as it is asked for.
            if self.store.put_own(self.now, &table, b"", &row).is_err() {
                self.store.declare_again();
                return;
            }
            self.schemas.own.clone_from(declared);
        }
        let digest = self.store.table(&table).digest();
        if (declared.is_none() && digest == self.schemas.compared) || self.schemas.own.is_empty() {
            return;
        }
        self.schemas.compared = digest;
        let rows = self.store.owner_rows(&table);
        let mut differing = Vec::new();
        for (replica, _, row) in rows.iter().filter(|(replica, ..)| *replica != self.own) {
            let Ok(theirs) = wire::decode::<Declared>(row) else { continue };
            for (name, theirs) in theirs {
                if let Some(ours) = self.schemas.own.get(&name).filter(|ours| **ours != theirs) {
                    differing.push((*replica, name, ours.clone(), theirs));
                }
            }
        }
        // Who is gone, or uses the same again, may be told of anew.
        let still: BTreeSet<_> = differing.iter().map(|(replica, name, ..)| (*replica, name.clone())).collect();
        self.schemas.said.retain(|said| still.contains(said));
        for (replica, table, ours, theirs) in differing {
            let Some(node) = self.node_of(replica) else { continue };
            if self.schemas.said.insert((replica, table.clone())) {
                self.event(Event::SchemaDiffers { table, node, replica, ours, theirs });
            }
        }
    }
}

/// As many of them as fit into a row.
fn fitting(declared: &Declared) -> Declared {
    let mut room = MAX_VALUE - 16;
    let fits = |(name, schema): &(&String, &String)| {
        let bytes = name.len() + schema.len() + 8;
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    };
    declared.iter().take_while(fits).map(|(name, schema)| (name.clone(), schema.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_says_fits_into_a_row() {
        let declared: Declared = (0..2_000).map(|number| (format!("{number:0128}"), "s".repeat(256))).collect();
        let fitting = fitting(&declared);
        assert!(wire::encode(&fitting).len() <= MAX_VALUE);
        assert!(fitting.len() > 150, "{}", fitting.len());
        assert!(fitting.iter().all(|(name, schema)| declared.get(name) == Some(schema)));
    }
}
