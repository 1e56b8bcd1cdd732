//! What is changed at run time stands against configurations: of nodes that restart, start later, or were away.

use unisono::sabotage;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation, TestCluster};
use unisono::{AddRoleError, Cluster, RoleOrigin, TimingConfig, Visible, WhatIf};

use super::registry::standing;
use super::*;

/// Longer than [`forgetful`] nodes remember one that is Down, and what was removed meanwhile.
const WEEKS: Duration = Duration::from_secs(5 * 60);

/// Whoever is Down is forgotten in minutes instead of an hour.
fn forgetful(builder: Builder) -> Builder {
    let (evict_after_ms, forget_down_ms) = (Some(60_000), Some(60_000));
    builder.timing(TimingConfig { evict_after_ms, forget_down_ms, ..TimingConfig::default() })
}

/// A node whose configuration asks for this.
fn asks(count: u32, revision: u64) -> impl Fn(Builder) -> Builder {
    move |builder| builds_gates(builder).role(gate(count, revision))
}

/// Where what stands came from, at each of these nodes.
fn origins(nodes: &[Cluster]) -> Vec<RoleOrigin> {
    nodes.iter().map(|node| node.roles()[0].origin).collect()
}

fn now(cluster: &TestCluster) -> [Cluster; 4] {
    FOUR.map(|name| cluster.node(name))
}

#[test]
fn a_count_changed_at_run_time_outlives_restarts() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let nodes = cluster.start_all(FOUR, asks(2, 0)).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(origins(&nodes), [RoleOrigin::Configuration; 4]);
        let change = nodes[0].add_role(gate(4, 0)).await.unwrap();
        let outranked = change.outranked.unwrap();
        assert!(change.changed);
        assert_eq!((outranked.spec, outranked.origin), (Some(gate(2, 0)), RoleOrigin::Configuration));
        cluster.settle().await.unwrap();
        for name in FOUR {
            let mut events = cluster.restart(name).await.unwrap().events();
            cluster.settle().await.unwrap();
            assert_eq!(standing(&now(&cluster)), [Some((4, 0)); 4], "{name} restarted");
            assert_eq!(cluster.running("gate").len(), 4);
            let differs = Event::RoleSpecDiffers {
                role: "gate".into(),
                standing: Box::new(gate(4, 0)),
                origin: RoleOrigin::RunTime,
                declared: Box::new(gate(2, 0)),
            };
            let told: Vec<_> = told(&mut events).await.into_iter().filter(is_of_specs).collect();
            assert_eq!(told, [differs], "{name} says that its configuration is another");
        }
        assert_eq!(origins(&now(&cluster)), [RoleOrigin::RunTime; 4]);
        let moe = cluster.node("moe");
        assert_eq!(moe.explain("gate").await.unwrap().spec, gate(4, 0));
        assert_eq!(moe.what_if(WhatIf::new().count("gate", 4)).await, Ok(vec![]), "it is so already");
        // Whoever starts for the first time stands behind it too, and so does what is asked for in several configurations.
        cluster.start("larry-2", asks(1, 0)).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!((standing(&now(&cluster)), cluster.running("gate").len()), (vec![Some((4, 0)); 4], 4));
    });
}

fn is_of_specs(event: &Event) -> bool {
    matches!(event, Event::RoleSpecDiffers { .. } | Event::RoleRemoved { .. })
}

#[test]
fn a_removed_role_stays_removed_until_it_is_added_again() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let nodes = cluster.start_all(FOUR, asks(2, 3)).await.unwrap();
        cluster.settle().await.unwrap();
        let change = nodes[1].remove_role("gate").await.unwrap();
        assert_eq!(change.outranked.map(|stood| (stood.spec, stood.revision)), Some((Some(gate(2, 3)), 3)));
        cluster.settle().await.unwrap();
        for name in ["moe", "shemp"] {
            let mut events = cluster.restart(name).await.unwrap().events();
            cluster.settle().await.unwrap();
            assert_eq!((standing(&now(&cluster)), cluster.running("gate")), (vec![None; 4], vec![]));
            let removed = Event::RoleRemoved { role: "gate".into(), revision: 3, declared: Box::new(gate(2, 3)) };
            let told: Vec<_> = told(&mut events).await.into_iter().filter(is_of_specs).collect();
            assert_eq!(told, [removed], "{name} says that its configuration names a role that is not run");
        }
        let older = AddRoleError::Older { role: "gate".into(), revision: 2, standing: 3 };
        assert_eq!(nodes[2].add_role(gate(1, 2)).await, Err(older));
        let change = nodes[2].add_role(gate(1, 3)).await.unwrap();
        assert_eq!(change.outranked.map(|stood| (stood.spec, stood.origin)), Some((None, RoleOrigin::RunTime)));
        cluster.settle().await.unwrap();
        cluster.restart("larry").await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!((standing(&now(&cluster)), cluster.running("gate").len()), (vec![Some((1, 3)); 4], 1));
    });
}

/// So long that the absent are evicted and everything that is collected is collected.
#[test]
fn changes_outlive_the_absence_of_a_node_of_any_length() {
    TestCluster::run_seeds(0..2, |cluster| async move {
        let setup = |builder: Builder| forgetful(asks(2, 1)(builder)).role(RoleSpec::new("siren").kind("gate"));
        let nodes = cluster.start_all(FOUR, setup).await.unwrap();
        cluster.settle().await.unwrap();
        // One process is away, one is alive on the other side of a cut, with the rows of before.
        cluster.crash("moe");
        let split = cluster.partition(&[&["larry", "curly"], &["shemp"]]);
        cluster.settle().await.unwrap();
        nodes[0].add_role(gate(1, 1)).await.unwrap();
        nodes[0].remove_role("siren").await.unwrap();
        cluster.settle().await.unwrap();
        cluster.advance(WEEKS).await;
        assert_eq!(nodes[0].members().len(), 2, "the others are forgotten");
        split.heal();
        cluster.restart("moe").await.unwrap();
        cluster.settle().await.unwrap();
        for node in now(&cluster) {
            let roles: Vec<_> = node.roles().into_iter().map(|role| (role.spec, role.origin)).collect();
            assert_eq!(roles, [(gate(1, 1), RoleOrigin::RunTime)], "at {}", node.node());
        }
        assert_eq!((cluster.running("gate").len(), cluster.running("siren").len()), (1, 0));
    });
}

#[test]
fn a_configuration_of_a_higher_revision_takes_over_node_by_node() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        let nodes = cluster.start_all(FOUR, asks(2, 0)).await.unwrap();
        cluster.settle().await.unwrap();
        nodes[0].add_role(gate(4, 0)).await.unwrap();
        cluster.settle().await.unwrap();
        for (upgraded, name) in FOUR.into_iter().enumerate() {
            cluster.node(name).leave().await.unwrap();
            cluster.start(name, asks(3, 1)).await.unwrap();
            cluster.settle().await.unwrap();
            assert_eq!((standing(&now(&cluster)), cluster.running("gate").len()), (vec![Some((3, 1)); 4], 3));
            // One that is not upgraded yet restarts, and does not bring the old one back.
            if let Some(old) = FOUR.get(upgraded + 1) {
                cluster.restart(old).await.unwrap();
                cluster.settle().await.unwrap();
                assert_eq!(standing(&now(&cluster)), [Some((3, 1)); 4]);
            }
        }
        assert_eq!(origins(&now(&cluster)), [RoleOrigin::Configuration; 4]);
        // A removal is undone in the same way.
        cluster.node("moe").remove_role("gate").await.unwrap();
        cluster.settle().await.unwrap();
        cluster.crash("curly");
        cluster.start("curly", asks(1, 2)).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(standing(&now(&cluster)), [Some((1, 2)); 4]);
    });
}

/// As documented: it goes back and forth while it lasts, and ends with the new one.
#[test]
fn an_upgrade_with_the_same_revision_ends_with_what_was_started_last() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        cluster.start_all(FOUR, asks(2, 0)).await.unwrap();
        cluster.settle().await.unwrap();
        for (upgraded, name) in FOUR.into_iter().enumerate() {
            cluster.node(name).leave().await.unwrap();
            cluster.start(name, asks(3, 0)).await.unwrap();
            cluster.settle().await.unwrap();
            assert_eq!(standing(&now(&cluster)), [Some((3, 0)); 4]);
            if let Some(old) = FOUR.get(upgraded + 1) {
                cluster.restart(old).await.unwrap();
                cluster.settle().await.unwrap();
                assert_eq!(standing(&now(&cluster)), [Some((2, 0)); 4], "{old} wants it as it was");
            }
        }
        assert_eq!(cluster.running("gate").len(), 3);
    });
}

#[test]
fn after_a_restart_of_all_nodes_the_configuration_holds() {
    TestCluster::run(1, |cluster| async move {
        let setup = |builder: Builder| asks(2, 0)(builder).role(RoleSpec::new("siren").kind("gate"));
        let nodes = cluster.start_all(FOUR, setup).await.unwrap();
        cluster.settle().await.unwrap();
        nodes[0].add_role(gate(4, 0)).await.unwrap();
        nodes[0].remove_role("siren").await.unwrap();
        cluster.settle().await.unwrap();
        FOUR.iter().for_each(|name| cluster.crash(name));
        cluster.advance(SECOND).await;
        for name in FOUR {
            cluster.restart(name).await.unwrap();
        }
        cluster.settle().await.unwrap();
        assert_eq!((cluster.running("gate").len(), cluster.running("siren").len()), (2, 1));
    });
}

/// Three sides change the role, each in its way, and meet in each order: the same stands.
#[test]
fn sides_that_meet_come_to_the_same_in_whatever_order() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        let three = ["larry", "moe", "curly"];
        for (round, order) in [[0, 1, 2], [1, 2, 0], [2, 0, 1]].into_iter().enumerate() {
            let revision = u64::try_from(round).unwrap() * 10;
            // Of its revision the removal is the latest; a configuration of that revision restarts later still.
            let nodes = cluster.start_all(three, asks(1, revision)).await.unwrap();
            cluster.settle().await.unwrap();
            let cuts: Vec<_> = order
                .map(|side| {
                    let one = cluster.index(three[side]);
                    let rest: Vec<_> =
                        three.iter().map(|name| cluster.index(name)).filter(|other| *other != one).collect();
                    cluster.network().cut(&[one], &rest)
                })
                .into_iter()
                .collect();
            cluster.advance(10 * SECOND).await;
            nodes[0].add_role(gate(2, revision + 2)).await.unwrap();
            cluster.advance(SECOND).await;
            nodes[1].remove_role("gate").await.unwrap();
            nodes[1].add_role(gate(3, revision + 2)).await.unwrap();
            cluster.advance(SECOND).await;
            nodes[2].add_role(gate(1, revision + 1)).await.unwrap();
            cluster.advance(SECOND).await;
            for cut in cuts {
                cut.heal();
                cluster.advance(15 * SECOND).await;
            }
            cluster.assert_converged().await;
            let nodes = three.map(|name| cluster.node(name));
            assert_eq!(standing(&nodes), [Some((3, revision + 2)); 3], "in the order {order:?}");
            three.iter().for_each(|name| cluster.crash(name));
            cluster.advance(SECOND).await;
        }
    });
}

#[test]
fn a_change_that_others_hold_outlives_the_node_that_made_it() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let nodes = cluster.start_all(FOUR, |builder| forgetful(asks(2, 0)(builder))).await.unwrap();
        cluster.settle().await.unwrap();
        nodes[0].add_role(gate(3, 0)).await.unwrap();
        nodes[0].await_visible(Visible::All, LONG).await.unwrap();
        cluster.crash("larry");
        cluster.settle().await.unwrap();
        cluster.advance(WEEKS).await;
        cluster.restart("larry").await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!((standing(&now(&cluster)), cluster.running("gate").len()), (vec![Some((3, 0)); 4], 3));
    });
}

/// For the canaries: what is changed on one node holds when another restarts.
fn restarted(
    seed: u64,
    broken: &[sabotage::Rule],
    change: impl FnOnce(&mut Simulation, NodeIndex),
    holds: impl Fn(&Simulation, NodeIndex) -> Result<(), String>,
) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let nodes = ["n0", "n1", "n2"].map(|name| {
        let options = NodeOptions::named(name).role(gate(1, 1));
        simulation.add(broken.iter().fold(options, |options, rule| options.sabotage(*rule)))
    });
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    change(&mut simulation, nodes[0]);
    simulation.run_for(5 * SECOND);
    simulation.kill(nodes[1]);
    simulation.run_for(5 * SECOND);
    simulation.restart(nodes[1]);
    simulation.run_for(5 * SECOND);
    nodes.iter().try_for_each(|node| holds(&simulation, *node))
}

pub(crate) fn count_changed(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let change = |simulation: &mut Simulation, node| simulation.add_role(node, gate(3, 1));
    restarted(seed, broken, change, |simulation, node| match simulation.status(node).unwrap().roles[0].spec.count {
        3 => Ok(()),
        count => Err(format!("the configuration took over: {count} are wanted at {node:?}")),
    })
}

pub(crate) fn role_removed(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let change = |simulation: &mut Simulation, node| simulation.remove_role(node, "gate");
    restarted(seed, broken, change, |simulation, node| match simulation.status(node).unwrap().roles.first() {
        None => Ok(()),
        Some(role) => Err(format!("the removed role is back at {node:?}: {:?}", role.spec)),
    })
}
