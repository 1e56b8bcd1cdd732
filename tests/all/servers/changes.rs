//! Changes of the table, as a server hears of them.

use super::*;

#[test]
fn changes_of_this_node_and_of_others_come_with_their_origin() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let server = Probe::new(&log).with(ServerConfig::changes).serve(&larry);
        running(&server).await;
        log.take();
        server.call(Ask::Put("a", 1)).await.unwrap();
        settle_tasks().await;
        rows(&gary).insert(&"b".into(), &2).unwrap();
        cluster.settle().await.unwrap();
        rows(&gary).remove(&"a".into()).unwrap();
        cluster.settle().await.unwrap();
        let remote = format!("{:?}", unisono::Origin::Remote(gary.replica()));
        let expected =
            ["a None Some(1) Local".to_owned(), format!("b None Some(2) {remote}"), format!("a Some(1) None {remote}")];
        assert_eq!(log.take(), expected);
    });
}

#[test]
fn who_does_not_ask_for_changes_gets_none() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (larry, server) = served(&cluster, &Probe::new(&log)).await;
        rows(&larry).insert(&"a".into(), &1).unwrap();
        cluster.advance(SECOND).await;
        assert_eq!(server.call(Ask::Log).await.unwrap(), [""; 0]);
    });
}

#[test]
fn what_changes_while_init_runs_comes_after_it() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let larry = single(&cluster).await;
        let probe = Probe { init: SECOND, ..Probe::new(&log).with(ServerConfig::changes) };
        let server = probe.serve(&larry);
        while log.count("init") == 0 {
            cluster.advance(Duration::from_millis(10)).await;
        }
        rows(&larry).insert(&"meanwhile".into(), &1).unwrap();
        running(&server).await;
        settle_tasks().await;
        // What `created` wrote is no change: `init` has seen it.
        let expected = ["creating on larry", "created on larry", "init with 1", "meanwhile None Some(1) Local"];
        assert_eq!(log.take(), expected);
    });
}

#[test]
fn a_server_that_is_too_slow_is_told_how_much_it_missed() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (larry, server) = served(&cluster, &Probe::new(&log).with(ServerConfig::changes)).await;
        server.cast(Tell::Sleep(SECOND)).unwrap();
        settle_tasks().await;
        for number in 0..1_030 {
            rows(&larry).insert(&"a".into(), &number).unwrap();
        }
        cluster.advance(2 * SECOND).await;
        let seen = log.take();
        assert_eq!((seen[0].as_str(), seen.len()), ("missed 6", 1_025));
        assert_eq!(seen[1], "a Some(5) Some(6) Local");
        assert_eq!(seen[1_024], "a Some(1028) Some(1029) Local");
    });
}

#[test]
fn changes_and_calls_take_turns() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (larry, server) = served(&cluster, &Probe::new(&log).with(ServerConfig::changes)).await;
        server.cast(Tell::Sleep(SECOND)).unwrap();
        settle_tasks().await;
        for number in 0..100 {
            rows(&larry).insert(&"a".into(), &number).unwrap();
            rows(&larry).insert(&"a".into(), &number).unwrap();
            server.cast(Tell::Note(number)).unwrap();
        }
        let seen = server.call(Ask::Log).await.unwrap();
        let changes = seen.iter().filter(|entry| entry.starts_with('a')).count();
        // The call is behind a hundred casts, and no more changes than that went before it, though twice as many wait, nor much fewer.
        assert!((99..=101).contains(&changes), "{changes}");
    });
}
