//! How fast rows travel: every node is a process of its own, on loopback, and this program tells them what to do.
//!
//! ```text
//! cargo run --release --example replicate                        # all of it, in about a minute
//! cargo run --release --example replicate -- visible 1000 10     # 1,000 writes a second for 10 s, seen by two others
//! cargo run --release --example replicate -- sustained 300000 5  # so many updates a second for 5 s, to one peer and to two
//! cargo run --release --example replicate -- flood 2000000       # so many updates, as fast as they can be written
//! cargo run --release --example replicate -- pull 100000 5       # a newcomer pulls so many keys, five times
//! ```
//!
//! Rows have keys of 16 bytes and values of 64. At the end of each run every node is asked for the last
//! write to each key; one that is missing anywhere ends the program.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core, not its users")]

mod figures;
mod node;
mod process;
mod rows;

use std::error::Error;

use figures::{Figures, per_second};
use process::{Cluster, Process};

/// How many keys are updated over and over.
const KEYS: u64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |at: usize, usual: u64| words.get(at).map_or(Ok(usual), |text| text.parse());
    match words.first() {
        Some(&"node") => node::run(words[1], words[2])?,
        Some(&"visible") => visible(number(1, 1_000)?, number(2, 10)?)?,
        Some(&"sustained") => {
            for peers in number(3, 1)?..=number(3, 2)? {
                sustained(number(1, 300_000)?, number(2, 5)?, peers)?;
            }
        }
        Some(&"flood") => {
            for peers in number(2, 1)?..=number(2, 2)? {
                flood(number(1, 2_000_000)?, peers)?;
            }
        }
        Some(&"pull") => pull(number(1, 100_000)?, number(2, 1)?)?,
        Some(other) => return Err(format!("{other}: say visible, sustained, flood or pull, or nothing").into()),
        None => {
            visible(1_000, 10)?;
            for peers in [1, 2] {
                sustained(300_000, 5, peers)?;
                flood(2_000_000, peers)?;
            }
            pull(100_000, 5)?;
            pull(1_000_000, 2)?;
        }
    }
    Ok(())
}

/// From the call that writes until the watchers of both other nodes have the row.
fn visible(rate: u64, seconds: u64) -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::start(3)?;
    let writes = rate * seconds;
    let (writer, readers) = cluster.split();
    for reader in readers.iter_mut() {
        reader.ask(&format!("see {writes}"))?;
        reader.answer("watching")?;
    }
    writer.ask(&format!("pace {rate} {seconds} {writes}"))?;
    let mut spans = vec![0; usize::try_from(writes)?];
    for reader in readers.iter_mut() {
        let seen = reader.answer("seen")?;
        spans.iter_mut().zip(seen).for_each(|(span, seen)| *span = seen.max(*span));
    }
    writer.answer("wrote")?;
    println!("visible on two others, at {rate} writes/s:   {}", Figures::of(spans));
    cluster.all_hold(writes, writes)?;
    Ok(())
}

/// Updates at a steady rate: how old is the newest row that the others have, and do they get older?
fn sustained(rate: u64, seconds: u64, peers: u64) -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::start(1 + peers)?;
    let (writer, readers) = cluster.split();
    writer.ask(&format!("pace {rate} {seconds} {KEYS}"))?;
    readers.iter_mut().try_for_each(|reader| reader.ask(&format!("lag {seconds}")))?;
    for reader in readers.iter_mut() {
        let mut early = reader.answer("lag")?;
        let late = early.split_off(early.len() / 2);
        println!("sustained, {peers} peer(s), behind in the first half: {}", Figures::of(early));
        println!("{:28}and in the second: {}", "", Figures::of(late));
    }
    let wrote = writer.answer("wrote")?;
    let (writes, began) = (wrote[0], wrote[1]);
    let end = cluster.all_hold(writes, KEYS)?;
    let whole = end - began;
    println!("sustained, {peers} peer(s): {writes} updates written and on all nodes: {}", per_second(writes, whole));
    Ok(())
}

/// Updates as fast as one thread can write them, until all nodes have the last of each key.
fn flood(writes: u64, peers: u64) -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::start(1 + peers)?;
    let (writer, _) = cluster.split();
    writer.ask(&format!("flood {writes} {KEYS}"))?;
    let wrote = writer.answer("wrote")?;
    let (began, ended) = (wrote[1], wrote[2]);
    let end = cluster.all_hold(writes, KEYS)?;
    let (written, held) = (per_second(writes, ended - began), per_second(writes, end - began));
    println!("flood, {peers} peer(s): {writes} updates written: {written}; on all nodes: {held}");
    Ok(())
}

/// A newcomer pulls everything. Two times for each run: from the call that starts it, and from when it first sees the
/// other node or one of its rows. The difference is discovery, which has nothing to do with the size of the table.
fn pull(keys: u64, runs: u64) -> Result<(), Box<dyn Error>> {
    let (mut whole, mut connected) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut cluster = Cluster::start(1)?;
        let (elder, _) = cluster.split();
        elder.ask(&format!("flood {keys} {keys}"))?;
        elder.answer("wrote")?;
        let times = cluster.add(Process::began)?;
        let (started, contact, ready) = (times[0], times[1], times[2]);
        whole.push(ready - started);
        connected.push(ready - contact);
        cluster.all_hold(keys, keys)?;
    }
    println!("pull of {keys} keys, from the start:        {}", Figures::of(whole));
    println!("pull of {keys} keys, from first contact on: {}", Figures::of(connected));
    Ok(())
}
