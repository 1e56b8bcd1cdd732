//! One node: reads orders from its standard input, carries them out one after the other, and answers.

use std::error::Error;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use unisono::Cluster;

use super::rows::{self, Rows, now};

/// How long the nodes have for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a node and serves it until its standard input ends.
#[tokio::main]
pub(crate) async fn run(cluster: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let started = now();
    let node = Cluster::builder().name(cluster).node(name).net("127.0.0.0/8").port(31_870).start().await?;
    let table: Rows = node.table("rows")?;
    let contact = first_contact(&node, &table).await;
    // A newcomer is ready once it has finished its first pull: from now on every key must be readable.
    node.ready(PATIENCE).await?;
    println!("ready {started} {contact} {}", now());
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        let mut words = order.split_whitespace();
        let what = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
        match (what, numbers.as_slice()) {
            ("meet", [nodes]) => meet(&node, *nodes).await?,
            ("pace", [rate, seconds, keys]) => wrote(&table, rate * seconds, *keys, Some(*rate)).await?,
            ("flood", [writes, keys]) => wrote(&table, *writes, *keys, None).await?,
            ("see", [writes]) => see(&table, *writes).await?,
            ("lag", [seconds]) => lag(&table, *seconds).await,
            ("hold", [writes, keys]) => hold(&table, *writes, *keys).await,
            _ => return Err(format!("{order:?} is no order").into()),
        }
    }
    Ok(())
}

/// When the node first saw anything of another one, itself or a row; or found out that it is alone.
async fn first_contact(node: &Cluster, table: &Rows) -> u64 {
    let (mut events, mut changes) = (node.events(), table.watch());
    while node.members().len() < 2 && table.is_empty() {
        tokio::select! {
            _ = events.next() => {}
            _ = changes.next() => {}
            ready = node.ready(PATIENCE) => if ready.is_ok() { break },
        }
    }
    now()
}

async fn meet(node: &Cluster, nodes: u64) -> Result<(), Box<dyn Error>> {
    let mut events = node.events();
    while node.members().len() as u64 != nodes {
        events.next().await;
    }
    node.converged().await?;
    println!("met");
    Ok(())
}

/// Writes so many rows, at a rate or as fast as it goes, on a thread of its own as applications do.
async fn wrote(table: &Rows, writes: u64, keys: u64, rate: Option<u64>) -> Result<(), Box<dyn Error>> {
    let (table, began) = (table.clone(), now());
    let write = move || {
        let start = Instant::now();
        for number in 0..writes {
            rows::write(&table, number, keys).map_err(|why| why.to_string())?;
            let due = rate.map(|rate| Duration::from_nanos(1_000_000_000 * (number + 1) / rate));
            let early = due.and_then(|due| due.checked_sub(start.elapsed()));
            // A thread cannot sleep for less than some tens of microseconds; at high rates it writes a few rows at once.
            if let Some(early) = early.filter(|early| *early > Duration::from_micros(200)) {
                std::thread::sleep(early);
            }
        }
        Ok::<(), String>(())
    };
    tokio::task::spawn_blocking(write).await??;
    println!("wrote {writes} {began} {}", now());
    Ok(())
}

/// How long each of so many writes of another node took until it was told of here, in their order.
async fn see(table: &Rows, writes: u64) -> Result<(), Box<dyn Error>> {
    let mut changes = table.watch();
    println!("watching");
    let mut spans = vec![0; usize::try_from(writes)?];
    for _ in 0..writes {
        let change = changes.next().await.ok_or("the node is gone")?.map_err(|_| "the watcher lagged")?;
        let seen = now();
        let (number, written) = change.new.as_deref().and_then(rows::read).ok_or("a row of another kind")?;
        spans[usize::try_from(number)?] = seen.saturating_sub(written);
    }
    println!("seen{}", list(&spans));
    Ok(())
}

/// How old the newest row is that has come, every 10 ms. Its number is looked for where it must be: later ones than the
/// last that was seen, in steps that double and then halve.
async fn lag(table: &Rows, seconds: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut spans, mut newest) = (Vec::new(), 0);
    let written = |number: u64| {
        let value = table.get(&rows::key(number % super::KEYS))?;
        rows::read(&value).filter(|(there, _)| *there >= number)
    };
    while Instant::now() < end {
        ticks.tick().await;
        let mut step = 1;
        while step > 0 {
            let found = written(newest + step);
            newest = found.map_or(newest, |(number, _)| number);
            step = if found.is_some() && step < super::KEYS / 2 { step * 2 } else { step / 2 };
        }
        if let Some((_, time)) = written(newest).filter(|_| newest > 0) {
            spans.push(now().saturating_sub(time));
        }
    }
    println!("lag{}", list(&spans));
}

/// Waits until the last write to each key is here, and says since when.
async fn hold(table: &Rows, writes: u64, keys: u64) {
    let end = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    loop {
        ticks.tick().await;
        let looked = now();
        let held = rows::held(table, writes, keys);
        if held == keys.min(writes) || Instant::now() > end {
            println!("held {held} {looked}");
            return;
        }
    }
}

fn list(spans: &[u64]) -> String {
    spans.iter().map(|span| format!(" {span}")).collect()
}
