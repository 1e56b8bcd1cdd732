//! Messages while things go wrong: what was begun is never sent again, and what was not goes on.

use unisono::testkit::Rule;

use super::*;

#[test]
fn a_call_waits_for_the_successor_of_a_host_that_crashed() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        let calls: Vec<_> = (0..3)
            .map(|number| {
                let gate = gate_of(&others[0]);
                let ask = if number == 0 { Ask::Slowly(30) } else { Ask::Where };
                tokio::spawn(async move { gate.call_within((number, ask), LONG).await })
            })
            .collect();
        cluster.advance(SECOND).await;
        cluster.crash(host.node().as_str());
        let later = gate_of(&others[1]).call_within((3, Ask::Where), LONG).await.unwrap();
        assert_ne!(later, host.node().to_string());
        for (number, call) in (0..).zip(calls) {
            // They were in the mailbox there: nobody can say whether they were begun.
            let outcome = call.await.unwrap();
            assert_eq!(outcome, Err(MessageError::Interrupted { node: host.node().to_string() }), "call {number}");
        }
        assert_eq!([0, 1, 2, 3].map(|number| log.begun(number).len()), [1, 0, 0, 1]);
    });
}

#[test]
fn what_waits_in_the_mailbox_of_a_role_that_moves_is_begun_by_its_successor() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        let call = |number: u64| {
            let gate = gate_of(if number.is_multiple_of(2) { &others[0] } else { &others[1] });
            let ask = if number == 0 { Ask::Slowly(3) } else { Ask::Where };
            tokio::spawn(async move { gate.call_within((number, ask), LONG).await })
        };
        let mut calls = vec![call(0)];
        cluster.advance(SECOND).await;
        assert_eq!(log.begun(0).len(), 1);
        calls.extend((1..6).map(call));
        cluster.advance(SECOND / 10).await;
        host.leave().await.unwrap();
        let old = host.node().to_string();
        for (number, call) in (0..).zip(calls) {
            let answer = call.await.unwrap().unwrap();
            assert_eq!((answer == old, log.begun(number)), (number == 0, vec![answer]), "call {number}");
        }
    });
}

#[test]
fn a_role_that_panics_refuses_what_it_dealt_with_and_its_next_start_takes_the_rest() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        for node in [&host, &others[0]] {
            let (gate, other) = (gate_of(node), gate_of(node));
            let panics = gate.call((1, Ask::Panic));
            let (panicked, next) = tokio::join!(panics, other.call_within((2, Ask::Where), LONG));
            assert!(matches!(panicked, Err(MessageError::Refused { .. })), "{panicked:?}");
            assert!(next.is_ok(), "{next:?}");
            cluster.advance(LONG).await;
        }
        assert_eq!(log.begun(1).len() + log.begun(2).len(), 4);
    });
}

#[test]
fn a_short_cut_delays_calls_and_a_long_one_ends_them() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        let name = host.node().to_string();
        let gate = gate_of(&others[0]);
        gate.call((0, Ask::Where)).await.unwrap();
        let call = |number, timeout| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.call_within((number, Ask::Where), timeout).await })
        };
        let cut = cluster.partition(&[&[name.as_str()]]);
        let (short, long) = (call(1, SECOND / 10), call(2, LONG));
        cluster.advance(SECOND / 2).await;
        assert_eq!(short.await.unwrap(), Err(MessageError::Timeout { after: SECOND / 10 }));
        cut.heal();
        assert_eq!(long.await.unwrap(), Ok(name.clone()));
        let _cut = cluster.partition(&[&[name.as_str()]]);
        let call = call(3, LONG);
        let outcome = call.await.unwrap();
        assert_eq!(outcome, Err(MessageError::Interrupted { node: name.clone() }));
        let elsewhere = gate.call_within((4, Ask::Where), LONG).await.unwrap();
        assert_ne!(elsewhere, name);
        assert!((0..5).all(|number| log.begun(number).len() <= 1));
    });
}

/// Nodes crash, come back and are cut off, and the network loses packets, while everybody calls.
#[test]
fn no_call_is_ever_dealt_with_twice_and_what_is_said_of_it_is_true() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let log = Log::default();
        let names = ["larry", "gary", "mary", "harry"];
        cluster.start_all(names, with_gate(&log, 8, 2)).await.unwrap();
        cluster.settle().await.unwrap();
        let lossy = cluster.network().add(Rule::loss(0.1));
        let outcomes = Arc::new(Mutex::new(BTreeMap::new()));
        let mut calls = Vec::new();
        let mut number = 0;
        for round in 0..12_usize {
            for name in names {
                let gate = gate_of(&cluster.node(name));
                for _ in 0..8 {
                    number += 1;
                    let (gate, outcomes, number) = (gate.clone(), Arc::clone(&outcomes), number);
                    let ask = if number % 5 == 0 { Ask::Slowly(1) } else { Ask::Where };
                    calls.push(tokio::spawn(async move {
                        let outcome = gate.call_within((number, ask), 4 * SECOND).await;
                        outcomes.lock().unwrap().insert(number, outcome);
                    }));
                }
            }
            let victim = names[(round + usize::try_from(cluster.seed()).unwrap()) % 4];
            match round % 3 {
                0 => {
                    let cut = cluster.partition(&[&[victim]]);
                    cluster.advance(3 * SECOND).await;
                    cut.heal();
                }
                1 => {
                    cluster.crash(victim);
                    cluster.advance(SECOND).await;
                    cluster.restart(victim).await.unwrap();
                    cluster.node(victim).ready(LONG).await.unwrap();
                }
                _ => cluster.advance(2 * SECOND).await,
            }
        }
        drop(lossy);
        for call in calls {
            call.await.unwrap();
        }
        cluster.advance(LONG).await;
        let outcomes = outcomes.lock().unwrap().clone();
        let mut answered = 0;
        for (number, outcome) in &outcomes {
            let begun = log.begun(*number);
            match outcome {
                Ok(node) => {
                    answered += 1;
                    assert_eq!(begun, [node.as_str()], "call {number}");
                }
                Err(error) if error.is_unbegun() => assert!(begun.is_empty(), "call {number}: {error}, {begun:?}"),
                Err(error) => assert!(begun.len() <= 1, "call {number}: {error}, {begun:?}"),
            }
        }
        assert!(answered > outcomes.len() / 4, "{answered} of {}", outcomes.len());
    });
}
