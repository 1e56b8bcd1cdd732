//! A hundred nodes on a network that loses every fourth datagram.

use std::time::Duration;

use super::network::Network;
use crate::membership::Timing;

/// Forced rejoins, filter hits and datagrams sent in some virtual time.
fn run(size: usize, seconds: u64, unfiltered: bool, seed: u64) -> (u64, u64, u64) {
    let mut network = Network::joined(size, &Timing::lan(), seed);
    for swim in network.nodes.iter_mut().flatten() {
        swim.unfiltered = unfiltered;
    }
    network.loss = 0.25;
    network.run(Duration::from_secs(seconds));
    let dropped = network.nodes.iter().flatten().map(|swim| swim.stats().turn_undead_dropped).sum();
    network.loss = 0.0;
    let rejoins = network.renewals();
    // Without the filter, late rejoins reach some members by push-pull only, which does not run here.
    if !unfiltered {
        network.run_until(Duration::from_secs(15), Network::whole);
    }
    (rejoins, dropped, network.sent)
}

#[test]
fn the_outbox_filter_spares_members_that_refuted_in_time_from_rejoining() {
    let (with, dropped, sent) = run(100, 120, false, 1);
    // A quarter of the time is enough to see it.
    let (without, _, _) = run(100, 30, true, 1);
    println!(
        "forced rejoins with filter {with} ({dropped} notices kept back, {sent} datagrams), without {without} in a quarter of the time"
    );
    assert!(dropped > 0);
    assert!(without > 10 * with.max(1), "the filter does not show: {with} with it, {without} without");
}
