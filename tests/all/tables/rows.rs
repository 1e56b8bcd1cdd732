//! Rows: their time, their number, their order, and tables that are not everybody's.

use unisono::cluster::WriteError;
use unisono::{Lww, Origin, Scope, Table, TableConfig, TableError, store};

use super::*;

fn tickets(cluster: &Cluster) -> Table<u32, Lww<String>> {
    cluster.table("tickets").unwrap()
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_row_vanishes_everywhere_when_its_time_is_over() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let (before, mut changes) = tickets(&gary).watch_key(&1);
        assert_eq!(before, None);
        tickets(&larry).insert_for(&1, &text("short"), Duration::from_secs(5)).unwrap();
        tickets(&larry).insert_for(&2, &text("long"), Duration::from_secs(3_600)).unwrap();
        tickets(&larry).insert(&3, &text("for ever")).unwrap();
        assert_eq!(changes.next().await.unwrap().unwrap().new, Some(text("short")));
        let came = cluster.elapsed();
        let gone = changes.next().await.unwrap().unwrap();
        assert_eq!((gone.old, gone.new, gone.origin), (Some(text("short")), None, Origin::Expired));
        let stayed = cluster.elapsed() - came;
        assert!(stayed > Duration::from_millis(4_900) && stayed < Duration::from_millis(5_100), "{stayed:?}");
        cluster.assert_converged().await;
        for node in [&larry, &gary] {
            assert_eq!(tickets(node).iter().map(|(number, _)| number).collect::<Vec<_>>(), [2, 3]);
        }
        // One that joins later is given what is left, and when that ends.
        let mary = cluster.start("mary", |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(tickets(&mary).len(), 2);
        cluster.advance(Duration::from_secs(3_700)).await;
        cluster.assert_converged().await;
        for node in [&larry, &gary, &mary] {
            assert_eq!(tickets(node).iter().map(|(number, _)| number).collect::<Vec<_>>(), [3]);
            assert_eq!(node.snapshot().store.tombstones, 0, "what is over is forgotten as well");
        }
    });
}

#[test]
fn a_row_that_is_put_again_lives_on() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let sessions: Table<u32, Lww<u32>> =
            larry.table(TableConfig::new("sessions").ttl(Duration::from_secs(10))).unwrap();
        for round in 0..5 {
            sessions.insert(&1, &round).unwrap();
            cluster.advance(Duration::from_secs(6)).await;
            assert_eq!(gary.table::<u32, Lww<u32>>("sessions").unwrap().get(&1), Some(round));
        }
        cluster.advance(Duration::from_secs(6)).await;
        assert!(sessions.is_empty() && gary.table::<u32, Lww<u32>>("sessions").unwrap().is_empty());
    });
}

/// What the one side has forgotten must not come back from the other, and clocks that are wrong are put right.
#[test]
fn what_is_over_stays_over_after_a_split_and_with_a_wrong_clock() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, gary, mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        cluster.set_skew_ms("mary", -300_000);
        cluster.advance(Duration::from_secs(10)).await;
        tickets(&mary).insert_for(&1, &text("of mary"), Duration::from_secs(20)).unwrap();
        tickets(&larry).insert_for(&2, &text("of larry"), Duration::from_secs(20)).unwrap();
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["mary"], &["larry", "gary"]]);
        cluster.advance(Duration::from_secs(15)).await;
        assert_eq!([&larry, &gary, &mary].map(|node| tickets(node).len()), [2; 3]);
        cluster.advance(Duration::from_secs(600)).await;
        split.heal();
        cluster.assert_converged().await;
        cluster.advance(Duration::from_secs(60)).await;
        for node in [&larry, &gary, &mary] {
            assert!(tickets(node).is_empty());
            assert_eq!(node.snapshot().store.resurrected, 0);
        }
    });
}

#[test]
fn a_full_table_refuses_its_own_writes_and_takes_those_of_others() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let small: Table<u32, Lww<String>> = larry.table(TableConfig::new("tickets").quota(1_000)).unwrap();
        let long = "x".repeat(300);
        (0..3).for_each(|number| small.insert(&number, &long).unwrap());
        let error = small.insert(&3, &long).unwrap_err();
        let WriteError::Store(store::WriteError::Quota { quota: 1_000, bytes, .. }) = &error else { panic!("{error}") };
        assert_eq!(*bytes, small.bytes());
        assert!(error.to_string().contains("remove rows"), "{error}");
        small.insert(&0, &text("shorter is always welcome")).unwrap();
        small.insert(&3, &long[..200].to_owned()).unwrap();
        (10..20).for_each(|number| tickets(&gary).insert(&number, &long).unwrap());
        cluster.assert_converged().await;
        assert_eq!(small.len(), 14);
        assert!(small.bytes() > 3_000);
        assert_eq!(small.bytes(), tickets(&gary).bytes());
        assert!(small.update(&0, |_| Some(long.clone())).is_err());
        assert!(small.insert_many([(50, long)]).is_err());
        small.remove(&10).unwrap();
    });
}

#[test]
fn a_local_table_stays_at_home() {
    TestCluster::run(1, |cluster| async move {
        let larry = cluster.start("larry", |builder| builder).await.unwrap();
        let own: Table<u32, Lww<String>> = larry.table(TableConfig::new("tickets").local()).unwrap();
        assert_eq!(own.scope(), Scope::Local);
        own.insert(&1, &text("before the node has joined")).unwrap();
        let gary = cluster.start("gary", |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        own.insert_for(&2, &text("soon over"), Duration::from_secs(1)).unwrap();
        tickets(&gary).insert(&7, &text("of all")).unwrap();
        cluster.assert_converged().await;
        cluster.advance(Duration::from_secs(2)).await;
        assert_eq!(own.iter().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
        assert_eq!(tickets(&gary).iter().map(|(number, _)| number).collect::<Vec<_>>(), [7]);
        let snapshot = larry.snapshot();
        assert_eq!((snapshot.tables[0].rows, snapshot.local_tables[0].rows), (1, 1));
        own.remove(&1).unwrap();
        assert!(own.is_empty());
        let error = larry.table::<u32, Lww<String>>(TableConfig::new("tickets").scope(Scope::Replicated)).unwrap_err();
        assert!(matches!(&error, TableError::Differs { what: "scope", .. }), "{error}");
    });
}

#[test]
fn orders_and_indexes_follow_what_comes_from_others() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        type Cars = Table<i32, Lww<(u32, String)>>;
        let (here, there): (Cars, Cars) = (larry.table("cars").unwrap(), gary.table("cars").unwrap());
        here.insert(&300, &(1, text("red"))).unwrap();
        let ordered = here.ordered();
        let by_colour = here.index(|_, (_, colour)| colour.clone());
        there.insert(&-5, &(2, text("blue"))).unwrap();
        there.insert(&2, &(3, text("red"))).unwrap();
        cluster.assert_converged().await;
        let numbers =
            |rows: unisono::cluster::Rows<i32, (u32, String)>| rows.map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(ordered.iter()), [-5, 2, 300]);
        assert_eq!(numbers(ordered.range(..300)), [-5, 2]);
        assert_eq!((ordered.first().unwrap().0, ordered.last().unwrap().0), (-5, 300));
        let mut red = numbers(by_colour.get(&text("red")));
        red.sort_unstable();
        assert_eq!(red, [2, 300]);
        there.insert(&2, &(3, text("green"))).unwrap();
        there.remove(&300).unwrap();
        cluster.assert_converged().await;
        assert_eq!(numbers(by_colour.get(&text("red"))), [] as [i32; 0]);
        assert_eq!(numbers(by_colour.range(&text("a")..=&text("green"))), [-5, 2]);
        assert_eq!((ordered.last().unwrap().0, by_colour.len()), (2, 2));
        assert_eq!(here.select(|number, _| *number < 0), [(-5, (2, text("blue")))]);
    });
}
