//! Messages between two that live and do not reach each other, while others reach both.

use unisono::sabotage::Rule;
use unisono::testkit::{Guard, Rng};
use unisono::{Event, Events};

use super::*;

/// Which direction of a link is cut.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Both,
    There,
    Back,
}

const WAYS: [Way; 3] = [Way::Both, Way::There, Way::Back];

fn cut(cluster: &TestCluster, way: Way, here: &str, there: &str) -> Guard {
    let (here, there) = ([cluster.index(here)], [cluster.index(there)]);
    match way {
        Way::Both => cluster.network().cut(&here, &there),
        Way::There => cluster.network().cut_one_way(&here, &there),
        Way::Back => cluster.network().cut_one_way(&there, &here),
    }
}

fn name(node: &Cluster) -> &str {
    node.node().as_str()
}

/// What was told since the last time.
async fn told(events: &mut Events) -> Vec<Event> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        told.push(event.unwrap());
    }
    told
}

fn is_about_links(event: &Event) -> bool {
    matches!(event, Event::LinkBroken { .. } | Event::LinkRestored { .. } | Event::Down { .. })
}

async fn relayed(node: &Cluster) -> u64 {
    node.stats().await.unwrap().relayed
}

#[test]
fn calls_and_casts_go_over_a_member_that_reaches_both() {
    for way in WAYS {
        TestCluster::run_seeds(0..3, |cluster| async move {
            let log = Log::default();
            let (host, others) = three(&cluster, &log, 64).await;
            let (caller, third) = (&others[0], &others[1]);
            let (gate, there) = (gate_of(caller), host.node().to_string());
            let mut events = caller.events();
            let broken = cut(&cluster, way, name(caller), name(&host));
            let began = cluster.elapsed();
            assert_eq!(gate.call((1, Ask::Where)).await, Ok(there.clone()), "{way:?}");
            let first = cluster.elapsed() - began;
            assert!(first < 2 * SECOND, "{way:?}: the first call took {first:?}");
            let began = cluster.elapsed();
            for number in 2..10 {
                assert_eq!(gate.call((number, Ask::Where)).await, Ok(there.clone()));
            }
            let next = cluster.elapsed() - began;
            assert!(next < SECOND / 10, "{way:?}: eight more took {next:?}");
            gate.cast(10).unwrap();
            assert_eq!(gate.broadcast(&11), Ok(1));
            cluster.advance(3 * SECOND).await;
            assert!((1..=11).all(|number| log.begun(number) == [there.as_str()]), "{way:?}");
            assert!(relayed(third).await >= 9 + 2 + 9, "the answers came the same way");
            assert_eq!(caller.stats().await.unwrap().links_broken, 1);
            let over = Some(third.node().clone());
            let (from, to, replica) = (caller.node().clone(), host.node().clone(), host.replica());
            let expected = Event::LinkBroken { from: from.clone(), to: to.clone(), replica, over };
            let links: Vec<_> = told(&mut events).await.into_iter().filter(is_about_links).collect();
            assert_eq!(links, [expected], "{way:?}");
            broken.heal();
            let began = cluster.elapsed();
            let restored = |event: &Event| matches!(event, Event::LinkRestored { .. });
            while !told(&mut events).await.iter().any(restored) {
                assert!(cluster.elapsed() - began < 5 * SECOND, "{way:?}: it is not told that the link is back");
                cluster.advance(SECOND / 10).await;
            }
            let before = relayed(third).await;
            assert_eq!(gate.call((12, Ask::Where)).await, Ok(there));
            assert_eq!(relayed(third).await, before, "the direct way again");
        });
    }
}

/// What was sent on a stream before its link broke may have arrived.
#[test]
fn a_call_under_way_when_its_link_breaks_is_interrupted_and_the_next_goes_around() {
    for way in WAYS {
        TestCluster::run_seeds(0..3, |cluster| async move {
            let log = Log::default();
            let (host, others) = three(&cluster, &log, 64).await;
            let (gate, there) = (gate_of(&others[0]), host.node().to_string());
            gate.call((1, Ask::Where)).await.unwrap();
            let _broken = cut(&cluster, way, name(&others[0]), name(&host));
            let began = cluster.elapsed();
            let outcome = gate.call_within((2, Ask::Where), LONG).await;
            assert_eq!(outcome, Err(MessageError::Interrupted { node: there.clone() }), "{way:?}");
            let took = cluster.elapsed() - began;
            assert!(took < 3 * SECOND, "{way:?}: {took:?}");
            assert_eq!(gate.call((3, Ask::Where)).await, Ok(there));
            cluster.advance(LONG).await;
            assert!(log.begun(2).len() <= 1 && log.begun(3).len() == 1);
        });
    }
}

#[test]
fn handlers_are_called_over_a_member_that_reaches_both() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        let double = |builder: Builder| builder.handler("double", |number: u64, _| async move { number * 2 });
        let [larry, gary, mary] = cluster.start_all(["larry", "gary", "mary"], double).await.unwrap();
        cluster.settle().await.unwrap();
        let _broken = cut(&cluster, Way::There, "larry", "mary");
        let (there, back) = (larry.on_node(mary.node()), mary.on_node(larry.node()));
        let (one, other) = tokio::join!(there.call("double", &21_u64), back.call("double", &4_u64));
        assert_eq!((one, other), (Ok(42_u64), Ok(8_u64)));
        assert!(relayed(&gary).await >= 4);
    });
}

#[test]
fn without_a_third_member_a_call_says_that_the_node_is_not_reached() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        let double = |builder: Builder| builder.handler("double", |number: u64, _| async move { number * 2 });
        let [larry, gary] = cluster.start_all(["larry", "gary"], double).await.unwrap();
        cluster.settle().await.unwrap();
        let _broken = cut(&cluster, Way::Both, "larry", "gary");
        let outcome = larry.on_node(gary.node()).call::<_, u64>("double", &1_u64).await;
        let error = outcome.unwrap_err();
        assert!(error.is_unbegun() && error.to_string().contains("gary"), "{error}");
    });
}

#[test]
fn when_the_relay_dies_what_may_have_been_begun_is_not_sent_again() {
    TestCluster::run_seeds(0..6, |cluster| async move {
        let log = Log::default();
        let names = ["larry", "gary", "mary", "harry"];
        let nodes = cluster.start_all(names, with_gate(&log, 64, 1)).await.unwrap();
        let (host, others) = hosted(&cluster, &nodes).await;
        let (gate, there) = (gate_of(&others[0]), host.node().to_string());
        let _broken = cut(&cluster, WAYS[usize::try_from(cluster.seed() % 3).unwrap()], name(&others[0]), name(&host));
        gate.call((1, Ask::Where)).await.unwrap();
        let relay = if relayed(&others[1]).await > 0 { &others[1] } else { &others[2] };
        let slow = gate.clone();
        let call = tokio::spawn(async move { slow.call_within((2, Ask::Slowly(4)), LONG).await });
        cluster.advance(SECOND).await;
        assert_eq!(log.begun(2).len(), 1);
        cluster.crash(name(relay));
        assert_eq!(call.await.unwrap(), Err(MessageError::Interrupted { node: there.clone() }));
        assert_eq!(gate.call_within((3, Ask::Where), 10 * SECOND).await, Ok(there), "over the other");
        cluster.advance(LONG).await;
        assert!([1, 2, 3].iter().all(|number| log.begun(*number).len() == 1));
    });
}

#[test]
fn who_waits_for_convergence_in_vain_is_told_which_link_is_missing() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        let [larry, _gary, mary] = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let broken = cut(&cluster, Way::Both, "larry", "mary");
        cluster.advance(SECOND).await;
        let error = larry.converged_within(5 * SECOND).await.unwrap_err().to_string();
        assert!(error.contains("the link between larry and mary is broken"), "{error}");
        assert!(mary.members().iter().all(|member| member.liveness == unisono::Liveness::Alive));
        broken.heal();
        larry.converged_within(10 * SECOND).await.unwrap();
    });
}

/// Links break and heal, in one direction or both, members that may be relays crash, and everybody calls. Complains of a
/// call that was begun twice, or begun though it was said that it was not.
pub(crate) fn hostile_links(seed: u64, broken: &[Rule]) -> Result<(), String> {
    relayed_under_hostile_links(seed, broken).map(drop)
}

/// The same; returns how many letters went over a relay.
fn relayed_under_hostile_links(seed: u64, broken: &[Rule]) -> Result<u64, String> {
    let broken = broken.to_vec();
    TestCluster::run(seed, |cluster| async move {
        broken.iter().for_each(|rule| cluster.sabotage(*rule));
        let (log, mut rng) = (Log::default(), Rng::new(seed));
        let names = ["larry", "gary", "mary", "harry"];
        cluster.start_all(names, with_gate(&log, 64, 2)).await.unwrap();
        cluster.settle().await.unwrap();
        let outcomes = Arc::new(Mutex::new(BTreeMap::new()));
        let (mut calls, mut number) = (Vec::new(), 0);
        for round in 0..10_usize {
            let one = rng.between(0, 3);
            let other = (one + 1 + rng.between(0, 2)) % 4;
            let third = (0..4).find(|at| *at != one && *at != other).unwrap();
            let link = cut(&cluster, WAYS[rng.between(0, 2)], names[one], names[other]);
            for _ in 0..4 {
                for node in names {
                    number += 1;
                    let (gate, outcomes, number) = (gate_of(&cluster.node(node)), Arc::clone(&outcomes), number);
                    let ask = if number % 5 == 0 { Ask::Slowly(1) } else { Ask::Where };
                    calls.push(tokio::spawn(async move {
                        let outcome = gate.call_within((number, ask), 5 * SECOND).await;
                        outcomes.lock().unwrap().insert(number, outcome);
                    }));
                }
                cluster.advance(SECOND).await;
            }
            if round % 3 == 2 {
                cluster.crash(names[third]);
                cluster.advance(SECOND).await;
                cluster.restart(names[third]).await.unwrap();
                cluster.node(names[third]).ready(LONG).await.unwrap();
            }
            if round % 2 == 0 {
                link.heal();
                cluster.advance(2 * SECOND).await;
            }
        }
        for call in calls {
            call.await.unwrap();
        }
        cluster.advance(LONG).await;
        let mut answered = 0;
        for (number, outcome) in &*outcomes.lock().unwrap() {
            let begun = log.begun(*number);
            match outcome {
                _ if begun.len() > 1 => {
                    return Err(format!("call {number} was begun twice, at {begun:?}: {outcome:?}"));
                }
                Err(error) if error.is_unbegun() && !begun.is_empty() => {
                    return Err(format!("call {number} was begun at {begun:?}, and is said not to have been: {error}"));
                }
                Ok(node) if begun != [node.as_str()] => return Err(format!("call {number}: {begun:?} not {node}")),
                Ok(_) => answered += 1,
                Err(_) => {}
            }
        }
        let mut relayed = 0;
        for node in names {
            relayed += cluster.node(node).stats().await.unwrap().relayed;
        }
        assert!(answered > number / 2, "{answered} of {number} answered");
        Ok(relayed)
    })
}

#[test]
fn no_call_is_begun_twice_however_it_goes() {
    let run = |seed| relayed_under_hostile_links(seed, &[]).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let relayed: Vec<u64> = (0..12).map(run).collect();
    assert!(relayed.iter().filter(|relayed| **relayed > 0).count() > 6, "{relayed:?} letters went over relays");
}
