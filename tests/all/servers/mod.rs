//! Servers, through the public face on virtual time: what callers are told, what runs when, where a table is created.

mod calls;
mod changes;
mod creation;
mod failures;
mod islands;
mod roles;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unisono::testkit::{Rule, TestCluster};
use unisono::{
    CallError, CastError, Change, Cluster, DistrServer, Lagged, Lww, ServeError, ServerConfig, ServerContext,
    ServerHandle, ServerLookupError, ServerResult, ServerState, StopError, Table,
};

/// Longer than anything takes here, of virtual time.
const LONG: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);

/// What servers did, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// How many entries begin so.
    fn count(&self, begin: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|entry| entry.starts_with(begin)).count()
    }
}

/// A server that does as it is told, and notes what it does.
#[derive(Clone)]
struct Probe {
    config: ServerConfig,
    log: Log,
    /// How many rows `created` writes, each after so long.
    rows: u32,
    pace: Duration,
    /// So often `created` fails at its end.
    fails: Arc<AtomicUsize>,
    /// How long `init` and `terminate` take.
    init: Duration,
    end: Duration,
}

enum Ask {
    Put(&'static str, u32),
    Sleep(Duration),
    Fail(&'static str),
    Panic(&'static str),
    SleepAndPanic(&'static str),
    /// What was noted so far by all who note in the same log.
    Log,
}

enum Tell {
    Note(u32),
    Sleep(Duration),
    Fail(&'static str),
}

type Rows = Table<String, Lww<u32>>;

impl Probe {
    fn new(log: &Log) -> Self {
        Self {
            config: ServerConfig::new("rows"),
            log: log.clone(),
            rows: 1,
            pace: Duration::ZERO,
            fails: Arc::default(),
            init: Duration::ZERO,
            end: Duration::ZERO,
        }
    }

    fn with(&self, change: impl FnOnce(ServerConfig) -> ServerConfig) -> Self {
        Self { config: change(self.config.clone()), ..self.clone() }
    }

    fn serve(&self, cluster: &Cluster) -> ServerHandle<Self> {
        let probe = self.clone();
        cluster.serve(move || probe.clone()).unwrap()
    }
}

impl DistrServer for Probe {
    type Call = Ask;
    type Reply = Vec<String>;
    type Cast = Tell;
    type Key = String;
    type Value = Lww<u32>;

    fn config(&self) -> ServerConfig {
        self.config.clone()
    }

    async fn created(&mut self, context: &ServerContext<Self>) -> ServerResult {
        let node = context.cluster().node();
        self.log.note(format!("creating on {node}"));
        for row in 0..self.rows {
            tokio::time::sleep(self.pace).await;
            context.table().insert(&format!("first {row}"), &row)?;
        }
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |fails| fails.checked_sub(1)).is_ok() {
            return Err("no paper".into());
        }
        self.log.note(format!("created on {node}"));
        Ok(())
    }

    async fn init(&mut self, context: &ServerContext<Self>) -> ServerResult {
        let rows = context.table().iter().filter(|(key, _)| key.starts_with("first")).count();
        self.log.note(format!("init with {rows}"));
        tokio::time::sleep(self.init).await;
        Ok(())
    }

    async fn handle_call(&mut self, ask: Ask, context: &ServerContext<Self>) -> ServerResult<Vec<String>> {
        match ask {
            Ask::Put(key, value) => context.table().insert(&key.to_owned(), &value)?,
            Ask::Sleep(span) => {
                self.log.note(format!("sleep {}", span.as_secs()));
                tokio::time::sleep(span).await;
                self.log.note("woke");
            }
            Ask::Fail(why) => return Err(why.into()),
            Ask::Panic(why) => panic!("{why}"),
            Ask::SleepAndPanic(why) => {
                tokio::time::sleep(SECOND).await;
                panic!("{why}");
            }
            Ask::Log => {}
        }
        Ok(self.log.0.lock().unwrap().clone())
    }

    async fn handle_cast(&mut self, tell: Tell, _: &ServerContext<Self>) -> ServerResult {
        match tell {
            Tell::Note(number) => self.log.note(number.to_string()),
            Tell::Sleep(span) => tokio::time::sleep(span).await,
            Tell::Fail(why) => return Err(why.into()),
        }
        Ok(())
    }

    async fn handle_change(
        &mut self,
        change: Result<Change<String, u32>, Lagged>,
        _: &ServerContext<Self>,
    ) -> ServerResult {
        match change {
            Ok(change) if change.key == "poison" => return Err("poisoned".into()),
            Ok(change) => {
                self.log.note(format!("{} {:?} {:?} {:?}", change.key, change.old, change.new, change.origin));
            }
            Err(lagged) => self.log.note(format!("missed {}", lagged.missed)),
        }
        Ok(())
    }

    async fn terminate(self, context: &ServerContext<Self>) {
        tokio::time::sleep(self.end).await;
        self.log.note("terminated");
        context.table().insert(&"last words".to_owned(), &1).unwrap();
    }
}

fn rows(cluster: &Cluster) -> Rows {
    cluster.table("rows").unwrap()
}

/// A node that is ready.
async fn single(cluster: &TestCluster) -> Cluster {
    let larry = cluster.start("larry", |builder| builder).await.unwrap();
    larry.ready(LONG).await.unwrap();
    larry
}

/// A node and a server that runs.
async fn served(cluster: &TestCluster, probe: &Probe) -> (Cluster, ServerHandle<Probe>) {
    let larry = single(cluster).await;
    let server = probe.serve(&larry);
    running(&server).await;
    probe.log.take();
    (larry, server)
}

async fn running(server: &ServerHandle<Probe>) {
    let running = server.until(|state| *state == ServerState::Running);
    tokio::time::timeout(LONG, running).await.expect("it does not run").expect("it has ended");
}

/// Lets those that were woken do what they can do now.
async fn settle_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
