//! Newcomers beside members whose streams fail, and whose datagrams do not; and the other way round.
//!
//! A member without free descriptors still answers datagrams: its host accepts what is opened to it, and no process ever
//! answers. A newcomer that waited for it made a cluster of its own, with empty tables and all roles, beside a healthy one.

use std::time::Duration;

use unisono::engine::{Event, Phase};
use unisono::sabotage;
use unisono::store::TableName;
use unisono::testkit::{NodeIndex, NodeOptions, Rule, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn options(name: &str, broken: &[sabotage::Rule]) -> NodeOptions {
    broken.iter().fold(NodeOptions::named(name), |options, rule| options.sabotage(*rule))
}

/// A converged cluster.
fn cluster(seed: u64, size: usize, broken: &[sabotage::Rule]) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let nodes = (0..size).map(|number| simulation.add(options(&format!("n{number}"), broken))).collect();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    (simulation, nodes)
}

fn phase(simulation: &Simulation, node: NodeIndex) -> Option<Phase> {
    simulation.status(node).map(|status| status.phase)
}

/// Waits until a newcomer is in the view of so many; or says that it made a cluster of its own before.
fn joins(simulation: &mut Simulation, newcomer: NodeIndex, members: usize) -> Result<Duration, String> {
    let mut alone = false;
    let joined = simulation.run_until(40 * SECOND, |simulation| {
        alone |= phase(simulation, newcomer) == Some(Phase::Standalone);
        alone || simulation.view(newcomer).len() == members
    });
    match joined {
        Ok(_) if alone => Err(format!("{newcomer:?} made a cluster of its own beside a healthy one")),
        joined => joined.map_err(|timeout| timeout.to_string()),
    }
}

/// The first that a newcomer asks accepts its stream and never answers.
pub(crate) fn silent_sponsor(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = cluster(seed, 3, broken);
    let first = nodes.iter().copied().min_by_key(|node| simulation.store(*node).replica()).unwrap();
    let _unanswered = simulation.network().add(Rule::streams_unanswered().to(&[first]));
    let newcomer = simulation.add(options("n9", broken));
    let took = joins(&mut simulation, newcomer, 4)?;
    if took < SECOND { Ok(()) } else { Err(format!("it took {took:?}")) }
}

#[test]
fn a_newcomer_joins_beside_members_whose_streams_fail() {
    let faults: [fn() -> Rule; 5] =
        [Rule::streams_unanswered, Rule::streams_refused, Rule::no_streams, || Rule::resets(1.0), Rule::no_datagrams];
    for seed in 0..10 {
        for (number, fault) in faults.iter().enumerate() {
            let (mut simulation, nodes) = cluster(seed, 4, &[]);
            let first = usize::try_from(seed % 4).unwrap();
            let broken = [nodes[first], nodes[(first + 1) % 4]];
            let newcomer_hurt = simulation.network().add(fault().to(&broken));
            let newcomer = simulation.add(NodeOptions::named("n9"));
            let mut alone = false;
            let took = simulation
                .run_until(20 * SECOND, |simulation| {
                    alone |= phase(simulation, newcomer) == Some(Phase::Standalone);
                    phase(simulation, newcomer) == Some(Phase::Clustered)
                })
                .unwrap_or_else(|timeout| panic!("fault {number}: {timeout}"));
            assert!(!alone && took < SECOND, "seed {seed}, fault {number}: alone: {alone}, {took:?}");
            newcomer_hurt.heal();
            let took = simulation.run_until(20 * SECOND, Simulation::all_converged);
            took.unwrap_or_else(|timeout| panic!("fault {number}: {timeout}"));
        }
    }
}

/// Whatever the fault, a node is not kept waiting for ever; and when it ends, the two become one.
#[test]
fn a_newcomer_whose_only_member_never_answers_is_alone_until_it_does() {
    for seed in 0..10 {
        for fault in [Rule::streams_unanswered(), Rule::streams_refused(), Rule::no_streams()] {
            let (mut simulation, nodes) = cluster(seed, 1, &[]);
            let table = TableName::new("lot").unwrap();
            simulation.put(nodes[0], &table, b"before", b"car").unwrap();
            let fault = simulation.network().add(fault);
            let newcomer = simulation.add(NodeOptions::named("n9"));
            let alone = |simulation: &Simulation| simulation.store(newcomer).is_open();
            let took = simulation.run_until(10 * SECOND, alone).unwrap();
            assert!((3 * SECOND..4 * SECOND).contains(&took), "seed {seed}: alone after {took:?}");
            simulation.put(newcomer, &table, b"meanwhile", b"car").unwrap();
            simulation.run_for(20 * SECOND);
            fault.heal();
            let took = simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
            assert!(took < 10 * SECOND, "seed {seed}: one after {took:?}");
            assert_eq!(simulation.store(nodes[0]).table(&table).len(), 2, "seed {seed}");
            let down = simulation.events(nodes[0]).iter().find(|event| matches!(event, Event::Down { .. }));
            assert_eq!(down, None, "seed {seed}");
        }
    }
}

/// Of several newcomers that get nowhere one makes a cluster, and the others join it.
#[test]
fn newcomers_that_get_nowhere_are_one_cluster() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 1, &[]);
        let unanswered = simulation.network().add(Rule::streams_unanswered().to(&nodes));
        let newcomers = ["n7", "n8", "n9"].map(|name| {
            simulation.run_for(SECOND / 3);
            simulation.add(NodeOptions::named(name))
        });
        simulation.run_until(20 * SECOND, |simulation| simulation.converged(&newcomers)).unwrap();
        let merged = |node: &NodeIndex| {
            simulation.events(*node).iter().any(|event| matches!(event, Event::IslandsMerged { .. }))
        };
        assert!(!newcomers.iter().any(merged), "seed {seed}: they were islands");
        unanswered.heal();
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    }
}

/// A sponsor's streams break again and again while a newcomer pulls.
#[test]
fn a_newcomer_joins_though_streams_break() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 3, &[]);
        let table = TableName::new("lot").unwrap();
        for key in 0..200_u8 {
            simulation.put(nodes[0], &table, &[key], &[7; 5_000]).unwrap();
        }
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        let _resets = simulation.network().add(Rule::resets(0.3));
        let newcomer = simulation.add(NodeOptions::named("n9"));
        joins(&mut simulation, newcomer, 4).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let rows = |simulation: &Simulation| simulation.store(newcomer).table(&table).len() == 200;
        simulation.run_until(20 * SECOND, rows).unwrap();
    }
}

/// A tunnel takes less than an Ethernet does, and says nothing of what it drops.
#[test]
fn a_path_that_takes_small_datagrams_only_is_a_cluster() {
    for (seed, most) in (0..).zip([1_200, 1_300, 1_399]) {
        let mut simulation = Simulation::new(seed);
        simulation.network().add(Rule::largest_datagram(most)).keep();
        let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(NodeOptions::named(name)));
        simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap_or_else(|why| panic!("{most}: {why}"));
        let table = TableName::new("lot").unwrap();
        for key in 0..100_u8 {
            let length = usize::from(key) * 15;
            simulation.put(nodes[usize::from(key) % 3], &table, &[key], &vec![7; length]).unwrap();
        }
        simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap_or_else(|why| panic!("{most}: {why}"));
        simulation.run_for(60 * SECOND);
        let lost = nodes
            .iter()
            .flat_map(|node| simulation.events(*node))
            .find(|event| matches!(event, Event::Down { .. } | Event::IslandsMerged { .. }));
        assert_eq!(lost, None, "{most}");
    }
}
