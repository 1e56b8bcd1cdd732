//! Tables as applications use them: whole nodes on virtual time, through the public face.

mod rows;
mod schemas;
mod traffic;
mod values;
mod visible;
mod watches;

use std::time::Duration;

use unisono::Cluster;
use unisono::testkit::TestCluster;

/// Longer than anything takes here, of virtual time.
const LONG: Duration = Duration::from_secs(60);

/// So many nodes that see each other.
async fn nodes<const N: usize>(cluster: &TestCluster, names: [&str; N]) -> [Cluster; N] {
    let nodes = cluster.start_all(names, |builder| builder).await.unwrap();
    cluster.settle().await.unwrap();
    nodes
}
