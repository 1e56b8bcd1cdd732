//! Watching: exact from the beginning, for a key, a range or all, and conditions.

use unisono::{Counter, Lww, Origin, Table, UntilError};

use super::*;

fn levels(cluster: &Cluster) -> Table<u32, Lww<u32>> {
    cluster.table("levels").unwrap()
}

#[test]
fn what_a_watch_begins_with_and_what_it_hears_make_up_the_table() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let writer = {
            let gary = gary.clone();
            tokio::spawn(async move {
                for number in 0..500 {
                    levels(&gary).insert(&(number % 50), &number).unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        };
        cluster.advance(Duration::from_millis(200)).await;
        let (rows, mut changes) = levels(&larry).watch_with_rows();
        let mut seen: std::collections::BTreeMap<_, _> = rows.collect();
        assert!(!seen.is_empty());
        writer.await.unwrap();
        cluster.assert_converged().await;
        let end = levels(&larry).iter().collect();
        while seen != end {
            let change = changes.next().await.unwrap().unwrap();
            assert_eq!(change.origin, Origin::Remote(gary.replica()));
            assert_eq!(seen.get(&change.key).copied(), change.old, "each change begins where the last one ended");
            match change.new {
                Some(new) => seen.insert(change.key, new),
                None => seen.remove(&change.key),
            };
        }
    });
}

#[test]
fn a_watch_of_a_key_or_a_range_hears_of_nothing_else() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        levels(&larry).insert_many((0..10).map(|number| (number, 0))).unwrap();
        cluster.assert_converged().await;
        let (five, mut of_five) = levels(&gary).watch_key(&5);
        let (some, mut of_some) = levels(&gary).watch_range(3..5);
        assert_eq!((five, some.collect::<Vec<_>>()), (Some(0), vec![(3, 0), (4, 0)]));
        levels(&larry).insert_many((0..10).map(|number| (number, number))).unwrap();
        levels(&larry).remove(&4).unwrap();
        cluster.assert_converged().await;
        levels(&gary).insert(&5, &99).unwrap();
        let mut heard = Vec::new();
        for _ in 0..3 {
            let change = of_some.next().await.unwrap().unwrap();
            heard.push((change.key, change.new));
        }
        heard.sort_unstable();
        assert_eq!(heard, [(3, Some(3)), (4, None), (4, Some(4))]);
        let first = of_five.next().await.unwrap().unwrap();
        assert_eq!((first.old, first.new, first.origin), (Some(0), Some(5), Origin::Remote(larry.replica())));
        let second = of_five.next().await.unwrap().unwrap();
        assert_eq!((second.old, second.new, second.origin), (Some(5), Some(99), Origin::Local));
    });
}

#[test]
fn a_watch_of_a_value_made_of_shares_gives_the_whole() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let passages = |cluster: &Cluster| cluster.table::<u32, Counter>("passages").unwrap();
        passages(&larry).add(&1, 5).unwrap();
        cluster.assert_converged().await;
        let (now, mut changes) = passages(&gary).watch_key(&1);
        assert_eq!(now, Some(5));
        passages(&gary).add(&1, 10).unwrap();
        passages(&larry).add(&1, 100).unwrap();
        let mut next = async || changes.next().await.unwrap().unwrap();
        let (first, second) = (next().await, next().await);
        assert_eq!((first.old, first.new, first.origin), (Some(5), Some(15), Origin::Local));
        assert_eq!((second.old, second.new), (Some(15), Some(115)));
        passages(&larry).remove(&1).unwrap();
        cluster.assert_converged().await;
        let mut last = next().await;
        while last.new.is_some() {
            last = next().await;
        }
        assert_eq!(last.key, 1);
    });
}

#[test]
fn conditions_on_a_table_are_awaited() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let waiting = {
            let gary = gary.clone();
            tokio::spawn(async move { levels(&gary).until_exists(&7, LONG).await })
        };
        let full = {
            let gary = gary.clone();
            tokio::spawn(async move { levels(&gary).until(LONG, |rows| rows.len() == 10).await.map(|rows| rows.len()) })
        };
        cluster.advance(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished() && !full.is_finished());
        levels(&larry).insert(&7, &417).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(417));
        levels(&larry).insert_many((0..10).map(|number| (number, 0))).unwrap();
        assert_eq!(full.await.unwrap(), Ok(10));
        assert_eq!(levels(&larry).until_exists(&7, Duration::ZERO).await, Ok(0), "it looks before it waits");
        let after = Duration::from_millis(50);
        assert_eq!(levels(&larry).until_exists(&99, after).await, Err(UntilError::Timeout { after }));
        let table = levels(&gary);
        let waiting = tokio::spawn(async move { table.until_exists(&99, LONG).await });
        cluster.advance(after).await;
        cluster.crash("gary");
        assert_eq!(waiting.await.unwrap(), Err(UntilError::Gone));
    });
}

#[test]
fn the_winner_of_a_conflict_hears_of_the_loser() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, gary] = nodes(&cluster, ["larry", "gary"]).await;
        let mut heard = [levels(&larry).conflicts(), levels(&gary).conflicts()];
        levels(&larry).insert(&1, &0).unwrap();
        cluster.assert_converged().await;
        levels(&gary).insert(&1, &1).unwrap();
        cluster.assert_converged().await;
        // Neither has time to hear of the other's.
        levels(&larry).insert(&1, &10).unwrap();
        levels(&gary).insert(&1, &20).unwrap();
        cluster.assert_converged().await;
        let won = levels(&larry).get(&1).unwrap();
        let [of_larry, of_gary] = &mut heard;
        let (of_winner, loser, lost) =
            if won == 10 { (&mut *of_larry, &gary, 20) } else { (&mut *of_gary, &larry, 10) };
        let conflict = of_winner.next().await.unwrap().unwrap();
        assert_eq!((conflict.key, conflict.winner, conflict.loser), (1, Some(won), Some(lost)));
        assert_eq!(conflict.loser_by, loser.replica());
        cluster.crash("larry");
        cluster.crash("gary");
        assert!(of_larry.next().await.is_none() && of_gary.next().await.is_none(), "that was all");
    });
}
