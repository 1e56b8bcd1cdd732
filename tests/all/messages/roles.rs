//! Calls, casts and broadcasts while all is well.

use super::*;

#[test]
fn every_node_reaches_the_role_wherever_it_runs() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        let name = host.node().to_string();
        assert_eq!(gate_of(&host).call((1, Ask::Where)).await, Ok(name.clone()));
        for (number, node) in (2..).zip(&others) {
            assert_eq!(gate_of(node).call((number, Ask::Where)).await, Ok(name.clone()));
            gate_of(node).cast(number + 10).unwrap();
        }
        gate_of(&host).cast(11).unwrap();
        cluster.advance(SECOND).await;
        for number in [1, 2, 3, 11, 12, 13] {
            assert_eq!(log.begun(number), [name.as_str()], "message {number}");
        }
    });
}

#[test]
fn what_cannot_be_done_is_said_at_once_and_by_name() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        let began = cluster.elapsed();
        for node in [&host, &others[0]] {
            let none = MessageError::NoSuchRole { role: "gate-2".to_owned() };
            assert_eq!(node.role::<Gate>("gate-2").call((1, Ask::Where)).await, Err(none.clone()));
            assert_eq!(node.role::<Gate>("gate-2").cast(1), Err(none.clone()));
            assert_eq!(node.role::<Gate>("gate-2").broadcast(&1), Err(none));
            let other = node.role::<Lamp>("gate-1").call("on".to_owned()).await.unwrap_err();
            assert!(matches!(other, MessageError::NotUnderstood { .. }) && other.is_unbegun(), "{other}");
            let dropped = gate_of(node).call((2, Ask::Drop)).await.unwrap_err();
            assert!(
                matches!(&dropped, MessageError::Refused { why } if why.contains("without an answer")),
                "{dropped}"
            );
            let refused = gate_of(node).call((3, Ask::Refuse)).await;
            assert_eq!(refused, Err(MessageError::Refused { why: "no cars today".to_owned() }));
        }
        let large = others[0].role::<Lamp>("gate-1").call("x".repeat(1 << 20)).await.unwrap_err();
        assert!(matches!(large, MessageError::TooLarge { .. }), "{large}");
        assert!(cluster.elapsed() - began < SECOND);
        assert_eq!(gate_of(&host).call((4, Ask::Where)).await, Ok(host.node().to_string()), "and it still runs");
    });
}

#[test]
fn a_broadcast_reaches_all_instances() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let nodes = cluster.start_all(["larry", "gary", "mary"], with_gate(&log, 64, 2)).await.unwrap();
        cluster.settle().await.unwrap();
        for (number, node) in (1..).zip(&nodes) {
            assert_eq!(gate_of(node).broadcast(&number), Ok(2));
        }
        cluster.advance(SECOND).await;
        let mut hosts: Vec<String> = cluster.running("gate-1").iter().map(ToString::to_string).collect();
        hosts.sort();
        for number in 1..=3 {
            let mut begun = log.begun(number);
            begun.sort();
            assert_eq!(begun, hosts);
        }
    });
}

#[test]
fn calls_from_elsewhere_are_spread_over_the_instances() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let nodes = cluster.start_all(["larry", "gary", "mary"], with_gate(&log, 64, 2)).await.unwrap();
        cluster.settle().await.unwrap();
        let hosts = cluster.running("gate-1");
        let guest = nodes.iter().find(|node| !hosts.contains(node.node())).unwrap();
        let gate = gate_of(guest);
        let mut answers = BTreeMap::<String, u32>::new();
        for number in 0..10 {
            *answers.entry(gate.call((number, Ask::Where)).await.unwrap()).or_default() += 1;
        }
        assert_eq!(answers.values().copied().collect::<Vec<_>>(), [5, 5]);
    });
}

#[test]
fn many_calls_at_once_are_all_answered_in_order() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 2_000).await;
        let calls: Vec<_> = (0..1_000)
            .map(|number| {
                let gate = gate_of(&others[0]);
                tokio::spawn(async move { gate.call((number, Ask::Where)).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(host.node().to_string()));
        }
        assert!((0..1_000).all(|number| log.begun(number).len() == 1));
    });
}

#[test]
fn a_full_mailbox_refuses_casts_and_lets_calls_wait() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 2).await;
        let busy = tokio::spawn({
            let gate = gate_of(&others[0]);
            async move { gate.call_within((0, Ask::Slowly(10)), LONG).await }
        });
        cluster.advance(SECOND).await;
        assert_eq!(log.begun(0).len(), 1);
        for number in [1, 2] {
            gate_of(&host).cast(number).unwrap();
        }
        assert!(matches!(gate_of(&host).cast(3), Err(MessageError::Full { .. })));
        for node in [&host, &others[0]] {
            let error = gate_of(node).call_within((4, Ask::Where), 2 * SECOND).await.unwrap_err();
            assert!(matches!(error, MessageError::Full { .. }), "{error}");
        }
        let name = host.node().to_string();
        assert_eq!(gate_of(&others[1]).call_within((5, Ask::Where), LONG).await, Ok(name.clone()));
        assert_eq!(busy.await.unwrap(), Ok(name));
        assert_eq!([1, 2, 3, 4, 5].map(|number| log.begun(number).len()), [1, 1, 0, 0, 1]);
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_begun() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        for (number, node) in [(10, &host), (20, &others[0])] {
            let gate = gate_of(&others[1]);
            let busy = tokio::spawn(async move { gate.call_within((number, Ask::Slowly(10)), LONG).await });
            cluster.advance(SECOND).await;
            let late = gate_of(node).call_within((number + 1, Ask::Where), 2 * SECOND).await;
            assert_eq!(late, Err(MessageError::Timeout { after: 2 * SECOND }));
            let dropped = gate_of(node);
            let dropped = tokio::time::timeout(SECOND, dropped.call_within((number + 2, Ask::Where), LONG)).await;
            assert!(dropped.is_err());
            busy.await.unwrap().unwrap();
            cluster.advance(5 * SECOND).await;
            assert_eq!([0, 1, 2].map(|more| log.begun(number + more).len()), [1, 0, 0]);
        }
    });
}

#[test]
fn before_the_role_runs_calls_wait_for_it() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let only_asks = |builder: Builder| builder.role(RoleSpec::new("gate-1").kind("gate"));
        let larry = cluster.start("larry", only_asks).await.unwrap();
        let call = tokio::spawn({
            let gate = gate_of(&larry);
            async move { gate.call_within((1, Ask::Where), LONG).await }
        });
        larry.ready(LONG).await.unwrap();
        let none = gate_of(&larry).call((2, Ask::Where)).await;
        assert_eq!(none, Err(MessageError::NoInstance { role: "gate-1".to_owned(), after: 5 * SECOND }));
        let none = MessageError::NoInstance { role: "gate-1".to_owned(), after: Duration::ZERO };
        assert_eq!((gate_of(&larry).cast(3), gate_of(&larry).broadcast(&4)), (Err(none), Ok(0)));
        cluster.start("gary", with_gate(&log, 64, 1)).await.unwrap();
        assert_eq!(call.await.unwrap(), Ok("gary".to_owned()));
    });
}

/// A stream on which nothing goes for a minute is closed, which is no reason to give up what is asked.
#[test]
fn a_call_may_take_longer_than_a_stream_rests() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (host, others) = three(&cluster, &log, 64).await;
        for number in [1, 2] {
            let outcome = gate_of(&others[0]).call_within((number, Ask::Slowly(200)), 300 * SECOND).await;
            assert_eq!((outcome, log.begun(number).len()), (Ok(host.node().to_string()), 1));
            cluster.advance(200 * SECOND).await;
        }
    });
}

#[test]
fn a_cluster_that_sends_no_messages_opens_no_streams_for_them() {
    let bytes = |with_calls: bool| {
        TestCluster::run(1, |cluster| async move {
            let log = Log::default();
            let (_, others) = three(&cluster, &log, 64).await;
            let began = others[0].stats().await.unwrap().stream_bytes;
            if with_calls {
                gate_of(&others[0]).call((1, Ask::Where)).await.unwrap();
            }
            cluster.advance(10 * SECOND).await;
            others[0].stats().await.unwrap().stream_bytes - began
        })
    };
    let (without, with) = (bytes(false), bytes(true));
    assert!(with > without && with < without + 500, "{without} and {with} bytes");
}
