//! Named handlers of a node.

use unisono::NodeId;

use super::*;

fn with_handlers(builder: Builder) -> Builder {
    builder
        .handler("double", |number: u64, _| async move { number * 2 })
        .handler("sleep", |seconds: u64, _| async move {
            tokio::time::sleep(SECOND * u32::try_from(seconds).unwrap()).await;
        })
        .handler("who asks", |(): (), from: unisono::ReplicaId| async move { from })
        .handler("panic", |why: String, _| async move {
            assert!(why.is_empty(), "{why}");
        })
}

#[test]
fn handlers_answer_whoever_asks() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], with_handlers).await.unwrap();
        cluster.settle().await.unwrap();
        for asked in [&larry, &gary] {
            let node = larry.on_node(asked.node());
            assert_eq!(node.call("double", &21_u64).await, Ok(42_u64));
            assert_eq!(node.call("who asks", &()).await, Ok(larry.replica()));
            let panicked = node.call::<_, ()>("panic", "no power").await;
            assert_eq!(panicked, Err(MessageError::Refused { why: "panicked: no power".to_owned() }));
            let late = node.call_within::<_, ()>("sleep", &10_u64, SECOND).await;
            assert_eq!(late, Err(MessageError::Timeout { after: SECOND }));
            let missing = MessageError::NoSuchHandler { node: asked.node().clone(), handler: "treble".to_owned() };
            assert_eq!(node.call::<_, u64>("treble", &1_u64).await, Err(missing));
            let other = node.call::<_, u64>("double", "twenty-one").await.unwrap_err();
            assert!(matches!(other, MessageError::NotUnderstood { .. }), "{other}");
            let other = node.call::<_, String>("double", &21_u64).await.unwrap_err();
            assert!(matches!(other, MessageError::Refused { .. }), "{other}");
        }
        let nobody = NodeId::new("nobody").unwrap();
        let missing = MessageError::NoSuchNode { node: nobody.clone() };
        assert_eq!(larry.on_node(&nobody).call::<_, u64>("double", &1_u64).await, Err(missing));
        cluster.crash("gary");
        larry.until(LONG, |status| status.members.iter().filter(|member| member.in_view).count() == 1).await.unwrap();
        let missing = MessageError::NoSuchNode { node: gary.node().clone() };
        assert_eq!(larry.on_node(gary.node()).call::<_, u64>("double", &1_u64).await, Err(missing));
        assert_eq!(gary.on_node(larry.node()).call::<_, u64>("double", &1_u64).await, Err(MessageError::Gone));
    });
}

#[test]
fn so_many_calls_are_dealt_with_at_once_so_many_wait_and_the_rest_is_refused() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], with_handlers).await.unwrap();
        cluster.settle().await.unwrap();
        let call = |_| {
            let node = larry.on_node(gary.node());
            tokio::spawn(async move { node.call_within::<_, ()>("sleep", &10_u64, LONG).await })
        };
        let mut calls: Vec<_> = (0..256).map(call).collect();
        cluster.advance(SECOND).await;
        calls.extend((0..1_024 + 100).map(call));
        let began = cluster.elapsed();
        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(call.await.unwrap());
        }
        let full = outcomes.iter().filter(|outcome| matches!(outcome, Err(MessageError::Full { .. }))).count();
        assert_eq!((full, outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (100, 1_280));
        assert!(cluster.elapsed() - began > 48 * SECOND, "256 at once");
    });
}

#[test]
fn two_handlers_of_one_name_are_an_error() {
    TestCluster::run(1, |cluster| async move {
        let twice = |builder: Builder| with_handlers(with_handlers(builder));
        let error = cluster.start("larry", twice).await.unwrap_err();
        assert_eq!((error.field(), error.to_string().contains("\"double\"")), ("handler", true), "{error}");
    });
}

/// Gary opened the stream, and closes it when it rests; larry's call went by it.
#[test]
fn a_call_outlives_the_stream_that_it_went_by() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], with_handlers).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(gary.on_node(larry.node()).call("double", &1_u64).await, Ok(2_u64));
        let outcome = larry.on_node(gary.node()).call_within::<_, ()>("sleep", &200_u64, 300 * SECOND).await;
        assert_eq!(outcome, Ok(()));
    });
}
