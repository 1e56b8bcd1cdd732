//! How fast messages are: one node calls a role on another one, on loopback, in two processes of this program.
//!
//! ```text
//! cargo run --release --example messages -- [seconds per figure, 3 unless given]
//! ```
//!
//! For each way it prints how long one call at a time takes, and how many calls a second there are with 64 in flight:
//! to a role on the other node, to a handler there, to a role on the node itself, and, as the yardstick in the same run,
//! to a bare TCP echo in that process, with a length of four bytes in front of each of its messages.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and tells")]

mod echo;

use std::error::Error;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use unisono::{Cluster, Message, NodeId, RoleContext, RoleProtocol, RoleRef, RoleResult, RoleSpec};

type Failure = Box<dyn Error + Send + Sync>;

/// So many calls at once.
const IN_FLIGHT: usize = 64;
const PORT: u16 = 29_870;
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers what it is asked.
struct Echo;

impl RoleProtocol for Echo {
    type Call = u64;
    type Reply = u64;
    type Cast = ();
}

async fn echo_role(context: RoleContext) -> RoleResult {
    let mut mailbox = context.mailbox::<Echo>();
    while let Some(message) = mailbox.next().await {
        if let Message::Call(number, responder) = message {
            responder.reply(number);
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        return serve().await;
    }
    let span = Duration::from_secs(argument.map_or(Ok(3), |text| text.parse())?);
    let program = std::env::current_exe()?;
    let mut child =
        Command::new(program).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let yardstick: SocketAddr = lines.next_line().await?.ok_or("the other process says nothing")?.parse()?;
    let cluster = start("gary").await?;
    let running = |status: &unisono::Status| {
        let runs =
            |role: &unisono::RoleStatus| role.hosts.iter().any(|host| host.state == unisono::ClaimState::Running);
        status.roles.len() == 2 && status.roles.iter().all(runs)
    };
    cluster.until(PATIENCE, running).await?;
    println!("two processes on loopback, {IN_FLIGHT} in flight, calls of a u64, {span:?} per figure");

    let remote = cluster.role::<Echo>("far");
    let far = remote.clone();
    measure("role on the other node", span, move || call(far.clone())).await?;
    let node = cluster.on_node(&NodeId::new("larry")?);
    let handler = move || {
        let node = node.clone();
        async move {
            node.call::<_, u64>("echo", &7_u64).await?;
            Ok(())
        }
    };
    measure("handler on the other node", span, handler).await?;
    let local = cluster.role::<Echo>("near");
    measure("role on this node", span, move || call(local.clone())).await?;
    echo::measure(yardstick, span, IN_FLIGHT).await?;
    measure("role on the other node, again", span, move || call(remote.clone())).await?;
    Ok(())
}

async fn call(role: RoleRef<Echo>) -> Result<(), Failure> {
    let answer = role.call(7).await?;
    assert_eq!(answer, 7);
    Ok(())
}

/// The other process: it ends with the first one.
async fn serve() -> Result<(), Failure> {
    println!("{}", echo::serve().await?);
    let _cluster = start("larry").await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {}
    Ok(())
}

async fn start(node: &str) -> Result<Cluster, Failure> {
    let kind = if node == "larry" { "far" } else { "near" };
    let builder = Cluster::builder().name("messages").node(node).net("127.0.0.0/8").port(PORT);
    let builder = builder.role_kind(kind, echo_role).role(RoleSpec::new("far")).role(RoleSpec::new("near"));
    let cluster = builder.handler("echo", |number: u64, _| async move { number }).start().await?;
    cluster.ready(PATIENCE).await?;
    Ok(cluster)
}

/// Prints the figures of one way to call. Each of those in flight is a task.
async fn measure<C, F>(name: &str, span: Duration, call: C) -> Result<(), Failure>
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), Failure>> + Send,
{
    let end = Instant::now() + span;
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        call().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let began = Instant::now();
    let end = began + span;
    let callers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while Instant::now() < end {
                    call().await?;
                    calls += 1;
                }
                Ok::<_, Failure>(calls)
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await??;
    }
    echo::print(name, &times, calls, began.elapsed());
    Ok(())
}
