//! Joining, crashing, leaving, restarting.

use std::time::Duration;

use super::network::{Network, identity};
use crate::id::ReplicaId;
use crate::membership::{Change, Identity, Liveness, Record, Swim, SwimOutput, Timing, direct};
use crate::time::Instant;
use crate::wire;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn two_and_twenty_nodes_find_each_other_by_announcing_to_one() {
    for size in [2, 20] {
        let mut network = Network::new(size, &Timing::lan(), 1);
        for node in 1..size {
            network.act(node, |swim, now| swim.announce(now, identity(0).address));
        }
        let took = network.run_until(secs(3), |network| network.all_see(size - 1));
        println!("{size} nodes: {took:?}");
        assert_eq!(network.renewals(), 0);
        network.run_until(secs(10), |network| {
            let prints: Vec<u64> = network.nodes.iter().flatten().map(Swim::fingerprint).collect();
            prints.windows(2).all(|pair| pair[0] == pair[1])
        });
    }
}

#[test]
fn who_has_no_news_wakes_for_its_probes_only() {
    let mut network = Network::joined(3, &Timing::lan(), 1);
    network.run(secs(20));
    let before = network.woken;
    network.run(secs(10));
    // Five probes a second with two deadlines each. Gossip would come twelve times a second.
    let woken = network.woken - before;
    assert!((3 * 50..=3 * 110).contains(&woken), "{woken} deadlines of three nodes in ten seconds");
    let alive = network.swim(0).member(ReplicaId(2)).map(|(identity, _)| identity.replica);
    network.act(0, |swim, now| alive.map(|alive| swim.suspect(now, alive)));
    let (before, usual) = (network.woken, woken / 10);
    network.run(secs(1));
    let woken = network.woken - before;
    assert!(woken > usual + 3, "{woken} deadlines, {usual} without news: it is gossiped again");
}

#[test]
fn a_crash_is_known_everywhere_within_the_stated_time() {
    let timing = Timing::lan();
    let stated = 2 * timing.probe_period + timing.suspicion + 5 * timing.gossip_interval;
    for seed in 0..10 {
        let mut network = Network::joined(20, &timing, seed);
        network.run(secs(2));
        network.crash(7);
        // Who probes whom is random: a member among twenty goes unprobed for a period with a probability of 1/e.
        let took = network.run_until(stated + 2 * timing.probe_period, |network| network.all_see(18));
        println!("seed {seed}: {took:?} of {stated:?}");
        assert!(
            (0..20)
                .filter(|node| *node != 7)
                .all(|node| { network.said(node, |change| *change == Change::Down(identity(7))) })
        );
        assert_eq!(network.renewals(), 0);
    }
}

#[test]
fn one_cut_off_from_a_large_cluster_knows_soon_that_it_is_alone() {
    let timing = Timing::lan();
    let mut network = Network::joined(50, &timing, 4);
    network.run(secs(2));
    (1..50).for_each(|node| network.crash(node));
    // One probe after the other would take ten seconds.
    network.run(2 * timing.suspicion + timing.probe_period);
    assert!(network.swim(0).members().all(|(_, liveness)| liveness == Liveness::Down));
}

#[test]
fn one_whose_probes_fail_while_it_hears_others_goes_on_probing_as_fast() {
    let timing = Timing::lan();
    // Every other probe fails for now. Who doubted himself for that would need twice as long.
    let took: Duration = (0..10)
        .map(|seed| {
            let mut network = Network::joined(10, &timing, seed);
            network.run(secs(2));
            (5..10).for_each(|node| network.crash(node));
            network.run_until(secs(10), |network| {
                let down = |node| network.swim(node).members().filter(|(_, state)| *state == Liveness::Down).count();
                (0..5).all(|node| down(node) == 5)
            })
        })
        .sum();
    println!("{:?} on the average", took / 10);
    assert!(took / 10 < timing.suspicion + 6 * timing.probe_period);
}

#[test]
fn one_who_leaves_is_down_at_once_and_stays_away() {
    let mut network = Network::joined(8, &Timing::lan(), 3);
    network.act(2, |swim, now| swim.leave(now));
    let took = network.run_until(secs(2), |network| {
        network.nodes.iter().enumerate().filter(|(node, _)| *node != 2).all(|(_, swim)| {
            swim.as_ref().unwrap().member(ReplicaId(3)).is_some_and(|(_, state)| state == Liveness::Down)
        })
    });
    println!("leave known after {took:?}");
    network.run(secs(10));
    assert_eq!(network.swim(2).identity(), &identity(2));
    assert!(network.swim(2).poll_timeout().is_none());
    let peer = Record { identity: identity(0), incarnation: 0, state: Liveness::Alive };
    let down = Record { identity: identity(2), incarnation: 0, state: Liveness::Down };
    let notice = direct::gossip(&peer, &identity(2), down).unwrap();
    network.act(2, |swim, now| swim.handle_datagram(now, &notice).unwrap());
    assert_eq!(network.swim(2).identity(), &identity(2), "who left does not come back");
    assert!(network.swim(0).member(ReplicaId(3)).is_some_and(|(_, state)| state == Liveness::Down));
    let own = network.swim(2).records().into_iter().find(|record| record.identity == identity(2)).unwrap();
    assert_eq!(own.state, Liveness::Down);
}

#[test]
fn a_restart_replaces_its_predecessor() {
    let timing = Timing::lan();
    let mut network = Network::joined(5, &timing, 4);
    network.crash(1);
    let new = Identity { replica: ReplicaId(99), boot: 2_000, ..identity(1) };
    network.restart(1, new.clone(), &timing);
    network.act(1, |swim, now| swim.announce(now, identity(0).address));
    network.run_until(secs(3), Network::whole);
    let replaced = Change::Replaced { old: identity(1), new };
    assert!([0, 2, 3, 4].into_iter().all(|node| network.said(node, |change| *change == replaced)));
    assert!(network.swim(0).member(ReplicaId(2)).is_none());
}

#[test]
fn a_restart_whose_clock_is_behind_moves_past_its_predecessor() {
    let timing = Timing::lan();
    for push_pull in [false, true] {
        let mut network = Network::joined(5, &timing, 5);
        network.crash(1);
        let new = Identity { replica: ReplicaId(99), boot: 10, ..identity(1) };
        network.restart(1, new, &timing);
        if push_pull {
            network.push_pull(1, 0);
        } else {
            network.act(1, |swim, now| swim.announce(now, identity(0).address));
        }
        let took = network.run_until(secs(3), Network::whole);
        println!("moved past after {took:?}");
        assert_eq!((network.swim(1).identity().boot, network.swim(1).stats().renewals), (1_001, 1));
        assert!(network.said(1, |change| *change == Change::Renewed(network.swim(1).identity().clone())));
    }
}

#[test]
fn a_suspect_is_told_at_once_and_the_accuser_hears_the_refutation_in_one_round_trip() {
    let mut network = Network::joined(20, &Timing::lan(), 6);
    network.run(secs(3));
    network.act(4, |swim, now| swim.suspect(now, ReplicaId(10)));
    assert_eq!(network.swim(4).member(ReplicaId(10)).unwrap().1, Liveness::Suspect);
    assert_eq!(network.swim(4).stats().suspects_told, 1);
    network.run(Duration::from_millis(4));
    assert_eq!(network.swim(4).member(ReplicaId(10)).unwrap().1, Liveness::Alive);
    assert!(network.said(4, |change| *change == Change::Refuted(identity(9))));
    network.run(secs(5));
    assert!(network.whole());
    assert_eq!(network.renewals(), 0);
}

#[test]
fn whoever_pings_a_suspect_tells_it_what_it_is_suspected_of() {
    let timing = Timing::lan();
    let mut swim = Swim::new(identity(0), &timing, 1);
    swim.apply(Instant::ZERO, vec![Record { identity: identity(1), incarnation: 0, state: Liveness::Suspect }]);
    assert_eq!(swim.stats().suspects_told, 0, "others accused it");
    while let Some(at) = swim.poll_timeout().filter(|at| at.since(Instant::ZERO) <= timing.probe_period) {
        swim.handle_deadline(at, |_| true);
    }
    assert_eq!(swim.stats().suspects_told, 1);
}

#[test]
fn one_told_that_it_is_down_answers_under_its_new_identity_at_once() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    let stranger = Record { identity: identity(1), incarnation: 0, state: Liveness::Alive };
    let down = Record { state: Liveness::Down, ..stranger.clone() };
    swim.apply(Instant::ZERO, vec![stranger.clone()]);
    swim.apply(Instant::ZERO, vec![down]);
    while swim.poll().is_some() {}
    let notice = direct::turn_undead(&stranger, &identity(0)).unwrap();
    swim.handle_datagram(Instant::ZERO, &notice).unwrap();
    let sent = std::iter::from_fn(|| swim.poll()).filter(|output| matches!(output, SwimOutput::Send { .. })).count();
    assert_eq!(sent, 2, "a notice in return, since it is Down here, and an announcement");
}

#[test]
fn a_suspect_that_is_gone_is_down_after_the_suspicion() {
    let timing = Timing::lan();
    let mut network = Network::joined(3, &timing, 6);
    network.crash(2);
    network.act(0, |swim, now| swim.suspect(now, ReplicaId(3)));
    network.run(timing.suspicion - Duration::from_millis(1));
    assert_eq!(network.swim(0).member(ReplicaId(3)).unwrap().1, Liveness::Suspect);
    network.run(Duration::from_millis(2));
    assert_eq!(network.swim(0).member(ReplicaId(3)).unwrap().1, Liveness::Down);
}

#[test]
fn one_declared_down_wrongly_learns_it_at_once_and_comes_back() {
    let mut network = Network::joined(5, &Timing::lan(), 7);
    let record = network.act(0, |swim, now| swim.declare_down(now, ReplicaId(3))).flatten().unwrap();
    assert_eq!(record, Record { identity: identity(2), incarnation: 0, state: Liveness::Down });
    assert!(network.act(0, |swim, now| swim.declare_down(now, ReplicaId(3))).flatten().is_none());
    network.run(Duration::from_millis(3));
    assert_eq!(network.swim(2).stats().renewals, 1, "told in one trip");
    let took = network.run_until(secs(2), Network::whole);
    println!("back after {took:?}");
    assert_eq!(network.swim(2).identity().renewal, 1);
    let back = network.swim(2).identity().clone();
    assert!(network.said(0, |change| *change == Change::Up(back.clone())));
}

#[test]
fn a_node_that_was_stopped_for_a_while_accuses_nobody_when_it_goes_on() {
    // Gossip is seldom here, so that the verdict of the probe is the first thing overdue.
    let timing = Timing { gossip_interval: Duration::from_millis(700), ..Timing::lan() };
    let mut swim = Swim::new(identity(0), &timing, 1);
    let mut now = Instant::from_nanos(0);
    swim.apply(now, vec![Record { identity: identity(1), incarnation: 0, state: Liveness::Alive }]);
    // Runs in time until a probe is under way and its verdict is due next, then stops for a minute.
    while now.since(Instant::ZERO) < timing.probe_period + timing.probe_timeout {
        now = swim.poll_timeout().unwrap();
        swim.handle_deadline(now, |_| true);
    }
    swim.handle_deadline(now + secs(60), |_| true);
    assert_eq!(swim.member(ReplicaId(2)).unwrap().1, Liveness::Alive);
    assert_eq!(swim.stats().stalls, 1);
    // The probe still fails if nobody answers in the time that is left.
    let end = now + secs(70);
    while let Some(at) = swim.poll_timeout().filter(|at| *at < end) {
        swim.handle_deadline(at.max(now + secs(60)), |_| true);
    }
    assert_eq!(swim.member(ReplicaId(2)).unwrap().1, Liveness::Down);
}

#[test]
fn one_who_renews_goes_on_probing_although_nobody_speaks() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    let peer = Record { identity: identity(1), incarnation: 0, state: Liveness::Alive };
    swim.apply(Instant::ZERO, vec![peer.clone()]);
    let notice = direct::turn_undead(&peer, &identity(0)).unwrap();
    assert_eq!(swim.handle_datagram(Instant::ZERO, &notice), Ok(()));
    assert_eq!(swim.identity().renewal, 1);
    while let Some(at) = swim.poll_timeout().filter(|at| at.since(Instant::ZERO) < secs(10)) {
        swim.handle_deadline(at, |_| true);
    }
    assert_eq!(swim.member(ReplicaId(2)).unwrap().1, Liveness::Down);
}

#[test]
fn push_pull_shows_a_predecessor_that_is_ahead_and_no_unknown_dead() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    let predecessor = Identity { replica: ReplicaId(99), boot: 5_000, ..identity(0) };
    let down = |identity| Record { identity, incarnation: 0, state: Liveness::Down };
    swim.apply(Instant::ZERO, vec![down(predecessor), down(identity(1))]);
    assert_eq!((swim.identity().boot, swim.members().count()), (5_001, 0));
}

#[test]
fn the_dead_are_forgotten_for_good() {
    let timing = Timing { forget_down: secs(20), ..Timing::lan() };
    let mut network = Network::joined(4, &timing, 8);
    network.crash(3);
    // The lists forget at different times, and are compared all the while.
    for _ in 0..40 {
        network.run(secs(1));
        network.push_pull(0, 1);
        network.push_pull(1, 2);
        let [first, second] = [0, 1].map(|node| network.swim(node).fingerprint());
        let agreed = network.swim(0).records().len() == network.swim(1).records().len();
        assert!(first == second || !agreed);
    }
    assert!((0..3).all(|node| network.swim(node).members().count() == 2));
}

#[test]
fn the_list_is_bounded_and_what_does_not_fit_is_counted() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    let record = |number| Record { identity: identity(number), incarnation: 0, state: Liveness::Alive };
    swim.apply(Instant::ZERO, (1..wire::MAX_MEMBERS).map(record).collect());
    assert_eq!((swim.members().count(), swim.stats().records_dropped), (wire::MAX_MEMBERS - 1, 0));
    swim.apply(Instant::ZERO, (wire::MAX_MEMBERS..wire::MAX_MEMBERS + 10).map(record).collect());
    assert_eq!((swim.members().count(), swim.stats().records_dropped), (wire::MAX_MEMBERS, 9));
    // By datagram: a stranger's is dropped whole, a member's loses what does not fit.
    for (sender, dropped) in [(5_000, 10), (1, 11)] {
        let own = Record { identity: identity(sender), incarnation: 0, state: Liveness::Alive };
        let bytes = direct::ping(&own, &identity(0), record(5_001)).unwrap();
        while swim.poll().is_some() {}
        assert_eq!(swim.handle_datagram(Instant::ZERO, &bytes), Ok(()));
        assert_eq!((swim.members().count(), swim.stats().records_dropped), (wire::MAX_MEMBERS, dropped));
        assert_eq!(swim.poll().is_some(), sender == 1, "a member's ping is answered all the same");
    }
}

#[test]
fn the_dead_make_room_for_whoever_comes() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    let record = |number, state| Record { identity: identity(number), incarnation: 0, state };
    let all = |state| (1..=wire::MAX_MEMBERS).map(|number| record(number, state)).collect::<Vec<_>>();
    swim.apply(Instant::ZERO, all(Liveness::Alive));
    swim.apply(Instant::ZERO, all(Liveness::Down).split_off(wire::MAX_MEMBERS - 100));
    let later = Instant::ZERO + secs(1);
    swim.apply(later, all(Liveness::Down).drain(1..101).collect());
    swim.apply(later + secs(1), (5_001..5_041).map(|number| record(number, Liveness::Alive)).collect());
    let alive = (5_001..5_041).filter(|number| swim.member(identity(*number).replica).is_some()).count();
    assert_eq!((alive, swim.stats().records_dropped), (40, 0));
    // Of the dead those went who had been dead for longest.
    assert!(swim.member(identity(2).replica).is_some_and(|(_, state)| state == Liveness::Down));
    assert!(swim.mirrors_foca());
}

/// Two processes that are told to be at one address hear of each other from a third. Each moved past the other for ever.
#[test]
fn two_at_one_address_outbid_each_other_three_times_and_are_both_told() {
    let own = |replica| Identity { replica: ReplicaId(replica), ..identity(0) };
    let mut swims = [50, 60].map(|replica| Swim::new(own(replica), &Timing::lan(), replica));
    let mut contested = [Vec::new(), Vec::new()];
    let mut now = Instant::ZERO;
    for _ in 0..200 {
        now = now + Duration::from_millis(100);
        for (this, that) in [(0, 1), (1, 0)] {
            let record = Record { identity: swims[that].identity().clone(), incarnation: 0, state: Liveness::Alive };
            swims[this].apply(now, vec![record]);
            swims[this].handle_deadline(now, |_| true);
            let said = std::iter::from_fn(|| swims[this].poll()).filter_map(|output| match output {
                SwimOutput::Contested { rival, keeps } => Some((rival.replica, keeps)),
                _ => None,
            });
            contested[this].extend(said);
        }
    }
    assert_eq!(contested, [vec![(ReplicaId(60), false)], vec![(ReplicaId(50), true)]]);
    assert_eq!(swims.map(|swim| swim.stats().renewals), [3, 3]);
}

/// A process whose clock is behind that of its predecessor moves past it and has peace.
#[test]
fn who_moves_past_a_predecessor_is_in_no_contest() {
    let mut swim = Swim::new(identity(0), &Timing::lan(), 1);
    for (second, boot) in [(1, 5_000), (2, 5_000), (3, 7_000)] {
        let predecessor = Identity { replica: ReplicaId(99), boot, ..identity(0) };
        let now = Instant::ZERO + secs(second);
        swim.apply(now, vec![Record { identity: predecessor, incarnation: 0, state: Liveness::Alive }]);
    }
    swim.handle_deadline(Instant::ZERO + secs(60), |_| true);
    assert_eq!((swim.identity().boot, swim.stats().renewals), (7_001, 2));
    assert!(!std::iter::from_fn(|| swim.poll()).any(|output| matches!(output, SwimOutput::Contested { .. })));
}
