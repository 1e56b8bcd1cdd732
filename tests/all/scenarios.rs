//! What the schedules found, each as a story of its own.

use std::time::Duration;

use unisono::engine::{Event, Phase, Reply, Timing};
use unisono::roles::RoleSpec;
use unisono::sabotage;
use unisono::store::TableName;
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule as NetworkRule, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn cluster(seed: u64, size: usize) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let nodes = (0..size).map(|number| simulation.add(NodeOptions::named(&format!("n{number}")))).collect();
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    (simulation, nodes)
}

fn put(simulation: &mut Simulation, node: NodeIndex, key: &str) {
    let now = simulation.now_at(node);
    simulation.store(node).put(now, &TableName::new("lot").unwrap(), key.as_bytes(), b"value").unwrap();
    simulation.wrote(node);
}

/// What a dead author told nobody was asked for every 50 ms, for ever.
#[test]
fn what_died_with_its_author_is_not_asked_for_for_ever() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 3);
        let lossy = simulation.network().add(NetworkRule::loss(0.6));
        for number in 0..10 {
            put(&mut simulation, nodes[0], &format!("k{number}"));
            simulation.run_for(Duration::from_micros(10));
        }
        simulation.run_for(Duration::from_millis(1));
        simulation.kill(nodes[0]);
        lossy.heal();
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        simulation.run_for(2 * SECOND);
        let pulls = |simulation: &Simulation| simulation.engine(nodes[1]).unwrap().stats().pulls;
        let before = pulls(&simulation);
        simulation.run_for(10 * SECOND);
        assert!(pulls(&simulation) - before <= 2, "seed {seed}: {} pulls at rest", pulls(&simulation) - before);
    }
}

/// Each of two that leave at once counted on the other to keep its writes.
#[test]
fn two_that_leave_at_once_do_not_count_on_each_other() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 2);
        put(&mut simulation, nodes[0], "a");
        put(&mut simulation, nodes[1], "b");
        simulation.run_for(SECOND);
        simulation.leave(nodes[0], 5 * SECOND);
        simulation.leave(nodes[1], 5 * SECOND);
        simulation.run_until(2 * SECOND, |simulation| simulation.alive().is_empty()).unwrap();
        for (node, unsaved) in [(nodes[0], "lot/a"), (nodes[1], "lot/b")] {
            // The last of them to go names the other's rows too.
            let [(0, Reply::LeftWithUnsaved(rows))] = simulation.replies(node) else { panic!("seed {seed}") };
            assert!(rows.iter().any(|row| row == unsaved), "seed {seed}: {rows:?}");
        }
    }
}

/// A node that left had counted on a member that was dead by then.
#[test]
fn the_dead_keep_nothing_for_one_that_leaves() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 3);
        simulation.network().cut(&nodes[..2], &nodes[2..]).keep();
        put(&mut simulation, nodes[0], "a");
        simulation.run_for(SECOND);
        simulation.kill(nodes[1]);
        simulation.run_for(SECOND);
        simulation.leave(nodes[0], SECOND);
        simulation.run_until(3 * SECOND, |simulation| !simulation.replies(nodes[0]).is_empty()).unwrap();
        assert_eq!(simulation.replies(nodes[0]), [(0, Reply::LeftWithUnsaved(vec!["lot/a".to_owned()]))], "{seed}");
    }
}

/// Seed 5179: a node gave a role up and forgot that it had; a member that had not heard of it brought the claim back, and
/// everybody waited for ever for an instance that nobody ran.
#[test]
fn a_claim_that_its_owner_gave_up_does_not_come_back() {
    for seed in 0..10 {
        claim_given_up(seed, &[]).unwrap();
    }
}

pub(crate) fn claim_given_up(seed: u64, broken: &[sabotage::Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let mut timing = Timing::lan();
    timing.evict_after = 5 * SECOND;
    let options = |name| NodeOptions::named(name).timing(timing.clone()).role(RoleSpec::new("one"));
    let options = |name| broken.iter().fold(options(name), |options, rule| options.sabotage(*rule));
    let nodes = ["n0", "n1", "n2", "n3"].map(|name| simulation.add(options(name)));
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    simulation.run_for(SECOND);
    let [older] = simulation.running("one")[..] else { panic!("seed {seed}") };
    let others: Vec<_> = nodes.into_iter().filter(|node| *node != older).collect();
    let (near, far) = ([older, others[0]], [others[1], others[2]]);
    simulation.network().cut(&near, &far).keep();
    simulation.run_for(15 * SECOND);
    let younger = *simulation.running("one").iter().find(|node| far.contains(node)).unwrap();
    let witness = if younger == far[0] { far[1] } else { far[0] };
    // The younger meets the older half, gives the role up, and its claim is collected without the witness.
    simulation.network().heal();
    simulation.network().cut(&[witness], &[near[0], near[1], younger]).keep();
    // The witness, who is alone, may run it as well.
    let gave_up = |simulation: &Simulation| !simulation.running("one").contains(&younger);
    simulation.run_until(5 * SECOND, gave_up).unwrap();
    simulation.run_until(10 * SECOND, |simulation| simulation.store(younger).stats().tombstones == 0).unwrap();
    simulation.network().heal();
    simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    simulation.kill(older);
    let runs = simulation.run_until(10 * SECOND, |simulation| simulation.running("one").len() == 1);
    runs.map_err(|_| format!("seed {seed}: nobody runs the role"))?;
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let roles = &simulation.status(witness).unwrap().roles;
    assert_eq!((roles[0].hosts.len(), simulation.running("one").len()), (1, 1), "seed {seed}");
    Ok(())
}

#[test]
fn a_restarted_node_takes_the_place_of_its_former_self_at_once() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 4);
        simulation.restart(nodes[1]);
        simulation.run_until(2 * SECOND, Simulation::all_converged).unwrap();
        assert_eq!(simulation.view(nodes[0]).len(), 4);
    }
}

/// The older of two of one name says so and stands back; the others go on, and nobody exchanges anything for ever.
#[test]
fn two_of_one_name_end_in_an_event_and_no_endless_loop() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let options = |name| NodeOptions::named(name).role(RoleSpec::new("all").count(3));
        let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(options(name)));
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        let second = simulation.add(options("n1"));
        let refused = |simulation: &Simulation| {
            simulation.events(nodes[1]).iter().any(|event| matches!(event, Event::NameTaken { keeps: false, .. }))
        };
        simulation.run_until(10 * SECOND, refused).unwrap();
        simulation.run_for(5 * SECOND);
        let alive = [nodes[0], nodes[2], second];
        let pulls = |simulation: &Simulation, node| simulation.engine(node).unwrap().stats().pulls;
        let before: Vec<u64> = simulation.alive().iter().map(|node| pulls(&simulation, *node)).collect();
        simulation.run_for(10 * SECOND);
        let after: Vec<u64> = simulation.alive().iter().map(|node| pulls(&simulation, *node)).collect();
        assert!(before.iter().zip(&after).all(|(before, after)| after - before <= 5), "{seed}: {before:?} {after:?}");
        assert!(simulation.converged(&alive), "seed {seed}");
        assert_eq!(simulation.running("all"), alive, "seed {seed}");
    }
}

/// A node that leaves served nothing any more to whoever asked for what he had missed, and waited in vain for somebody to
/// have it: a lost datagram was enough.
#[test]
fn who_missed_the_writes_of_a_leaver_can_still_fetch_them() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 3);
        let cut = simulation.network().cut(&nodes[..1], &nodes[1..]);
        put(&mut simulation, nodes[0], "missed");
        simulation.leave(nodes[0], 10 * SECOND);
        simulation.run_for(Duration::from_millis(50));
        cut.heal();
        simulation.run_until(SECOND, |simulation| simulation.engine(nodes[0]).is_none()).unwrap();
        assert_eq!(simulation.replies(nodes[0]), [(0, Reply::Left)], "seed {seed}");
        simulation.run_until(SECOND, Simulation::all_converged).unwrap();
        for node in &nodes[1..] {
            let value = simulation.store(*node).get(&TableName::new("lot").unwrap(), b"missed");
            assert!(value.is_some(), "seed {seed}: {node:?} does not have it");
        }
    }
}

/// It turned newcomers away too, and took with it what the next process of a member that crashed would have saved.
#[test]
fn who_leaves_while_the_others_are_down_hands_over_to_whoever_comes() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 2);
        simulation.kill(nodes[1]);
        put(&mut simulation, nodes[0], "car");
        simulation.leave(nodes[0], 10 * SECOND);
        simulation.run_for(SECOND);
        assert!(simulation.replies(nodes[0]).is_empty(), "seed {seed}: it waits for the other");
        simulation.restart(nodes[1]);
        simulation.run_until(2 * SECOND, |simulation| simulation.engine(nodes[0]).is_none()).unwrap();
        assert_eq!(simulation.replies(nodes[0]), [(0, Reply::Left)], "seed {seed}");
        simulation.run_until(2 * SECOND, Simulation::all_converged).unwrap();
        assert!(simulation.store(nodes[1]).get(&TableName::new("lot").unwrap(), b"car").is_some(), "seed {seed}");
    }
}

/// A newcomer that was evicted from the roster while it was cut off in the middle of its join could never join again: it
/// asked for buckets as an island would, and was served nothing.
#[test]
fn a_newcomer_that_was_evicted_while_it_tried_to_join_still_gets_in() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed);
        let mut timing = Timing::lan();
        timing.evict_after = 3 * SECOND;
        let options = |name: &str| NodeOptions::named(name).timing(timing.clone());
        let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(options(name)));
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        put(&mut simulation, nodes[0], "key");
        let newcomer = simulation.add(options("n3"));
        let admitted = |simulation: &Simulation| {
            simulation.status(nodes[0]).unwrap().members.iter().any(|member| member.node.as_str() == "n3")
        };
        simulation.run_until(5 * SECOND, admitted).unwrap();
        let cut = simulation.network().cut(&nodes, &[newcomer]);
        let evicted = |simulation: &Simulation| {
            let evicted = |event: &Event| matches!(event, Event::Evicted { why, .. } if why.contains("too long"));
            simulation.events(nodes[0]).iter().any(evicted)
        };
        // Some were ready before they were cut off: then they are an island, which is another story.
        let in_time = simulation.run_until(60 * SECOND, evicted).is_ok();
        cut.heal();
        simulation.run_until(40 * SECOND, Simulation::all_converged).unwrap();
        assert_eq!(simulation.view(nodes[0]).len(), 4, "seed {seed}, evicted: {in_time}");
        assert!(simulation.store(newcomer).get(&TableName::new("lot").unwrap(), b"key").is_some(), "seed {seed}");
    }
}

/// The hello of a process that died meanwhile was long under way (TCP sends again, with growing pauses). It was taken for
/// a process that came after the one that lives, and that one was evicted.
#[test]
fn a_late_hello_of_a_dead_process_does_not_replace_the_living_one() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        let nodes = ["n0", "n1"].map(|name| simulation.add(NodeOptions::named(name)));
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        let third = simulation.add(NodeOptions::named("n2"));
        simulation.run_until(SECOND, |simulation| simulation.open_streams(third) > 0).unwrap();
        // Streams are about to open, one of them to ask for admission; what is sent from then on takes a second.
        simulation.run_for(Duration::from_micros(50 * (seed % 20)));
        let slow = simulation.network().add(NetworkRule::delay(Delay::Fixed(SECOND)).from(&[third]));
        simulation.run_for(Duration::from_millis(2));
        slow.heal();
        simulation.restart(third);
        simulation.run_until(2 * SECOND, Simulation::all_converged).unwrap();
        let evicted = |simulation: &Simulation| nodes.iter().any(|node| simulation.view(*node).len() < 3);
        assert!(simulation.run_until(5 * SECOND, evicted).is_err(), "seed {seed}: the living process was evicted");
    }
}

/// Rows that islands compare were long under way; what was removed meanwhile had been collected when they arrived, and
/// they were taken for news.
#[test]
fn what_is_removed_while_islands_compare_stays_away() {
    // When exactly rows are under way to the one and to nobody else depends on who compares first.
    let mut waits = (2..20).map(|wait| wait * Duration::from_millis(10));
    assert!(waits.any(removed_while_comparing), "rows were never under way to the one alone");
}

/// Whether rows were under way to one of three, so many milliseconds after it began to compare.
fn removed_while_comparing(wait: Duration) -> bool {
    let mut timing = Timing::lan();
    timing.evict_after = 3 * SECOND;
    let mut simulation = Simulation::new(1);
    let options = |name: &str| NodeOptions::named(name).timing(timing.clone()).packing(1_400, 1);
    let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(options(name)));
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    (0..2_000).for_each(|number| put(&mut simulation, nodes[0], &format!("both {number:04}")));
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let cut = simulation.network().cut(&nodes[1..2], &[nodes[0], nodes[2]]);
    let evicted = |simulation: &Simulation, node: NodeIndex| {
        simulation.events(node).iter().any(|event| matches!(event, Event::Evicted { .. }))
    };
    simulation.run_until(60 * SECOND, |simulation| evicted(simulation, nodes[0])).unwrap();
    simulation.run_until(60 * SECOND, |simulation| evicted(simulation, nodes[1])).unwrap();
    // So many that every bucket differs.
    (0..2_000).for_each(|number| put(&mut simulation, nodes[0], &format!("one {number:04}")));
    cut.heal();
    let compares = |simulation: &Simulation| simulation.engine(nodes[1]).unwrap().stats().bucket_pulls > 0;
    simulation.run_until(40 * SECOND, compares).unwrap();
    // If by then the others have compared theirs with it, it serves nobody.
    simulation.run_for(wait);
    let slow = simulation.network().add(NetworkRule::delay(Delay::Fixed(5 * SECOND)).from(&nodes[..1]));
    simulation.run_for(Duration::from_millis(2));
    slow.heal();
    let lot = TableName::new("lot").unwrap();
    for number in 0..2_000 {
        simulation.remove(nodes[1], &lot, format!("both {number:04}").as_bytes()).unwrap();
    }
    simulation.run_for(3 * SECOND);
    let kept = |simulation: &Simulation, node: usize| {
        let stats = simulation.store(nodes[node]).stats();
        (stats.holds, stats.tombstones)
    };
    // Rows are under way to this one, and to the other none.
    let met = kept(&simulation, 1) == (1, 2_000) && kept(&simulation, 2) == (0, 0);
    simulation.run_for(8 * SECOND);
    assert!(simulation.all_converged(), "{wait:?}");
    for (number, node) in nodes.iter().enumerate() {
        let rows = simulation.store(*node).table(&lot).snapshot();
        let back: Vec<_> = rows.iter().filter(|(key, _)| key.starts_with(b"both")).collect();
        assert!(back.is_empty(), "{wait:?}, {node:?}: {} are back, the first {:?}", back.len(), back[0]);
        assert_eq!(kept(&simulation, number), (0, 0), "{wait:?}, {node:?}");
    }
    met
}

/// Who leaves is no sponsor as long as there is another: whom it admitted last the others may not have heard of when it is
/// gone, and would collect what that one still has.
#[test]
fn who_leaves_admits_nobody_while_others_can() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 2);
        // So it has to wait until the other has what it wrote.
        let cut = simulation.network().cut(&nodes[..1], &nodes[1..]);
        put(&mut simulation, nodes[0], "car");
        simulation.leave(nodes[0], 10 * SECOND);
        let newcomer = simulation.add(NodeOptions::named("newcomer"));
        let ready = |simulation: &Simulation| simulation.events(newcomer).contains(&Event::Ready);
        simulation.run_until(SECOND, ready).unwrap();
        // The other, from which it pulled, does not have it.
        let car = simulation.store(newcomer).get(&TableName::new("lot").unwrap(), b"car");
        assert_eq!(car, None, "seed {seed}: it was admitted by the one that leaves");
        assert!(simulation.view(newcomer).len() >= 2, "seed {seed}: it is alone");
        cut.heal();
        simulation.run_until(3 * SECOND, Simulation::all_converged).unwrap();
    }
}

/// Two islands live apart for more than a day, each forgets the other long before, and meet.
#[test]
fn islands_that_lived_apart_for_a_day_meet_and_lose_nothing() {
    let mut simulation = Simulation::new(1);
    let options = |name| NodeOptions::named(name).role(RoleSpec::new("one"));
    let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(options(name)));
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    put(&mut simulation, nodes[0], "before");
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
    let day = 26 * 3_600 * SECOND;
    simulation.run_for(day);
    assert!(simulation.events(nodes[0]).iter().any(|event| matches!(event, Event::Evicted { .. })));
    put(&mut simulation, nodes[1], "here");
    put(&mut simulation, nodes[2], "there");
    simulation.run_for(60 * SECOND);
    cut.heal();
    let met = |simulation: &Simulation| simulation.all_converged() && simulation.running("one").len() == 1;
    let took = simulation.run_until(40 * SECOND, met).unwrap();
    println!("healed after {took:?}");
    for node in nodes {
        for key in ["before", "here", "there"] {
            let value = simulation.store(node).get(&TableName::new("lot").unwrap(), key.as_bytes());
            assert!(value.is_some(), "{node:?} has no {key:?}");
        }
    }
}

/// Two groups that had heard of each other before they were cut apart, and admitted nobody of the other, meet at the next
/// beacon. Each told the other only that it was Down, had nothing left to say of what strangers may be answered with, and
/// went on without it until chance broke the tie.
#[test]
fn islands_that_had_only_heard_of_each_other_meet_at_the_next_beacon() {
    for seed in 0..40 {
        let mut simulation = Simulation::new(seed);
        let nodes = ["n0", "n1", "n2", "n3"].map(|name| simulation.add(NodeOptions::named(name)));
        simulation.run_for(Duration::from_millis(128));
        let cut = simulation.network().cut(&nodes[..2], &nodes[2..]);
        simulation.run_for(4 * SECOND);
        cut.heal();
        let took = simulation.run_until(33 * SECOND, Simulation::all_converged);
        assert!(took.is_ok(), "seed {seed}: {took:?}");
    }
}

/// Two processes of one name, the second with a clock that is a minute behind: whoever is asked to admit it, the first
/// itself or another, the first stays. Its own name had not counted as taken where it was asked itself, so it gave way.
#[test]
fn a_second_of_one_name_whose_clock_is_behind_does_not_shut_the_first_down() {
    for (seed, cut) in (0..12).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut simulation = Simulation::new(seed);
        let nodes = ["n0", "n1", "n2"].map(|name| simulation.add(NodeOptions::named(name)));
        simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
        let second = simulation.add(NodeOptions::named("n1").skew_ms(-60_000));
        if cut {
            simulation.network().cut(&nodes[1..2], &[second]).keep();
        }
        simulation.run_for(20 * SECOND);
        let phase = simulation.status(nodes[1]).unwrap().phase;
        assert_eq!(phase, Phase::Clustered, "seed {seed}, cut: {cut}");
    }
}
