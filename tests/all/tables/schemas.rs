//! Nodes that do not mean the same by a name, or do not know it at all.

use unisono::{Counter, Event, Lww, Table, TableConfig, TableError};

use super::*;

/// The table, the other node, and what each uses, once this node is told that they differ.
async fn told(cluster: &Cluster, events: &mut unisono::Events) -> (String, String, String, String) {
    let told = async {
        loop {
            if let Some(Ok(Event::SchemaDiffers { table, node, ours, theirs, .. })) = events.next().await {
                return (table, node.to_string(), ours, theirs);
            }
        }
    };
    tokio::time::timeout(LONG, told).await.unwrap_or_else(|_| panic!("{} was not told", cluster.node()))
}

#[test]
fn both_are_told_and_nothing_is_spoilt() {
    TestCluster::run_seeds(0..3, |cluster| async move {
        let [larry, gary, mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        let (mut of_larry, mut of_gary) = (larry.events(), gary.events());
        let numbers: Table<String, Lww<u32>> = larry.table("cars").unwrap();
        let texts: Table<String, Lww<String>> = gary.table("cars").unwrap();
        let key = "B-AB 1".to_owned();
        numbers.insert(&key, &417).unwrap();
        let names = |words: [&str; 4]| words.map(str::to_owned).into();
        let (ours, theirs) = ("String -> Lww<u32>", "String -> Lww<String>");
        assert_eq!(told(&larry, &mut of_larry).await, names(["cars", "gary", ours, theirs]));
        assert_eq!(told(&gary, &mut of_gary).await, names(["cars", "larry", theirs, ours]));
        cluster.assert_converged().await;
        assert_eq!(texts.get(&key), None);
        assert!(texts.skipped() > 0);
        let same: Table<String, Lww<u32>> = mary.table("cars").unwrap();
        assert_eq!(same.get(&key), Some(417), "who means the same reads it");
    });
}

#[test]
fn values_of_another_form_are_another_table() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let mut events = gary.events();
        let numbers: Table<u32, Lww<i64>> = larry.table("passages").unwrap();
        let counts: Table<u32, Counter> = gary.table("passages").unwrap();
        numbers.insert(&1, &417).unwrap();
        counts.add(&1, 3).unwrap();
        assert_eq!(told(&gary, &mut events).await.1, "larry");
        cluster.assert_converged().await;
        assert_eq!((numbers.get(&1), counts.get(&1)), (Some(417), Some(3)));
        assert_eq!((numbers.skipped(), counts.skipped()), (0, 0));
    });
}

#[test]
fn names_that_are_said_to_mean_the_same_do() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let mut events = larry.events();
        let one: Table<u32, Lww<u64>> = larry.table(TableConfig::new("cars").schema("cars, second edition")).unwrap();
        let other: Table<u32, Lww<u32>> = gary.table(TableConfig::new("cars").schema("cars, second edition")).unwrap();
        one.insert(&1, &417).unwrap();
        cluster.assert_converged().await;
        assert_eq!(other.get(&1), Some(417));
        cluster.advance(Duration::from_secs(5)).await;
        cluster.crash("larry");
        while let Some(event) = events.next().await {
            assert!(!matches!(event, Ok(Event::SchemaDiffers { .. })), "{event:?}");
        }
    });
}

#[test]
fn one_node_does_not_use_a_name_in_two_ways() {
    TestCluster::run(1, |cluster| async move {
        let [larry] = nodes(&cluster, ["larry"]).await;
        let _cars: Table<u32, Lww<u32>> = larry.table("cars").unwrap();
        let error = larry.table::<u32, Lww<String>>("cars").unwrap_err();
        assert!(matches!(&error, TableError::Differs { what: "schema", .. }), "{error}");
        assert!(error.to_string().contains("u32 -> Lww<u32>, not u32 -> Lww<String>"), "{error}");
        let error = larry.table::<u32, Lww<u32>>("cars|set").unwrap_err();
        assert!(matches!(error, TableError::Reserved { .. }));
        let error = larry.table::<u32, Counter>(TableConfig::new("counts").ttl(LONG)).unwrap_err();
        assert!(matches!(&error, TableError::Ttl { .. }), "{error}");
        let first = TableConfig::new("tickets").ttl(Duration::from_secs(1)).quota(10);
        let _tickets: Table<u32, Lww<u32>> = larry.table(first.clone()).unwrap();
        assert!(larry.table::<u32, Lww<u32>>(first.clone()).is_ok() && larry.table::<u32, Lww<u32>>("tickets").is_ok());
        for (second, field) in [(first.clone().ttl(Duration::from_secs(2)), "ttl"), (first.quota(11), "quota")] {
            let error = larry.table::<u32, Lww<u32>>(second).unwrap_err();
            assert!(matches!(&error, TableError::Differs { what, .. } if *what == field), "{error}");
        }
    });
}

#[test]
fn who_does_not_know_a_table_keeps_and_passes_on_its_rows() {
    TestCluster::run(1, |cluster| async move {
        let [larry, _gary] = nodes(&cluster, ["larry", "gary"]).await;
        let cars = |cluster: &Cluster| cluster.table::<u32, Lww<u32>>("cars").unwrap();
        let passages = |cluster: &Cluster| cluster.table::<u32, Counter>("passages").unwrap();
        cars(&larry).insert_many((0..1_000).map(|number| (number, number))).unwrap();
        passages(&larry).add(&1, 417).unwrap();
        cluster.assert_converged().await;
        cluster.crash("larry");
        cluster.advance(Duration::from_secs(5)).await;
        let mary = cluster.start("mary", |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!((cars(&mary).len(), passages(&mary).get(&1)), (1_000, Some(417)));
    });
}
