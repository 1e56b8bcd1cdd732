//! Rows that are pushed: who may push, what is expected of it, and what a session need not bring.

use std::time::Duration;

use super::message::{Control, FrameBody, Have, Hello, Purpose, control_frame, kind, read_frame};
use super::push::Pushed;
use super::streams::{Stream, StreamPhase};
use super::tests::{NOW, OWN, PEER, STRANGER, engine, first_frame, row, stream};
use super::*;
use crate::crdt::{Context, Dot};
use crate::id::NodeId;
use crate::membership::Identity;
use crate::replication::{self, BACKLOG_BYTES, Push};
use crate::store::Row;
use crate::wire::Versions;

fn hello(replica: ReplicaId) -> Control {
    let node = NodeId::new("gary").unwrap();
    let identity = Identity { address: ([127, 0, 0, 1], 4_872).into(), node, replica, boot: 1, renewal: 0 };
    let (cluster, purpose) = ("parking".to_owned(), Purpose::Push);
    Control::Hello(Box::new(Hello { spoken: Versions::OURS, cluster, identity, purpose, roster: 0, members: 0 }))
}

fn frame(rows: &[Row]) -> bytes::Bytes {
    wire::seal_frame(replication::pack_all(rows, wire::open_frame(kind::ROWS)))
}

/// Write number `seq` of a replica.
fn write(author: ReplicaId, seq: u64) -> Row {
    let mut row = row("cars", author, &seq.to_be_bytes());
    row.entry.dot.seq = seq;
    row
}

fn says(engine: &mut Engine, stream: StreamId, bytes: bytes::Bytes) {
    engine.handle(NOW, Input::Frame { stream, bytes });
}

/// A stream on which this replica said that it pushes.
fn pushed(engine: &mut Engine, by: ReplicaId) -> StreamId {
    let accepted = stream(engine, false, StreamPhase::Greeted);
    says(engine, accepted, first_frame(&hello(by)));
    accepted
}

fn knows(engine: &Engine, author: ReplicaId, seq: u64) -> bool {
    engine.store.knows(Dot { replica: author, seq })
}

#[test]
fn members_push_to_members_and_nobody_else_does() {
    for (formed, by, taken) in [(true, PEER, true), (true, STRANGER, false), (false, PEER, false)] {
        let mut engine = engine(formed);
        let stream = pushed(&mut engine, by);
        says(&mut engine, stream, frame(&[write(PEER, 1)]));
        assert_eq!(knows(&engine, PEER, 1), taken, "{by} pushes, formed: {formed}");
        assert_eq!(engine.streams.open.contains_key(&stream), taken);
    }
}

#[test]
fn who_is_evicted_while_it_pushes_is_not_listened_to() {
    let mut engine = engine(true);
    let stream = pushed(&mut engine, PEER);
    engine.evict(PEER, "for the test");
    says(&mut engine, stream, frame(&[write(PEER, 1)]));
    assert!(!knows(&engine, PEER, 1) && !engine.streams.open.contains_key(&stream));
    assert_eq!(engine.stats().malformed, 0);
}

#[test]
fn a_push_that_cannot_be_read_is_counted_and_closed() {
    for spoil in [false, true] {
        let mut engine = engine(true);
        let stream = pushed(&mut engine, PEER);
        let mut bytes = frame(&[write(PEER, 1)]).to_vec();
        if spoil {
            *bytes.last_mut().unwrap() ^= 1;
        }
        says(&mut engine, stream, bytes.into());
        assert_eq!(knows(&engine, PEER, 1), !spoil);
        assert_eq!((engine.stats().malformed, engine.streams.open.contains_key(&stream)), (spoil.into(), !spoil));
    }
    // Nothing but rows.
    let mut engine = engine(true);
    let stream = pushed(&mut engine, PEER);
    let pull = Control::Pull {
        roster: None,
        members: None,
        knows: 0,
        have: Have::Context(Context::default()),
        expected: Vec::new(),
    };
    says(&mut engine, stream, control_frame(&pull));
    assert_eq!((engine.stats().malformed, engine.streams.open.len()), (1, 0));
}

#[test]
fn a_second_push_of_a_member_takes_the_place_of_the_first() {
    let mut engine = engine(true);
    let first = pushed(&mut engine, PEER);
    let state = engine.streams.open.remove(&first).unwrap();
    engine.streams.open.insert(StreamId(3), state);
    let second = pushed(&mut engine, PEER);
    assert_eq!(engine.streams.open.keys().collect::<Vec<_>>(), [&second]);
}

#[test]
fn what_is_pushed_is_expected_as_long_as_it_comes_and_has_no_hole() {
    let mut engine = engine(true);
    assert_eq!(engine.expected(), []);
    let stream = pushed(&mut engine, PEER);
    assert_eq!(engine.expected(), [PEER]);
    says(&mut engine, stream, frame(&[write(PEER, 2)]));
    assert_eq!(engine.expected(), [], "the first is missing");
    says(&mut engine, stream, frame(&[write(PEER, 1)]));
    assert_eq!(engine.expected(), [PEER]);
    let later = Now { instant: NOW.instant + Duration::from_millis(1_001), ..NOW };
    engine.handle(later, Input::StoreChanged);
    assert_eq!(engine.expected(), [], "nothing came for a while");
    engine.handle(later, Input::Frame { stream, bytes: frame(&[write(PEER, 3)]) });
    assert_eq!(engine.expected(), [PEER]);
    engine.handle(later, Input::Closed { stream });
    assert_eq!(engine.expected(), [], "the stream ended");
}

/// What a responder that holds a write of this node, and two of the peer, says to a requester that has the first of the
/// peer's: how many rows, and up to where its end claims to know the peer's.
fn served(expected: &[ReplicaId], of_own: bool) -> (usize, u64) {
    let mut engine = engine(true);
    // What this node itself said of itself is known to the requester.
    let mut have = engine.store.context();
    if !of_own {
        engine.store.put(NOW, &crate::store::TableName::new("cars").unwrap(), b"own", b"value").unwrap();
    }
    engine.merge_eager(vec![write(PEER, 1), write(PEER, 2)]);
    have.add(Dot { replica: PEER, seq: 1 });
    while engine.poll_output().is_some() {}
    let stream = stream(&mut engine, false, StreamPhase::Asked(None));
    let (knows, have) = (engine.roster.fingerprint(), Have::Context(have));
    let pull = Control::Pull { roster: None, members: None, knows, have, expected: expected.to_vec() };
    says(&mut engine, stream, control_frame(&pull));
    let (mut rows, mut claims) = (0, None);
    while let Some(output) = engine.poll_output() {
        if let Output::Frame { bytes, .. } = output {
            match read_frame(&bytes).unwrap() {
                FrameBody::Rows(body) => rows += replication::unpack(body).unwrap().len(),
                FrameBody::Control(Control::End { context, .. }) => claims = Some(context.base(PEER)),
                FrameBody::Control(_) => {}
            }
        }
    }
    assert_eq!(engine.sessions(), 1);
    (rows, claims.expect("an end"))
}

#[test]
fn a_session_brings_nothing_where_all_that_is_lacking_is_expected_and_claims_no_more_than_the_other_has() {
    assert_eq!(served(&[], true), (1, 2));
    assert_eq!(served(&[PEER], true), (0, 1));
    assert_eq!(served(&[PEER], false), (2, 2), "something else is lacking too");
    assert_eq!(served(&[PEER, OWN], false), (0, 1));
}

#[test]
fn who_holds_the_others_up_is_told_so_whoever_else_goes() {
    let mut engine = engine(true);
    let frame = || bytes::Bytes::from(vec![0; BACKLOG_BYTES / 2]);
    (0..3).for_each(|_| engine.pushing.backlog.push(frame()));
    for (peer, id, next) in [(PEER, 2, 0), (STRANGER, 4, 1), (ReplicaId(4), 6, 3)] {
        let opened = stream(&mut engine, true, StreamPhase::Pushing);
        let state = engine.streams.open.remove(&opened).unwrap();
        engine.streams.open.insert(StreamId(id), Stream { purpose: Purpose::Push, peer: Some(peer), ..state });
        engine.pushing.to.insert(peer, Pushed { stream: StreamId(id), open: true, place: Push::new(next) });
    }
    engine.stream_closed(StreamId(2));
    let closed = std::iter::from_fn(|| engine.poll_output());
    let closed = closed.filter(|output| matches!(output, Output::Close { stream: StreamId(4) })).count();
    assert_eq!((closed, engine.stats().pushes_given_up), (1, 1));
    assert_eq!(engine.streams.open.keys().collect::<Vec<_>>(), [&StreamId(6)]);
    assert!(engine.pushing.backlog.has_room());
}
