//! What an engine does otherwise where there are many.

use super::message::{Purpose, kind};
use super::tests::{NOW, STRANGER, engine, row};
use super::*;
use crate::crdt::Dot;
use crate::id::NodeId;
use crate::membership::{Identity, Liveness as Swim, Record};
use crate::replication::{self, EAGER_TO_ALL};
use crate::store::owner_key;
use crate::wire::Envelope;

const MS: std::time::Duration = std::time::Duration::from_millis(1);

fn identity(replica: ReplicaId, number: u16) -> Identity {
    let node = NodeId::new(format!("node-{number}")).unwrap();
    Identity { address: ([10, 0, 0, 1], 5_000 + number).into(), node, replica, boot: 1, renewal: 0 }
}

fn record(replica: ReplicaId, number: u16, state: Swim) -> Record {
    Record { identity: identity(replica, number), incarnation: 0, state }
}

fn at(ms: u32) -> Now {
    Now { instant: Instant::ZERO + MS * ms, wall_ms: NOW.wall_ms + u64::from(ms) }
}

fn others(count: u16) -> impl Iterator<Item = (ReplicaId, u16)> {
    (0..count).map(|number| (ReplicaId(1_000 + u64::from(number)), number))
}

/// With so many others, who live and, if this node is ready, are admitted.
fn among(count: u16, formed: bool) -> Engine {
    let mut engine = engine(formed);
    let records = others(count).map(|(replica, number)| record(replica, number, Swim::Alive)).collect();
    engine.swim.apply(NOW.instant, records);
    if formed {
        others(count).for_each(|(replica, number)| engine.admit(&identity(replica, number)));
    }
    engine.handle(at(900), Input::StoreChanged);
    while engine.poll_output().is_some() {}
    engine
}

/// Lets somebody go Down each millisecond from there on; the moments at which a status was published, and how many were
/// Down in the last.
fn statuses(engine: &mut Engine, count: u16) -> (Vec<u32>, usize) {
    let (mut moments, mut down) = (Vec::new(), 0);
    for ms in 0..30_u32 {
        let now = at(920 + ms);
        if let Some((replica, number)) = others(count).nth(ms as usize).filter(|_| ms < 8) {
            engine.swim.apply(now.instant, vec![record(replica, number, Swim::Down)]);
            engine.handle(now, Input::StoreChanged);
        }
        while engine.poll_timeout().is_some_and(|due| due <= now.instant) {
            engine.handle(now, Input::Deadline);
        }
        while let Some(output) = engine.poll_output() {
            if let Output::Status(status) = output {
                moments.push(ms);
                down = status.members.iter().filter(|member| member.liveness == Liveness::Down).count();
            }
        }
    }
    (moments, down)
}

#[test]
fn many_changes_in_a_crowd_are_followed_at_once_and_few_one_by_one() {
    let few = statuses(&mut among(12, true), 12);
    assert_eq!(few, ((0..8).collect(), 8));
    // The settle time of the preset is 20 ms, a pause a tenth of it.
    let (moments, down) = statuses(&mut among(40, true), 40);
    assert_eq!((moments, down), (vec![0, 2, 4, 6, 8], 8), "the first at once, the last after the pause");
}

fn rows_of_a_newcomer(engine: &mut Engine) -> Dot {
    let row = row("@members", STRANGER, &owner_key(STRANGER, b""));
    let dot = row.entry.dot;
    let envelope = Envelope { kind: kind::ROWS, cluster: wire::cluster_hash("parking"), sender: STRANGER };
    let bytes = wire::seal(replication::pack_all([&row], envelope.open()));
    engine.handle(at(910), Input::Datagram { from: ([10, 0, 0, 1], 9).into(), bytes });
    dot
}

#[test]
fn rows_that_overtake_an_admission_wait_for_it() {
    let mut engine = among(40, true);
    let newcomer = identity(STRANGER, 999);
    engine.swim.apply(NOW.instant, vec![record(STRANGER, 999, Swim::Alive)]);
    let dot = rows_of_a_newcomer(&mut engine);
    assert!(!engine.store.knows(dot) && engine.stats.outside_roster == 0);
    engine.admit(&newcomer);
    assert!(engine.store.knows(dot));
    assert_eq!(engine.gossip.news.len(), 1, "and are passed on");
}

#[test]
fn rows_of_the_unknown_and_of_the_evicted_wait_for_nothing() {
    let mut engine = among(40, true);
    let dot = rows_of_a_newcomer(&mut engine);
    engine.swim.apply(NOW.instant, vec![record(STRANGER, 999, Swim::Alive)]);
    engine.admit(&identity(STRANGER, 999));
    engine.evict(STRANGER, "for the test");
    rows_of_a_newcomer(&mut engine);
    assert_eq!(engine.stats.outside_roster, 2);
    engine.roster.readmit(STRANGER);
    engine.merge_early(&[STRANGER]);
    assert!(!engine.store.knows(dot));
}

#[test]
fn what_waits_for_an_admission_is_bounded_and_forgotten() {
    let mut engine = among(40, true);
    engine.swim.apply(NOW.instant, vec![record(STRANGER, 999, Swim::Alive)]);
    for _ in 0..2_000 {
        rows_of_a_newcomer(&mut engine);
    }
    assert_eq!(engine.stats.outside_roster, 2_000 - 1_024);
    engine.handle(at(3_000), Input::Deadline);
    engine.admit(&identity(STRANGER, 999));
    assert!(!engine.store.knows(Dot { replica: STRANGER, seq: 1 }), "forgotten with the housekeeping");
}

/// Whom a newcomer asks within so many milliseconds, if everybody turns it away at once.
fn asked(engine: &mut Engine, from: u32, to: u32) -> Vec<std::net::SocketAddr> {
    let mut asked = Vec::new();
    for ms in from..to {
        for _ in 0..10 {
            while let Some(output) = engine.poll_output() {
                let Output::Connect { stream, to } = output else { continue };
                if engine.streams.open.get(&stream).is_some_and(|open| open.purpose == Purpose::Join) {
                    asked.push(to);
                    engine.handle(at(ms), Input::ConnectFailed { stream, refused: true });
                }
            }
            if engine.poll_timeout().is_some_and(|due| due <= at(ms).instant) {
                engine.handle(at(ms), Input::Deadline);
            }
        }
    }
    asked
}

#[test]
fn a_newcomer_in_a_crowd_asks_few_at_a_time() {
    let mut engine = among(40, false);
    let first = asked(&mut engine, 901, 950).len();
    assert!((1..=8).contains(&first), "asked {first}");
    let next = asked(&mut engine, 950, 1_000).len();
    assert!((1..=8).contains(&next), "and then {next}");
    let few = asked(&mut among(u16::try_from(EAGER_TO_ALL).unwrap(), false), 901, 950).len();
    assert!(few >= EAGER_TO_ALL - 1, "of few, everybody: {few}");
}
