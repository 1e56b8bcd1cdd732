//! Real processes that use a resource which checks fencing tokens: stopped, woken and killed.
//!
//! ```text
//!   this test ── starts, SIGSTOP, SIGCONT, SIGKILL ──▶ 3 processes, each a node; one runs the role
//!       └── the resource, a server ◀── read, write: with a token ──┘
//! ```
//!
//! The processes are this very program, told by its environment to be a node.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use unisono::{Cluster, FencingToken, RoleContext, RoleError, RoleSpec};

use crate::support::play;
use crate::support::resource::Resource;
use crate::support::stage::Failure;

/// The variable that makes this program a node: its name, its cluster and the address of the resource.
const NODE: &str = "UNISONO_FENCED";

const NODES: [&str; 3] = ["larry", "gary", "harry"];
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the resource; `None` if it refuses the token.
async fn ask(resource: &mut BufReader<TcpStream>, request: String) -> Result<Option<u64>, RoleError> {
    resource.write_all(format!("{request}\n").as_bytes()).await?;
    let mut answer = String::new();
    resource.read_line(&mut answer).await?;
    Ok(if answer.trim() == "refused" { None } else { Some(answer.trim().parse()?) })
}

/// One read-modify-write under one token; whether it was accepted.
async fn count_one(resource: &mut BufReader<TcpStream>, token: FencingToken, node: &str) -> Result<bool, RoleError> {
    let Some(value) = ask(resource, format!("read {token}")).await? else { return Ok(false) };
    tokio::time::sleep(Duration::from_millis(2)).await;
    let written = ask(resource, format!("write {token} {} {node}", value + 1)).await?;
    Ok(written.is_some())
}

async fn count(context: &RoleContext) -> Result<(), RoleError> {
    let mut resource = BufReader::new(TcpStream::connect(context.arguments()).await?);
    let node = context.cluster().node().to_string();
    loop {
        let token = context.token();
        if !count_one(&mut resource, token, &node).await? {
            context.token_changed(token).await;
        }
    }
}

async fn counter(context: RoleContext) -> Result<(), RoleError> {
    tokio::select! {
        biased;
        () = context.stopped() => Ok(()),
        ended = count(&context) => ended,
    }
}

/// One of the processes. Without the variable there is nothing to be.
#[test]
fn node() {
    let Ok(told) = std::env::var(NODE) else { return };
    let [name, cluster, resource] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    play(async {
        let spec = RoleSpec::new("counter").arguments(resource);
        let builder = Cluster::builder().name(cluster).node(name).net("127.0.0.0/8");
        let cluster = builder.role_kind("counter", counter).role(spec).start().await.map_err(|why| why.to_string())?;
        cluster.ready(PATIENCE).await.map_err(|why| why.to_string())?;
        // Until the test is over.
        let mut rest = Vec::new();
        tokio::io::stdin().read_to_end(&mut rest).await.map_err(|why| why.to_string())?;
        Ok(())
    });
}

/// The resource, the processes, and what becomes of them.
struct World {
    resource: Arc<Mutex<Resource>>,
    changed: Arc<Notify>,
    address: String,
    cluster: String,
    processes: BTreeMap<&'static str, Child>,
}

impl World {
    async fn new() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
        let address = listener.local_addr().map_err(|why| why.to_string())?.to_string();
        let (resource, changed) = (Arc::<Mutex<Resource>>::default(), Arc::<Notify>::default());
        tokio::spawn({
            let (resource, changed) = (Arc::clone(&resource), Arc::clone(&changed));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&resource), Arc::clone(&changed)));
                }
            }
        });
        let cluster = format!("fenced-{}", std::process::id());
        Ok(Self { resource, changed, address, cluster, processes: BTreeMap::new() })
    }

    fn start(&mut self, name: &'static str) -> Result<(), Failure> {
        let this = std::env::current_exe().map_err(|why| why.to_string())?;
        let mut command = Command::new(this);
        command.args(["fenced::node", "--exact", "--nocapture"]);
        command.env(NODE, format!("{name} {} {}", self.cluster, self.address));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn();
        self.processes.insert(name, child.map_err(|why| why.to_string())?);
        Ok(())
    }

    fn signal(&self, name: &str, signal: &str) -> Result<(), Failure> {
        let process = self.processes.get(name).and_then(Child::id).ok_or(format!("{name} does not run"))?;
        let sent = std::process::Command::new("kill").args([signal, &process.to_string()]).status();
        sent.ok().filter(|sent| sent.success()).map(drop).ok_or(format!("kill {signal} {name} failed"))
    }

    /// Waits until something is true of the resource.
    async fn until<R>(&self, what: &str, found: impl Fn(&Resource) -> Option<R>) -> Result<R, Failure> {
        let waits = async {
            loop {
                let changed = self.changed.notified();
                let done = found(&self.resource.lock().unwrap());
                match done {
                    Some(done) => return done,
                    None => changed.await,
                }
            }
        };
        let seen = || {
            let resource = self.resource.lock().unwrap();
            let last = resource.accepted.last();
            format!("{} writes were accepted, the last {last:?}, {} refused", resource.accepted.len(), resource.refused)
        };
        tokio::time::timeout(PATIENCE, waits).await.map_err(|_| format!("not within {PATIENCE:?}: {what}; {}", seen()))
    }

    /// The node whose writes are accepted from now on.
    async fn writer(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<&'static str, Failure> {
        let before = self.resource.lock().unwrap().accepted.len();
        let found = self.until(what, |resource| {
            let writer = resource.writer().filter(|writer| resource.accepted.len() > before && is_it(writer))?;
            NODES.into_iter().find(|node| *node == writer)
        });
        let found = found.await?;
        self.resource.lock().unwrap().is_sound()?;
        Ok(found)
    }
}

async fn serve(stream: TcpStream, resource: Arc<Mutex<Resource>>, changed: Arc<Notify>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 0) {
        let answer = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["read", token] => resource.lock().unwrap().read(u128::from_str_radix(token, 16).unwrap()),
            ["write", token, value, node] => {
                let (token, value) = (u128::from_str_radix(token, 16).unwrap(), value.parse().unwrap());
                resource.lock().unwrap().write(token, value, node).map(|()| value)
            }
            _ => panic!("{line}"),
        };
        changed.notify_waiters();
        let answer = answer.map_or_else(|_| "refused\n".to_owned(), |value| format!("{value}\n"));
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

#[test]
fn a_process_that_stood_still_is_refused_then_raised_and_killed() {
    play(async {
        let mut world = World::new().await?;
        for node in NODES {
            world.start(node)?;
        }
        world.writer("a node counts", |_| true).await?;
        for round in 0..2 {
            let first = world.writer("a node counts", |_| true).await?;
            world.signal(first, "-STOP")?;
            let second = world.writer("another takes over", |node| node != first).await?;
            let refused = world.resource.lock().unwrap().refused;
            world.signal(first, "-CONT")?;
            // It has been running for longest, with the lowest token.
            let again = world.writer("the one that stood still counts again", |node| node == first).await?;
            let refusals = world.resource.lock().unwrap().refused;
            assert!(refusals > refused, "round {round}: {again} wrote under its old token, beside {second}");
            world.signal(first, "-KILL")?;
            world.writer("another takes over from the dead", |node| node != first).await?;
            world.processes.remove(first);
            world.start(first)?;
        }
        Ok(())
    });
}
