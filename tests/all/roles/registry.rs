//! Roles that come and go at run time, and specs that differ.

use unisono::sabotage;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation, TestCluster};
use unisono::{AddRoleError, Cluster, RemoveRoleError, RoleSpecError, RoleStatus, Visible};

use super::*;

/// What stands under the name, at each of these nodes.
fn standing(nodes: &[Cluster]) -> Vec<Option<(u32, u64)>> {
    let spec = |node: &Cluster| {
        let roles = node.roles();
        let role = roles.iter().find(|role| role.spec.name == "gate")?;
        Some((role.spec.count, role.spec.revision))
    };
    nodes.iter().map(spec).collect()
}

#[test]
fn a_role_is_added_and_removed_on_any_node_and_seen_on_all() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let nodes = cluster.start_all(FOUR, builds_gates).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(nodes[0].add_role(gate(2, 0)).await, Ok(true));
        nodes[0].await_visible(Visible::All, LONG).await.unwrap();
        assert_eq!(standing(&nodes), [Some((2, 0)); 4], "at once here, and there when they hold it");
        assert_eq!(nodes[1].add_role(gate(2, 0)).await, Ok(false), "idempotent, on whichever node");
        nodes[0].converged().await.unwrap();
        for node in &nodes {
            let [RoleStatus { wanted: 2, assigned, .. }] = &node.roles()[..] else { panic!("{:?}", node.roles()) };
            assert_eq!((assigned.len(), node.lookup("gate").len()), (2, 2));
            assert!(node.roles()[0].is_settled() && node.roles()[0].missing() == 0);
        }
        assert_eq!(cluster.running("gate").len(), 2);

        assert_eq!(nodes[2].remove_role("gate").await, Ok(true));
        nodes[2].await_visible(Visible::All, LONG).await.unwrap();
        assert_eq!(standing(&nodes), [None; 4]);
        assert_eq!(nodes[2].remove_role("gate").await, Ok(false));
        cluster.settle().await.unwrap();
        nodes[3].until(LONG, |_| cluster.running("gate").is_empty()).await.unwrap_or_else(|_| nodes[3].status());
        cluster.advance(SECOND).await;
        assert_eq!(cluster.running("gate"), []);

        assert_eq!(nodes[3].add_role(gate(1, 0)).await, Ok(true), "a removed role can be added again");
        cluster.assert_converged().await;
        assert_eq!((standing(&nodes), cluster.running("gate").len()), (vec![Some((1, 0)); 4], 1));
    });
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_the_reason() {
    TestCluster::run(1, |cluster| async move {
        let larry = cluster.start("larry", builds_gates).await.unwrap();
        assert_eq!(larry.add_role(gate(1, 0)).await, Err(AddRoleError::NotReady));
        assert_eq!(larry.remove_role("gate").await, Err(RemoveRoleError::NotReady));
        larry.ready(LONG).await.unwrap();
        let zero = RoleSpecError::CountZero { role: "gate".into() };
        assert_eq!(larry.add_role(gate(0, 0)).await, Err(AddRoleError::Spec(zero)));
        larry.add_role(gate(1, 5)).await.unwrap();
        let older = AddRoleError::Older { role: "gate".into(), revision: 4, standing: 5 };
        assert_eq!(larry.add_role(gate(2, 4)).await, Err(older));
        let _ = larry.leave().await;
        assert_eq!(larry.add_role(gate(1, 6)).await, Err(AddRoleError::Gone));
        assert_eq!(larry.remove_role("gate").await, Err(RemoveRoleError::Gone));
    });
}

#[test]
fn a_removal_withdraws_what_nodes_were_configured_with_until_one_starts() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let setup = |builder: Builder| builds_gates(builder).role(gate(1, 3));
        let nodes = cluster.start_all(FOUR, setup).await.unwrap();
        cluster.settle().await.unwrap();
        nodes[1].remove_role("gate").await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(standing(&nodes), [None; 4]);
        // Not even a lower revision is overwritten by those that declared a higher one before.
        nodes[2].add_role(gate(2, 0)).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(standing(&nodes), [Some((2, 0)); 4]);
        nodes[2].remove_role("gate").await.unwrap();
        cluster.settle().await.unwrap();
        cluster.restart("moe").await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(standing(&nodes[2..]), [Some((1, 3)); 2], "a node that starts declares what it is configured with");
    });
}

#[test]
fn who_joins_with_a_lower_revision_does_not_overwrite_and_says_so() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let larry = cluster.start("larry", |builder| builds_gates(builder).role(gate(2, 1))).await.unwrap();
        larry.ready(LONG).await.unwrap();
        let mut at_larry = larry.events();
        let differs = |events: &[Event]| -> Vec<(u32, u32)> {
            let counts = |event: &Event| match event {
                Event::RoleSpecDiffers { standing, declared, .. } => Some((standing.count, declared.count)),
                _ => None,
            };
            events.iter().filter_map(counts).collect()
        };
        let moe = cluster.start("moe", |builder| builds_gates(builder).role(gate(3, 0))).await.unwrap();
        let mut at_moe = moe.events();
        cluster.settle().await.unwrap();
        assert_eq!(differs(&told(&mut at_moe).await), [(2, 3)]);
        assert_eq!(standing(&[larry.clone(), moe.clone()]), [Some((2, 1)); 2]);
        // Of equal revisions the later, and who declared the other says so.
        let curly = cluster.start("curly", |builder| builds_gates(builder).role(gate(1, 1))).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(standing(&[larry.clone(), moe.clone(), curly.clone()]), [Some((1, 1)); 3]);
        assert_eq!(differs(&told(&mut at_larry).await), [(1, 2)]);
        assert_eq!(differs(&told(&mut at_moe).await), [(1, 3)]);
        cluster.advance(LONG).await;
        assert_eq!(differs(&told(&mut at_larry).await), [], "once per change");
    });
}

#[test]
fn specs_of_two_islands_resolve_alike_everywhere_by_revision_and_then_by_time() {
    TestCluster::run_seeds(0..6, |cluster| async move {
        // The revisions on the two sides, and the count that is to stand; the second side writes later.
        for (first, second, stands) in [(2, 1, 1), (1, 2, 2), (1, 1, 2)] {
            let nodes = cluster.start_all(FOUR, builds_gates).await.unwrap();
            cluster.settle().await.unwrap();
            let split = cluster.partition(&[&FOUR[..2], &FOUR[2..]]);
            cluster.settle().await.unwrap();
            nodes[0].add_role(gate(1, first)).await.unwrap();
            cluster.advance(SECOND).await;
            nodes[3].add_role(gate(2, second)).await.unwrap();
            cluster.settle().await.unwrap();
            split.heal();
            cluster.assert_converged().await;
            let revision = first.max(second);
            assert_eq!(standing(&nodes), [Some((stands, revision)); 4], "{first} and {second}");
            let writes = |node: &Cluster| node.digest();
            let before: Vec<_> = nodes.iter().map(writes).collect();
            cluster.advance(10 * SECOND).await;
            assert_eq!(nodes.iter().map(writes).collect::<Vec<_>>(), before, "and nobody goes on writing");
            for name in FOUR {
                cluster.crash(name);
            }
            cluster.advance(SECOND).await;
        }
    });
}

/// An upgraded node is cut off when an old one starts anew, later: what the old one writes wins by its time, and must not
/// stand.
#[test]
fn a_lower_revision_that_was_written_later_does_not_stand() {
    for seed in 0..10 {
        lower_revision_came_later(seed, &[]).unwrap();
    }
}

pub(crate) fn lower_revision_came_later(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let options = |name: &str, revision| {
        let options = NodeOptions::named(name).role(gate(1, revision));
        broken.iter().fold(options, |options, rule| options.sabotage(*rule))
    };
    let new = [simulation.add(options("n0", 2)), simulation.add(options("n1", 2))];
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let old = [("n2", 1), ("n3", 1)].map(|(name, revision)| {
        let blank = NodeOptions::named(name);
        (simulation.add(broken.iter().fold(blank, |blank, rule| blank.sabotage(*rule))), options(name, revision))
    });
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let nodes: Vec<NodeIndex> = new.into_iter().chain(old.iter().map(|(node, _)| *node)).collect();
    let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
    simulation.run_for(10 * SECOND);
    // They start from nothing, as an island of their own.
    for (node, options) in &old {
        simulation.reconfigure(*node, |_| options.clone());
        simulation.restart(*node);
    }
    simulation.run_for(10 * SECOND);
    cut.heal();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    simulation.run_for(5 * SECOND);
    for node in nodes {
        let roles = &simulation.status(node).unwrap().roles;
        if roles[0].spec.revision != 2 {
            return Err(format!("seed {seed}: revision {} stands at {node:?}", roles[0].spec.revision));
        }
    }
    Ok(())
}
