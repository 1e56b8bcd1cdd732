//! Who leaves stays away, who is lost is found again, and nobody is counted twice.

use unisono::engine::{Engine, Event};
use unisono::store::TableName;
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule, Simulation};

use super::{MILLISECOND, SECOND, cluster};

/// libcluster 86 and 202: a node that was draining was connected to again by those who discovered it. Leaving is for
/// good for this run of it, however late its last words arrive.
#[test]
fn who_leaves_is_not_brought_back_by_what_was_under_way() {
    for seed in 0..30 {
        let (mut simulation, nodes) = cluster(seed, 4, |options| options);
        simulation.network().set_base_delay(Delay::Exponential { mean: 40 * MILLISECOND });
        let copies = simulation.network().add(Rule::duplication(0.3));
        let gone = simulation.store(nodes[1]).replica();
        simulation.leave(nodes[1], 5 * SECOND);
        simulation.run_until(20 * SECOND, |simulation| simulation.engine(nodes[1]).is_none()).unwrap();
        simulation.run_for(60 * SECOND);
        copies.heal();
        let stay = [nodes[0], nodes[2], nodes[3]];
        assert!(simulation.converged(&stay), "seed {seed}");
        for node in stay {
            let after = simulation.events(node).iter().skip_while(|event| !matches!(event, Event::Left { .. }));
            let back = after.clone().find(|event| match event {
                Event::Joined { replica, .. } | Event::Rejoined { replica, .. } => *replica == gone,
                _ => false,
            });
            assert!(after.count() > 0 && back.is_none(), "seed {seed}: {back:?} at {node:?}");
        }
        // Its next run is welcome.
        simulation.restart(nodes[1]);
        simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
    }
}

/// Each that starts hears of all others at once: their beacons, admissions, declarations and reports. Sixteen are still
/// told everything directly; of more than that everybody passes on what is news.
#[test]
fn many_that_start_at_once_are_one_cluster_within_seconds_and_hardly_repair_anything() {
    let (mut simulation, nodes) = (Simulation::new(5), 60_u64);
    for number in 0..nodes {
        simulation.add(NodeOptions::named(&format!("n{number}")));
    }
    simulation.run_until(3 * SECOND, Simulation::all_converged).unwrap();
    let stats = || simulation.nodes().into_iter().filter_map(|node| simulation.engine(node)).map(Engine::stats);
    assert_eq!(stats().map(|stats| stats.rows_refused).sum::<u64>(), 0);
    let sessions = stats().map(|stats| stats.pulls).sum::<u64>() / nodes;
    assert!(sessions < 8, "{sessions} sessions per node");
}

/// foca 15: a node that lost everybody for long never found them again; libcluster 148: nor did one that had given up
/// looking.
#[test]
fn who_was_alone_for_long_is_found_again() {
    for (seed, minutes) in (0..).zip([1_u32, 10, 50, 70]) {
        let (mut simulation, nodes) = cluster(seed, 4, |options| options);
        let cut = simulation.network().cut(&nodes[..1], &nodes[1..]);
        simulation.run_for(60 * SECOND * minutes);
        cut.heal();
        simulation
            .run_until(40 * SECOND, Simulation::all_converged)
            .unwrap_or_else(|timeout| panic!("after {minutes} minutes: {timeout}"));
    }
}

/// foca 16: a node that came back at its address with an identity that loses against its former one renewed it for
/// ever. Here its clock is set back while it restarts, again and again.
#[test]
fn an_address_that_is_used_again_does_not_loop() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        for step in 1..6 {
            simulation.set_skew_ms(nodes[1], -60_000 * step);
            simulation.restart(nodes[1]);
            simulation.run_until(20 * SECOND, Simulation::all_converged).unwrap();
        }
        simulation.run_for(10 * SECOND);
        let sent = |simulation: &Simulation| -> u64 {
            nodes.iter().map(|node| simulation.engine(*node).unwrap().stats().datagrams_sent).sum()
        };
        let before = sent(&simulation);
        simulation.run_for(10 * SECOND);
        let per_second = (sent(&simulation) - before) / 10;
        assert!(per_second < 100, "seed {seed}: {per_second} datagrams a second while nothing happens");
    }
}

/// foca 31: 400 nodes that restarted were seen as 6,000.
#[test]
fn nodes_that_restart_are_not_counted_anew() {
    const NODES: usize = 20;
    let (mut simulation, nodes) = cluster(1, NODES, |options| options);
    for round in 0..10 {
        for node in &nodes[round..round + 5] {
            simulation.restart(*node);
            simulation.run_for(200 * MILLISECOND);
        }
    }
    simulation.run_until(60 * SECOND, Simulation::all_converged).unwrap();
    simulation.run_for(10 * SECOND);
    for node in nodes {
        assert_eq!(simulation.status(node).unwrap().members.len(), NODES, "{node:?}");
    }
}

/// consul 843, mimir 6187: an address went from one cluster to another, and the two became one.
#[test]
fn clusters_of_other_names_stay_apart_also_when_an_address_changes_sides() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let [a0, a1, a2] = ["a0", "a1", "a2"].map(|name| simulation.add(NodeOptions::named(name)));
        let [b0, b1] = ["b0", "b1"].map(|name| simulation.add(NodeOptions::named(name).cluster("other")));
        let apart = |simulation: &Simulation| simulation.converged(&[a0, a1, a2]) && simulation.converged(&[b0, b1]);
        simulation.run_until(20 * SECOND, apart).unwrap();
        simulation.kill(a2);
        simulation.reconfigure(a2, |options| options.cluster("other"));
        simulation.restart(a2);
        let moved = |simulation: &Simulation| simulation.converged(&[a0, a1]) && simulation.converged(&[a2, b0, b1]);
        simulation.run_until(20 * SECOND, moved).unwrap();
        simulation.run_for(60 * SECOND);
        assert!(moved(&simulation), "seed {seed}");
        let heard = simulation.events(a0).iter().any(|event| matches!(event, Event::OtherCluster { .. }));
        assert!(heard, "seed {seed}: they never heard of each other, which proves nothing");
        for node in [a0, a1] {
            let names = simulation.status(node).unwrap().members.iter().filter(|member| member.node.as_str() < "b");
            assert_eq!(names.count(), simulation.status(node).unwrap().members.len(), "seed {seed}");
        }
    }
}

/// Two clusters of one subnet, one of them on one node: nobody joins the other, and each node says once that it is there.
#[test]
fn two_clusters_on_one_subnet_stay_apart_and_each_node_says_so_once() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let ours = ["a0", "a1"].map(|name| simulation.add(NodeOptions::named(name)));
        let other = simulation.add(NodeOptions::named("a2").cluster("other"));
        simulation.run_for(600 * SECOND);
        assert!(simulation.converged(&ours) && simulation.converged(&[other]), "seed {seed}");
        for (node, known) in [(ours[0], 2), (ours[1], 2), (other, 1)] {
            assert_eq!(simulation.status(node).unwrap().members.len(), known, "seed {seed}: {node:?}");
            let said = |event: &&Event| matches!(event, Event::OtherCluster { .. });
            let events: Vec<_> = simulation.events(node).iter().filter(said).collect();
            assert_eq!(events.len(), 1, "seed {seed}: {node:?} says {events:?}");
        }
        simulation.run_for(3_600 * SECOND);
        let said = simulation.events(other).iter().filter(|event| matches!(event, Event::OtherCluster { .. })).count();
        assert_eq!(said, 2, "seed {seed}: it is said again after an hour");
    }
}

/// What a node sends while nothing happens does not depend on how many others there are: bytes a second, with digests,
/// agreement and the streams in them.
#[test]
fn idle_traffic_does_not_grow_with_the_cluster() {
    let sent = |size: usize| {
        let (mut simulation, nodes) = cluster(1, size, |options| options);
        simulation.run_for(20 * SECOND);
        let bytes = |simulation: &Simulation| -> u64 {
            let stats = nodes.iter().map(|node| simulation.engine(*node).unwrap().stats());
            stats.map(|stats| stats.datagram_bytes + stats.stream_bytes).sum()
        };
        let before = bytes(&simulation);
        simulation.run_for(30 * SECOND);
        (bytes(&simulation) - before) / 30 / size as u64
    };
    let (few, many) = (sent(10), sent(60));
    assert!(few > 500 && many < 3_000 && many * 10 < few * 13, "{few} and {many} bytes a second");
}

/// What is remembered of those who went must not grow with their number. Each process has a name of its own here, as in a
/// cluster manager that numbers them.
#[test]
fn processes_that_come_and_go_leave_nothing_behind() {
    let (mut simulation, nodes) = cluster(1, 3, |options| options.departed_authors(8));
    let lot = TableName::new("lot").unwrap();
    let mut most = [0; 3];
    for number in 0..120 {
        let node = nodes[number % 3];
        simulation.restart_as(node, &format!("run-{number}"));
        simulation.run_until(10 * SECOND, |simulation| simulation.store(node).is_open()).unwrap();
        simulation.put(node, &lot, format!("own {number}").as_bytes(), b"car").unwrap();
        simulation.put(node, &lot, b"shared", b"car").unwrap();
        simulation.run_for(2 * SECOND);
        simulation.remove(node, &lot, b"shared").unwrap();
        for node in &nodes {
            let stats = simulation.store(*node).stats();
            let members = simulation.status(*node).unwrap().members.len() as u64;
            for (most, now) in most.iter_mut().zip([stats.departed, stats.tombstones, members]) {
                *most = now.max(*most);
            }
        }
    }
    simulation.run_until(10 * SECOND, Simulation::all_converged).unwrap();
    let [departed, tombstones, members] = most;
    assert!(departed < 20 && tombstones < 60 && members <= 4, "{departed}, {tombstones}, {members}");
    for number in 0..120 {
        let key = format!("own {number}");
        let held = |node: &&NodeIndex| simulation.store(**node).get(&lot, key.as_bytes()).is_some();
        // What nobody else had when its process ended is lost.
        assert_eq!(nodes.iter().filter(held).count(), 3, "{key}");
    }
}
