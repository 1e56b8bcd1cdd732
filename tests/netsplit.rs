//! How to test a role of your own against a netsplit: the role first, as it would stand in your application, then its tests.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use unisono::cluster::Builder;
use unisono::testkit::TestCluster;
use unisono::{Cluster, Lww, RoleContext, RoleResult, RoleSpec, Table};

// The application.

type Cars = Table<String, Lww<u64>>;

/// Lets a car in every second and counts it. Each process counts in a row of its own: if all counted in one, two gates on
/// two sides of a split would overwrite each other's counts.
async fn gate(context: RoleContext, let_in: Arc<AtomicU64>) -> RoleResult {
    let cars: Cars = context.cluster().table("cars")?;
    let row = context.cluster().replica().to_string();
    loop {
        tokio::select! {
            biased; // Without it tokio chooses at random, and a seed does not repeat that.
            () = context.stopped() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let_in.fetch_add(1, Ordering::Relaxed);
                cars.update(&row, |cars| Some(cars.unwrap_or(0) + 1))?;
            }
        }
    }
}

/// How every node of the car park is set up.
fn car_park(builder: Builder, let_in: &Arc<AtomicU64>) -> Builder {
    let let_in = Arc::clone(let_in);
    builder.role_kind("gate", move |context| gate(context, Arc::clone(&let_in))).role(RoleSpec::new("gate"))
}

/// How many cars a node knows of.
fn counted(node: &Cluster) -> u64 {
    let cars: Cars = node.table("cars").unwrap();
    cars.iter().map(|(_, cars)| cars).sum()
}

// Its tests.

const STOOGES: [&str; 4] = ["larry", "gary", "mary", "harry"];

#[test]
fn each_side_of_a_split_has_a_gate_and_no_car_is_lost() {
    TestCluster::run_seeds(0..20, |cluster| async move {
        let let_in = Arc::new(AtomicU64::new(0));
        let cars = Arc::clone(&let_in);
        let nodes = cluster.start_all(STOOGES, move |builder| car_park(builder, &cars)).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(cluster.running("gate").len(), 1);

        let split = cluster.partition(&[&["larry", "gary"], &["mary", "harry"]]);
        cluster.settle().await.unwrap();
        let gates = cluster.running("gate");
        assert_eq!(gates.len(), 2, "one on each side, not {gates:?}");
        cluster.advance(Duration::from_secs(30)).await;
        assert!(counted(&nodes[0]) < let_in.load(Ordering::Relaxed), "nobody knows the cars of the other side");

        split.heal();
        cluster.assert_converged().await;
        assert_eq!(cluster.running("gate").len(), 1);
        for node in &nodes {
            assert_eq!(counted(node), let_in.load(Ordering::Relaxed), "{}", node.node());
        }
    });
}

#[test]
fn the_gate_and_its_cars_outlive_the_host_that_it_ran_on() {
    TestCluster::run_seeds(0..20, |cluster| async move {
        let let_in = Arc::new(AtomicU64::new(0));
        let cars = Arc::clone(&let_in);
        let _nodes = cluster.start_all(STOOGES, move |builder| car_park(builder, &cars)).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.advance(Duration::from_secs(30)).await;
        cluster.settle().await.unwrap();

        let host = cluster.running("gate").remove(0);
        cluster.crash(host.as_str());
        cluster.settle().await.unwrap();
        assert_eq!(cluster.running("gate").len(), 1, "another node took over");

        let back = cluster.restart(host.as_str()).await.unwrap();
        cluster.assert_converged().await;
        assert_eq!(cluster.running("gate").len(), 1);
        assert_eq!(counted(&back), let_in.load(Ordering::Relaxed), "a new process has all that was counted");
    });
}
