//! Where a table is created, and how often.

use unisono::testkit::Delay;

use super::*;

const NODES: [&str; 3] = ["larry", "gary", "mary"];

/// Three nodes of one cluster.
async fn formed(cluster: &TestCluster) -> [Cluster; 3] {
    let nodes = cluster.start_all(NODES, |builder| builder).await.unwrap();
    cluster.settle().await.unwrap();
    nodes
}

#[test]
fn of_servers_that_start_together_exactly_one_creates_the_table() {
    TestCluster::run_seeds(0..60, |cluster| async move {
        let log = Log::default();
        let nodes = formed(&cluster).await;
        // At once, or within the time that news takes; on a good network, or on a bad one.
        let seed = cluster.seed();
        let _bad = (seed % 3 == 2).then(|| cluster.network().add(Rule::loss(0.2)));
        let probe = Probe { rows: 20, pace: Duration::from_millis(seed % 7), ..Probe::new(&log) };
        let mut servers = Vec::new();
        for turn in 0..3 {
            servers.push(probe.serve(&nodes[usize::try_from((seed + turn) % 3).unwrap()]));
            cluster.advance(Duration::from_micros(500 * (seed % 13))).await;
        }
        for server in &servers {
            running(server).await;
        }
        let seen = log.take();
        let begun = seen.iter().filter(|entry| entry.starts_with("creating")).count();
        let all = seen.iter().filter(|entry| **entry == "init with 20").count();
        assert_eq!((begun, all, seen.len()), (1, 3, 5), "{seen:?}");
    });
}

#[test]
fn one_that_comes_while_another_one_is_at_it_waits_whatever_its_name() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let log = Log::default();
        let [larry, gary, mary] = formed(&cluster).await;
        let probe = Probe { pace: SECOND, ..Probe::new(&log) };
        let third = probe.serve(&mary);
        while log.count("creating") == 0 {
            cluster.advance(Duration::from_millis(1)).await;
        }
        let others = [probe.serve(&larry), probe.serve(&gary)];
        let waits = others[1].call_within(Ask::Log, SECOND / 2).await;
        assert_eq!(waits, Err(CallError::Timeout { after: SECOND / 2 }), "it does not answer yet");
        for server in [&third, &others[0], &others[1]] {
            running(server).await;
        }
        assert_eq!(log.take()[..2], ["creating on mary", "created on mary"]);
        assert_eq!((log.count("creating"), others[0].starts()), (0, 1));
    });
}

#[test]
fn a_node_that_serves_nothing_is_not_waited_for() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [_larry, _gary, mary] = formed(&cluster).await;
        let server = Probe::new(&log).serve(&mary);
        let begin = cluster.elapsed();
        running(&server).await;
        assert!(cluster.elapsed() - begin < SECOND);
        assert_eq!(log.count("created on mary"), 1);
    });
}

#[test]
fn a_cluster_that_has_the_table_does_not_create_it_again() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let probe = Probe { rows: 100, ..Probe::new(&log) };
        let (larry, _server) = served(&cluster, &probe).await;
        let gary = cluster.start("gary", |builder| builder).await.unwrap();
        running(&probe.serve(&gary)).await;
        assert_eq!(log.take(), ["init with 100"]);
        cluster.settle().await.unwrap();
        // The creator goes, and the record of what it did stays.
        larry.leave().await.unwrap();
        let mary = cluster.start("mary", |builder| builder).await.unwrap();
        running(&probe.serve(&mary)).await;
        assert_eq!((log.count("creating"), log.count("init with 100")), (0, 1));
    });
}

#[test]
fn what_created_wrote_is_there_before_any_init() {
    TestCluster::run_seeds(0..20, |cluster| async move {
        let log = Log::default();
        let nodes = formed(&cluster).await;
        // Half of the rows are lost on their way and come by repair, while the record may be among the others.
        let _bad = cluster.network().add(Rule::loss(0.5));
        let probe = Probe { rows: 300, ..Probe::new(&log) };
        let servers = nodes.each_ref().map(|node| probe.serve(node));
        for server in &servers {
            running(server).await;
        }
        assert_eq!((log.count("init with 300"), log.count("init")), (3, 3), "{:?}", log.take());
    });
}

#[test]
fn when_the_creator_crashes_in_the_middle_the_next_one_creates() {
    TestCluster::run_seeds(0..20, |cluster| async move {
        let log = Log::default();
        let nodes = formed(&cluster).await;
        let probe = Probe { rows: 10, pace: SECOND / 10, ..Probe::new(&log) };
        let servers = nodes.each_ref().map(|node| probe.serve(node));
        while log.count("creating") == 0 {
            cluster.advance(Duration::from_millis(5)).await;
        }
        cluster.advance(Duration::from_millis(90 * (cluster.seed() % 10))).await;
        let creator = log.take()[0].strip_prefix("creating on ").unwrap().to_owned();
        cluster.crash(&creator);
        for (node, server) in nodes.iter().zip(&servers) {
            if node.node().as_str() == creator {
                assert_eq!(server.call(Ask::Log).await, Err(CallError::Stopped));
            } else {
                running(server).await;
            }
        }
        let counts = (log.count("creating"), log.count("created"), log.count("init with 10"));
        assert_eq!(counts, (1, 1, 2), "{:?}", log.take());
        let back = cluster.restart(&creator).await.unwrap();
        running(&probe.serve(&back)).await;
        assert_eq!(log.count("creating"), 1);
    });
}

#[test]
fn when_creating_fails_it_is_tried_again_here_or_elsewhere_and_only_success_counts() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let log = Log::default();
        let nodes = formed(&cluster).await;
        let probe = Probe { fails: Arc::new(AtomicUsize::new(4)), ..Probe::new(&log) };
        let servers = nodes.each_ref().map(|node| probe.serve(node));
        for server in &servers {
            running(server).await;
        }
        let counts = (log.count("creating"), log.count("created"), log.count("init with 1"));
        assert_eq!(counts, (5, 1, 3), "{:?}", log.take());
        let where_else: std::collections::BTreeSet<_> =
            log.take().into_iter().filter(|entry| entry.starts_with("creating")).collect();
        assert!(where_else.len() > 1, "the others have their turn before the one that failed: {where_else:?}");
    });
}

#[test]
fn a_call_to_one_that_cannot_create_its_table_says_so() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let larry = single(&cluster).await;
        let probe = Probe { fails: Arc::new(AtomicUsize::new(usize::MAX)), ..Probe::new(&log) };
        let server = probe.with(|config| config.restarts(1, LONG)).serve(&larry);
        let error = server.call(Ask::Log).await;
        assert_eq!(error, Err(CallError::Restarting { why: "no paper".into() }));
        server.until(|state| matches!(state, ServerState::GaveUp { .. })).await.unwrap();
        assert_eq!(server.call(Ask::Log).await, Err(CallError::GaveUp { failures: 2, why: "no paper".into() }));
        assert_eq!((log.count("created"), log.count("init")), (0, 0));
    });
}

#[test]
fn one_that_gives_up_is_not_in_the_way_of_the_next() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary, _mary] = formed(&cluster).await;
        let hopeless = Probe { pace: SECOND, fails: Arc::new(AtomicUsize::new(1)), ..Probe::new(&log) };
        let first = hopeless.with(|config| config.restarts(0, LONG)).serve(&larry);
        cluster.advance(SECOND / 2).await;
        let next = hopeless.serve(&gary);
        running(&next).await;
        assert!(matches!(first.state(), ServerState::GaveUp { failures: 1, .. }), "{first:?}");
        assert_eq!(log.take()[..3], ["creating on larry", "creating on gary", "created on gary"]);
    });
}

#[test]
fn two_servers_of_one_node_that_keep_the_same_table_create_it_once() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let larry = single(&cluster).await;
        let probe = Probe { pace: SECOND, ..Probe::new(&log) };
        let servers = [probe.serve(&larry), probe.serve(&larry)];
        for server in &servers {
            running(server).await;
        }
        assert_eq!(log.take(), ["creating on larry", "created on larry", "init with 1", "init with 1"]);
    });
}

#[test]
fn each_table_is_created_by_itself() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let larry = single(&cluster).await;
        let slow = Probe { pace: LONG, ..Probe::new(&log) };
        let _slow = slow.serve(&larry);
        let quick = Probe::new(&log).with(|_| ServerConfig::new("others")).serve(&larry);
        let begin = cluster.elapsed();
        running(&quick).await;
        assert!(cluster.elapsed() - begin < SECOND);
    });
}

#[test]
fn where_others_write_all_the_time_a_server_comes_up_all_the_same() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let patient = |builder: unisono::cluster::Builder| builder.converge_timeout(3 * SECOND);
        let [larry, gary] = cluster.start_all(["larry", "gary"], patient).await.unwrap();
        cluster.settle().await.unwrap();
        // Both write in the time that a datagram takes: neither ever holds what the other one says that it holds.
        let slow = cluster.network().add(Rule::delay(Delay::Fixed(Duration::from_millis(5))));
        let writers = [&larry, &gary].map(|node| {
            let busy: Table<String, Lww<u32>> = node.table("busy").unwrap();
            let key = node.node().to_string();
            tokio::spawn(async move {
                for number in 0.. {
                    busy.insert(&key, &number).unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        });
        let begin = cluster.elapsed();
        let server = Probe::new(&log).serve(&larry);
        running(&server).await;
        let took = cluster.elapsed() - begin;
        assert!(took >= 3 * SECOND && took < 4 * SECOND, "{took:?}");
        assert_eq!(log.count("created on larry"), 1);
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        drop(slow);
    });
}

#[test]
fn a_table_of_one_s_own_is_created_on_each_node_once() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let probe = Probe::new(&log).with(|_| ServerConfig::new(unisono::TableConfig::new("own").local()));
        let servers = [probe.serve(&larry), probe.serve(&larry), probe.serve(&gary)];
        for server in &servers {
            running(server).await;
        }
        assert_eq!((log.count("created on larry"), log.count("created on gary")), (1, 1));
        servers[0].call(Ask::Fail("again")).await.unwrap_err();
        running(&servers[0]).await;
        let back = cluster.restart("gary").await.unwrap();
        running(&probe.serve(&back)).await;
        assert_eq!((log.count("created on larry"), log.count("created on gary")), (1, 2), "each run has its own");
        assert_eq!(log.count("init with 1"), 5);
    });
}
