//! Everything in pieces: rows in datagrams of every size, sessions broken off at every frame.
//!
//! delta_crdt_ex 65 and 45: a part of a diff, sent under the whole causal context, deleted whatever the rest would have
//! brought; 100,000 keys became 18,429. Here a fragment never claims more than it carries (the design, 3.4). chitchat 127:
//! what did not fit a datagram never arrived; 119: who wrote little was never heard beside those who wrote much.

use std::collections::BTreeMap;

use unisono::replication::{pack, unpack};
use unisono::sabotage;
use unisono::store::{Row, Store, StoreConfig};
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule, Simulation};
use unisono::wire::MAX_DATAGRAM;

use super::{MILLISECOND, SECOND, cluster, live, lot};

/// Values from nothing to more than any datagram holds.
const LENGTHS: [usize; 8] = [0, 1, 10, 30, 100, 300, 1_000, 1_500];

#[test]
fn rows_packed_for_any_size_are_whole() {
    let store = Store::new(StoreConfig::new(unisono::id::ReplicaId(u64::MAX), 1));
    store.open();
    let now = unisono::time::Now { wall_ms: 1_800_000_000_000, ..Default::default() };
    for length in LENGTHS.into_iter().cycle().take(40) {
        store.put(now, &lot(), &length.to_be_bytes(), &vec![7; length]).unwrap();
    }
    let rows = store.take_outbox(usize::MAX).rows;
    for limit in 0..=MAX_DATAGRAM {
        let packed = pack(&rows, limit, || b"front".to_vec());
        let mut whole: Vec<Row> = Vec::new();
        for body in &packed.bodies {
            assert!(body.len() <= b"front".len() + limit, "{} bytes with a limit of {limit}", body.len());
            whole.extend(unpack(&body[b"front".len()..]).unwrap());
        }
        let too_large = |row: &&Row| packed.too_large.contains(&row.entry.dot);
        let fitting: Vec<_> = rows.iter().filter(|row| !too_large(row)).cloned().collect();
        assert_eq!(whole, fitting, "with a limit of {limit}");
        assert_eq!(whole.len() + packed.too_large.len(), rows.len());
    }
}

#[test]
fn rows_arrive_whatever_a_datagram_holds() {
    for size in 1..=MAX_DATAGRAM {
        let (mut simulation, nodes) = cluster(size as u64, 2, |options| options.packing(size, size));
        for length in LENGTHS {
            simulation.put(nodes[0], &lot(), &length.to_be_bytes(), &vec![7; length]).unwrap();
        }
        simulation.run_for(MILLISECOND);
        simulation.remove(nodes[1], &lot(), &LENGTHS[0].to_be_bytes()).unwrap();
        simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
        for length in LENGTHS {
            let values = nodes.iter().map(|node| simulation.store(*node).get(&lot(), &length.to_be_bytes()));
            for value in values {
                let is_whole = value.as_ref().is_some_and(|value| **value == vec![7; length]);
                assert!(is_whole || (length == 0 && value.is_none()), "datagrams of {size}: {length} is {value:?}");
            }
        }
    }
}

const KEYS: u32 = 60;

/// Two nodes that went apart: one replaced, removed and added rows, all of which come in frames of one row.
fn apart(seed: u64, broken: &[sabotage::Rule]) -> (Simulation, Vec<NodeIndex>, BTreeMap<u32, &'static [u8]>) {
    let broken = |options: NodeOptions| broken.iter().fold(options, |options, rule| options.sabotage(*rule));
    let (mut simulation, nodes) = cluster(seed, 2, |options| broken(options.packing(MAX_DATAGRAM, 1)));
    simulation.network().set_base_delay(Delay::Fixed(MILLISECOND));
    let mut expected = BTreeMap::new();
    for key in 0..KEYS {
        simulation.put(nodes[0], &lot(), &key.to_be_bytes(), b"old").unwrap();
        expected.insert(key, b"old".as_slice());
    }
    simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
    let cut = simulation.network().cut(&nodes[..1], &nodes[1..]);
    simulation.run_for(5 * SECOND);
    for key in 0..KEYS + 20 {
        if key % 3 == 0 && key < KEYS {
            simulation.remove(nodes[0], &lot(), &key.to_be_bytes()).unwrap();
            expected.remove(&key);
        } else if key % 2 == 0 || key >= KEYS {
            simulation.put(nodes[0], &lot(), &key.to_be_bytes(), b"new").unwrap();
            expected.insert(key, b"new");
        }
    }
    simulation.run_for(SECOND);
    cut.heal();
    (simulation, nodes, expected)
}

/// The session that follows is broken off after `frames` of its frames, and what was under way gets lost.
fn broken_off(frames: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes, expected) = apart(frames, broken);
    let there = live(&simulation, nodes[1]);
    let renewed = |simulation: &Simulation| -> u64 {
        let rows = simulation.store(nodes[1]).table(&lot()).snapshot();
        rows.iter().filter(|(_, value)| **value == *b"new").count() as u64
    };
    let _ = simulation.run_until(20 * SECOND, |simulation| renewed(simulation) >= frames);
    let silence = simulation.network().add(Rule::cut());
    simulation.run_for(15 * SECOND);
    if live(&simulation, nodes[1]) + (KEYS as usize).div_ceil(3) < there {
        return Err(format!("after {frames} frames more rows were gone than had been removed"));
    }
    silence.heal();
    let healed = simulation.run_until(30 * SECOND, Simulation::all_converged);
    healed.map_err(|timeout| format!("after {frames} frames: {timeout}"))?;
    for node in nodes {
        let rows = simulation.store(node).table(&lot()).snapshot();
        let keys = rows.iter().map(|(key, value)| (u32::from_be_bytes((*key).try_into().unwrap()), value.to_vec()));
        let expected = expected.iter().map(|(key, value)| (*key, value.to_vec()));
        if !keys.eq(expected) {
            return Err(format!("after {frames} frames {node:?} holds {} rows", rows.iter().count()));
        }
        if simulation.store(node).stats().resurrected > 0 {
            return Err(format!("after {frames} frames rows had to be mended at {node:?}"));
        }
    }
    Ok(())
}

#[test]
fn a_session_that_breaks_off_at_any_frame_loses_nothing() {
    for frames in 0..40 {
        broken_off(frames, &[]).unwrap();
    }
    let caught = (0..40).filter(|frames| broken_off(*frames, &[sabotage::Rule::ChunkContext]).is_err()).count();
    assert!(caught > 20, "parts that claim the whole context were noticed {caught} times of 40");
}

#[test]
fn a_hundred_thousand_keys_stay_a_hundred_thousand() {
    const KEYS: u32 = 100_000;
    let mut simulation = Simulation::new(1);
    let first = simulation.add(NodeOptions::named("first"));
    simulation.run_for(SECOND);
    for key in 0..KEYS {
        simulation.put(first, &lot(), &key.to_be_bytes(), b"value").unwrap();
    }
    let second = simulation.add(NodeOptions::named("second"));
    simulation.run_until(30 * SECOND, Simulation::all_converged).unwrap();
    assert_eq!([live(&simulation, first), live(&simulation, second)], [KEYS as usize; 2]);
}

/// One node writes all the time, and much gets lost; what another writes once must not wait for a pause.
#[test]
fn who_writes_seldom_is_heard_beside_who_writes_always() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 4, |options| options);
        let loss = simulation.network().add(Rule::loss(0.3));
        let quiet =
            |simulation: &Simulation| nodes.iter().all(|node| simulation.store(*node).get(&lot(), b"quiet").is_some());
        for number in 0..3_000_u32 {
            if number == 500 {
                simulation.put(nodes[3], &lot(), b"quiet", b"value").unwrap();
            }
            simulation.put(nodes[0], &lot(), &(number % 50).to_be_bytes(), &number.to_be_bytes()).unwrap();
            simulation.run_for(MILLISECOND);
        }
        assert!(quiet(&simulation), "seed {seed}: not everywhere after 2.5 s of noise");
        loss.heal();
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    }
}
