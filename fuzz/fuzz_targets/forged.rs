//! Rows that a member would never write, but that decode: numbers at the end of all numbers, claims and specs that
//! nobody made, in the tables that engines read. In come bytes, each of them one choice; out go rows.

use std::collections::BTreeMap;

use unisono::crdt::{Dot, Entry};
use unisono::roles::{Claim, ClaimState, FencingToken};
use unisono::store::{Row, TableName, owner_key};
use unisono::time::Stamp;
use unisono::wire;
use unisono::{Handover, PartitionPolicy, ReplicaId, RoleSpec};

use crate::process::ROLE;

/// A row of the choices that `byte` makes.
pub(crate) fn row(byte: &mut impl FnMut() -> u8) -> Row {
    let author = replica(byte());
    let table = ["cars", "_roles", "@members", "@claims", "@agree"][usize::from(byte() % 5)];
    let name = if byte() % 4 == 0 { "siren" } else { ROLE };
    let value = match table {
        "_roles" => wire::encode(&spec(name, byte)),
        "@members" => {
            let labels = [("zone", "a")].into_iter().take(usize::from(byte() % 2)).collect::<BTreeMap<_, _>>();
            let kinds = vec![ROLE; usize::from(byte() % 3)];
            let node = format!("node-{}", byte() % 4);
            let (unready, leaves, late) = (byte() % 2 == 0, byte() % 2 == 0, byte() % 2 == 0);
            wire::encode(&(node, kinds, labels, byte(), unready, leaves, late))
        }
        "@claims" => wire::encode(&claim(byte)),
        _ => vec![byte(); usize::from(byte())],
    };
    let key = match table {
        "@members" | "@agree" => owner_key(author, &[]),
        "@claims" => owner_key(author, name.as_bytes()),
        "_roles" => name.as_bytes().to_vec(),
        _ => vec![byte() % 8],
    };
    let seq = number(byte).max(1);
    let swallowed = if table.starts_with('@') { seq.saturating_sub(3).max(1)..seq } else { 0..0 };
    Row {
        table: TableName::new(table).expect("a valid name"),
        key: key.into(),
        entry: Entry {
            dot: Dot { replica: author, seq },
            stamp: Stamp(number(byte)),
            rank_time: Stamp(number(byte)),
            rank_author: replica(byte()),
            expires: (byte() % 4 == 0).then(|| Stamp(number(byte))),
            value: (byte() % 4 > 0).then(|| value.into()),
        },
        swallowed: swallowed.collect(),
    }
}

fn spec(name: &str, byte: &mut impl FnMut() -> u8) -> RoleSpec {
    let count = [0, 1, 2, 5, u32::MAX][usize::from(byte() % 5)];
    let spec = RoleSpec::new(name).kind(ROLE).count(count).arguments("x".repeat(byte().into()));
    let spec = if byte() % 4 == 0 { spec.handover(Handover::MakeBeforeBreak) } else { spec };
    match byte() % 8 {
        0 => spec.partition(PartitionPolicy::Majority),
        1 => spec.partition(PartitionPolicy::Quorum(byte().into())),
        2 => spec.apart_from(ROLE),
        3 => spec.only_on("zone", "a"),
        4 => spec.spread_over("zone"),
        _ => spec,
    }
}

fn claim(byte: &mut impl FnMut() -> u8) -> Claim {
    let to = Some(replica(byte())).filter(|to| to.0 > 0);
    let state = match byte() % 6 {
        0 => ClaimState::Starting,
        1 => ClaimState::Running,
        2 => ClaimState::Draining { to },
        3 => ClaimState::Stopped { to },
        4 => ClaimState::Yielding { to: replica(byte()) },
        _ => ClaimState::Failed { why: "x".repeat(byte().into()), until_ms: number(byte) },
    };
    let token = FencingToken { stamp: Stamp(number(byte)), replica: replica(byte()) };
    let handed = (byte() % 4 == 0).then(|| vec![7; byte().into()].into());
    Claim { token, state, pinned: byte() % 2 == 0, handed }
}

/// The two, those that took their places, and some that never were.
fn replica(byte: u8) -> ReplicaId {
    ReplicaId((byte % 5).into())
}

/// Small, just around a power of two, or near the present as stamps go.
fn number(byte: &mut impl FnMut() -> u8) -> u64 {
    let by = byte();
    match by {
        0..96 => by.into(),
        96..160 => 1 << (by - 96),
        160..224 => (1_u64 << (by - 160)).wrapping_sub(1),
        255 => u64::MAX,
        _ => Stamp::from_millis(1_700_000_000_000 + (u64::from(by - 224) << 9)).0,
    }
}
