//! How long a newcomer takes to pull a table: two clusters' handles in one process, on loopback.
//!
//! ```text
//! cargo run --release --example pull                  # 100,000 keys of 16 bytes with values of 64
//! cargo run --release --example pull -- 10000 5       # 10,000 keys, five times
//! ```
//!
//! The first node fills its table and is alone; then the second one starts. Two times are printed for each run: from
//! the call that starts the second node until it holds all keys, and the part of it that begins when it first sees
//! the other node or one of its rows. The difference is discovery, which has nothing to do with the size of the table.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core, not its users")]

use std::error::Error;
use std::time::{Duration, Instant};

use unisono::{Cluster, Lww, Table};

/// Rows of 16 + 64 bytes, as they are stored: postcard puts one byte of length before a short text.
const KEY_DIGITS: usize = 15;
const VALUE: [u8; 63] = [b'v'; 63];

type Rows = Table<String, Lww<String>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let keys: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let runs: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    for run in 1..=runs {
        let name = format!("pull-{}-{run}", std::process::id());
        let (whole, connected, filled) = pull(&name, keys).await?;
        println!(
            "{keys} keys: filled in {:.3} s; pulled {:.3} s after the start, {:.3} s after the first contact",
            filled.as_secs_f64(),
            whole.as_secs_f64(),
            connected.as_secs_f64()
        );
    }
    Ok(())
}

async fn pull(name: &str, keys: usize) -> Result<(Duration, Duration, Duration), Box<dyn Error>> {
    let elder = start(name, "elder").await?;
    elder.ready(Duration::from_secs(30)).await?;
    let rows: Rows = elder.table("rows")?;
    let value = String::from_utf8(VALUE.to_vec())?;
    let began = Instant::now();
    for key in 0..keys {
        rows.insert(&format!("{key:0KEY_DIGITS$}"), &value)?;
    }
    let filled = began.elapsed();

    let began = Instant::now();
    let newcomer = start(name, "newcomer").await?;
    let copy: Rows = newcomer.table("rows")?;
    let contact = first_contact(&newcomer, &copy).await;
    // A newcomer is ready once it has finished its first pull: from now on every key must be readable.
    newcomer.ready(Duration::from_secs(120)).await?;
    let end = Instant::now();
    if copy.len() != keys {
        return Err(format!("the newcomer is ready with {} of {keys} keys", copy.len()).into());
    }
    newcomer.leave().await?;
    // The last one has nobody to leave its rows to, so it is dropped.
    Ok((end - began, end - contact, filled))
}

/// When the newcomer first saw anything of the other one: itself, or a row.
async fn first_contact(newcomer: &Cluster, copy: &Rows) -> Instant {
    let (mut events, mut rows) = (newcomer.events(), copy.watch());
    while newcomer.members().len() < 2 && copy.is_empty() {
        tokio::select! {
            _ = events.next() => {}
            _ = rows.next() => {}
        }
    }
    Instant::now()
}

async fn start(cluster: &str, node: &str) -> Result<Cluster, Box<dyn Error>> {
    Ok(Cluster::builder().name(cluster).node(node).net("127.0.0.0/8").port(31_870).start().await?)
}
