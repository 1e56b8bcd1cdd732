//! Roles that nobody can host, those that failed, and how well roles were served.

use unisono::testkit::TestCluster;
use unisono::{Cluster, Handover, PartitionPolicy, Restarts, RoleStatus, Unplaced};

use super::*;

/// As [`told`], of overlaps and gaps.
async fn measured(events: &mut Events) -> Vec<Event> {
    let mut told = told(events).await;
    told.retain(|event| matches!(event, Event::RoleOverlap { .. } | Event::RoleGap { .. }));
    told
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

#[test]
fn a_side_that_is_too_small_says_so_and_misses_nothing() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let majority = gate(1, 0).partition(PartitionPolicy::Majority);
        let setup = move |builder: Builder| builds_gates(builder).role(majority.clone());
        let nodes = cluster.start_all(FOUR, setup).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.running("gate")[0].to_string();
        let node = cluster.node(&host);
        let mut events = node.events();
        let split = cluster.partition(&[&[host.as_str()]]);
        cluster.settle().await.unwrap();
        cluster.advance(20 * SECOND).await;
        let [RoleStatus { wanted: 0, unplaced: Some(Unplaced::Partition), .. }] = &node.roles()[..] else {
            panic!("{:?}", node.roles())
        };
        assert!(!cluster.running("gate").contains(node.node()), "it runs on the other side");
        split.heal();
        cluster.assert_converged().await;
        cluster.advance(3 * SECOND).await;
        let mut told = told(&mut events).await;
        told.retain(|event| {
            let place = matches!(event, Event::RoleUnplaced { .. } | Event::RolePlaced { .. });
            // Who comes back believes for a moment that others are down, and some may believe it him.
            let overlap = matches!(event, Event::RoleOverlap { lasted, .. } if *lasted > SECOND);
            place || overlap || matches!(event, Event::RoleGap { .. })
        });
        let (role, why) = ("gate".to_owned(), Unplaced::Partition);
        let expected =
            [Event::RoleUnplaced { role: role.clone(), kind: role.clone(), why }, Event::RolePlaced { role }];
        assert_eq!(told, expected);
        assert!(nodes.iter().all(|node| node.lookup("gate").len() == 1));
    });
}
