//! Nodes of different ranges of protocol versions: those that have one in common use it, those that have none say so.
//!
//! There is one version. Those of other numbers have the same bodies, and only who may read them differs.

use std::collections::BTreeSet;
use std::time::Duration;

use unisono::engine::{EngineStats, Event, Phase};
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

use super::SECOND;

fn add(simulation: &mut Simulation, name: &str, (low, high): (u8, u8)) -> NodeIndex {
    simulation.add(NodeOptions::named(name).protocol(low, high))
}

fn stats(simulation: &Simulation, node: NodeIndex) -> EngineStats {
    simulation.engine(node).unwrap().stats()
}

/// With which versions a node said that it has none in common.
fn said(simulation: &Simulation, node: NodeIndex) -> Vec<(u8, u8)> {
    let events = simulation.events(node).iter();
    let theirs = events.filter_map(|event| match event {
        Event::NoCommonProtocol { theirs, .. } => Some((theirs.low, theirs.high)),
        _ => None,
    });
    theirs.collect()
}

fn names(simulation: &Simulation, node: NodeIndex) -> BTreeSet<String> {
    simulation.view(node).iter().map(ToString::to_string).collect()
}

fn downs(simulation: &Simulation, nodes: &[NodeIndex]) -> usize {
    let events = nodes.iter().flat_map(|node| simulation.events(*node));
    events.filter(|event| matches!(event, Event::Down { .. })).count()
}

#[test]
fn ranges_that_overlap_form_one_cluster_and_everything_is_said_in_a_version_of_both() {
    for seed in 0..10 {
        for (ranges, unread_at_first) in
            [([(1, 1), (1, 2), (1, 2)], false), ([(1, 2), (1, 2), (1, 3)], false), ([(1, 2), (2, 2), (2, 3)], true)]
        {
            let mut simulation = Simulation::new(seed);
            let nodes = [0, 1, 2].map(|at| add(&mut simulation, &format!("n{at}"), ranges[at]));
            simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
            simulation.run_for(120 * SECOND);
            assert_eq!((names(&simulation, nodes[0]).len(), downs(&simulation, &nodes)), (3, 0), "seed {seed}");
            for node in nodes {
                let stats = stats(&simulation, node);
                // Whoever does not know what another speaks says a word or two that he cannot read.
                let most = if unread_at_first { 12 } else { 0 };
                assert!(stats.other_protocol <= most && stats.malformed == 0, "seed {seed}, {ranges:?}: {stats:?}");
                assert_eq!(said(&simulation, node), [], "seed {seed}, {ranges:?}");
            }
        }
    }
}

#[test]
fn ranges_that_do_not_overlap_stay_apart_and_both_sides_say_so_once() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let (old, new) = (add(&mut simulation, "old", (1, 1)), add(&mut simulation, "new", (2, 2)));
        simulation.run_for(600 * SECOND);
        assert_eq!((said(&simulation, old), said(&simulation, new)), (vec![(2, 2)], vec![(1, 1)]), "seed {seed}");
        for node in [old, new] {
            assert_eq!(simulation.status(node).unwrap().members.len(), 1, "seed {seed}");
            let stats = stats(&simulation, node);
            assert_eq!(stats.malformed, 0, "seed {seed}: {stats:?}");
        }
    }
}

/// The member in the middle could speak with the newcomer; the newcomer with the other member could not.
#[test]
fn who_cannot_speak_with_each_member_is_kept_out_and_told_with_whom_until_that_one_is_gone() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let old = add(&mut simulation, "old", (1, 1));
        let both = add(&mut simulation, "both", (1, 2));
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        let new = add(&mut simulation, "new", (2, 2));
        simulation.run_for(120 * SECOND);
        assert_ne!(simulation.status(new).unwrap().phase, Phase::Clustered, "seed {seed}");
        assert_eq!(said(&simulation, new), [(1, 1)], "seed {seed}");
        assert_eq!(said(&simulation, old), [(2, 2)], "seed {seed}");
        assert!(simulation.converged(&[old, both]), "seed {seed}");
        assert_eq!(downs(&simulation, &[old, both, new]), 0, "seed {seed}");
        simulation.kill(old);
        simulation.run_until(30 * SECOND, |simulation| simulation.converged(&[both, new])).unwrap();
    }
}

/// Whichever of them meet first, one by one or as islands.
#[test]
fn no_two_members_of_one_view_are_without_a_common_version() {
    let mut wrong = Vec::new();
    for seed in 0..40 {
        let mut simulation = Simulation::new(seed);
        let ranges = [("old", (1, 1)), ("both", (1, 2)), ("new", (2, 2)), ("other", (1, 2))];
        let mut nodes = Vec::new();
        let mut cuts = Vec::new();
        for at in 0..4 {
            let (name, range) = ranges[(at + (seed / 2 % 4) as usize) % 4];
            nodes.push(add(&mut simulation, name, range));
            if at >= 2 && seed % 2 == 0 {
                cuts.push(simulation.network().cut(&nodes[..2], &nodes[at..]));
            }
            simulation.run_for(Duration::from_millis(500 + seed % 3 * 1_500));
        }
        simulation.run_for(10 * SECOND);
        drop(cuts);
        simulation.run_for(120 * SECOND);
        let before = downs(&simulation, &nodes);
        simulation.run_for(120 * SECOND);
        let accused = downs(&simulation, &nodes) - before;
        let views: Vec<_> = nodes.iter().map(|node| names(&simulation, *node)).collect();
        let mixed = views.iter().any(|names| names.contains("old") && names.contains("new"));
        let told = nodes.iter().any(|node| !said(&simulation, *node).is_empty());
        if mixed || !told || accused > 0 {
            wrong.push(format!("seed {seed}: {views:?}, told: {told}, found dead at rest: {accused}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
