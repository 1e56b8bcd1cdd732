//! Servers that are roles.

use unisono::cluster::Builder;
use unisono::{RoleContext, RoleSpec};

use super::*;

fn with_probe(probe: &Probe, count: u32) -> impl Fn(Builder) -> Builder + 'static {
    let probe = probe.clone();
    move |builder| {
        let probe = probe.clone();
        let spec = RoleSpec::new("probe-1").kind("probe").arguments("north").count(count);
        builder.role(spec).server_kind("probe", move |context: &RoleContext| {
            assert_eq!(context.arguments(), "north");
            probe.clone()
        })
    }
}

/// The node that runs the role, the handle there, and another node.
async fn hosted(cluster: &TestCluster, nodes: &[Cluster]) -> (Cluster, ServerHandle<Probe>, Cluster) {
    cluster.settle().await.unwrap();
    let host = cluster.running("probe-1").remove(0);
    let here: Vec<_> = nodes.iter().filter(|node| *node.node() == host).collect();
    let elsewhere = nodes.iter().find(|node| *node.node() != host).unwrap_or(here[0]);
    let server = here[0].server::<Probe>("probe-1").unwrap();
    running(&server).await;
    (here[0].clone(), server, elsewhere.clone())
}

#[test]
fn the_hosting_node_creates_the_table_and_gives_a_handle() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let setup = with_probe(&Probe::new(&log), 1);
        let nodes = cluster.start_all(["larry", "gary", "mary"], setup).await.unwrap();
        let (host, server, other) = hosted(&cluster, &nodes).await;
        server.call(Ask::Put("a", 1)).await.unwrap();
        let missing = ServerLookupError::NotHere { role: "probe-1".into() };
        assert_eq!(other.server::<Probe>("probe-1").unwrap_err(), missing);
        assert!(matches!(host.server::<Other>("probe-1"), Err(ServerLookupError::OtherServer { .. })));
        assert_eq!(server.stop().await, Err(StopError::Role { role: "probe-1".into() }));
        assert_eq!(server.state(), ServerState::Running);
        assert_eq!((log.count("creating"), log.count(&format!("created on {}", host.node()))), (1, 1));
    });
}

#[test]
fn when_the_host_dies_the_role_goes_on_elsewhere_with_its_table() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let log = Log::default();
        let setup = with_probe(&Probe::new(&log), 1);
        let nodes = cluster.start_all(["larry", "gary", "mary"], setup).await.unwrap();
        let (host, server, _) = hosted(&cluster, &nodes).await;
        server.call(Ask::Put("a", 1)).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.crash(host.node().as_str());
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Stopped));
        let (_, successor, _) = hosted(&cluster, &nodes).await;
        assert_eq!(successor.table().get(&"a".to_owned()), Some(1));
        successor.call(Ask::Put("b", 2)).await.unwrap();
        assert_eq!((log.count("creating"), log.count("init with 1"), log.count("terminated")), (1, 2, 0));
    });
}

#[test]
fn a_role_that_fails_is_restarted_by_its_supervision_and_the_handle_finds_it() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        // Its own limit would be reached at once.
        let probe = Probe::new(&log).with(|config| config.restarts(0, LONG));
        let nodes = cluster.start_all(["larry", "gary"], with_probe(&probe, 1)).await.unwrap();
        let (host, server, _) = hosted(&cluster, &nodes).await;
        let why = "panicked: no power".to_owned();
        assert_eq!(server.call(Ask::Panic("no power")).await, Err(CallError::Failed { why: why.clone() }));
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Restarting { why }));
        assert!(host.server::<Probe>("probe-1").is_err(), "it does not run now");
        running(&server).await;
        server.call(Ask::Put("a", 1)).await.unwrap();
        assert_eq!((server.starts(), cluster.running("probe-1").len()), (2, 1));
        assert_eq!((log.count("creating"), log.count("init")), (1, 2));
    });
}

#[test]
fn a_role_that_moves_away_terminates_and_its_handle_says_so() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let nodes = cluster.start_all(["larry", "gary"], with_probe(&Probe::new(&log), 1)).await.unwrap();
        let (host, server, other) = hosted(&cluster, &nodes).await;
        host.leave().await.unwrap();
        assert_eq!(log.count("terminated"), 1);
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Stopped));
        assert_eq!(server.until(|state| *state == ServerState::Running).await, None, "the node is gone");
        assert_eq!(rows(&other).get(&"last words".to_owned()), Some(1));
        let (_, successor, _) = hosted(&cluster, &[other]).await;
        successor.call(Ask::Log).await.unwrap();
    });
}

#[test]
fn of_several_instances_one_creates_the_table() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let log = Log::default();
        let probe = Probe { rows: 5, pace: Duration::from_millis(50), ..Probe::new(&log) };
        // One after the other, so that there is one cluster from the start.
        let mut nodes = Vec::new();
        for name in ["larry", "gary", "mary"] {
            nodes.push(cluster.start(name, |builder| builder).await.unwrap());
            nodes.last().unwrap().ready(LONG).await.unwrap();
        }
        cluster.settle().await.unwrap();
        for name in ["curly", "joe", "moe"] {
            nodes.push(cluster.start(name, with_probe(&probe, 3)).await.unwrap());
        }
        while log.count("init with 5") < 3 {
            cluster.advance(SECOND).await;
            assert!(cluster.elapsed() < LONG, "{:?}", log.take());
        }
        assert_eq!((log.count("creating"), log.count("created")), (1, 1), "{:?}", log.take());
    });
}

/// A server of another type.
struct Other;

impl DistrServer for Other {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Key = u32;
    type Value = Lww<u32>;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("others")
    }

    async fn handle_call(&mut self, (): (), _: &ServerContext<Self>) -> ServerResult {
        Ok(())
    }
}

/// A server whose messages can be encoded.
#[derive(Clone)]
struct Visits;

impl DistrServer for Visits {
    type Call = (String, u64);
    type Reply = u64;
    type Cast = String;
    type Key = String;
    type Value = Lww<u64>;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("visits")
    }

    async fn handle_call(&mut self, (page, more): (String, u64), context: &ServerContext<Self>) -> ServerResult<u64> {
        if more == 0 {
            return Err("nobody came".into());
        }
        let visits = context.table().update(&page, |visits| Some(visits.unwrap_or(0) + more))?;
        Ok(visits.unwrap_or(0))
    }

    async fn handle_cast(&mut self, page: String, context: &ServerContext<Self>) -> ServerResult {
        context.table().update(&page, |visits| Some(visits.unwrap_or(0) + 1))?;
        Ok(())
    }
}

#[test]
fn a_reachable_server_is_called_from_every_node_and_goes_on_elsewhere() {
    TestCluster::run(1, |cluster| async move {
        let setup = |builder: Builder| {
            builder.reachable_server_kind("visits", |_: &RoleContext| Visits).role(RoleSpec::new("visits"))
        };
        let nodes = cluster.start_all(["larry", "gary", "mary"], setup).await.unwrap();
        cluster.settle().await.unwrap();
        let call = |node: &Cluster, more| {
            let visits = node.role::<Visits>("visits");
            async move { visits.call_within(("index".to_owned(), more), LONG).await }
        };
        for (number, node) in (1..).zip(&nodes) {
            assert_eq!(call(node, 1).await, Ok(number));
        }
        nodes[0].role::<Visits>("visits").cast("index".to_owned()).unwrap();
        nodes[1].role::<Visits>("visits").broadcast(&"index".to_owned()).unwrap();
        cluster.advance(SECOND).await;
        let host = cluster.running("visits").remove(0);
        let here = nodes.iter().find(|node| *node.node() == host).unwrap();
        let handle = here.server::<Visits>("visits").unwrap();
        assert_eq!(handle.call(("index".to_owned(), 1)).await, Ok(6));
        let other = nodes.iter().find(|node| *node.node() != host).unwrap();
        let failed = call(other, 0).await.unwrap_err();
        assert!(failed.to_string().contains("nobody came") && !failed.is_unbegun(), "{failed}");
        assert_eq!(call(other, 1).await, Ok(7), "its next start answers");
        here.leave().await.unwrap();
        assert_eq!(call(other, 1).await, Ok(8), "and so does its successor");
    });
}
