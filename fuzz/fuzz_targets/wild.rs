//! Values of the types that cross the wire, made of bytes: whatever their constructors let through.

use std::net::SocketAddr;

use arbitrary::{Arbitrary, Result, Unstructured};
use unisono::crdt::{Context, Dot, Entry, Roster};
use unisono::membership::{Identity, Liveness, Record};
use unisono::roles::{Claim, ClaimState, FencingToken};
use unisono::store::{MAX_KEY, MAX_VALUE, Report, Row, TableName};
use unisono::time::Stamp;
use unisono::wire::Envelope;
use unisono::{Handover, NodeId, PartitionPolicy, ReplicaId, RoleSpec};

/// Some of everything.
pub(crate) struct Wild {
    pub(crate) envelope: Envelope,
    pub(crate) rows: Vec<Row>,
    pub(crate) records: Vec<Record>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) roles: Vec<RoleSpec>,
    pub(crate) reports: Vec<Report>,
    pub(crate) contexts: (Context, Context),
    pub(crate) rosters: (Roster, Roster),
}

impl<'a> Arbitrary<'a> for Wild {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            envelope: Envelope { kind: u.arbitrary()?, cluster: u.arbitrary()?, sender: replica(u)? },
            rows: many(u, row)?,
            records: many(u, record)?,
            claims: many(u, claim)?,
            roles: many(u, role)?,
            reports: many(u, report)?,
            contexts: (context(u)?, context(u)?),
            rosters: (roster(u)?, roster(u)?),
        })
    }
}

/// Up to a few.
fn many<'a, T>(u: &mut Unstructured<'a>, one: impl Fn(&mut Unstructured<'a>) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=7)?).map(|_| one(u)).collect()
}

/// Small, around a power of two, or anything.
fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    let byte: u8 = u.arbitrary()?;
    Ok(match byte {
        0..128 => byte.into(),
        128..192 => (1_u64 << (byte - 128)).wrapping_sub(1),
        192..255 => 1_u64 << (byte - 192),
        255 => u.arbitrary()?,
    })
}

fn replica(u: &mut Unstructured<'_>) -> Result<ReplicaId> {
    number(u).map(ReplicaId)
}

fn stamp(u: &mut Unstructured<'_>) -> Result<Stamp> {
    number(u).map(Stamp)
}

/// As long as the bytes ask for, whether or not so many are left.
fn bytes(u: &mut Unstructured<'_>, most: usize) -> Result<Vec<u8>> {
    let length = match u.arbitrary::<u8>()? {
        255 => most,
        254 => most - 1,
        253 => u.int_in_range(0..=most)?,
        short => usize::from(short % 16).min(most),
    };
    Ok(vec![u.arbitrary()?; length])
}

fn text(u: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let fill = *u.choose(&["a", "@", "_", "\u{e9}", "\u{1f3ba}"])?;
    let length = bytes(u, most)?.len();
    Ok(fill.repeat((length / fill.len()).max(1)))
}

fn row(u: &mut Unstructured<'_>) -> Result<Row> {
    let entry = Entry {
        dot: Dot { replica: replica(u)?, seq: number(u)? },
        stamp: stamp(u)?,
        rank_time: stamp(u)?,
        rank_author: replica(u)?,
        expires: if u.ratio(1, 4)? { Some(stamp(u)?) } else { None },
        value: if u.arbitrary()? { Some(bytes(u, MAX_VALUE)?.into()) } else { None },
    };
    let swallowed = if u.ratio(1, 8)? { Row::MAX_SWALLOWED } else { 0 };
    Ok(Row {
        table: TableName::new(text(u, TableName::MAX_BYTES)?).map_err(|_| arbitrary::Error::IncorrectFormat)?,
        key: bytes(u, MAX_KEY)?.into(),
        entry,
        swallowed: (0..swallowed).map(|_| number(u)).collect::<Result<_>>()?,
    })
}

fn node(u: &mut Unstructured<'_>) -> Result<NodeId> {
    NodeId::new(text(u, NodeId::MAX_BYTES)?).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn address(u: &mut Unstructured<'_>) -> Result<SocketAddr> {
    let port: u16 = u.arbitrary()?;
    Ok(if u.arbitrary()? {
        SocketAddr::from((u.arbitrary::<[u8; 4]>()?, port))
    } else {
        SocketAddr::from((u.arbitrary::<[u8; 16]>()?, port))
    })
}

fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let renewal = u.arbitrary()?;
    let identity = Identity { address: address(u)?, node: node(u)?, replica: replica(u)?, boot: number(u)?, renewal };
    let state = *u.choose(&[Liveness::Alive, Liveness::Suspect, Liveness::Down])?;
    Ok(Record { identity, incarnation: u.arbitrary()?, state })
}

fn claim(u: &mut Unstructured<'_>) -> Result<Claim> {
    let to = if u.arbitrary()? { Some(replica(u)?) } else { None };
    let state = match u.int_in_range(0..=5)? {
        0 => ClaimState::Starting,
        1 => ClaimState::Running,
        2 => ClaimState::Draining { to },
        3 => ClaimState::Stopped { to },
        4 => ClaimState::Yielding { to: replica(u)? },
        _ => ClaimState::Failed { why: text(u, 300)?, until_ms: number(u)? },
    };
    let token = FencingToken { stamp: stamp(u)?, replica: replica(u)? };
    let handed = u.arbitrary::<Option<Vec<u8>>>()?.map(Into::into);
    Ok(Claim { token, state, pinned: u.arbitrary()?, handed })
}

fn role(u: &mut Unstructured<'_>) -> Result<RoleSpec> {
    let (name, kind) = (text(u, RoleSpec::MAX_NAME)?, text(u, RoleSpec::MAX_NAME)?);
    let spec = RoleSpec::new(name).kind(kind).arguments(text(u, RoleSpec::MAX_ARGUMENTS)?).count(u.arbitrary()?);
    let spec = if u.arbitrary()? { spec.handover(Handover::MakeBeforeBreak) } else { spec };
    let spec = spec.revision(u.arbitrary()?).partition(match u.int_in_range(0..=2)? {
        0 => PartitionPolicy::Overlap,
        1 => PartitionPolicy::Majority,
        _ => PartitionPolicy::Quorum(u.arbitrary()?),
    });
    let spec = spec.only_on(text(u, 300)?, text(u, 300)?).apart_from(text(u, 300)?);
    Ok(if u.arbitrary()? { spec.spread_over(text(u, 300)?) } else { spec })
}

fn report(u: &mut Unstructured<'_>) -> Result<Report> {
    Ok(Report {
        replica: replica(u)?,
        version: number(u)?,
        seq: number(u)?,
        clock: stamp(u)?,
        covered: stamp(u)?,
        roster: number(u)?,
        departed: number(u)?,
    })
}

fn context(u: &mut Unstructured<'_>) -> Result<Context> {
    let mut context = Context::new();
    for (replica, first, more) in many(u, |u| Ok((replica(u)?, number(u)?, number(u)?)))? {
        context.add_range(ReplicaId(replica.0 % 3), first, first.saturating_add(more));
    }
    Ok(context)
}

fn roster(u: &mut Unstructured<'_>) -> Result<Roster> {
    let mut roster = Roster::new();
    for _ in 0..u.int_in_range(0..=7)? {
        let replica = ReplicaId(replica(u)?.0 % 4);
        match u.int_in_range(0..=3)? {
            0 => roster.evict(replica),
            1 => roster.readmit(replica),
            _ => roster.admit(replica, node(u)?, number(u)?),
        };
    }
    Ok(roster)
}
