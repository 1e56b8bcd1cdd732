//! What is too large is refused where it is made, with a typed error; what comes from a stranger costs him as much.

use std::sync::Arc;

use unisono::engine::{Engine, EngineConfig, Input, Output, Timing};
use unisono::id::{NodeId, ReplicaId};
use unisono::membership::Identity;
use unisono::roles::RoleSpec;
use unisono::store::{MAX_KEY, MAX_VALUE, Store, StoreConfig, TableName, TableNameError, WriteError};
use unisono::testkit::Simulation;
use unisono::time::{Instant, MAX_DRIFT, Now, Stamp};
use unisono::wire::{self, Envelope, MAX_DATAGRAM, split_padded};

use super::{SECOND, cluster, live};

/// alertmanager 1412, metrictank 1422: an entry that was too large was never gossiped, or ended the process.
#[test]
fn the_largest_row_arrives_and_a_larger_one_is_refused_at_the_write() {
    let (mut simulation, nodes) = cluster(1, 3, |options| options);
    let table = TableName::new("x".repeat(TableName::MAX_BYTES)).unwrap();
    let too_long = TableName::new("x".repeat(TableName::MAX_BYTES + 1));
    assert_eq!(too_long, Err(TableNameError::TooLong { bytes: TableName::MAX_BYTES + 1 }));
    let mut write = |key: usize, value: usize| simulation.put(nodes[0], &table, &vec![1; key], &vec![2; value]);
    assert_eq!(write(0, 1), Err(WriteError::KeyEmpty));
    assert_eq!(write(MAX_KEY + 1, 1), Err(WriteError::KeyTooLong { bytes: MAX_KEY + 1 }));
    assert_eq!(write(1, MAX_VALUE + 1), Err(WriteError::ValueTooLong { bytes: MAX_VALUE + 1 }));
    for (key, value) in [(1, 0), (MAX_KEY - 1, MAX_VALUE - 1), (MAX_KEY, MAX_VALUE)] {
        assert_eq!(write(key, value), Ok(()));
    }
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    for node in nodes {
        assert_eq!(simulation.store(node).table(&table).len(), 3);
        assert_eq!(live(&simulation, node), 0);
    }
}

#[test]
fn names_and_arguments_are_bounded_where_they_are_given() {
    assert!(NodeId::new("n".repeat(NodeId::MAX_BYTES)).is_ok());
    assert!(NodeId::new("n".repeat(NodeId::MAX_BYTES + 1)).is_err());
    let named = |length| RoleSpec::new("r".repeat(length)).validate();
    assert!(named(RoleSpec::MAX_NAME).is_ok() && named(RoleSpec::MAX_NAME + 1).is_err());
    let with = |length| RoleSpec::new("r").arguments("a".repeat(length)).validate();
    assert!(with(RoleSpec::MAX_ARGUMENTS).is_ok() && with(RoleSpec::MAX_ARGUMENTS + 1).is_err());
}

/// A stamp is taken to be right up to 500 ms ahead of time.
#[test]
fn a_clock_is_believed_up_to_the_drift_and_no_further() {
    let drift = u64::try_from(MAX_DRIFT.as_millis()).unwrap();
    for (ahead, believed) in [(drift - 1, true), (drift, true), (drift + 1, false)] {
        let stores = [1, 2].map(|id| {
            let store = Arc::new(Store::new(StoreConfig::new(ReplicaId(id), 1)));
            store.open();
            store.set_roster(&[ReplicaId(1), ReplicaId(2)].into(), 1);
            store
        });
        let at = |wall_ms| Now { wall_ms, ..Now::default() };
        let table = TableName::new("lot").unwrap();
        stores[0].put(at(1_000_000 + ahead), &table, b"k", b"v").unwrap();
        let merged = stores[1].merge(at(1_000_000), stores[0].take_outbox(1).rows);
        assert_eq!((merged.refused, merged.ahead.is_none()), (0, believed), "{ahead} ms ahead");
        assert_eq!(stores[1].tick(at(1_000_000)) > Stamp::from_millis(1_000_000 + ahead), believed, "{ahead} ms");
    }
}

fn engine(name: &str, number: u16) -> Engine {
    let replica = ReplicaId(number.into());
    let address = ([10, 0, 0, 1], 4_870 + number).into();
    let identity = Identity { address, node: NodeId::new(name).unwrap(), replica, boot: 1, renewal: 0 };
    let config = EngineConfig {
        cluster: "parking".to_owned(),
        identity,
        timing: Timing::lan(),
        kinds: Default::default(),
        labels: Default::default(),
        roles: Vec::new(),
        tombstone_quota: EngineConfig::TOMBSTONE_QUOTA,
        departed_authors: EngineConfig::DEPARTED_AUTHORS,
        protocol: Default::default(),
        seed: 1,
    };
    Engine::new(Now::default(), config, Arc::new(Store::new(StoreConfig::new(replica, 1))))
}

fn sent(engine: &mut Engine) -> Vec<bytes::Bytes> {
    let outputs = std::iter::from_fn(|| engine.poll_output());
    outputs.filter_map(|output| if let Output::Datagram { bytes, .. } = output { Some(bytes) } else { None }).collect()
}

/// memberlist 371: one datagram with a forged source address had 255 replies sent to it. Whatever a stranger sends, what
/// goes to the address that it came from, or claims to come from, is no more.
#[test]
fn a_stranger_is_answered_with_no_more_than_he_sent() {
    let mut stranger = engine("mallory", 2);
    let now = Now { instant: Instant::ZERO + SECOND, wall_ms: 1_000 };
    sent(&mut stranger);
    stranger.handle(now, Input::Discovered { address: ([10, 0, 0, 1], 4_871).into() });
    let announcement = sent(&mut stranger).pop().unwrap();
    assert_eq!(announcement.len(), MAX_DATAGRAM, "an announcement is padded to be worth the answer");
    let (envelope, padded) = Envelope::split(&announcement).unwrap();
    let least = 2 + split_padded(padded).unwrap().len();
    let mut answered = 0;
    for length in least..=padded.len() {
        // Nothing is known of him yet.
        let mut larry = engine("larry", 1);
        larry.handle(now, Input::Deadline);
        sent(&mut larry);
        let mut forged = envelope.open();
        forged.extend_from_slice(&padded[..length]);
        let forged = wire::seal(forged);
        let asked = forged.len();
        larry.handle(now, Input::Datagram { from: ([10, 0, 0, 1], 4_872).into(), bytes: forged });
        let answers: Vec<usize> = sent(&mut larry).iter().map(bytes::Bytes::len).collect();
        assert!(answers.iter().sum::<usize>() <= asked, "{answers:?} bytes for {asked}");
        answered += usize::from(!answers.is_empty());
    }
    assert!(answered > 0, "nobody was answered at all, which proves nothing");
}

/// The same over time: who claims to be a member at an address that never answers is not talked to for long.
#[test]
fn an_address_that_never_answers_is_left_alone() {
    let mut larry = engine("larry", 1);
    let mut stranger = engine("mallory", 2);
    let mut now = Now { instant: Instant::ZERO + SECOND, wall_ms: 1_000 };
    larry.handle(now, Input::Deadline);
    stranger.handle(now, Input::Discovered { address: ([10, 0, 0, 1], 4_871).into() });
    let announcement = sent(&mut stranger).pop().unwrap();
    sent(&mut larry);
    larry.handle(now, Input::Datagram { from: ([10, 0, 0, 1], 4_872).into(), bytes: announcement });
    let (mut bytes, mut last) = (0, now.instant);
    while now.instant < Instant::ZERO + 60 * SECOND {
        let sent = sent(&mut larry);
        if !sent.is_empty() {
            last = now.instant;
        }
        bytes += sent.iter().map(bytes::Bytes::len).sum::<usize>();
        let due = larry.poll_timeout().unwrap().max(now.instant + SECOND / 1_000);
        now = Now { instant: due, wall_ms: due.as_nanos() / 1_000_000 };
        larry.handle(now, Input::Deadline);
    }
    // It is probed and suspected as any member that falls silent; that costs about four times as much as it sent.
    assert!(bytes < 5 * MAX_DATAGRAM && last < Instant::ZERO + 5 * SECOND, "{bytes} bytes, the last at {last:?}");
}

/// memberlist 369: lengths that lie. Every datagram cut off anywhere, or with any one byte changed under a sum that is
/// right, is dropped and counted, or harmless.
#[test]
fn lengths_that_lie_are_counted_and_dropped() {
    let mut stranger = engine("mallory", 2);
    let now = Now { instant: Instant::ZERO + SECOND, wall_ms: 1_000 };
    stranger.handle(now, Input::Discovered { address: ([10, 0, 0, 1], 4_871).into() });
    let datagrams = sent(&mut stranger);
    let mut larry = engine("larry", 1);
    for datagram in datagrams {
        let (envelope, body) = Envelope::split(&datagram).unwrap();
        let used = body.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for length in 0..used {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut forged = envelope.open();
                forged.extend_from_slice(&body[..length]);
                forged.push(byte);
                let cut_off = wire::seal(forged.clone());
                forged.extend_from_slice(&body[length + 1..]);
                for bytes in [cut_off, wire::seal(forged)] {
                    larry.handle(now, Input::Datagram { from: ([10, 0, 0, 1], 4_872).into(), bytes });
                    sent(&mut larry);
                }
            }
        }
    }
    assert!(larry.stats().malformed > 100);
}
