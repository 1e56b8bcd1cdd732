//! Whole engines on virtual time: they find each other, agree, lose one, are cut in two, and heal.

use std::time::Duration;

use unisono::engine::{Event, Reply, Timing};
use unisono::roles::RoleSpec;
use unisono::store::TableName;
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn cluster(seed: u64, size: usize, options: impl Fn(NodeOptions) -> NodeOptions) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let nodes = (0..size).map(|number| simulation.add(options(NodeOptions::named(&format!("n{number:03}"))))).collect();
    (simulation, nodes)
}

fn lot() -> TableName {
    TableName::new("lot").unwrap()
}

fn put(simulation: &mut Simulation, node: NodeIndex, key: &str, value: &str) {
    let now = simulation.now_at(node);
    simulation.store(node).put(now, &lot(), key.as_bytes(), value.as_bytes()).unwrap();
    simulation.wrote(node);
}

fn remove(simulation: &mut Simulation, node: NodeIndex, key: &str) {
    let now = simulation.now_at(node);
    simulation.store(node).remove(now, &lot(), key.as_bytes()).unwrap();
    simulation.wrote(node);
}

fn get(simulation: &Simulation, node: NodeIndex, key: &str) -> Option<String> {
    simulation.store(node).get(&lot(), key.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn two_engines_find_each_other_and_share_a_table() {
    let (mut simulation, nodes) = cluster(1, 2, |options| options.timing(Timing::local()));
    let took = simulation.run_until(SECOND, Simulation::all_converged).unwrap();
    println!("converged after {took:?}");
    put(&mut simulation, nodes[0], "ABC 123", "gate 1");
    let took = simulation.run_until(SECOND, |simulation| get(simulation, nodes[1], "ABC 123").is_some()).unwrap();
    assert!(took < Duration::from_millis(2), "an eager row took {took:?}");
    simulation.run_until(SECOND, Simulation::all_converged).unwrap();
}

#[test]
fn a_node_alone_is_ready_and_runs_its_roles() {
    let (mut simulation, nodes) = cluster(1, 1, |options| options.role(RoleSpec::new("gate")));
    simulation.run_until(SECOND, |simulation| simulation.running("gate") == nodes).unwrap();
    assert!(simulation.events(nodes[0]).contains(&Event::Ready));
}

#[test]
fn a_hundred_engines_find_each_other_lose_one_and_heal() {
    let (mut simulation, nodes) =
        cluster(3, 100, |options| options.role(RoleSpec::new("one")).role(RoleSpec::new("ten").count(10)));
    let took = simulation.run_until(60 * SECOND, Simulation::all_converged).unwrap();
    println!("100 nodes: converged after {took:?}");
    simulation.run_until(5 * SECOND, |simulation| simulation.running("ten").len() == 10).unwrap();
    assert_eq!(simulation.running("one").len(), 1);

    let victim = simulation.running("one")[0];
    simulation.kill(victim);
    let took = simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    println!("one killed: converged after {took:?}");
    simulation.run_until(5 * SECOND, |simulation| simulation.running("one").len() == 1).unwrap();

    let rest: Vec<NodeIndex> = nodes.iter().copied().filter(|node| *node != victim).collect();
    let (left, right) = rest.split_at(50);
    let cut = simulation.network().cut(left, right);
    simulation.run_until(60 * SECOND, |simulation| simulation.converged(left) && simulation.converged(right)).unwrap();
    put(&mut simulation, left[0], "left", "1");
    put(&mut simulation, right[0], "right", "2");
    simulation.run_for(SECOND);
    cut.heal();
    let took = simulation.run_until(60 * SECOND, Simulation::all_converged).unwrap();
    println!("healed after {took:?}");
    for node in rest {
        assert_eq!(get(&simulation, node, "left").as_deref(), Some("1"));
        assert_eq!(get(&simulation, node, "right").as_deref(), Some("2"));
    }
    simulation.run_until(20 * SECOND, |simulation| simulation.running("one").len() == 1).unwrap();
}

#[test]
fn two_halves_of_four_run_one_role_each_and_one_after_the_heal() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 4, |options| options.role(RoleSpec::new("one")));
        simulation.run_until(10 * SECOND, |simulation| simulation.running("one").len() == 1).unwrap();
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        let (left, right) = nodes.split_at(2);
        let cut = simulation.network().cut(left, right);
        simulation.run_until(20 * SECOND, |simulation| simulation.running("one").len() == 2).unwrap();
        cut.heal();
        simulation
            .run_until(20 * SECOND, |simulation| simulation.all_converged() && simulation.running("one").len() == 1)
            .unwrap();
        let keeps = simulation.running("one");
        simulation.run_for(10 * SECOND);
        assert_eq!(simulation.running("one"), keeps, "seed {seed}: it stays where it is");
    }
}

#[test]
fn a_killed_process_is_noticed_at_once_and_its_role_runs_elsewhere() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options.role(RoleSpec::new("one")));
        simulation.run_until(10 * SECOND, |simulation| simulation.running("one").len() == 1).unwrap();
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        simulation.run_for(SECOND);
        let victim = simulation.running("one")[0];
        simulation.kill(victim);
        let took = simulation.run_until(SECOND, |simulation| simulation.running("one").len() == 1).unwrap();
        assert!(took < Duration::from_millis(100), "seed {seed}: {took:?}");
        simulation.restart(victim);
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        assert_eq!(simulation.view(nodes[0]).len(), 3);
        assert_eq!(simulation.running("one").len(), 1);
    }
}

#[test]
fn a_firewall_that_rejects_between_two_of_five_kills_nobody() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 5, |options| options);
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        simulation.run_for(SECOND);
        let cut = simulation.network().reject(&nodes[1..2], &nodes[3..4]);
        simulation.run_for(60 * SECOND);
        for node in &nodes {
            let downs: Vec<_> =
                simulation.events(*node).iter().filter(|event| matches!(event, Event::Down { .. })).collect();
            assert!(downs.is_empty(), "seed {seed}: {downs:?}");
        }
        cut.heal();
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    }
}

#[test]
fn rows_survive_loss_and_a_node_that_was_away_catches_up() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        let lossy = simulation.network().add(Rule::loss(0.25));
        let copies = simulation.network().add(Rule::duplication(0.1));
        for number in 0..200 {
            put(&mut simulation, nodes[number % 3], &format!("key {number}"), "value");
            simulation.run_for(Duration::from_millis(5));
        }
        let rows = |simulation: &Simulation, node| simulation.store(node).table(&lot()).len();
        simulation
            .run_until(20 * SECOND, |simulation| nodes.iter().all(|node| rows(simulation, *node) == 200))
            .unwrap();
        drop((lossy, copies));
        simulation.kill(nodes[2]);
        put(&mut simulation, nodes[0], "while away", "value");
        simulation.run_for(5 * SECOND);
        simulation.restart(nodes[2]);
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        assert_eq!(rows(&simulation, nodes[2]), 201, "seed {seed}");
    }
}

#[test]
fn large_rows_go_by_stream() {
    let (mut simulation, nodes) = cluster(5, 3, |options| options);
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let large = "x".repeat(60_000);
    put(&mut simulation, nodes[0], "large", &large);
    let took = simulation.run_until(SECOND, |simulation| get(simulation, nodes[2], "large").is_some()).unwrap();
    assert!(took < Duration::from_millis(20), "{took:?}");
}

#[test]
fn a_node_that_leaves_hands_over_and_is_not_taken_for_dead() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options.role(RoleSpec::new("one").count(2)));
        simulation.run_until(10 * SECOND, |simulation| simulation.running("one").len() == 2).unwrap();
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        let leaver = simulation.running("one")[0];
        put(&mut simulation, leaver, "last", "words");
        simulation.leave(leaver, 5 * SECOND);
        let took = simulation.run_until(10 * SECOND, |simulation| !simulation.replies(leaver).is_empty()).unwrap();
        println!("left after {took:?}");
        assert_eq!(simulation.replies(leaver), [(0, Reply::Left)]);
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        simulation.run_until(10 * SECOND, |simulation| simulation.running("one").len() == 2).unwrap();
        for node in nodes.iter().filter(|node| **node != leaver) {
            assert_eq!(get(&simulation, *node, "last").as_deref(), Some("words"));
            let events = simulation.events(*node);
            assert!(events.iter().any(|event| matches!(event, Event::Left { .. })), "seed {seed}: {events:?}");
            assert!(!events.iter().any(|event| matches!(event, Event::Down { .. })), "seed {seed}: {events:?}");
        }
    }
}

#[test]
fn the_last_node_that_leaves_says_what_is_lost() {
    let (mut simulation, nodes) = cluster(1, 1, |options| options);
    simulation.run_until(SECOND, Simulation::all_converged).unwrap();
    put(&mut simulation, nodes[0], "mine", "value");
    simulation.leave(nodes[0], Duration::from_millis(200));
    simulation.run_until(SECOND, |simulation| !simulation.replies(nodes[0]).is_empty()).unwrap();
    assert_eq!(simulation.replies(nodes[0]), [(0, Reply::LeftWithUnsaved(vec!["lot/mine".to_owned()]))]);
}

#[test]
fn the_last_node_that_leaves_names_what_the_others_left_it_and_nothing_that_was_removed() {
    let (mut simulation, nodes) = cluster(1, 2, |options| options);
    simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
    put(&mut simulation, nodes[0], "theirs", "value");
    put(&mut simulation, nodes[1], "removed", "value");
    simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
    simulation.leave(nodes[0], 5 * SECOND);
    simulation.run_until(10 * SECOND, |simulation| !simulation.replies(nodes[0]).is_empty()).unwrap();
    assert_eq!(simulation.replies(nodes[0]), [(0, Reply::Left)], "the other one has it");
    remove(&mut simulation, nodes[1], "removed");
    simulation.leave(nodes[1], 5 * SECOND);
    simulation.run_until(10 * SECOND, |simulation| !simulation.replies(nodes[1]).is_empty()).unwrap();
    assert_eq!(simulation.replies(nodes[1]), [(0, Reply::LeftWithUnsaved(vec!["lot/theirs".to_owned()]))]);
}

#[test]
fn islands_that_wrote_alone_merge_and_lose_nothing() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let left = [simulation.add(NodeOptions::named("a")), simulation.add(NodeOptions::named("b"))];
        let right = [simulation.add(NodeOptions::named("c")), simulation.add(NodeOptions::named("d"))];
        let cut = simulation.network().cut(&left, &right);
        simulation
            .run_until(10 * SECOND, |simulation| simulation.converged(&left) && simulation.converged(&right))
            .unwrap();
        put(&mut simulation, left[0], "left", "1");
        put(&mut simulation, right[0], "right", "2");
        put(&mut simulation, right[1], "both", "r");
        simulation.run_for(SECOND);
        put(&mut simulation, left[1], "both", "l");
        simulation.run_for(SECOND);
        cut.heal();
        simulation.run_until(60 * SECOND, Simulation::all_converged).unwrap();
        for node in left.into_iter().chain(right) {
            let [both, left, right] = ["both", "left", "right"].map(|key| get(&simulation, node, key).unwrap());
            assert_eq!((both.as_str(), left.as_str(), right.as_str()), ("l", "1", "2"), "seed {seed}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (mut simulation, nodes) = cluster(seed, 5, |options| options.role(RoleSpec::new("one")));
        simulation.network().add(Rule::loss(0.1)).keep();
        simulation.run_for(5 * SECOND);
        put(&mut simulation, nodes[0], "key", "value");
        simulation.run_for(5 * SECOND);
        simulation.trace_hash()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_node_that_comes_back_with_its_clock_set_back_replaces_its_former_self() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options.role(RoleSpec::new("one").count(3)));
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        simulation.kill(nodes[1]);
        simulation.set_skew_ms(nodes[1], -3_600_000);
        simulation.restart(nodes[1]);
        simulation.run_until(5 * SECOND, Simulation::all_converged).unwrap();
        simulation.run_until(5 * SECOND, |simulation| simulation.running("one").len() == 3).unwrap();
        put(&mut simulation, nodes[1], "key", "an hour late");
        simulation.run_until(SECOND, |simulation| get(simulation, nodes[0], "key").is_some()).unwrap();
        put(&mut simulation, nodes[0], "key", "now");
        simulation.run_until(SECOND, Simulation::all_converged).unwrap();
        assert_eq!(get(&simulation, nodes[1], "key").as_deref(), Some("now"), "seed {seed}");
    }
}

#[test]
fn removed_rows_are_kept_for_a_dead_member_only_up_to_the_quota() {
    let (mut simulation, nodes) = cluster(1, 3, |options| options.tombstone_quota(50));
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    simulation.kill(nodes[2]);
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let put_and_remove = |simulation: &mut Simulation, keys: std::ops::Range<u32>| {
        for number in keys {
            put(simulation, nodes[0], &format!("key {number}"), "value");
            let now = simulation.now_at(nodes[1]);
            simulation.run_for(Duration::from_millis(2));
            simulation.store(nodes[1]).remove(now, &lot(), format!("key {number}").as_bytes()).unwrap();
            simulation.wrote(nodes[1]);
        }
        simulation.run_for(30 * SECOND);
    };
    put_and_remove(&mut simulation, 0..40);
    assert_eq!(simulation.store(nodes[0]).stats().tombstones, 40, "it may come back, and must hear of them");
    put_and_remove(&mut simulation, 40..80);
    let evicted = |event: &Event| matches!(event, Event::Evicted { why, .. } if why.contains("quota"));
    assert!(nodes[..2].iter().any(|node| simulation.events(*node).iter().any(evicted)));
    assert_eq!(simulation.store(nodes[0]).stats().tombstones, 0);
    assert_eq!(simulation.store(nodes[1]).stats().tombstones, 0);
}

#[test]
fn a_newcomer_that_loses_its_sponsor_half_way_keeps_nothing_of_it() {
    let (mut simulation, nodes) = cluster(1, 1, |options| options);
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    for number in 0..20_000 {
        put(
            &mut simulation,
            nodes[0],
            &format!("key {number}"),
            "a value of some length, so that it takes many frames",
        );
    }
    let newcomer = simulation.add(NodeOptions::named("newcomer"));
    let some = |simulation: &Simulation| !simulation.store(newcomer).table(&lot()).is_empty();
    simulation.run_until(SECOND, some).unwrap();
    assert!(simulation.store(newcomer).table(&lot()).len() < 20_000, "it is still pulling");
    simulation.kill(nodes[0]);
    simulation.run_until(10 * SECOND, |simulation| simulation.events(newcomer).contains(&Event::Ready)).unwrap();
    assert_eq!(simulation.store(newcomer).table(&lot()).len(), 0);
}

#[test]
fn while_members_come_and_go_a_role_of_one_never_runs_twice() {
    for seed in 0..60 {
        let (mut simulation, nodes) = cluster(seed, 4, |options| options.role(RoleSpec::new("one")));
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        simulation.network().set_base_delay(Delay::Uniform(Duration::from_millis(1), Duration::from_millis(30)));
        simulation.run_for(SECOND);
        let holder = simulation.running("one")[0];
        let other = nodes.iter().copied().find(|node| *node != holder).unwrap();
        simulation.kill(other);
        simulation.run_for(Duration::from_millis(seed * 2));
        simulation.kill(holder);
        simulation.run_for(Duration::from_millis(seed));
        simulation.restart(other);
        simulation.restart(holder);
        let mut most = 0;
        simulation
            .run_until(20 * SECOND, |simulation| {
                most = most.max(simulation.running("one").len());
                simulation.all_converged() && simulation.running("one").len() == 1
            })
            .unwrap();
        assert_eq!(most, 1, "seed {seed}");
    }
}
