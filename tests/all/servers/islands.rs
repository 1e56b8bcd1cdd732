//! Two halves of a cluster that both create a table, and what is there when they meet.

use std::marker::PhantomData;

use unisono::{Counter, Set, TableValue};

use super::*;

/// The example of the tutorial: prices have fixed keys, what was taken is a row of each run of a node.
struct Kiosk;

impl DistrServer for Kiosk {
    type Call = u64;
    type Reply = u64;
    type Cast = std::convert::Infallible;
    type Key = (String, String);
    type Value = Lww<u64>;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("kiosk")
    }

    async fn created(&mut self, context: &ServerContext<Self>) -> ServerResult {
        Ok(context.table().insert(&("price".into(), "ticket".into()), &350)?)
    }

    async fn handle_call(&mut self, tickets: u64, context: &ServerContext<Self>) -> ServerResult<u64> {
        let table = context.table();
        let price = table.get(&("price".into(), "ticket".into())).unwrap_or(0);
        let own = ("taken".to_owned(), context.cluster().replica().to_string());
        table.update(&own, |taken| Some(taken.unwrap_or(0) + tickets * price))?;
        Ok(table.iter().filter(|((what, _), _)| what == "taken").map(|(_, cents)| cents).sum())
    }
}

#[test]
fn both_sides_create_and_with_fixed_keys_nothing_is_there_twice_or_lost() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, gary, mary, harry] =
            cluster.start_all(["larry", "gary", "mary", "harry"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["larry", "gary"], &["mary", "harry"]]);
        cluster.settle().await.unwrap();
        let [one, two, three, four] = [&larry, &gary, &mary, &harry].map(|node| node.serve(|| Kiosk).unwrap());
        assert_eq!(one.call(1).await.unwrap(), 350);
        cluster.settle().await.unwrap();
        assert_eq!(two.call(1).await.unwrap(), 700);
        assert_eq!(three.call(1).await.unwrap(), 350, "the other side knows nothing of it");
        cluster.settle().await.unwrap();
        assert_eq!(four.call(1).await.unwrap(), 700);
        split.heal();
        cluster.assert_converged().await;
        for server in [&one, &two, &three, &four] {
            assert_eq!(server.table().len(), 1 + 4, "one price, and what each node took");
        }
        assert_eq!(three.call(0).await.unwrap(), 4 * 350);
        assert_eq!([one, two, three, four].map(|server| server.starts()), [1; 4], "nobody was disturbed");
    });
}

/// Stores what was counted in a `Counter`, and which counts there are in a `Set`.
struct Stock<T>(PhantomData<fn() -> T>);

/// What differs between the two.
trait Filled: TableValue<Value: Send> + Sized {
    fn fill(table: &Table<String, Self>) -> ServerResult;
    fn read(table: &Table<String, Self>) -> i64;
}

impl Filled for Counter {
    fn fill(table: &Table<String, Self>) -> ServerResult {
        table.add(&"apples".to_owned(), 100)?;
        Ok(())
    }

    fn read(table: &Table<String, Self>) -> i64 {
        table.get(&"apples".to_owned()).unwrap_or(0)
    }
}

impl Filled for Set<i64> {
    fn fill(table: &Table<String, Self>) -> ServerResult {
        Ok(table.add(&"apples".to_owned(), &100)?)
    }

    fn read(table: &Table<String, Self>) -> i64 {
        table.get(&"apples".to_owned()).unwrap_or_default().iter().sum()
    }
}

impl<T: Filled> DistrServer for Stock<T> {
    type Call = ();
    type Reply = i64;
    type Cast = ();
    type Key = String;
    type Value = T;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("stock")
    }

    async fn created(&mut self, context: &ServerContext<Self>) -> ServerResult {
        T::fill(context.table())
    }

    async fn handle_call(&mut self, (): (), context: &ServerContext<Self>) -> ServerResult<i64> {
        Ok(T::read(context.table()))
    }
}

/// What both sides hold when they have met, after each has created the table.
fn stock_after_both<T: Filled>() -> i64 {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        cluster.settle().await.unwrap();
        let [one, other] = [&larry, &gary].map(|node| node.serve(|| Stock::<T>(PhantomData)).unwrap());
        assert_eq!((one.call(()).await.unwrap(), other.call(()).await.unwrap()), (100, 100));
        split.heal();
        cluster.assert_converged().await;
        let (here, there) = (one.call(()).await.unwrap(), other.call(()).await.unwrap());
        assert_eq!(here, there);
        here
    })
}

#[test]
fn what_both_sides_created_merges_as_the_value_type_says() {
    assert_eq!(stock_after_both::<Counter>(), 200, "each addition counts");
    assert_eq!(stock_after_both::<Set<i64>>(), 100, "an element is there or not");
}

#[test]
fn a_record_of_either_side_is_one_for_all() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        cluster.settle().await.unwrap();
        let servers = [&larry, &gary].map(|node| Probe::new(&log).serve(node));
        for server in &servers {
            running(server).await;
        }
        assert_eq!((log.count("created on larry"), log.count("created on gary")), (1, 1));
        split.heal();
        cluster.assert_converged().await;
        log.take();
        let mary = cluster.start("mary", |builder| builder).await.unwrap();
        running(&Probe::new(&log).serve(&mary)).await;
        assert_eq!(log.take(), ["init with 1"]);
    });
}

#[test]
fn who_waits_on_an_island_goes_on_when_it_meets_one_that_has_the_table() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary, mary] = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["larry"], &["gary", "mary"]]);
        cluster.settle().await.unwrap();
        let slow = Probe { pace: 2 * LONG, ..Probe::new(&log) };
        let _creator = slow.serve(&gary);
        cluster.advance(SECOND).await;
        let waits = slow.serve(&mary);
        running(&Probe::new(&log).serve(&larry)).await;
        assert_eq!(waits.state(), ServerState::Starting);
        split.heal();
        running(&waits).await;
        assert_eq!(log.count("created"), 1, "its own side is not done yet");
    });
}
