//! What is done to nodes and to the network between them.

use unisono::{Event, LeaveError, Phase, UntilError, WriteError};

use super::*;

#[test]
fn dropping_the_last_handle_of_a_released_node_is_a_crash() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], with_gate).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.running("gate").remove(0);
        let (stays, goes) = if &host == larry.node() { (gary, larry) } else { (larry, gary) };
        let table = cars(&goes);
        drop(goes);
        cluster.advance(Duration::from_secs(2)).await;
        assert_eq!(cluster.running("gate"), std::slice::from_ref(&host), "the test cluster keeps a handle");

        drop(cluster.release(host.as_str()));
        let took = cluster.settle().await.unwrap();
        assert!(took < Duration::from_secs(2), "a crash is noticed at once, not after {took:?}");
        assert_eq!(table.insert(&car(1), &1), Err(WriteError::Gone));
        assert_eq!(stays.snapshot().view(), [stays.node().as_str()]);
        assert_eq!(cluster.running("gate"), [stays.node().clone()]);

        let back = cluster.restart(host.as_str()).await.unwrap();
        cluster.assert_converged().await;
        assert_eq!(back.snapshot().view().len(), 2);
    });
}

#[test]
fn a_crash_is_known_at_once_and_a_host_that_vanishes_later() {
    let noticed = |end: fn(&TestCluster, &str)| {
        TestCluster::run(1, move |cluster| async move {
            let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
            cluster.settle().await.unwrap();
            end(&cluster, "gary");
            assert_eq!(gary.status().phase, Phase::Left);
            assert_eq!(gary.until(LONG, |_| false).await, Err(UntilError::Gone));
            let begin = cluster.elapsed();
            larry.until(LONG, |status| in_view(status) == 1).await.unwrap();
            cluster.elapsed() - begin
        })
    };
    let (crash, silence) = (noticed(TestCluster::crash), noticed(TestCluster::unplug));
    assert!(crash < Duration::from_millis(100), "{crash:?}");
    assert!(silence > Duration::from_millis(500), "{silence:?}");
}

#[test]
fn who_leaves_hands_over_and_the_last_one_says_what_is_lost() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        cars(&larry).insert(&car(1), &1).unwrap();
        larry.leave().await.unwrap();
        assert_eq!(larry.leave().await, Err(LeaveError::Gone));
        assert_eq!(cars(&gary).get(&car(1)), Some(1));
        cluster.assert_converged().await;
        assert!(matches!(gary.leave().await, Err(LeaveError::Unsaved { .. })));
        let larry = cluster.restart("larry").await.unwrap();
        cluster.assert_converged().await;
        assert!(cars(&larry).is_empty(), "all nodes were gone at once");
    });
}

#[test]
fn a_partition_lasts_as_long_as_its_guard() {
    TestCluster::run(1, |cluster| async move {
        let nodes = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
        let views = || nodes.each_ref().map(|node| node.snapshot().view().len());
        cluster.settle().await.unwrap();
        {
            let _larry = cluster.partition(&[&["larry"]]);
            cluster.settle().await.unwrap();
            assert_eq!(views(), [1, 2, 2]);
            let _gary = cluster.partition(&[&["gary"], &["mary"]]);
            cluster.settle().await.unwrap();
            assert_eq!(views(), [1, 1, 1]);
        }
        cluster.assert_converged().await;
        let cut = cluster.partition(&[&["larry"], &["gary"], &["mary"]]);
        cluster.settle().await.unwrap();
        assert_eq!(views(), [1, 1, 1]);
        cluster.heal();
        cluster.assert_converged().await;
        drop(cut);
        cluster.assert_converged().await;
    });
}

#[test]
fn a_node_that_stands_still_is_taken_for_dead_and_comes_back() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.pause("gary");
        cars(&gary).insert(&car(1), &1).unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(larry.snapshot().view(), ["larry"]);
        assert_eq!(gary.snapshot().view(), ["gary", "larry"], "it has seen nothing new");
        cluster.resume("gary");
        cluster.assert_converged().await;
        assert_eq!(cars(&larry).get(&car(1)), Some(1));
    });
}

#[test]
fn a_wrong_clock_is_a_host_s_own() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let mut events = gary.events();
        let mut ahead = async || while !matches!(events.next().await.unwrap().unwrap(), Event::ClockAhead { .. }) {};
        // A clock that is set while the node runs changes nothing.
        cluster.set_skew_ms("larry", 60_000);
        cars(&larry).insert(&car(1), &1).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(5), ahead()).await.is_err());

        let split = cluster.partition(&[&["larry"], &["gary"]]);
        let larry = cluster.restart("larry").await.unwrap();
        cluster.settle().await.unwrap();
        cars(&larry).insert(&car(2), &2).unwrap();
        split.heal();
        ahead().await;
        cluster.assert_converged().await;
    });
}
