//! What a single engine does with what it is given, where a whole cluster would hardly ever show it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::message::{Control, FrameBody, Have, Hello, Message, Purpose, Refusal, control_frame, kind, read_frame};
use super::streams::{Stream, StreamPhase};
use super::*;
use crate::crdt::{Context, Dot, Entry};
use crate::id::NodeId;
use crate::membership::Identity;
use crate::replication::{self, Pull};
use crate::store::{Row, StoreConfig, TableName};
use crate::time::Stamp;
use crate::wire::{Envelope, Versions};

pub(super) const OWN: ReplicaId = ReplicaId(1);
pub(super) const PEER: ReplicaId = ReplicaId(2);
pub(super) const STRANGER: ReplicaId = ReplicaId(3);
pub(super) const NOW: Now = Now { instant: Instant::ZERO, wall_ms: 1_000_000 };

pub(super) fn engine(formed: bool) -> Engine {
    let node = NodeId::new("larry").unwrap();
    let identity = Identity { address: ([127, 0, 0, 1], 4_871).into(), node, replica: OWN, boot: 1, renewal: 0 };
    let config = EngineConfig {
        cluster: "parking".to_owned(),
        identity: identity.clone(),
        timing: Timing::local(),
        kinds: BTreeSet::new(),
        labels: Default::default(),
        roles: Vec::new(),
        tombstone_quota: EngineConfig::TOMBSTONE_QUOTA,
        departed_authors: EngineConfig::DEPARTED_AUTHORS,
        protocol: Versions::OURS,
        seed: 1,
    };
    let mut engine = Engine::new(NOW, config, Arc::new(Store::new(StoreConfig::new(OWN, 1))));
    let peer = Identity { node: NodeId::new("gary").unwrap(), replica: PEER, ..identity.clone() };
    engine.admit(&identity);
    engine.admit(&peer);
    if formed {
        engine.become_ready();
    }
    while engine.poll_output().is_some() {}
    engine
}

pub(super) fn row(table: &str, author: ReplicaId, key: &[u8]) -> Row {
    let stamp = Stamp::from_millis(NOW.wall_ms);
    let dot = Dot { replica: author, seq: 1 };
    let entry =
        Entry { dot, stamp, rank_time: stamp, rank_author: author, expires: None, value: Some(b"value"[..].into()) };
    Row { table: TableName::new(table).unwrap(), key: key.into(), entry, swallowed: Vec::new() }
}

pub(super) fn stream(engine: &mut Engine, outgoing: bool, phase: StreamPhase) -> StreamId {
    let id = StreamId(if outgoing { 100 } else { 101 });
    let address = ([127, 0, 0, 1], 4_872).into();
    let (purpose, peer, heard) = (Purpose::Repair, Some(PEER), NOW.instant);
    let (buckets, island, restless) = (false, false, false);
    let state = Stream { purpose, outgoing, peer, address, phase, heard, buckets, island, restless };
    engine.streams.open.insert(id, state);
    id
}

pub(super) fn first_frame(control: &Control) -> Bytes {
    wire::seal(wire::encode_onto(wire::open(kind::MESSAGE), control))
}

fn pull(rows: &[Row]) -> Engine {
    let mut engine = engine(true);
    let stream = stream(&mut engine, true, StreamPhase::Pulling(Pull::default()));
    let bytes = wire::seal_frame(replication::pack_all(rows, wire::open_frame(kind::ROWS)));
    engine.handle(NOW, Input::Frame { stream, bytes });
    let context: Context = [Dot { replica: PEER, seq: 7 }].into_iter().collect();
    let floor = Stamp::from_millis(NOW.wall_ms + 60_000);
    let bytes = control_frame(&Control::End { context, floor });
    engine.handle(NOW, Input::Frame { stream, bytes });
    engine
}

#[test]
fn a_session_commits_its_end_and_lifts_the_clock() {
    let engine = pull(&[row("cars", PEER, b"key")]);
    assert!(engine.store.knows(Dot { replica: PEER, seq: 7 }));
    assert!(engine.store.tick(NOW) > Stamp::from_millis(NOW.wall_ms + 60_000));
}

#[test]
fn a_session_with_a_row_that_was_refused_commits_nothing() {
    let owner = [&STRANGER.0.to_be_bytes()[..], b"name"].concat();
    let engine = pull(&[row("@claims", STRANGER, &owner), row("cars", PEER, b"key")]);
    assert_eq!(engine.stats().rows_refused, 1);
    assert!(engine.store.knows(Dot { replica: PEER, seq: 1 }), "what came counts");
    assert!(!engine.store.knows(Dot { replica: PEER, seq: 7 }), "what the end claims does not");
}

#[test]
fn before_its_first_pull_a_node_takes_no_eager_rows() {
    for formed in [false, true] {
        let mut engine = engine(formed);
        let envelope = Envelope { kind: kind::ROWS, cluster: wire::cluster_hash("parking"), sender: PEER };
        let bytes = wire::seal(replication::pack_all([&row("cars", PEER, b"key")], envelope.open()));
        engine.handle(NOW, Input::Datagram { from: ([127, 0, 0, 1], 4_872).into(), bytes });
        assert_eq!(engine.store.knows(Dot { replica: PEER, seq: 1 }), formed);
    }
}

/// What a responder says to a requester that knows this roster: the kinds of its frames, in order.
fn served(engine: &mut Engine, knows: u64) -> Vec<&'static str> {
    let stream = stream(engine, false, StreamPhase::Asked(None));
    let have = Have::Context(Context::default());
    let bytes = control_frame(&Control::Pull { roster: None, members: None, knows, have, expected: Vec::new() });
    engine.handle(NOW, Input::Frame { stream, bytes });
    let mut said = Vec::new();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Frame { bytes, .. } => said.push(match read_frame(&bytes).unwrap() {
                FrameBody::Rows(_) => "rows",
                FrameBody::Control(Control::Roster(_)) => "roster",
                FrameBody::Control(Control::End { .. }) => "end",
                FrameBody::Control(_) => "else",
            }),
            Output::Close { .. } => said.push("close"),
            _ => {}
        }
    }
    said
}

#[test]
fn the_responders_roster_goes_before_its_rows() {
    let mut engine = engine(true);
    let roster = engine.roster.fingerprint();
    assert_eq!(served(&mut engine, roster), ["rows", "end"]);
    assert_eq!(served(&mut engine, roster ^ 1), ["roster", "rows", "end"]);
}

/// Seed 7056527: the hello of a process that was no more, and whose clock had been ahead, came when its successor was long
/// there, and had that one evicted.
#[test]
fn a_newcomer_is_admitted_when_it_answers_the_welcome() {
    let mut engine = engine(true);
    let identity = Identity {
        address: ([127, 0, 0, 1], 4_873).into(),
        node: NodeId::new("gary").unwrap(),
        replica: STRANGER,
        boot: 40_000,
        renewal: 0,
    };
    let hello = Hello {
        spoken: Versions::OURS,
        cluster: "parking".to_owned(),
        identity,
        purpose: Purpose::Join,
        roster: 0,
        members: 0,
    };
    let stream = stream(&mut engine, false, StreamPhase::Greeted);
    let bytes = first_frame(&Control::Hello(Box::new(hello)));
    engine.handle(NOW, Input::Frame { stream, bytes });
    assert!(engine.roster.is_admitted(PEER) && !engine.roster.is_admitted(STRANGER));
    let (knows, have) = (engine.roster.fingerprint(), Have::Context(Context::default()));
    let bytes = control_frame(&Control::Pull { roster: None, members: None, knows, have, expected: Vec::new() });
    engine.handle(NOW, Input::Frame { stream, bytes });
    assert!(!engine.roster.is_admitted(PEER) && engine.roster.is_admitted(STRANGER));
}

#[test]
fn who_is_outside_the_roster_is_served_nothing() {
    let mut engine = engine(true);
    let roster = engine.roster.fingerprint();
    engine.evict(PEER, "for the test");
    while engine.poll_output().is_some() {}
    assert_eq!(served(&mut engine, roster), ["close"]);
}

/// What a node says of others that have its name.
fn names_taken(engine: &mut Engine) -> Vec<(ReplicaId, bool)> {
    let outputs = std::iter::from_fn(|| engine.poll_output());
    let taken = outputs.filter_map(|output| match output {
        Output::Event(Event::NameTaken { other, keeps, .. }) => Some((other, keeps)),
        _ => None,
    });
    taken.collect()
}

/// Another run of `larry`.
fn second_larry() -> Identity {
    let node = NodeId::new("larry").unwrap();
    Identity { address: ([127, 0, 0, 1], 4_879).into(), node, replica: STRANGER, boot: 7, renewal: 0 }
}

#[test]
fn only_who_speaks_to_this_very_run_proves_that_he_lives_beside_it() {
    let mut engine = engine(true);
    let from = Box::new(second_larry());
    for (to, second, said) in [(ReplicaId(9), 0, 0), (OWN, 1, 1), (OWN, 100, 0)] {
        let envelope = Envelope { kind: kind::MESSAGE, cluster: wire::cluster_hash("parking"), sender: STRANGER };
        let message = Message::Namesake { to, from: from.clone() };
        let bytes = wire::seal(wire::encode_onto(envelope.open(), &message));
        let now = Now { instant: Instant::ZERO + second * TICK, wall_ms: NOW.wall_ms };
        engine.handle(now, Input::Datagram { from: from.address, bytes });
        let taken = names_taken(&mut engine);
        assert_eq!(taken, vec![(STRANGER, false); said], "to {to}, after {second} s");
    }
}

#[test]
fn a_newcomer_that_is_refused_for_its_name_says_why_and_makes_no_cluster_of_its_own() {
    for keeper in [STRANGER, PEER] {
        let mut engine = engine(false);
        let refusal = Refusal::NameTaken(Box::new(Identity { replica: keeper, ..second_larry() }));
        let mut now = NOW;
        for _ in 0..20 {
            now.instant = now.instant + TICK;
            let stream = stream(&mut engine, true, StreamPhase::Greeting);
            engine.handle(now, Input::Frame { stream, bytes: first_frame(&Control::Refuse(refusal.clone())) });
            let next = now.instant + TICK;
            while engine.poll_timeout().is_some_and(|due| due < next) {
                now.instant = engine.poll_timeout().unwrap();
                engine.handle(now, Input::Deadline);
            }
        }
        assert!(!engine.formed());
        assert!(engine.name_trouble().is_some_and(|why| why.contains("is called larry too")));
        // Of a third node the one that was asked only tells.
        let proved = if keeper == PEER { vec![(PEER, false)] } else { vec![] };
        assert_eq!(names_taken(&mut engine), proved);
        now.instant = now.instant + 10 * TICK;
        engine.handle(now, Input::Deadline);
        assert_eq!(engine.name_trouble(), None);
    }
}

fn sent(engine: &mut Engine) -> Vec<Output> {
    std::iter::from_fn(|| engine.poll_output()).collect()
}

/// Only that is said to whoever cannot be read: which versions are spoken here.
fn is_answer(bytes: &[u8]) -> bool {
    wire::unseal(bytes).is_ok_and(|(front, rest)| front.kind == wire::VERSIONS && rest.is_empty())
}

#[test]
fn what_cannot_be_read_is_answered_once_a_minute_and_with_no_more_than_was_asked() {
    let mut engine = engine(true);
    let (from, theirs) = (([127, 0, 0, 1], 4_880).into(), Versions { low: 7, high: 9 });
    let shortest = wire::seal_in(8, theirs, wire::open(kind::MESSAGE));
    for (second, answers, events) in [(0, 1, 1), (1, 0, 0), (59, 0, 0), (60, 1, 0)] {
        let now = Now { instant: Instant::ZERO + second * TICK, wall_ms: NOW.wall_ms };
        engine.handle(now, Input::Datagram { from, bytes: shortest.clone() });
        let said = sent(&mut engine);
        let answered = said.iter().filter_map(|output| match output {
            Output::Datagram { to, bytes } if *to == from => Some(bytes),
            _ => None,
        });
        let answered: Vec<_> = answered.collect();
        assert!(answered.iter().all(|bytes| is_answer(bytes) && bytes.len() <= shortest.len()));
        let told = Event::NoCommonProtocol { address: from, theirs, ours: Versions::OURS };
        let told = said.iter().filter(|output| matches!(output, Output::Event(event) if *event == told));
        assert_eq!((answered.len(), told.count()), (answers, events), "after {second} s");
    }
    // An answer is not answered, or two would go on for ever.
    let answer = wire::seal_in(7, theirs, wire::open(wire::VERSIONS));
    let other = ([127, 0, 0, 1], 4_881).into();
    engine.handle(NOW, Input::Datagram { from: other, bytes: answer });
    assert!(!sent(&mut engine).iter().any(|output| matches!(output, Output::Datagram { to, .. } if *to == other)));
    assert_eq!((engine.stats().other_protocol, engine.stats().malformed), (5, 0));
}

#[test]
fn a_stream_that_begins_in_a_version_that_is_not_spoken_is_told_so_and_closed() {
    let theirs = Versions { low: 2, high: 2 };
    let hello = wire::seal_in(2, theirs, [&wire::open(kind::MESSAGE)[..], b"a hello of version 2"].concat());
    let mut engine = engine(true);
    let accepted = stream(&mut engine, false, StreamPhase::Greeted);
    engine.handle(NOW, Input::Frame { stream: accepted, bytes: hello });
    let said = sent(&mut engine);
    let answer = said.iter().position(|output| matches!(output, Output::Frame { bytes, .. } if is_answer(bytes)));
    let close = said.iter().position(|output| matches!(output, Output::Close { stream } if *stream == accepted));
    assert!(answer.is_some() && answer < close, "{said:?}");
    // The other side understands that much.
    let opened = stream(&mut engine, true, StreamPhase::Greeting);
    let answer = wire::seal_in(2, theirs, wire::open(wire::VERSIONS));
    engine.handle(NOW, Input::Frame { stream: opened, bytes: answer });
    let told = |output: &Output| matches!(output, Output::Event(Event::NoCommonProtocol { .. }));
    assert!(sent(&mut engine).iter().any(told) && engine.streams.open.is_empty());
    assert_eq!((engine.stats().other_protocol, engine.stats().malformed), (2, 0));
}
