//! What tables can do, with three nodes in one process.
//!
//! ```text
//! cargo run --example tables
//! ```

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::time::Duration;

use unisono::{Cluster, Counter, Lww, Set, Table, TableConfig, Visible};

const SOON: Duration = Duration::from_secs(10);

/// Where a car stands, and since when.
type Stay = (u32, String);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [larry, gary, mary] = start(["larry", "gary", "mary"]).await?;

    println!("\n-- rows: the later write wins; read in order, or by a function of the row");
    let cars = larry.table::<String, Lww<Stay>>("cars")?.ordered();
    let by_level = cars.index(|_, (space, _)| space / 100);
    let (_, mut changes) = gary.table::<String, Lww<Stay>>("cars")?.watch_key(&"B-CD 456".into());
    cars.insert(&"B-CD 456".into(), &(417, "09:30".into()))?;
    let mary_sees: Table<String, Lww<Stay>> = mary.table("cars")?;
    mary_sees.insert(&"B-AB 123".into(), &(23, "09:31".into()))?;
    mary.await_visible(Visible::All, SOON).await?;
    println!("first by number: {:?}; on level 4: {:?}", cars.first(), by_level.get(&4).collect::<Vec<_>>());
    if let Some(change) = changes.next().await {
        let change = change?;
        println!("gary heard of {}: {:?} -> {:?}, {:?}", change.key, change.old, change.new, change.origin);
    }

    println!("\n-- counters and sets: what several nodes do at once adds up");
    for (node, amount) in [(&larry, 3), (&gary, 4), (&mary, -1)] {
        node.table::<String, Counter>("passages")?.add(&"gate-1".into(), amount)?;
        node.table::<String, Set<String>>("gates")?.add(&"open".into(), &format!("gate of {}", node.node()))?;
    }
    larry.converged().await?;
    println!("passages: {:?}", gary.table::<String, Counter>("passages")?.get(&"gate-1".into()));
    println!("open: {:?}", gary.table::<String, Set<String>>("gates")?.get(&"open".into()));

    println!("\n-- rows that end, and tables that stay at home");
    let tickets: Table<u32, Lww<String>> = larry.table(TableConfig::new("tickets").ttl(Duration::from_millis(300)))?;
    tickets.insert(&1, &"B-AB 123".into())?;
    let there: Table<u32, Lww<String>> = gary.table("tickets")?;
    println!("gary sees {:?}", there.until_exists(&1, SOON).await?);
    there.until(SOON, |rows| rows.is_empty()).await?;
    println!("and after a while nothing");
    let scratch: Table<u32, Lww<String>> = larry.table(TableConfig::new("scratch").local().quota(1_000))?;
    scratch.insert_many((0..3).map(|line| (line, format!("note {line}"))))?;
    if let Err(refused) = scratch.insert(&3, &"x".repeat(2_000)) {
        println!("{refused}");
    }

    larry.converged().await?;
    println!("\n{}", larry.snapshot());
    Ok(())
}

/// Nodes that see each other.
async fn start<const N: usize>(names: [&str; N]) -> Result<[Cluster; N], Box<dyn Error>> {
    let mut nodes = Vec::new();
    for name in names {
        let node = Cluster::builder().name("tables").port(24_900).node(name).start().await?;
        node.ready(SOON).await?;
        nodes.push(node);
    }
    for node in &nodes {
        node.until(SOON, |status| status.members.iter().filter(|member| member.in_view).count() == N).await?;
    }
    nodes.try_into().map_err(|_| "a node for each name".into())
}
