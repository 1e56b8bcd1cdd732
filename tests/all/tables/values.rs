//! Values that several nodes write to at once, also across a split.

use std::collections::BTreeSet;

use unisono::{Bag, Counter, Lww, Merge, MultiValue, Set, Table};

use super::*;

fn counter(cluster: &Cluster) -> Table<String, Counter> {
    cluster.table("passages").unwrap()
}

fn gate() -> String {
    "gate-1".to_owned()
}

#[test]
fn a_counter_loses_nothing_in_a_split() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let all = nodes(&cluster, ["larry", "gary", "mary", "harry"]).await;
        for (node, amount) in all.iter().zip([1, 10, 100, 1_000]) {
            counter(node).add(&gate(), amount).unwrap();
        }
        cluster.assert_converged().await;
        let split = cluster.partition(&[&["larry", "gary"], &["mary", "harry"]]);
        for (node, amount) in all.iter().zip([5, -20, 500, -7]) {
            for _ in 0..3 {
                counter(node).add(&gate(), amount).unwrap();
            }
        }
        cluster.settle().await.unwrap();
        assert_eq!(counter(&all[0]).get(&gate()), Some(1_111 + 3 * (5 - 20)), "what this side counted");
        split.heal();
        cluster.assert_converged().await;
        for node in &all {
            assert_eq!(counter(node).get(&gate()), Some(1_111 + 3 * (5 - 20 + 500 - 7)));
        }
    });
}

#[test]
fn a_node_that_starts_again_carries_on_its_own_count() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, _gary, mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        let mut expected = 5;
        counter(&mary).add(&gate(), expected).unwrap();
        counter(&larry).add(&gate(), 1).unwrap();
        expected += 1;
        for run in 0..6 {
            cluster.assert_converged().await;
            cluster.crash("larry");
            cluster.advance(Duration::from_secs(3)).await;
            let larry = cluster.restart("larry").await.unwrap();
            cluster.assert_converged().await;
            // Until everybody reports that all know the same of the former run.
            cluster.advance(Duration::from_secs(5)).await;
            assert_eq!(counter(&larry).add(&gate(), 10), Ok(expected + 10), "run {run}");
            expected += 10;
            cluster.assert_converged().await;
            assert_eq!(counter(&mary).get(&gate()), Some(expected));
            let rows = mary.snapshot().table("passages").unwrap().rows;
            assert_eq!(rows, 2, "a share of mary and one of larry, whatever he went through");
        }
    });
}

/// Taken over too early, a count would be there twice: once in the share of the new run, once where more was known of the
/// old one.
#[test]
fn a_count_is_not_taken_over_while_somebody_may_know_more_of_it() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, gary, mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        counter(&larry).add(&gate(), 5).unwrap();
        cluster.assert_converged().await;
        let split = cluster.partition(&[&["larry", "gary"], &["mary"]]);
        counter(&larry).add(&gate(), 7).unwrap();
        cluster.settle().await.unwrap();
        cluster.crash("larry");
        split.heal();
        let split = cluster.partition(&[&["gary"], &["larry", "mary"]]);
        let larry = cluster.restart("larry").await.unwrap();
        larry.ready(LONG).await.unwrap();
        assert_eq!(counter(&larry).add(&gate(), 10), Ok(15), "what is known on this side");
        split.heal();
        cluster.assert_converged().await;
        for node in [&larry, &gary, &mary] {
            assert_eq!(counter(node).get(&gate()), Some(22));
        }
        cluster.advance(Duration::from_secs(5)).await;
        assert_eq!(counter(&larry).add(&gate(), 100), Ok(122), "now it may be");
        cluster.assert_converged().await;
        assert_eq!(counter(&mary).get(&gate()), Some(122));
        assert_eq!(mary.snapshot().table("passages").unwrap().rows, 1);
    });
}

#[test]
fn an_addition_to_a_set_wins_over_a_removal_that_did_not_see_it() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let tags = |cluster: &Cluster| cluster.table::<String, Set<String>>("tags").unwrap();
        let (car, red, blue) = ("B-AB 1".to_owned(), "red".to_owned(), "blue".to_owned());
        tags(&larry).add(&car, &red).unwrap();
        tags(&gary).add(&car, &blue).unwrap();
        cluster.assert_converged().await;
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        assert_eq!(tags(&larry).remove(&car, &red), Ok(true));
        assert_eq!(tags(&larry).remove(&car, &red), Ok(false), "it is out already");
        assert_eq!(tags(&larry).remove(&car, &blue), Ok(true));
        tags(&gary).add(&car, &red).unwrap();
        cluster.settle().await.unwrap();
        assert!(!tags(&larry).contains_key(&car), "an empty set is none");
        split.heal();
        cluster.assert_converged().await;
        for node in [&larry, &gary] {
            assert_eq!(tags(node).get(&car), Some(BTreeSet::from([red.clone()])));
            assert!(tags(node).contains(&car, &red) && !tags(node).contains(&car, &blue));
        }
        assert_eq!(tags(&gary).remove_all(&car), Ok(Some(BTreeSet::from([red]))));
        cluster.assert_converged().await;
        assert!(tags(&larry).is_empty());
    });
}

#[test]
fn concurrent_values_stay_until_somebody_decides() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, gary, mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        let prices = |cluster: &Cluster| cluster.table::<String, MultiValue<u32>>("prices").unwrap();
        let hour = "hour".to_owned();
        prices(&larry).put(&hour, &100).unwrap();
        cluster.assert_converged().await;
        let split = cluster.partition(&[&["larry"], &["gary", "mary"]]);
        prices(&larry).put(&hour, &150).unwrap();
        prices(&gary).put(&hour, &180).unwrap();
        split.heal();
        cluster.assert_converged().await;
        for node in [&larry, &gary, &mary] {
            let mut both = prices(node).get(&hour).unwrap();
            both.sort_unstable();
            assert_eq!(both, [150, 180]);
        }
        prices(&mary).put(&hour, &170).unwrap();
        cluster.assert_converged().await;
        assert_eq!(prices(&larry).get(&hour), Some(vec![170]));
        assert_eq!(prices(&larry).remove(&hour), Ok(Some(vec![170])));
        cluster.assert_converged().await;
        assert!(prices(&mary).is_empty());
    });
}

#[test]
fn any_state_based_crdt_serves_as_a_row() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        type Votes = crdts::Orswot<String, String>;
        let votes = |cluster: &Cluster| cluster.table::<String, Merge<Votes>>("votes").unwrap();
        let vote = |cluster: &Cluster, for_whom: &str| {
            let who = cluster.node().to_string();
            votes(cluster)
                .update(&gate(), |votes| {
                    let add = votes.read_ctx().derive_add_ctx(who);
                    crdts::CmRDT::apply(votes, votes.add(for_whom.to_owned(), add));
                })
                .unwrap();
        };
        vote(&larry, "open");
        cluster.assert_converged().await;
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        vote(&larry, "close");
        vote(&gary, "paint");
        votes(&gary)
            .update(&gate(), |votes| {
                let seen = votes.contains(&"open".to_owned()).derive_rm_ctx();
                crdts::CmRDT::apply(votes, votes.rm("open".to_owned(), seen));
            })
            .unwrap();
        split.heal();
        cluster.assert_converged().await;
        for node in [&larry, &gary] {
            let held: BTreeSet<String> = votes(node).get(&gate()).unwrap().read().val.into_iter().collect();
            assert_eq!(held, BTreeSet::from(["close".to_owned(), "paint".to_owned()]));
        }
    });
}

#[test]
fn a_bag_holds_each_distinct_row_once() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let stays = |cluster: &Cluster| cluster.table::<String, Bag<(u32, String)>>("stays").unwrap();
        let (car, long) = ("B-AB 1".to_owned(), "n".repeat(5_000));
        stays(&larry).insert(&car, &(1, long.clone())).unwrap();
        stays(&gary).insert(&car, &(1, long.clone())).unwrap();
        stays(&gary).insert(&car, &(2, "short".to_owned())).unwrap();
        cluster.assert_converged().await;
        assert_eq!(stays(&larry).get(&car).unwrap().len(), 2);
        assert_eq!(stays(&larry).remove(&car, &(1, long)), Ok(true));
        cluster.assert_converged().await;
        assert_eq!(stays(&gary).get(&car), Some(vec![(2, "short".to_owned())]));
        assert_eq!(stays(&gary).iter().count(), 1);
    });
}

/// What a node removes is what it has seen; what another writes at the same time stays.
#[test]
fn clearing_a_table_spares_what_others_write_meanwhile() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let cars = |cluster: &Cluster| cluster.table::<u32, Lww<u32>>("cars").unwrap();
        let tags = |cluster: &Cluster| cluster.table::<u32, Set<u32>>("tags").unwrap();
        cars(&larry).insert_many((0..100).map(|car| (car, 0))).unwrap();
        (0..10).for_each(|tag| tags(&larry).add(&7, &tag).unwrap());
        cluster.assert_converged().await;
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        assert_eq!((cars(&larry).clear(), tags(&larry).clear()), (Ok(100), Ok(1)));
        cars(&gary).insert(&1_000, &1).unwrap();
        tags(&gary).add(&7, &1_000).unwrap();
        split.heal();
        cluster.assert_converged().await;
        for node in [&larry, &gary] {
            assert_eq!(cars(node).iter().collect::<Vec<_>>(), [(1_000, 1)]);
            assert_eq!(tags(node).iter().collect::<Vec<_>>(), [(7, BTreeSet::from([1_000]))]);
        }
    });
}
