//! A clock that is wrong by an hour, and stepped while the node runs, does no lasting harm.

use std::time::Duration;

use unisono::engine::Event;
use unisono::roles::RoleSpec;
use unisono::store::TableName;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

const SECOND: Duration = Duration::from_secs(1);
const HOUR_MS: i64 = 3_600_000;

fn lot() -> TableName {
    TableName::new("lot").unwrap()
}

/// Everybody writes over what the one before wrote, and all take over the last.
fn in_turn(simulation: &mut Simulation, nodes: &[NodeIndex], key: &str) {
    for (number, node) in nodes.iter().enumerate() {
        let value = format!("{number}");
        simulation.put(*node, &lot(), key.as_bytes(), value.as_bytes()).unwrap();
        simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
        for node in nodes {
            let held = simulation.store(*node).get(&lot(), key.as_bytes());
            assert_eq!(held.as_deref(), Some(value.as_bytes()), "{key} at {node:?}, seed {}", simulation.seed());
        }
    }
}

fn an_hour_off(seed: u64, off_ms: i64) {
    let mut simulation = Simulation::new(seed);
    let nodes: Vec<_> = (0..5)
        .map(|number| simulation.add(NodeOptions::named(&format!("n{number}")).role(RoleSpec::new("one"))))
        .collect();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    let wrong = nodes[usize::try_from(seed).unwrap() % 5];
    for step in 0..6 {
        // Back and forth: whatever was measured of it is out of date.
        simulation.set_skew_ms(wrong, if step % 2 == 0 { off_ms } else { off_ms / 2 });
        simulation.run_for(5 * SECOND);
        in_turn(&mut simulation, &nodes, &format!("step {step}"));
        // What all have seen and one removes is gone for all, and for good.
        simulation.remove(nodes[step % 5], &lot(), format!("step {step}").as_bytes()).unwrap();
        simulation.run_for(5 * SECOND);
    }
    simulation.set_skew_ms(wrong, 0);
    simulation.run_for(2 * SECOND);
    in_turn(&mut simulation, &nodes, "after");
    for node in &nodes {
        let now = simulation.now_at(*node);
        let stamp = simulation.store(*node).tick(now).as_millis();
        assert!(stamp.abs_diff(now.wall_ms) < 1_500, "{node:?} stamps {stamp} at {}, seed {seed}", now.wall_ms);
        let rows = simulation.store(*node).table(&lot()).snapshot().iter().count();
        assert_eq!(rows, 1, "{node:?}, seed {seed}");
        assert!(!simulation.events(*node).iter().any(|event| matches!(event, Event::Down { .. })), "seed {seed}");
    }
    // Stable time has passed all removals at the latest when true time has passed the wrong one's last stamp.
    let late = Duration::from_millis(off_ms.unsigned_abs()) + 60 * SECOND;
    simulation.run_for(if off_ms > 0 { late } else { 60 * SECOND });
    for node in &nodes {
        assert_eq!(simulation.store(*node).stats().tombstones, 0, "{node:?}, seed {seed}");
    }
    assert_eq!(simulation.running("one").len(), 1);
}

#[test]
fn an_hour_ahead_and_stepping_harms_nothing_for_long() {
    (0..5).for_each(|seed| an_hour_off(seed, HOUR_MS));
}

#[test]
fn an_hour_behind_and_stepping_harms_nothing_for_long() {
    (5..10).for_each(|seed| an_hour_off(seed, -HOUR_MS));
}
