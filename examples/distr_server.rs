//! A server on two nodes, whose state is in a replicated table: `cargo run --example distr_server`.
//!
//! Both nodes run in this process, on loopback. The server counts visits to pages. It is asked on one node, then on the other
//! one; it is made to fail; its node leaves. The counts are there all along.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::time::Duration;

use unisono::{Cluster, DistrServer, Lww, ServerConfig, ServerContext, ServerResult};

struct Visits;

impl DistrServer for Visits {
    type Call = String;
    type Reply = u64;
    type Cast = std::convert::Infallible;
    type Key = String;
    type Value = Lww<u64>;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("visits")
    }

    // Only where the table is new: on one of the two nodes.
    async fn created(&mut self, context: &ServerContext<Self>) -> ServerResult {
        println!("{} creates the table, with 100 visits to the front page", context.cluster().node());
        Ok(context.table().insert(&"index".into(), &100)?)
    }

    async fn handle_call(&mut self, page: String, context: &ServerContext<Self>) -> ServerResult<u64> {
        if page.is_empty() {
            return Err("a page has a name".into());
        }
        let visits = context.table().update(&page, |visits| Some(visits.unwrap_or(0) + 1))?;
        Ok(visits.unwrap_or(0))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let larry = start("larry").await?;
    let gary = start("gary").await?;
    let both = |status: &unisono::Status| status.members.iter().filter(|member| member.in_view).count() == 2;
    larry.until(PATIENCE, both).await?;

    let (at_larry, at_gary) = (larry.serve(|| Visits)?, gary.serve(|| Visits)?);
    let visits = at_larry.call("index".into()).await?;
    println!("asked at larry: visit {visits}");
    expect(visits, 101)?;

    larry.converged().await?;
    let visits = at_gary.call("index".into()).await?;
    println!("asked at gary: visit {visits}");
    expect(visits, 102)?;

    let error = at_gary.call(String::new()).await.err().ok_or("a page without a name was visited")?;
    println!("asked at gary for nothing: {error}");
    at_gary.until(|state| *state == unisono::ServerState::Running).await;
    let visits = at_gary.call("index".into()).await?;
    println!("asked at gary, started again: visit {visits}");
    expect(visits, 103)?;

    gary.leave().await?;
    println!("gary left: {}", at_gary.call("index".into()).await.err().ok_or("gary still answers")?);
    let visits = at_larry.call("index".into()).await?;
    println!("asked at larry: visit {visits}");
    expect(visits, 104)
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(node: &str) -> Result<Cluster, Box<dyn Error>> {
    // A name of its own, so that two runs at a time do not become one cluster.
    let name = format!("visits-{}", std::process::id());
    let cluster = Cluster::builder().name(name).port(23_900).node(node).start().await?;
    cluster.ready(PATIENCE).await?;
    Ok(cluster)
}

fn expect(visits: u64, expected: u64) -> Result<(), Box<dyn Error>> {
    if visits == expected { Ok(()) } else { Err(format!("{visits} visits instead of {expected}").into()) }
}
