//! What an operator does to a running cluster: other timers, and forgetting who will not come back.

use std::time::Duration;

use unisono::testkit::TestCluster;
use unisono::{Cluster, Denial, Event, Liveness, Lww, OperateError, Preset, Status, Table, TimingConfig};

const NAMES: [&str; 4] = ["n0", "n1", "n2", "n3"];
const LONG: Duration = Duration::from_secs(60);

fn is_down(status: &Status, name: &str) -> bool {
    status.members.iter().any(|member| member.node.as_str() == name && member.liveness == Liveness::Down)
}

/// How long it takes one until it finds another Down whose host is cut off.
async fn noticed(cluster: &TestCluster, by: &Cluster, name: &str) -> Duration {
    let before = cluster.elapsed();
    cluster.unplug(name);
    by.until(LONG, |status| is_down(status, name)).await.unwrap();
    cluster.elapsed() - before
}

#[test]
fn timers_that_are_set_while_a_node_runs_count_from_then_on() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let nodes = cluster.start_all(NAMES, |builder| builder.preset(Preset::Lan)).await.unwrap();
        cluster.settle().await.unwrap();
        let lan = Duration::from_millis(1_400)..Duration::from_millis(2_400);
        let took = noticed(&cluster, &nodes[0], "n3").await;
        assert!(lan.contains(&took), "{took:?}");

        let hasty = TimingConfig { suspicion_ms: Some(299), ..TimingConfig::default() };
        let error = nodes[0].set_timing(Preset::Local, &hasty).await.unwrap_err();
        assert!(matches!(&error, OperateError::Config(error) if error.field() == "timing"), "{error}");
        for node in &nodes[..3] {
            node.set_timing(Preset::Local, &TimingConfig::default()).await.unwrap();
        }
        cluster.settle().await.unwrap();
        let took = noticed(&cluster, &nodes[0], "n2").await;
        assert!(took < Duration::from_millis(1_400), "{took:?} with the timers of one host");

        let patient = TimingConfig { suspicion_ms: Some(20_000), ..TimingConfig::default() };
        nodes[0].set_timing(Preset::Wan, &patient).await.unwrap();
        cluster.advance(Duration::from_secs(1)).await;
        let took = noticed(&cluster, &nodes[0], "n1").await;
        assert!(took > Duration::from_secs(20), "{took:?} with a suspicion of twenty seconds");
    });
}

#[test]
fn who_will_not_come_back_is_forgotten_at_the_operators_word() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let nodes = cluster.start_all(NAMES, |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let gone = nodes[3].node().clone();
        let denied = |error: OperateError| if let OperateError::Denied(why) = error { Some(why) } else { None };
        let error = nodes[0].forget(&gone).await.unwrap_err();
        assert_eq!(denied(error), Some(Denial::Lives(gone.clone())));
        let nobody = "nobody".parse().unwrap();
        let error = nodes[0].forget(&nobody).await.unwrap_err();
        assert_eq!(denied(error), Some(Denial::Unknown(nobody)));

        let cut = cluster.partition(&[&["n3"]]);
        nodes[0].until(LONG, |status| is_down(status, "n3")).await.unwrap();
        let cars: Table<String, Lww<u64>> = nodes[1].table("cars").unwrap();
        let car = "one".to_owned();
        cars.insert(&car, &1).unwrap();
        cars.remove(&car).unwrap();
        cluster.advance(LONG).await;
        let tombstones = |node: &Cluster| node.snapshot().store.tombstones;
        assert_eq!(nodes[..3].iter().map(tombstones).collect::<Vec<_>>(), [1, 1, 1], "it has not heard of the removal");
        let mut events = nodes[0].events();
        nodes[0].forget(&gone).await.unwrap();
        cluster.advance(Duration::from_secs(5)).await;
        assert_eq!(nodes[..3].iter().map(tombstones).collect::<Vec<_>>(), [0, 0, 0]);
        assert!(nodes[..3].iter().all(|node| node.members().len() == 3), "it is in nobody's list");
        let evicted = events.next().await.unwrap().unwrap();
        assert!(matches!(&evicted, Event::Evicted { .. }), "{evicted:?}");

        // It comes back all the same, and has lost nothing.
        cut.heal();
        cluster.assert_converged().await;
        assert_eq!(nodes[0].members().len(), 4);
    });
}
