//! Rows that are too many, or too large, for datagrams: pushed over streams, and none of them lost on the way.

use std::time::Duration;

use unisono::engine::EngineStats;
use unisono::replication::BACKLOG_BYTES;
use unisono::store::TableName;
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Simulation};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn lot() -> TableName {
    TableName::new("lot").unwrap()
}

fn cluster(seed: u64, size: usize) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let nodes = (0..size).map(|number| simulation.add(NodeOptions::named(&format!("n{number}")))).collect();
    simulation.run_until(30 * SECOND, Simulation::all_converged).unwrap();
    // The first exchanges of member lists are sessions too.
    simulation.run_for(15 * SECOND);
    (simulation, nodes)
}

/// Writes so many rows at once.
fn burst(simulation: &mut Simulation, node: NodeIndex, keys: std::ops::Range<u32>, value: &[u8]) {
    let now = simulation.now_at(node);
    for key in keys {
        simulation.store(node).put(now, &lot(), &key.to_be_bytes(), value).unwrap();
    }
    simulation.wrote(node);
}

fn stats(simulation: &Simulation, node: NodeIndex) -> EngineStats {
    simulation.engine(node).unwrap().stats()
}

fn hold(simulation: &Simulation, nodes: &[NodeIndex], rows: usize) -> bool {
    nodes.iter().all(|node| simulation.store(*node).table(&lot()).len() == rows)
}

#[test]
fn a_burst_goes_over_streams_and_nobody_has_to_ask_for_anything() {
    let (mut simulation, nodes) = cluster(1, 3);
    let before: Vec<_> = nodes.iter().map(|node| stats(&simulation, *node)).collect();
    burst(&mut simulation, nodes[0], 0..20_000, &[7; 64]);
    simulation.run_until(SECOND, |simulation| hold(simulation, &nodes, 20_000)).unwrap();
    simulation.run_for(5 * SECOND);
    let after: Vec<_> = nodes.iter().map(|node| stats(&simulation, *node)).collect();
    let sessions = |stats: &[EngineStats]| stats.iter().map(|stats| stats.pulls).collect::<Vec<_>>();
    assert_eq!(sessions(&before), sessions(&after));
    let in_datagrams = after[0].row_bytes - before[0].row_bytes;
    assert!(in_datagrams <= 2 * 64 * 1_400, "{in_datagrams} bytes in datagrams");
    // Encoded, a row takes 4 + 64 bytes and some.
    let pushed = after[0].stream_bytes - before[0].stream_bytes;
    assert!((2 * 18_500 * 68..2 * 20_000 * 80).contains(&pushed), "{pushed} bytes pushed");
}

#[test]
fn when_it_is_quiet_again_the_streams_are_closed_and_a_row_goes_in_a_datagram() {
    let (mut simulation, nodes) = cluster(2, 3);
    let open = |simulation: &Simulation| nodes.iter().map(|node| simulation.open_streams(*node)).sum::<usize>();
    let at_rest = open(&simulation);
    burst(&mut simulation, nodes[0], 0..5_000, &[7; 64]);
    simulation.run_for(100 * MILLISECOND);
    assert!(open(&simulation) > at_rest);
    // Few rows do not keep them open.
    for key in 0..40 {
        burst(&mut simulation, nodes[0], key..key + 1, &[8; 64]);
        simulation.run_for(100 * MILLISECOND);
    }
    assert_eq!(open(&simulation), at_rest);
    let before = stats(&simulation, nodes[0]);
    burst(&mut simulation, nodes[0], 9_999..10_000, &[7; 64]);
    simulation.run_for(100 * MILLISECOND);
    let after = stats(&simulation, nodes[0]);
    assert!(after.row_bytes > before.row_bytes && hold(&simulation, &nodes, 5_001));
    assert_eq!(after.stream_bytes, before.stream_bytes);
}

/// Who does not keep up loses his place, what waits for him is bounded, and the others do not feel it.
#[test]
fn a_peer_that_is_cut_off_holds_up_nobody_and_is_repaired() {
    let (mut simulation, nodes) = cluster(3, 3);
    let rows = u32::try_from(2 * BACKLOG_BYTES / 60_000).unwrap();
    let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
    for key in 0..rows {
        burst(&mut simulation, nodes[0], key..key + 1, &[7; 60_000]);
        simulation.run_for(2 * MILLISECOND);
    }
    simulation.run_until(SECOND, |simulation| hold(simulation, &nodes[..2], rows as usize)).unwrap();
    assert!(stats(&simulation, nodes[0]).pushes_given_up > 0);
    assert!(!hold(&simulation, &nodes[2..], rows as usize));
    cut.heal();
    simulation.run_until(30 * SECOND, Simulation::all_converged).unwrap();
    assert!(hold(&simulation, &nodes, rows as usize));
}

/// Alone with a peer that stands still, a node keeps what it may and drops the rest.
#[test]
fn what_nobody_takes_is_left_to_repair() {
    let (mut simulation, nodes) = cluster(4, 2);
    let rows = u32::try_from((BACKLOG_BYTES + (20 << 20)) / 60_000).unwrap();
    simulation.pause(nodes[1]);
    for key in 0..rows {
        burst(&mut simulation, nodes[0], key..key + 1, &[7; 60_000]);
    }
    simulation.run_for(500 * MILLISECOND);
    simulation.resume(nodes[1]);
    simulation.run_until(30 * SECOND, Simulation::all_converged).unwrap();
    assert!(hold(&simulation, &nodes, rows as usize));
}

/// All write without a pause: what differs all the time is nothing but what is under way.
#[test]
fn while_rows_are_pushed_sessions_bring_nothing() {
    let (mut simulation, nodes) = cluster(5, 3);
    simulation.network().set_base_delay(Delay::Fixed(5 * MILLISECOND));
    let before: Vec<_> = nodes.iter().map(|node| stats(&simulation, *node)).collect();
    let (mut written, rounds) = (0, 2_500);
    for round in 0..rounds {
        for (number, node) in (0_u32..).zip(&nodes) {
            let first = number * 100_000 + round % 100 * 20;
            burst(&mut simulation, *node, first..first + 20, &[7; 600]);
            written += 20;
        }
        simulation.run_for(MILLISECOND);
    }
    simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
    let after: Vec<_> = nodes.iter().map(|node| stats(&simulation, *node)).collect();
    let sum = |of: fn(&EngineStats) -> u64| after.iter().map(of).sum::<u64>() - before.iter().map(of).sum::<u64>();
    assert!(sum(|stats| stats.pulls) > 0, "differences that last are looked into");
    // Each row once to each of two peers, in rounds of which the first few went in datagrams.
    let each = sum(|stats| stats.stream_bytes) / (2 * written);
    assert!((590..640).contains(&each), "{each} bytes for each row and peer");
}
