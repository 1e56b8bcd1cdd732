//! Rows one behind the other: of each, only what differs from the row before it.
//!
//! ```text
//!   flags (1) [table] [author (8)] [seq, from the last] stamp, from the last [rank] [expires] key [value] [swallowed]
//! ```
//!
//! Rows that travel together are mostly of one table and one author, and count on. A row then takes about five bytes
//! besides its key and value, and is allocated once, with the name of its table shared by all of them. There is one encoding for a
//! list of rows: whatever could have been said shorter is malformed.

use crate::crdt::{Dot, Entry, Mark, Record};
use crate::id::ReplicaId;
use crate::store::{Row, TableName};
use crate::time::Stamp;
use crate::wire::Malformed;

/// The table follows.
const TABLE: u8 = 1;
/// The author follows.
const AUTHOR: u8 = 2;
/// The distance of the dot's number follows; else it is the next one.
const SEQ: u8 = 4;
/// The rank follows; else it is that of a put: its own stamp and author.
const RANK: u8 = 8;
/// There is no value.
const REMOVAL: u8 = 16;
/// What the row swallowed follows.
const SWALLOWED: u8 = 32;
/// When the value ends follows.
const EXPIRES: u8 = 64;
const ALL: u8 = TABLE | AUTHOR | SEQ | RANK | REMOVAL | SWALLOWED | EXPIRES;

/// What the next row is compared with.
struct Last {
    table: Option<TableName>,
    dot: Dot,
    stamp: Stamp,
}

impl Last {
    const NONE: Self = Self { table: None, dot: Dot { replica: ReplicaId(0), seq: 0 }, stamp: Stamp(0) };
}

/// Encodes rows one behind the other.
pub(super) struct Encoder(Last);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(Last::NONE)
    }

    pub(super) fn put(&mut self, row: &Row, out: &mut Vec<u8>) {
        let Row { table, key, entry, swallowed } = row;
        let Entry { dot, stamp, rank_time, rank_author, expires, value } = entry;
        let last = &mut self.0;
        let flag = |flag, is_set: bool| if is_set { flag } else { 0 };
        let flags = flag(TABLE, last.table.as_ref() != Some(table))
            | flag(AUTHOR, last.dot.replica != dot.replica)
            | flag(SEQ, last.dot.seq.wrapping_add(1) != dot.seq)
            | flag(RANK, (rank_time, rank_author) != (stamp, &dot.replica))
            | flag(REMOVAL, value.is_none())
            | flag(SWALLOWED, !swallowed.is_empty())
            | flag(EXPIRES, expires.is_some());
        out.push(flags);
        if flags & TABLE != 0 {
            put_bytes(out, table.as_str().as_bytes());
            last.table = Some(table.clone());
        }
        if flags & AUTHOR != 0 {
            out.extend_from_slice(&dot.replica.0.to_be_bytes());
        }
        if flags & SEQ != 0 {
            put_distance(out, last.dot.seq, dot.seq);
        }
        put_distance(out, last.stamp.0, stamp.0);
        if flags & RANK != 0 {
            put_distance(out, stamp.0, rank_time.0);
            out.extend_from_slice(&rank_author.0.to_be_bytes());
        }
        if let Some(expires) = expires {
            put_distance(out, stamp.0, expires.0);
        }
        put_bytes(out, key);
        if let Some(value) = value {
            put_bytes(out, value);
        }
        if flags & SWALLOWED != 0 {
            put_number(out, swallowed.len() as u64);
            swallowed.iter().for_each(|seq| put_number(out, *seq));
        }
        (last.dot, last.stamp) = (*dot, *stamp);
    }
}

/// Decodes rows one by one. What it allocates is bounded by the bytes that it is given; whether a row makes sense is
/// checked when it is merged. After an error there are no more.
pub struct Rows<'a> {
    left: &'a [u8],
    last: Last,
}

impl<'a> Rows<'a> {
    /// The rows in a body.
    pub fn new(body: &'a [u8]) -> Self {
        Self { left: body, last: Last::NONE }
    }

    fn row(&mut self) -> Result<Row, Malformed> {
        let (mut from, last) = (self.left, &mut self.last);
        let [flags] = *take(&mut from)?;
        let has = |flag| flags & flag != 0;
        if flags & !ALL != 0 {
            return Err(Malformed);
        }
        if has(TABLE) {
            let name = std::str::from_utf8(take_bytes(&mut from)?).map_err(|_| Malformed)?;
            if last.table.as_ref().is_some_and(|table| table.as_str() == name) {
                return Err(Malformed);
            }
            last.table = Some(TableName::new(name).map_err(|_| Malformed)?);
        }
        let replica = if has(AUTHOR) { take_replica(&mut from)? } else { last.dot.replica };
        let next = last.dot.seq.wrapping_add(1);
        let seq = if has(SEQ) { take_distance(&mut from, last.dot.seq)? } else { next };
        let stamp = Stamp(take_distance(&mut from, last.stamp.0)?);
        let of_put = (stamp, replica);
        let rank =
            if has(RANK) { (Stamp(take_distance(&mut from, stamp.0)?), take_replica(&mut from)?) } else { of_put };
        let shorter =
            (has(AUTHOR) && replica == last.dot.replica) || (has(SEQ) && seq == next) || (has(RANK) && rank == of_put);
        let table = last.table.clone().filter(|_| !shorter).ok_or(Malformed)?;
        let expires = if has(EXPIRES) { Some(Stamp(take_distance(&mut from, stamp.0)?)) } else { None };
        let key = take_bytes(&mut from)?;
        let value = if has(REMOVAL) { &[] } else { take_bytes(&mut from)? };
        let swallowed = if has(SWALLOWED) { take_swallowed(&mut from)? } else { Vec::new() };
        let dot = Dot { replica, seq };
        (last.dot, last.stamp, self.left) = (dot, stamp, from);
        let (rank_time, rank_author) = rank;
        let mark = Mark { dot, stamp, rank_time, rank_author, expires, removal: has(REMOVAL) };
        Ok(Row { swallowed, ..Row::of(table, &Record::new(key, mark, value)) })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let row = self.row();
        if row.is_err() {
            self.left = &[];
        }
        Some(row)
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A small number either way takes few bytes.
fn put_distance(out: &mut Vec<u8>, from: u64, to: u64) {
    let distance = to.wrapping_sub(from).cast_signed();
    put_number(out, ((distance << 1) ^ (distance >> 63)).cast_unsigned());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take<'a, const N: usize>(from: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (taken, rest) = from.split_first_chunk().ok_or(Malformed)?;
    *from = rest;
    Ok(taken)
}

fn take_number(from: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = *take(from)?;
        let part = u64::from(byte & 0x7f);
        if (part << shift) >> shift != part || (byte == 0 && shift > 0) {
            return Err(Malformed);
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

fn take_distance(from: &mut &[u8], start: u64) -> Result<u64, Malformed> {
    let number = take_number(from)?;
    Ok(start.wrapping_add((number >> 1) ^ (number & 1).wrapping_neg()))
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(take_number(from)?).map_err(|_| Malformed)?;
    let (taken, rest) = from.split_at_checked(length).ok_or(Malformed)?;
    *from = rest;
    Ok(taken)
}

fn take_replica(from: &mut &[u8]) -> Result<ReplicaId, Malformed> {
    Ok(ReplicaId(u64::from_be_bytes(*take(from)?)))
}

fn take_swallowed(from: &mut &[u8]) -> Result<Vec<u64>, Malformed> {
    let count = usize::try_from(take_number(from)?).map_err(|_| Malformed)?;
    if count == 0 || count > Row::MAX_SWALLOWED {
        return Err(Malformed);
    }
    (0..count).map(|_| take_number(from)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, Just(u64::MAX), any::<u64>()]
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..200)
    }

    prop_compose! {
        fn row()(
            table in prop::sample::select(vec!["cars", "@claims", "_roles"]),
            (author, seq, stamp) in (number(), number(), number()),
            rank in prop::option::of((number(), number())),
            (key, value) in (bytes(), prop::option::of(bytes())),
            (expires, swallowed) in (prop::option::of(number()), prop::collection::vec(number(), 0..3)),
        ) -> Row {
            let (rank_time, rank_author) = rank.unwrap_or((stamp, author));
            let entry = Entry {
                dot: Dot { replica: ReplicaId(author), seq },
                stamp: Stamp(stamp),
                rank_time: Stamp(rank_time),
                rank_author: ReplicaId(rank_author),
                expires: expires.map(Stamp),
                value: value.map(|value| value.as_slice().into()),
            };
            Row { table: TableName::new(table).unwrap(), key: key.as_slice().into(), entry, swallowed }
        }
    }

    fn encoded(rows: &[Row]) -> Vec<u8> {
        let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
        rows.iter().for_each(|row| encoder.put(row, &mut bytes));
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<Row>, Malformed> {
        Rows::new(bytes).collect()
    }

    proptest! {
        #[test]
        fn rows_come_back_and_each_list_has_one_encoding(rows in prop::collection::vec(row(), 0..8), spoil: (usize, u8)) {
            let mut bytes = encoded(&rows);
            prop_assert_eq!(decoded(&bytes), Ok(rows));
            let (place, bits) = spoil;
            if let Some(byte) = place.checked_rem(bytes.len()).and_then(|place| bytes.get_mut(place)) {
                *byte ^= bits;
            }
            if let Ok(rows) = decoded(&bytes) {
                prop_assert_eq!(encoded(&rows), bytes);
            }
        }

        #[test]
        fn any_bytes_are_rows_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(rows) = decoded(&bytes) {
                prop_assert_eq!(encoded(&rows), bytes);
            }
        }
    }

    /// No node of this version will read anything else.
    #[test]
    fn the_encoding_is_pinned() {
        let (author, table) = (ReplicaId(7), TableName::new("cars").unwrap());
        let put = |seq: u64, stamp: u64| Row {
            table: table.clone(),
            key: b"key"[..].into(),
            entry: Entry {
                dot: Dot { replica: author, seq },
                stamp: Stamp(stamp),
                rank_time: Stamp(stamp),
                rank_author: author,
                expires: None,
                value: Some(b"v"[..].into()),
            },
            swallowed: Vec::new(),
        };
        let removal = Entry { value: None, rank_time: Stamp(65), ..put(2, 66).entry };
        let rows = [put(1, 65), Row { entry: removal, swallowed: vec![300], ..put(2, 66) }];
        let first = b"\x03\x04cars\x00\x00\x00\x00\x00\x00\x00\x07\x82\x01\x03key\x01v";
        let second = b"\x38\x02\x01\x00\x00\x00\x00\x00\x00\x00\x07\x03key\x01\xac\x02";
        assert_eq!(encoded(&rows), [&first[..], second].concat());
    }

    #[test]
    fn what_could_be_said_shorter_is_malformed() {
        let valid = encoded(&[row_of(1)]);
        assert!(decoded(&valid).is_ok());
        // The number of the dot is the next one and stands there nevertheless.
        let mut longer = valid.clone();
        longer[0] |= SEQ;
        longer.splice(14..14, [2]);
        assert_eq!(decoded(&longer), Err(Malformed));
        let mut unknown = valid;
        unknown[0] |= 128;
        assert_eq!(decoded(&unknown), Err(Malformed));
        assert_eq!(take_number(&mut &[0x80, 0][..]), Err(Malformed));
        assert_eq!(take_number(&mut &[0xff; 10][..]), Err(Malformed));
    }

    fn row_of(author: u64) -> Row {
        let (dot, stamp) = (Dot { replica: ReplicaId(author), seq: 1 }, Stamp(1));
        let entry = Entry { dot, stamp, rank_time: stamp, rank_author: dot.replica, expires: None, value: None };
        Row { table: TableName::new("cars").unwrap(), key: b"key"[..].into(), entry, swallowed: Vec::new() }
    }
}
