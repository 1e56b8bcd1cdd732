//! The shares of each key, brought together: what a value is folded from.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::lens::RowError;
use super::share::{self, Share};
use super::value::TableValue;
use crate::crdt::Value;
use crate::store::{Change, ChangeSink, Key};

/// The rows of one key, in order.
pub type Group = BTreeMap<Key, Value>;

/// The rows of a table of shares by the keys that they belong to, encoded; kept up to date with every change.
#[derive(Debug, Default)]
pub struct Groups {
    keys: RwLock<BTreeMap<Box<[u8]>, Group>>,
}

impl Groups {
    /// The shares of a key; empty if it has none.
    pub fn group(&self, key: &[u8]) -> Group {
        self.read().get(key).cloned().unwrap_or_default()
    }

    /// Whether a key has shares.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.read().contains_key(key)
    }

    /// How many keys have shares.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it at one moment, in the order of the encoded keys.
    pub fn all(&self) -> BTreeMap<Box<[u8]>, Group> {
        self.read().clone()
    }

    /// Only whole rows are put in and taken out under it.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Box<[u8]>, Group>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeSink for Groups {
    fn changed(&self, change: &Change) -> bool {
        // What is no share belongs to no key, and is left lying.
        let Some(key) = share::key_of(&change.key) else { return true };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        match &change.new {
            Some(value) => {
                if let Some(group) = keys.get_mut(key) {
                    // A key keeps its row alive, so the former goes with the former row.
                    group.remove(&change.key);
                    group.insert(change.key.clone(), value.clone());
                } else {
                    keys.insert(key.into(), Group::from([(change.key.clone(), value.clone())]));
                }
            }
            None => {
                if let Some(group) = keys.get_mut(key) {
                    group.remove(&change.key);
                    if group.is_empty() {
                        keys.remove(key);
                    }
                }
            }
        }
        true
    }
}

/// The value that a group makes; `None` if it is empty.
///
/// # Errors
/// [`RowError::Decode`] if one of the rows is no share of such a value.
pub fn fold<T: TableValue>(group: &Group) -> Result<Option<T::Value>, RowError> {
    if group.is_empty() {
        return Ok(None);
    }
    T::fold(&shares(group)?).map(Some)
}

/// The shares in the rows of a group.
///
/// # Errors
/// [`RowError::Decode`] if one of them is none.
pub fn shares(group: &Group) -> Result<Vec<Share<'_>>, RowError> {
    group.iter().map(|(key, value)| share::read(key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, ReplicaId};
    use crate::store::Origin;
    use crate::table::{Bag, Counter, Set, encode_value};

    fn row(key: &[u8], part: &[u8], replica: u64, payload: &[u8]) -> (Key, Value) {
        let author = share::Author::new(ReplicaId(replica), &NodeId::new("larry").unwrap());
        let key = share::row_key(key, part, author.replica).unwrap();
        (Key::from(key.as_slice()), Value::from(share::row_value(author, payload).as_slice()))
    }

    fn change((key, value): (Key, Value), puts: bool) -> Change {
        let (old, new) = if puts { (None, Some(value)) } else { (Some(value), None) };
        Change { key, old, new, origin: Origin::Local }
    }

    #[test]
    fn shares_gather_by_key_and_fold_into_values() {
        let groups = Groups::default();
        let count = |replica, count: i64| row(b"k", b"", replica, &encode_value(&count).unwrap());
        for share in [count(1, 5), count(2, -2), row(b"l", b"", 1, &encode_value(&7_i64).unwrap())] {
            assert!(groups.changed(&change(share, true)));
        }
        assert_eq!(groups.len(), 2);
        assert_eq!(fold::<Counter>(&groups.group(b"k")), Ok(Some(3)));
        assert_eq!(fold::<Counter>(&groups.group(b"l")), Ok(Some(7)));
        assert!(groups.changed(&change(count(1, 5), false)));
        assert_eq!(fold::<Counter>(&groups.group(b"k")), Ok(Some(-2)));
        assert!(groups.changed(&change(count(2, -2), false)));
        assert_eq!(fold::<Counter>(&groups.group(b"k")), Ok(None));
        assert!(!groups.contains(b"k") && groups.contains(b"l"));
    }

    #[test]
    fn an_element_of_several_replicas_is_there_once() {
        let groups = Groups::default();
        for (replica, element) in [(1, 4_u32), (2, 4), (2, 9)] {
            let element = encode_value(&element).unwrap();
            assert!(groups.changed(&change(row(b"k", &element, replica, b""), true)));
            assert!(groups.changed(&change(row(b"bag", &[7], replica, &element), true)));
        }
        assert_eq!(fold::<Set<u32>>(&groups.group(b"k")), Ok(Some([4, 9].into())));
        assert_eq!(fold::<Bag<u32>>(&groups.group(b"bag")), Ok(Some(vec![4, 9])));
    }

    #[test]
    fn what_is_no_share_is_left_lying() {
        let groups = Groups::default();
        let foreign = (Key::from(b"foreign".as_slice()), Value::from(b"".as_slice()));
        assert!(groups.changed(&change(foreign, true)));
        assert!(groups.is_empty());
        assert!(groups.changed(&change(row(b"k", b"", 1, b"no number at all"), true)));
        assert!(matches!(fold::<Counter>(&groups.group(b"k")), Err(RowError::Decode { .. })));
    }
}
