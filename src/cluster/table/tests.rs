//! What an update comes to. Tables on a running node are tested from outside, in `tests/`.

use super::*;
use crate::wire::MAX_VALUE;

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
