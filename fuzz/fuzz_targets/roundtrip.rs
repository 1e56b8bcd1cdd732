//! What is encoded decodes to the same, and what decodes encodes to what decodes to the same: every type that crosses
//! the wire, and the sizes that it may have there.
//!
//! ```text
//! cargo +nightly fuzz run roundtrip
//! ```
//!
//! An even first byte: the others are tried as the encoding of every type. An odd one: values are made of them (see
//! `wild`). Of decoded bytes the encoding is not always the bytes themselves, since postcard reads numbers also with
//! leading zeroes (80 00 is 0); but it is never longer, and it is a fixpoint. That costs nothing: no signature and no
//! hash is taken over bytes that somebody else encoded.

#![no_main]

mod wild;

use std::fmt::Debug;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use unisono::RoleSpec;
use unisono::crdt::{Admission, Context, Dot, Entry, Roster};
use unisono::discovery::recode_beacon;
use unisono::engine::{Spoken, recode};
use unisono::membership::{Identity, Record};
use unisono::replication::{pack, pack_all, unpack};
use unisono::roles::{Claim, FencingToken};
use unisono::store::{BucketHashes, Digest, Report, Row, TableName};
use unisono::time::{Instant, Stamp};
use unisono::wire::{self, Envelope};
use unisono::{NodeId, ReplicaId};

use wild::Wild;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    if first % 2 == 0 {
        decoded(data);
    } else if let Ok(values) = Unstructured::new(data).arbitrary::<Wild>() {
        encoded(&values);
    }
});

/// Tries the bytes as everything.
fn decoded(bytes: &[u8]) {
    decodes::<Row>(bytes);
    decodes::<Entry>(bytes);
    decodes::<Dot>(bytes);
    decodes::<Vec<Record>>(bytes);
    decodes::<Identity>(bytes);
    decodes::<RoleSpec>(bytes);
    decodes::<Claim>(bytes);
    decodes::<FencingToken>(bytes);
    decodes::<Report>(bytes);
    decodes::<Digest>(bytes);
    decodes::<BucketHashes>(bytes);
    decodes::<Admission>(bytes);
    decodes::<(NodeId, TableName)>(bytes);
    decodes::<(Instant, Stamp, ReplicaId)>(bytes);
    if let Some(context) = decodes::<Context>(bytes) {
        assert!(context.intervals() <= Context::MAX_INTERVALS);
        assert_eq!(context.includes(&context), true);
        let rebuilt = {
            let mut empty = Context::new();
            empty.join(&context);
            empty
        };
        assert_eq!(rebuilt, context, "the normal form is what joining makes");
        assert_eq!(rebuilt.hash_where(|_| true), context.hash_where(|_| true));
    }
    if let Some(roster) = decodes::<Roster>(bytes) {
        assert!(roster.len() <= Roster::MAX_ENTRIES);
        let rebuilt = {
            let mut empty = Roster::new();
            empty.join(&roster);
            empty
        };
        assert_eq!(rebuilt.fingerprint(), roster.fingerprint());
        assert_eq!(rebuilt.member_set(), roster.member_set());
    }
    for what in [Spoken::Message, Spoken::Control, Spoken::MemberInfo] {
        if let Ok((again, same)) = recode(what, bytes) {
            assert!(same, "{what:?} is another after a round trip");
            assert!(again.len() <= bytes.len(), "{what:?} grows");
            assert_eq!(recode(what, &again), Ok((again.clone(), true)));
        }
    }
    if let Some(again) = recode_beacon(bytes) {
        assert!(again.len() <= bytes.len());
        assert_eq!(recode_beacon(&again), Some(again));
    }
    if let Ok((envelope, body)) = Envelope::split(bytes) {
        let again = wire::seal([&envelope.open(), body].concat());
        assert_eq!(Envelope::split(&again), Ok((envelope, body)));
        assert_eq!(again.len(), bytes.len());
    }
    if let Ok(body) = wire::split_padded(bytes) {
        let mut again = Vec::new();
        wire::push_padded(&mut again, body, false);
        assert!(bytes.starts_with(&again));
    }
    if let Ok(rows) = unpack(bytes) {
        packs(&rows);
    }
}

fn decodes<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = wire::decode_prefix::<T>(bytes).ok()?;
    let taken = bytes.len() - rest.len();
    assert_eq!(wire::decode::<T>(bytes).is_ok(), rest.is_empty());
    assert!(comes_back(&value).len() <= taken, "{value:?} grows");
    Some(value)
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Vec<u8> {
    let bytes = wire::encode(value);
    let decoded = wire::decode::<T>(&bytes);
    assert_eq!(decoded.as_ref(), Ok(value));
    for short in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        assert!(short == bytes.len() || wire::decode::<T>(&bytes[..short]).is_err(), "a part of it decodes");
    }
    bytes
}

/// Encodes every value.
fn encoded(values: &Wild) {
    for row in &values.rows {
        assert!(comes_back(row).len() <= row.max_size());
        assert!(row.max_size() < wire::MAX_FRAME);
        comes_back(&row.entry);
    }
    packs(&values.rows);
    comes_back(&values.records);
    comes_back(&values.claims);
    comes_back(&values.roles);
    comes_back(&values.reports);
    let (one, other) = (&values.contexts.0, &values.contexts.1);
    comes_back(one);
    joins(one, other);
    comes_back(&values.rosters.0);
    let (mut there, mut back) = (values.rosters.0.clone(), values.rosters.1.clone());
    there.join(&values.rosters.1);
    back.join(&values.rosters.0);
    assert_eq!((there.fingerprint(), there.member_set()), (back.fingerprint(), back.member_set()));
    assert!(!back.join(&there));
    comes_back(&there);
    let Envelope { kind, cluster, sender } = values.envelope;
    let bytes = wire::seal(values.envelope.open());
    assert_eq!(bytes.len(), Envelope::BYTES);
    assert_eq!(Envelope::split(&bytes), Ok((Envelope { kind, cluster, sender }, &[][..])));
}

fn joins(one: &Context, other: &Context) {
    let (mut there, mut back) = (one.clone(), other.clone());
    let news = there.join(other);
    back.join(one);
    assert_eq!(there, back);
    assert_eq!(news, there != *one);
    assert!(there.includes(one) && there.includes(other) && !there.clone().join(one));
    comes_back(&there);
    let least = there.truncated(1);
    assert!(there.includes(&least));
}

/// Rows in datagrams: none too long, none lost, all in order.
fn packs(rows: &[Row]) {
    let packed = pack(rows, wire::MAX_BODY, Vec::new);
    let fits = |row: &&Row| pack_all([*row], Vec::new()).len() <= wire::MAX_BODY;
    let (small, large): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(fits);
    assert!(packed.bodies.iter().all(|body| !body.is_empty() && body.len() <= wire::MAX_BODY));
    let unpacked: Vec<Row> = packed.bodies.iter().flat_map(|body| unpack(body).expect("what was packed")).collect();
    assert!(unpacked.iter().eq(small));
    assert!(packed.too_large.iter().eq(large.iter().map(|row| &row.entry.dot)));
}
