//! A table on the store of a node that has no driver: nothing here needs one.

use super::lww::updated;
use super::*;
use crate::driver::Clock;
use crate::id::{NodeId, ReplicaId};
use crate::store::{self, MAX_KEY, MAX_VALUE, Origin, Store, StoreConfig, TableName, Update};
use crate::table::{Lww, RowError, encode_key, encode_value};

fn local() -> Arc<Local> {
    let store = Store::new(StoreConfig::new(ReplicaId(1), 0));
    store.open();
    Arc::new(Local::new(Arc::new(store), Clock::start(), &larry()))
}

fn larry() -> NodeId {
    NodeId::new("larry").unwrap()
}

fn vehicles(local: &Arc<Local>) -> Table<String, Lww<u32>> {
    Table::new(Arc::clone(local), "vehicles".into()).unwrap()
}

#[test]
fn names_of_the_system_are_refused() {
    for name in ["@claims", "_roles", "cars|set"] {
        let refused = Table::<String, Lww<u32>>::new(local(), name.into()).unwrap_err();
        assert_eq!(refused, TableError::Reserved { name: name.into() });
    }
    for name in ["", &"t".repeat(129)] {
        assert!(matches!(Table::<String, Lww<u32>>::new(local(), name.into()), Err(TableError::Name(_))));
    }
}

#[test]
fn rows_are_put_read_updated_and_removed() {
    let local = local();
    let table = vehicles(&local);
    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert!(table.is_empty() && table.get(&a).is_none());
    table.insert(&b, &2).unwrap();
    table.insert(&a, &1).unwrap();
    assert_eq!(table.update(&a, |row| row.map(|row| row + 10)), Ok(Some(11)));
    assert!(table.contains_key(&a));
    assert_eq!(vehicles(&local).iter().collect::<Vec<_>>(), [(a.clone(), 11), (b.clone(), 2)]);
    let rows = table.iter();
    assert_eq!(table.remove(&a), Ok(Some(11)));
    assert_eq!(table.remove(&a), Ok(None));
    assert_eq!(table.update(&b, |_| None), Ok(None));
    assert_eq!(table.len(), 0);
    assert_eq!(rows.count(), 2, "a picture stays as it was taken");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let local = local();
    let table = vehicles(&local);
    let long = "k".repeat(MAX_KEY);
    let too_long = RowError::KeyTooLong { bytes: MAX_KEY + 2 };
    assert_eq!(table.insert(&long, &1), Err(WriteError::Row(too_long.clone())));
    assert_eq!(table.try_get(&long), Err(too_long));
    assert_eq!(table.get(&long), None);
    assert_eq!(table.skipped(), 0, "a key that cannot be there is no foreign row");
    assert!(table.is_empty());
}

#[test]
fn rows_of_another_type_are_skipped_kept_and_counted() {
    let local = local();
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let text = encode_value("no number").unwrap();
    let name = TableName::new("vehicles").unwrap();
    local.store.put(Clock::start().now(), &name, &encode_key(&a).unwrap(), &text).unwrap();
    let table = vehicles(&local);
    table.insert(&b, &2).unwrap();
    assert_eq!(table.get(&a), None);
    assert_eq!(table.iter().collect::<Vec<_>>(), [(b, 2)]);
    assert_eq!(table.skipped(), 2);
    assert!(matches!(table.try_get(&a), Err(RowError::Decode { what: "value", .. })));
    assert!(matches!(table.update(&a, |_| Some(1)), Err(WriteError::Row(RowError::Decode { .. }))));
    assert_eq!((table.len(), table.contains_key(&a)), (2, true));
    assert_eq!(local.store.get(&name, &encode_key(&a).unwrap()).as_deref(), Some(&*text));
}

#[test]
fn nothing_is_written_before_the_node_is_ready_nor_after_it_is_gone() {
    let store = Arc::new(Store::new(StoreConfig::new(ReplicaId(1), 0)));
    let local = Arc::new(Local::new(Arc::clone(&store), Clock::start(), &larry()));
    let table = vehicles(&local);
    let key = "a".to_owned();
    assert_eq!(table.insert(&key, &1), Err(WriteError::NotReady));
    store.open();
    table.insert(&key, &1).unwrap();
    local.close();
    assert_eq!(table.insert(&key, &2), Err(WriteError::Gone));
    assert_eq!(table.remove(&key), Err(WriteError::Gone));
    assert_eq!(table.update(&key, |_| Some(2)), Err(WriteError::Gone));
    assert_eq!(table.get(&key), Some(1), "the last state can still be read");
}

#[tokio::test]
async fn a_watch_sees_what_is_written_from_then_on() {
    let local = local();
    let table = vehicles(&local);
    let key = "a".to_owned();
    table.insert(&key, &1).unwrap();
    let (rows, mut watch) = table.watch_with_rows();
    assert_eq!(rows.collect::<Vec<_>>(), [(key.clone(), 1)]);
    table.insert(&key, &2).unwrap();
    table.remove(&key).unwrap();
    local.close();
    let change = |old, new| Some(Ok(Change { key: key.clone(), old, new, origin: Origin::Local }));
    assert_eq!(watch.next().await, change(Some(1), Some(2)));
    assert_eq!(watch.next().await, change(Some(2), None));
    assert_eq!(watch.next().await, None);
}

fn bytes(value: u32) -> Vec<u8> {
    encode_value(&value).unwrap()
}

#[test]
fn an_update_puts_removes_or_keeps() {
    let up = |value: Option<u32>| Some(value.unwrap_or(0) + 1);
    assert!(matches!(updated(None, up), Ok((Update::Put(new), Some(1))) if new == bytes(1)));
    assert!(matches!(updated(Some(&bytes(1)), up), Ok((Update::Put(new), Some(2))) if new == bytes(2)));
    assert!(matches!(updated(Some(&bytes(1)), |_| None::<u32>), Ok((Update::Remove, None))));
    assert!(matches!(updated(None, |_| None::<u32>), Ok((Update::Keep, None))));
    let same = updated(Some(&bytes(1)), |value: Option<u32>| value);
    assert!(matches!(same, Ok((Update::Keep, Some(1)))), "the same value again is no write");
}

#[test]
fn an_update_of_a_row_of_another_type_leaves_it_alone() {
    let foreign = encode_value("no number").unwrap();
    let outcome = updated(Some(&foreign), |_| -> Option<u32> { panic!("there is nothing to be changed") });
    assert!(matches!(outcome, Err(RowError::Decode { what: "value", .. })));
}

#[test]
fn an_update_to_a_value_that_does_not_fit_is_refused() {
    let outcome = updated(None, |_| Some("v".repeat(MAX_VALUE)));
    assert!(matches!(outcome, Err(RowError::ValueTooLong { .. })));
}

#[test]
fn refusals_of_the_store_keep_their_meaning() {
    assert_eq!(WriteError::from(store::WriteError::NotReady), WriteError::NotReady);
    assert!(WriteError::NotReady.to_string().contains("Cluster::ready"));
}
