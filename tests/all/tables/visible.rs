//! Waiting until others hold what was written.

use unisono::cluster::VisibleError;
use unisono::{Lww, Table, Visible};

use super::*;

fn cars(cluster: &Cluster) -> Table<u32, Lww<u32>> {
    cluster.table("cars").unwrap()
}

#[test]
fn what_is_visible_can_be_read_over_there() {
    TestCluster::run_seeds(0..20, |cluster| async move {
        let [larry, gary, mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        let _lossy = cluster.network().add(unisono::testkit::Rule::loss(0.2));
        for number in 0..10 {
            cars(&larry).insert(&number, &number).unwrap();
            let (who, all) = if number % 2 == 0 { (Visible::All, true) } else { (Visible::Count(1), false) };
            assert_eq!(larry.await_visible(who, LONG).await, Ok(vec![]));
            let there = [&gary, &mary].map(|node| cars(node).get(&number) == Some(number));
            assert!(there.iter().any(|there| *there) && (!all || there == [true; 2]), "{number}: {there:?}");
        }
    });
}

#[test]
fn it_takes_little_longer_than_the_way_there_and_back() {
    TestCluster::run(1, |cluster| async move {
        let [larry, ..] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        cluster.advance(Duration::from_secs(30)).await;
        cars(&larry).insert(&1, &1).unwrap();
        let began = cluster.elapsed();
        larry.await_visible(Visible::All, LONG).await.unwrap();
        assert!(cluster.elapsed() - began < Duration::from_millis(30), "{:?}", cluster.elapsed() - began);
    });
}

#[test]
fn who_goes_down_is_not_waited_for_and_named() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, _gary, _mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        cluster.unplug("mary");
        cars(&larry).insert(&1, &1).unwrap();
        let after = Duration::from_millis(200);
        let error = larry.await_visible(Visible::All, after).await.unwrap_err();
        let VisibleError::Timeout { lacking, .. } = &error else { panic!("{error}") };
        assert!(lacking.contains("mary") && !lacking.contains("gary"), "{error}");
        let gone = larry.await_visible(Visible::All, LONG).await.unwrap();
        assert_eq!(gone.iter().map(|node| node.as_str()).collect::<Vec<_>>(), ["mary"]);
        assert_eq!(larry.await_visible(Visible::Count(1), LONG).await, Ok(vec![]));
        let error = larry.await_visible(Visible::Count(2), after).await.unwrap_err();
        assert!(error.to_string().contains("1 of 2"), "{error}");
        let waiting = {
            let larry = larry.clone();
            tokio::spawn(async move { larry.await_visible(Visible::Count(2), LONG).await })
        };
        cluster.advance(after).await;
        cluster.crash("larry");
        assert_eq!(waiting.await.unwrap(), Err(VisibleError::Gone));
    });
}
