//! Two live nodes of one name: the one that was admitted first keeps it, whatever the clocks say, and no other member
//! notices; one that is started in the place of a dead one takes part at once.

use std::time::Duration;

use unisono::RoleSpec;
use unisono::engine::{Event, Phase};
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule, Simulation};

use super::{MILLISECOND, SECOND, cluster};

/// What a node said of others that have its name: whether it keeps it.
fn told(simulation: &Simulation, node: NodeIndex) -> Vec<bool> {
    let events = simulation.events(node).iter();
    events.filter_map(|event| if let Event::NameTaken { keeps, .. } = event { Some(*keeps) } else { None }).collect()
}

fn with_roles(options: NodeOptions) -> NodeOptions {
    let roles = (0..6).map(|number| RoleSpec::new(format!("r{number}")));
    roles.fold(options, NodeOptions::role)
}

/// What runs where.
fn running(simulation: &Simulation) -> Vec<Vec<NodeIndex>> {
    (0..6).map(|number| simulation.running(&format!("r{number}"))).collect()
}

fn has_no_name(simulation: &Simulation, node: NodeIndex) -> bool {
    simulation.status(node).is_some_and(|status| status.name_taken_by.is_some())
}

/// It makes no difference whose clock is ahead, nor that a fifth of the datagrams is lost.
#[test]
fn a_newcomer_with_a_name_in_use_is_refused_and_no_other_member_notices() {
    for seed in 0..60 {
        let (mut simulation, nodes) = cluster(seed, 4, with_roles);
        simulation.run_for(SECOND);
        let lossy = seed >= 40;
        simulation.network().add(Rule::loss(if lossy { 0.2 } else { 0.0 })).keep();
        let said = nodes.iter().map(|node| simulation.events(*node).len()).collect::<Vec<_>>();
        let before = running(&simulation);
        let skew_ms = [0, 60_000, -60_000][seed as usize % 3];
        let second = simulation.add(with_roles(NodeOptions::named("n01")).skew_ms(skew_ms));
        let refused = |simulation: &Simulation| has_no_name(simulation, second);
        simulation.run_until(2 * SECOND, refused).unwrap();
        simulation.run_for(60 * SECOND);
        assert_eq!(told(&simulation, second), [false], "seed {seed}: the newcomer");
        assert_eq!(told(&simulation, nodes[1]), [true], "seed {seed}: the one that has the name");
        assert_eq!(
            simulation.status(second).unwrap().phase,
            Phase::Joining,
            "seed {seed}: it makes no cluster of its own"
        );
        for (node, said) in nodes.iter().zip(said) {
            // That all agree is said anew now and then, as of the load that a node reports.
            let is_news = |event: &&Event| !matches!(event, Event::NameTaken { .. } | Event::Converged { .. });
            let mut news = simulation.events(*node)[said..].iter().filter(is_news);
            assert!(
                lossy || news.next().is_none(),
                "seed {seed}: {node:?} says {:?}",
                &simulation.events(*node)[said..]
            );
        }
        assert_eq!(running(&simulation), before, "seed {seed}: no role moves");
        assert!(simulation.ousted().is_empty(), "seed {seed}");
        let names = |node: &NodeIndex| simulation.status(*node).unwrap().members.len();
        assert!(nodes.iter().map(names).all(|members| members == 4), "seed {seed}: one of each name is listed");
    }
}

/// As a process does that its supervisor starts again and again. Before, the two took the name from each other 30 times a
/// second.
#[test]
fn two_that_are_started_again_when_they_are_shut_out_do_not_take_the_name_from_each_other() {
    for seed in 0..10 {
        let (mut simulation, nodes) = cluster(seed, 3, with_roles);
        let second = simulation.add(with_roles(NodeOptions::named("n01")));
        let mut starts = 0;
        for _ in 0..500 {
            simulation.run_for(20 * MILLISECOND);
            for node in [nodes[1], second] {
                if has_no_name(&simulation, node) {
                    assert_eq!(node, second, "seed {seed}");
                    simulation.restart(node);
                    starts += 1;
                }
            }
        }
        assert!(starts > 20, "seed {seed}: {starts}");
        assert_eq!(told(&simulation, nodes[1]), [true], "seed {seed}: once a minute");
        assert!(simulation.converged(&nodes), "seed {seed}");
    }
}

/// It asks again once a second, without piling up streams.
#[test]
fn a_newcomer_that_was_refused_is_let_in_once_its_name_is_free() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        let second = simulation.add(NodeOptions::named("n01").skew_ms(-60_000));
        simulation.run_for(40 * SECOND);
        assert!(has_no_name(&simulation, second) && simulation.converged(&nodes), "seed {seed}");
        let streams: usize = simulation.nodes().iter().map(|node| simulation.open_streams(*node)).sum();
        assert!(streams < 40, "seed {seed}: {streams} streams");
        if seed % 2 == 0 {
            simulation.kill(nodes[1]);
        } else {
            simulation.leave(nodes[1], 5 * SECOND);
        }
        let rest = [nodes[0], nodes[2], second];
        simulation.run_until(5 * SECOND, |simulation| simulation.converged(&rest)).unwrap();
        assert!(!has_no_name(&simulation, second), "seed {seed}");
    }
}

/// Without a cluster, or with two sponsors that do not know of each other's admission yet, one of the two stands.
#[test]
fn of_two_that_come_at_once_one_has_the_name() {
    for seed in 0..60 {
        let (mut simulation, mut nodes) = cluster(seed, (seed % 4) as usize, |options| options);
        let both = [0, 1].map(|_| simulation.add(NodeOptions::named("twin")));
        let out = |simulation: &Simulation| both.into_iter().filter(|node| has_no_name(simulation, *node)).count();
        simulation.run_until(10 * SECOND, |simulation| out(simulation) == 1).unwrap();
        simulation.run_for(5 * SECOND);
        assert_eq!(out(&simulation), 1, "seed {seed}");
        nodes.extend(both.into_iter().filter(|node| !has_no_name(&simulation, *node)));
        assert!(simulation.converged(&nodes), "seed {seed}");
    }
}

/// One that stands still for half a second is proved to be gone if another is started in its place. When it goes on, it
/// finds out, says so, and stops its roles.
#[test]
fn a_process_that_stood_still_gives_way_to_the_one_that_was_started_in_its_place() {
    let mut gave_way = Vec::new();
    for seed in 0..40 {
        let (mut simulation, nodes) = cluster(seed, 4, with_roles);
        simulation.pause(nodes[1]);
        // Its place is taken before or after it is found Down.
        simulation.run_for([0, 100, 5_000][seed as usize % 3] * MILLISECOND);
        let second = simulation.add(with_roles(NodeOptions::named("n01")));
        let there = [nodes[0], nodes[2], nodes[3], second];
        let took = simulation.run_until(5 * SECOND, |simulation| simulation.converged(&there)).unwrap();
        assert!(took < 2 * SECOND, "seed {seed}: {took:?}");
        simulation.run_for([0, 20][seed as usize % 2] * SECOND);
        simulation.resume(nodes[1]);
        let stopped = |simulation: &Simulation| {
            let runs = running(simulation).iter().any(|nodes_of_it| nodes_of_it.contains(&nodes[1]));
            !runs && told(simulation, nodes[1]).contains(&false)
        };
        gave_way.push(simulation.run_until(2 * SECOND, stopped).unwrap());
        simulation.run_for(20 * SECOND);
        assert_eq!(told(&simulation, nodes[1]).last(), Some(&false), "seed {seed}");
        assert_eq!(told(&simulation, second), [true], "seed {seed}");
        assert!(has_no_name(&simulation, nodes[1]) && simulation.converged(&there), "seed {seed}");
        assert!(running(&simulation).iter().all(|hosts| hosts.len() == 1), "seed {seed}: {:?}", running(&simulation));
    }
    gave_way.sort_unstable();
    println!("resumed → superseded and stopped: median {:?}, longest {:?}", gave_way[20], gave_way[39]);
}

/// Six hosts of which three are cut off from the others, and on each side one starts under a name that both use.
fn both_sides(seed: u64, earlier: usize) -> (Simulation, Vec<NodeIndex>, [NodeIndex; 2]) {
    let (mut simulation, nodes) = cluster(seed, 6, |options| options);
    // Their own clocks are wrong, which must not matter: it is the sponsors' that count.
    simulation.set_skew_ms(nodes[2], 30_000);
    simulation.set_skew_ms(nodes[5], -30_000);
    let cut = simulation.network().cut(&nodes[..3], &nodes[3..]);
    simulation.run_for(10 * SECOND);
    let twins = [nodes[2], nodes[5]];
    for at in [earlier, 1 - earlier] {
        simulation.restart_as(twins[at], "twin");
        simulation.run_for(3 * SECOND);
    }
    for side in [&nodes[..3], &nodes[3..]] {
        simulation.run_until(10 * SECOND, |simulation| simulation.converged(side)).unwrap();
    }
    cut.heal();
    (simulation, nodes, twins)
}

#[test]
fn of_two_that_were_admitted_on_the_two_sides_of_a_cut_the_earlier_stands() {
    for seed in 0..30 {
        let earlier = seed as usize % 2;
        let (mut simulation, nodes, twins) = both_sides(seed, earlier);
        let loses = twins[1 - earlier];
        let there: Vec<_> = nodes.into_iter().filter(|node| *node != loses).collect();
        simulation.run_until(40 * SECOND, |simulation| simulation.converged(&there)).unwrap();
        simulation.run_for(15 * SECOND);
        assert_eq!(told(&simulation, loses), [false], "seed {seed}");
        assert_eq!(told(&simulation, twins[earlier]), [true], "seed {seed}");
        assert!(has_no_name(&simulation, loses) && !has_no_name(&simulation, twins[earlier]), "seed {seed}");
        for node in there.iter().filter(|node| !twins.contains(node)) {
            assert!(told(&simulation, *node).is_empty(), "seed {seed}: {node:?}");
        }
    }
}

/// A member that is Down behind a cut is proved to be gone: its successor on this side stands when the cut heals.
#[test]
fn a_member_that_was_superseded_behind_a_cut_gives_way_when_it_heals() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 6, |options| options);
        let cut = simulation.network().cut(&nodes[..3], &nodes[3..]);
        simulation.run_for(10 * SECOND);
        simulation.restart_as(nodes[0], "n04");
        simulation.run_until(10 * SECOND, |simulation| simulation.converged(&nodes[..3])).unwrap();
        cut.heal();
        let there: Vec<_> = nodes.iter().copied().filter(|node| *node != nodes[4]).collect();
        simulation.run_until(40 * SECOND, |simulation| simulation.converged(&there)).unwrap();
        assert_eq!(told(&simulation, nodes[4]), [false], "seed {seed}");
    }
}

/// The sponsor cannot reach the holder, which all others do: they knock for it.
#[test]
fn a_member_that_one_other_cannot_reach_keeps_its_name() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 4, |options| options);
        let second = simulation.add(NodeOptions::named("n01").cluster("elsewhere"));
        // The newcomer reaches none but the sponsor.
        simulation.network().cut(&[second], &nodes[1..]).keep();
        simulation.network().cut(&nodes[..1], &nodes[1..2]).keep();
        simulation.reconfigure(second, |options| options.cluster("simulated"));
        simulation.restart(second);
        let refused = |simulation: &Simulation| has_no_name(simulation, second);
        simulation.run_until(2 * SECOND, refused).unwrap();
        simulation.run_for(20 * SECOND);
        assert!(simulation.ousted().is_empty() && refused(&simulation), "seed {seed}");
    }
}

/// A process dies, and its successor under the same name starts on another host within milliseconds, with a clock that is
/// right or wrong, while datagrams of the dead one are still under way and the others hold it for alive.
#[test]
fn a_node_that_moves_to_another_host_is_no_second_one() {
    let mut took_by_kind = [vec![], vec![], vec![]];
    for seed in 0..300 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        simulation.network().set_base_delay(Delay::Exponential { mean: 20 * MILLISECOND });
        simulation.network().add(Rule::duplication(0.2)).keep();
        let others = [nodes[0], nodes[2]];
        match seed % 3 {
            0 => simulation.kill(nodes[1]),
            1 => simulation.unplug(nodes[1]),
            // As above, but one of the others stands still meanwhile, and comes back with what it believed.
            _ => {
                simulation.pause(nodes[2]);
                simulation.kill(nodes[1]);
            }
        }
        simulation.run_for(Duration::from_millis(seed % 40));
        let skew_ms = [0, -60_000, 60_000, -1_000][(seed / 3 % 4) as usize];
        let moved = simulation.add(NodeOptions::named("n01").skew_ms(skew_ms));
        simulation.run_for(Duration::from_millis(seed % 7 * 500));
        simulation.resume(nodes[2]);
        let there = [others[0], others[1], moved];
        let took = simulation.run_until(60 * SECOND, |simulation| simulation.converged(&there)).unwrap();
        took_by_kind[(seed % 3) as usize].push(took);
        simulation.run_for(10 * SECOND);
        for node in there {
            assert_eq!(told(&simulation, node).len(), 0, "seed {seed}: {node:?}");
        }
    }
    for (kind, mut took) in ["killed", "unplugged", "killed, another paused"].into_iter().zip(took_by_kind) {
        took.sort_unstable();
        println!("{kind}: median {:?}, longest {:?}", took[took.len() / 2], took[took.len() - 1]);
    }
}

/// A process is killed and started at once on another host: it waits for nothing that the others know already.
#[test]
fn a_process_that_was_killed_is_replaced_elsewhere_as_fast_as_it_is_noticed() {
    let mut took = Vec::new();
    for seed in 0..60 {
        let (mut simulation, nodes) = cluster(seed, 5, |options| options);
        simulation.kill(nodes[1]);
        simulation.run_for(Duration::from_millis(seed % 3 * 5));
        let moved = simulation.add(NodeOptions::named("n01").skew_ms(-1_000 * (seed % 2) as i64));
        let there = [nodes[0], nodes[2], nodes[3], nodes[4], moved];
        took.push(simulation.run_until(5 * SECOND, |simulation| simulation.converged(&there)).unwrap());
    }
    took.sort_unstable();
    println!("killed → replaced elsewhere and converged: median {:?}, longest {:?}", took[30], took[59]);
    assert!(took[59] < 500 * MILLISECOND, "{took:?}");
}
