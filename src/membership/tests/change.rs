//! Which step from one record to another is said how.

use super::network::identity;
use crate::id::ReplicaId;
use crate::membership::list::MemberList;
use crate::membership::{Change, Identity, Liveness, Record};

fn record(identity: &Identity, incarnation: u16, state: Liveness) -> Record {
    Record { identity: identity.clone(), incarnation, state }
}

#[test]
fn each_step_is_said_once_and_as_what_it_is() {
    use Liveness::{Alive, Down, Suspect};
    let first = identity(1);
    let renewed = Identity { renewal: 1, ..first.clone() };
    let again = Identity { renewal: 2, ..first.clone() };
    let next = Identity { replica: ReplicaId(50), boot: 2_000, ..first.clone() };
    let last = Identity { replica: ReplicaId(51), boot: 3_000, ..first.clone() };
    let mut list = MemberList::default();
    for (record, expected) in [
        (record(&first, 0, Alive), vec![Change::Up(first.clone())]),
        (record(&first, 0, Alive), vec![]),
        (record(&first, 0, Suspect), vec![Change::Suspected(first.clone())]),
        (record(&first, 1, Alive), vec![Change::Refuted(first.clone())]),
        (record(&first, 2, Alive), vec![]),
        (record(&first, 2, Down), vec![Change::Down(first.clone())]),
        (record(&renewed, 0, Alive), vec![Change::Up(renewed.clone())]),
        (record(&renewed, 0, Suspect), vec![Change::Suspected(renewed.clone())]),
        (record(&again, 0, Alive), vec![Change::Renewed(again.clone()), Change::Refuted(again.clone())]),
        (record(&next, 0, Alive), vec![Change::Replaced { old: again.clone(), new: next.clone() }]),
        (record(&last, 0, Down), vec![Change::Down(next.clone())]),
    ] {
        let mut changes = Vec::new();
        list.put(record.clone(), &mut changes);
        assert_eq!(changes, expected, "{record:?}");
    }
    assert!(list.find(first.replica).is_none() && list.find(last.replica).is_some());
    assert_eq!((list.len(), list.count(Liveness::Down)), (1, 1));
}

#[test]
fn the_fingerprint_is_that_of_the_records_in_any_order_and_is_pinned() {
    let mut changes = Vec::new();
    let records: Vec<Record> = (0..5).map(|number| record(&identity(number), 1, Liveness::Alive)).collect();
    let hash = |records: &[Record]| {
        let mut list = MemberList::default();
        for record in records {
            list.put(record.clone(), &mut Vec::new());
        }
        list.fingerprint()
    };
    let whole = hash(&records);
    let mut reversed = records.clone();
    reversed.reverse();
    assert_eq!(hash(&reversed), whole);
    assert_eq!(whole, 0x6a7274d7a3e87ba5);

    let mut list = MemberList::default();
    for record in &records {
        list.put(Record { state: Liveness::Suspect, incarnation: 0, ..record.clone() }, &mut changes);
        list.put(record.clone(), &mut changes);
    }
    assert_eq!(list.fingerprint(), whole, "the hash follows each step");
    list.put(Record { state: Liveness::Down, ..records[4].clone() }, &mut changes);
    assert_eq!(list.fingerprint(), hash(&records[..4]), "a Down member counts by its absence");
    list.forget_down(&records[4].identity);
    list.forget_down(&records[3].identity);
    assert_eq!(list.fingerprint(), hash(&records[..4]));
    assert_eq!((list.len(), list.count(Liveness::Down)), (4, 0));
}
