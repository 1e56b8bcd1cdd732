//! Test clusters, tested: whole nodes with real role tasks on virtual time.

mod explain;
mod faults;
mod handover;
mod roles;
mod signals;
mod story;
mod words;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unisono::cluster::Builder;
use unisono::testkit::{Rule, TestCluster};
use unisono::{Cluster, Lww, RoleContext, RoleSpec, Status, Table};

/// Longer than anything takes here, of virtual time.
const LONG: Duration = Duration::from_secs(60);

type Cars = Table<String, Lww<u32>>;

fn cars(cluster: &Cluster) -> Cars {
    cluster.table("cars").unwrap()
}

fn car(number: u32) -> String {
    format!("B-AB {number}")
}

fn in_view(status: &Status) -> usize {
    status.members.iter().filter(|member| member.in_view).count()
}

/// A gate that notes each car that comes, one a second.
async fn gate(context: RoleContext) -> Result<(), unisono::RoleError> {
    let cars = context.cluster().table::<String, Lww<u32>>("cars")?;
    for number in 0.. {
        tokio::select! {
            biased;
            () = context.stopped() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        cars.insert(&format!("{} {number}", context.token()), &number)?;
    }
    Ok(())
}

fn with_gate(builder: Builder) -> Builder {
    builder.role_kind("gate", gate).role(RoleSpec::new("gate"))
}

#[test]
fn nodes_share_a_table_on_virtual_time() {
    let began = std::time::Instant::now();
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        larry.ready(LONG).await.unwrap();
        larry.until(LONG, |status| in_view(status) == 2).await.unwrap();
        let mut changes = cars(&gary).watch();
        cars(&larry).insert(&car(1), &417).unwrap();
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!((change.key, change.new), (car(1), Some(417)));
        larry.converged().await.unwrap();
        cluster.assert_converged().await;
        assert_eq!(cluster.differences(), None);
        cluster.advance(Duration::from_secs(600)).await;
        assert!(cluster.elapsed() >= Duration::from_secs(600), "{:?}", cluster.elapsed());
    });
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
