//! Roles that come and go at run time, specs that differ, roles that nobody can host, and how well roles were served.

use std::time::Duration;

use unisono::cluster::Builder;
use unisono::sabotage;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation, TestCluster};
use unisono::{
    AddRoleError, Cluster, Event, Handover, RemoveRoleError, Restarts, RoleContext, RoleSpec, RoleSpecError,
    RoleStatus, Unplaced, Visible,
};

const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const FOUR: [&str; 4] = ["larry", "moe", "curly", "shemp"];

async fn serve(context: RoleContext) -> Result<(), unisono::RoleError> {
    context.stopped().await;
    Ok(())
}

fn builds_gates(builder: Builder) -> Builder {
    builder.role_kind("gate", serve)
}

fn gate(count: u32, revision: u64) -> RoleSpec {
    RoleSpec::new("gate").count(count).revision(revision)
}

/// What stands under the name, at each of these nodes.
fn standing(nodes: &[Cluster]) -> Vec<Option<(u32, u64)>> {
    let spec = |node: &Cluster| {
        let roles = node.roles();
        let role = roles.iter().find(|role| role.spec.name == "gate")?;
        Some((role.spec.count, role.spec.revision))
    };
    nodes.iter().map(spec).collect()
}

/// The events that have come so far.
async fn told(events: &mut unisono::cluster::Events) -> Vec<Event> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        told.push(event.expect("nothing was missed"));
    }
    told
}

/// As [`told`], of overlaps and gaps.
async fn measured(events: &mut unisono::cluster::Events) -> Vec<Event> {
    let mut told = told(events).await;
    told.retain(|event| matches!(event, Event::RoleOverlap { .. } | Event::RoleGap { .. }));
    told
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

#[test]
fn a_role_that_nobody_can_host_is_told_of_on_every_node_and_again_when_it_can_be() {
    TestCluster::run(1, |cluster| async move {
        let nodes = cluster.start_all(["larry", "moe"], builds_gates).await.unwrap();
        cluster.settle().await.unwrap();
        let mut events = [nodes[0].events(), nodes[1].events()];
        let siren = RoleSpec::new("siren").only_on("roof", "yes");
        nodes[0].add_role(siren).await.unwrap();
        cluster.settle().await.unwrap();
        let siren = "siren".to_owned();
        let unplaced = |why| Event::RoleUnplaced { role: siren.clone(), kind: siren.clone(), why };
        for (node, events) in nodes.iter().zip(&mut events) {
            assert!(told(events).await.contains(&unplaced(Unplaced::NoKind)));
            assert_eq!(node.roles()[0].unplaced, Some(Unplaced::NoKind));
            assert!(node.snapshot().to_string().contains("nowhere: no member registered this kind"));
        }
        let inside = |builder: Builder| builder.role_kind("siren", serve).label("roof", "no");
        cluster.start("curly", inside).await.unwrap();
        cluster.settle().await.unwrap();
        assert!(told(&mut events[0]).await.contains(&unplaced(Unplaced::NoLabels)));
        assert_eq!(nodes[1].roles()[0].candidates, 0);
        let outside = |builder: Builder| builder.role_kind("siren", serve).label("roof", "yes");
        cluster.start("shemp", outside).await.unwrap();
        cluster.settle().await.unwrap();
        for events in &mut events {
            let told = told(events).await;
            assert!(told.contains(&Event::RolePlaced { role: siren.clone() }), "{told:?}");
        }
        assert_eq!((nodes[1].roles()[0].candidates, nodes[1].roles()[0].unplaced), (1, None));
        cluster.crash("shemp");
        cluster.settle().await.unwrap();
        assert!(told(&mut events[0]).await.contains(&unplaced(Unplaced::NoLabels)), "once per change");
    });
}

#[test]
fn every_node_hears_who_gave_a_role_up_and_when_he_may_be_asked_again() {
    TestCluster::run(1, |cluster| async move {
        let restarts = Restarts { max_failures: 0, exclusion_ms: 5_000, ..Restarts::default() };
        let setup = move |builder: Builder| {
            let picky = |context: RoleContext| async move {
                if context.cluster().node().as_str() == "larry" {
                    return Err("no power".into());
                }
                serve(context).await
            };
            builder.role_kind("gate", picky).role(RoleSpec::new("gate").restarts(restarts))
        };
        let larry = cluster.start("larry", setup).await.unwrap();
        let mut at_larry = larry.events();
        larry.ready(LONG).await.unwrap();
        let moe = cluster.start("moe", setup).await.unwrap();
        let mut at_moe = moe.events();
        cluster.advance(10 * SECOND).await;
        for events in [&mut at_larry, &mut at_moe] {
            let told = told(events).await;
            let gave_up = |event: &Event| {
                let Event::RoleGaveUp { node, why, .. } = event else { return false };
                node.as_str() == "larry" && why.contains("no power")
            };
            assert!(told.iter().any(gave_up), "{told:?}");
            let over =
                |event: &Event| matches!(event, Event::RoleExclusionOver { node, .. } if node.as_str() == "larry");
            assert!(told.iter().any(over), "{told:?}");
        }
        assert_eq!(moe.lookup("gate").len(), 1);
    });
}

#[test]
fn an_overlap_after_a_cut_is_measured_by_every_node_as_long_as_it_was() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let setup = |builder: Builder| builds_gates(builder).role(gate(1, 0));
        let nodes = cluster.start_all(FOUR, setup).await.unwrap();
        cluster.settle().await.unwrap();
        let mut events: Vec<_> = nodes.iter().map(Cluster::events).collect();
        let split = cluster.partition(&[&FOUR[..2], &FOUR[2..]]);
        while cluster.running("gate").len() < 2 {
            cluster.advance(Duration::from_millis(10)).await;
        }
        let began = cluster.elapsed();
        cluster.advance(7 * SECOND).await;
        split.heal();
        while cluster.running("gate").len() > 1 {
            cluster.advance(Duration::from_millis(10)).await;
        }
        let truth = cluster.elapsed() - began;
        cluster.settle().await.unwrap();
        cluster.advance(3 * SECOND).await;
        for (name, events) in FOUR.iter().zip(&mut events) {
            let told = measured(events).await;
            let overlaps: Vec<_> = told.iter().filter(|event| matches!(event, Event::RoleOverlap { .. })).collect();
            let [Event::RoleOverlap { instances: 2, lasted, over: true, .. }] = overlaps[..] else {
                panic!("{name} was told {told:?}")
            };
            let off = lasted.abs_diff(truth);
            assert!(off < Duration::from_millis(500), "{name}: {lasted:?}, and it was {truth:?}");
        }
    });
}

#[test]
fn a_killed_host_is_a_gap_on_every_node_that_is_left_and_a_quiet_start_is_none() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let larry = cluster.start("larry", |builder| builds_gates(builder).role(gate(2, 0))).await.unwrap();
        let mut from_the_start = vec![larry.events()];
        let others = cluster.start_all(["moe", "curly", "shemp"], builds_gates).await.unwrap();
        from_the_start.extend(others.iter().map(Cluster::events));
        cluster.settle().await.unwrap();
        cluster.advance(30 * SECOND).await;
        for events in &mut from_the_start {
            assert_eq!(measured(events).await, [], "what never ran before has no gap");
        }
        let host = cluster.running("gate")[0].to_string();
        let nodes: Vec<Cluster> =
            FOUR.into_iter().filter(|name| *name != host).map(|name| cluster.node(name)).collect();
        let mut events: Vec<_> = nodes.iter().map(Cluster::events).collect();
        cluster.crash(&host);
        cluster.settle().await.unwrap();
        for (node, events) in nodes.iter().zip(&mut events) {
            let told = measured(events).await;
            let [Event::RoleGap { missing: 1, lasted, over: true, .. }] = &told[..] else {
                panic!("{} was told {told:?}", node.node())
            };
            assert!(*lasted < SECOND, "{lasted:?}");
        }
    });
}

/// What the nodes that stay measure while the host of a role leaves.
fn measured_while_its_host_leaves(seed: u64, handover: Handover) -> Vec<Vec<Event>> {
    TestCluster::run(seed, |cluster| async move {
        let slow = |context: RoleContext| async move {
            let starting = context.starting();
            tokio::time::sleep(Duration::from_millis(700)).await;
            drop(starting);
            context.stopped().await;
            // Longer than an overlap has to be to be told.
            tokio::time::sleep(SECOND).await;
            Ok(())
        };
        let setup = move |builder: Builder| builder.role_kind("gate", slow).role(gate(1, 0).handover(handover));
        cluster.start_all(FOUR, setup).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.node(cluster.running("gate")[0].as_str());
        let others = FOUR.into_iter().filter(|name| *name != host.node().as_str());
        let mut events: Vec<_> = others.map(|name| cluster.node(name).events()).collect();
        host.leave().await.unwrap();
        cluster.settle().await.unwrap();
        cluster.advance(3 * SECOND).await;
        let mut told = Vec::new();
        for events in &mut events {
            told.push(measured(events).await);
        }
        told
    })
}

#[test]
fn a_handover_is_no_overlap_and_a_gap_only_where_it_breaks_before_it_makes() {
    for seed in 0..10 {
        let none: [Vec<Event>; 3] = Default::default();
        assert_eq!(measured_while_its_host_leaves(seed, Handover::MakeBeforeBreak), none, "seed {seed}");
        for told in measured_while_its_host_leaves(seed, Handover::BreakBeforeMake) {
            let [Event::RoleGap { missing: 1, lasted, over: true, .. }] = &told[..] else { panic!("{seed}: {told:?}") };
            let expected = Duration::from_millis(1_600)..Duration::from_millis(2_000);
            assert!(expected.contains(lasted), "seed {seed}: {lasted:?}");
        }
    }
}
