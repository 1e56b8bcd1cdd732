//! Three nodes in one process tell each other how busy they are, and work goes where there is room.
//!
//! ```text
//! cargo run --example signals
//! ```

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use unisono::{Cluster, MonitorConfig, Status};

unisono::signals! {
    /// What makes a node of this program busy, besides its CPU and its memory.
    struct Load {
        /// Requests under way.
        count requests: 0.5,
        /// How full its disk is.
        percent disk: 0.2,
        /// Jobs that wait.
        amount queue: 0.1,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [larry, moe, curly] = [start("larry").await?, start("moe").await?, start("curly").await?];
    let in_view = |status: &Status| status.members.iter().filter(|member| member.in_view).count();
    curly.until(PATIENCE, |status| in_view(status) == 3).await?;

    let load: Load = larry.signals()?;
    let requests: Vec<_> = (0..100).map(|_| load.hold_requests()).collect();
    moe.signals::<Load>()?.percent_disk(90.0)?;
    curly.signals::<Load>()?.set_amount_queue(3.0)?;
    if let Err(refused) = load.percent_disk(f64::NAN) {
        println!("{refused}\n");
    }

    // It takes a second or two until everybody knows. CPU and memory are those of one host here.
    let told = |node: &str, part: &str| {
        curly.allocation_list().iter().any(|load| load.node.as_str() == node && load.part(part).is_some())
    };
    until(|| told("larry", "requests") && told("moe", "disk") && told("curly", "queue")).await?;
    until(|| ["larry", "moe", "curly"].iter().all(|node| told(node, "memory"))).await?;
    println!("larry is busy:\n{}", curly.allocation_list());

    let mut given = BTreeMap::<_, u32>::new();
    for _ in 0..1_000 {
        let node = curly.allocate_spread().ok_or("nobody is there")?.node;
        *given.entry(node).or_default() += 1;
    }
    println!("of 1000 pieces of work: {given:?}\n");

    drop(requests);
    until(|| curly.allocation_list().last().is_some_and(|load| load.node.as_str() != "larry")).await?;
    println!("larry is done:\n{}", curly.allocation_list());

    drop(moe);
    curly.until(PATIENCE, |status| in_view(status) == 2).await?;
    println!("moe is gone:\n{}", curly.allocation_list());
    Ok(())
}

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);

async fn start(node: &str) -> Result<Cluster, Box<dyn Error>> {
    // The CPU of the one host is measured at three moments, so that it counts little here.
    let often = MonitorConfig { interval_ms: 1_000, cpu_weight: 0.1, ..MonitorConfig::default() };
    let cluster = Cluster::builder().name("signals").port(22_020).node(node).monitor(often).start().await?;
    cluster.ready(PATIENCE).await?;
    Ok(cluster)
}

async fn until(mut condition: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    Ok(tokio::time::timeout(PATIENCE, holds).await?)
}
