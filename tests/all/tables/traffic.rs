//! What tables cost on the wire, as budgets.

use unisono::{EngineStats, Lww};

use super::*;

async fn sent(node: &Cluster) -> EngineStats {
    node.stats().await.unwrap()
}

fn bytes(stats: &EngineStats) -> u64 {
    stats.datagram_bytes + stats.stream_bytes
}

#[test]
fn a_quiet_cluster_sends_the_same_little_whatever_it_holds() {
    TestCluster::run(1, |cluster| async move {
        let all = nodes(&cluster, ["larry", "gary", "mary", "harry", "barry"]).await;
        let larry = &all[0];
        let mut per_second = Vec::new();
        for rows in [0, 10_000] {
            larry.table::<u32, Lww<u64>>("cars").unwrap().insert_many((0..rows).map(|row| (row, 7))).unwrap();
            cluster.assert_converged().await;
            cluster.advance(Duration::from_secs(10)).await;
            let before = sent(larry).await;
            cluster.advance(Duration::from_secs(60)).await;
            per_second.push((bytes(&sent(larry).await) - bytes(&before)) / 60);
        }
        assert!(per_second.iter().all(|bytes| *bytes < 3_500), "{per_second:?} bytes a second");
        assert!(per_second[0].abs_diff(per_second[1]) < 300, "{per_second:?} bytes a second");
    });
}

#[test]
fn a_write_costs_each_member_a_row_and_little_more() {
    TestCluster::run(1, |cluster| async move {
        let [larry, _gary, _mary] = nodes(&cluster, ["larry", "gary", "mary"]).await;
        let cars = larry.table::<u32, Lww<String>>("cars").unwrap();
        let before = sent(&larry).await;
        for number in 0..100 {
            cars.insert(&number, &"x".repeat(64)).unwrap();
            cluster.advance(Duration::from_millis(100)).await;
        }
        let rows = sent(&larry).await.row_bytes - before.row_bytes;
        // Two others; 64 bytes and what tells where they belong and who wrote them.
        assert!((2 * 100 * 64..2 * 100 * 200).contains(&rows), "{rows} bytes for 100 rows");
    });
}
