//! Servers that fail, and what becomes of those who talk to them.

use super::*;

#[test]
fn a_panic_is_told_to_those_whom_it_concerns_and_the_state_is_in_the_table() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (_larry, server) = served(&cluster, &Probe::new(&log)).await;
        server.call(Ask::Put("a", 1)).await.unwrap();
        server.cast(Tell::Sleep(SECOND)).unwrap();
        settle_tasks().await;
        let ask = |ask: Ask| {
            let server = server.clone();
            tokio::spawn(async move { server.call(ask).await })
        };
        let failed = ask(Ask::Panic("no power"));
        settle_tasks().await;
        let behind = ask(Ask::Put("behind", 1));
        settle_tasks().await;
        server.cast(Tell::Note(1)).unwrap();

        let why = "panicked: no power".to_owned();
        assert_eq!(failed.await.unwrap(), Err(CallError::Failed { why: why.clone() }));
        assert_eq!(behind.await.unwrap(), Err(CallError::Restarting { why: why.clone() }));
        assert_eq!(server.state(), ServerState::Restarting { why: why.clone() });
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Restarting { why: why.clone() }));
        assert_eq!(server.cast(Tell::Note(2)), Err(CastError::Restarting { why }));

        running(&server).await;
        assert_eq!(server.call(Ask::Log).await.unwrap(), ["init with 1"], "neither created nor the lost cast");
        assert_eq!(server.table().get(&"a".to_owned()), Some(1));
        assert_eq!(server.table().get(&"behind".to_owned()), None);
        assert_eq!(server.starts(), 2);
    });
}

#[test]
fn errors_of_every_method_restart_it() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let probe = Probe::new(&log).with(|config| config.changes().restarts(9, LONG));
        let (larry, server) = served(&cluster, &probe).await;
        let restarted = async |begin: u64, why: &str| {
            let failed = server.until(|state| matches!(state, ServerState::Restarting { .. })).await.unwrap();
            assert_eq!(failed, ServerState::Restarting { why: why.to_owned() });
            running(&server).await;
            assert_eq!(server.starts(), begin + 1);
        };
        assert_eq!(server.call(Ask::Fail("bad call")).await, Err(CallError::Failed { why: "bad call".into() }));
        restarted(1, "bad call").await;
        server.cast(Tell::Fail("bad cast")).unwrap();
        restarted(2, "bad cast").await;
        rows(&larry).insert(&"poison".into(), &1).unwrap();
        restarted(3, "poisoned").await;
        assert_eq!(log.count("terminated"), 0, "who failed says no last words");
    });
}

#[test]
fn pauses_grow_and_then_it_gives_up_and_says_why() {
    TestCluster::run(3, |cluster| async move {
        let log = Log::default();
        let probe = Probe::new(&log).with(|config| config.restarts(4, LONG).backoff(SECOND, 3 * SECOND));
        let (_larry, server) = served(&cluster, &probe).await;
        for full in [1, 2, 3, 3].map(Duration::from_secs) {
            let begin = cluster.elapsed();
            server.call(Ask::Fail("out of order")).await.unwrap_err();
            running(&server).await;
            let pause = cluster.elapsed() - begin;
            // Timers fire at whole milliseconds.
            assert!(pause >= full / 2 && pause <= full + Duration::from_millis(2), "{pause:?} of {full:?}");
        }
        server.cast(Tell::Sleep(SECOND)).unwrap();
        settle_tasks().await;
        let last = tokio::spawn({
            let server = server.clone();
            async move { server.call(Ask::Fail("out of order")).await }
        });
        settle_tasks().await;
        let behind = server.call(Ask::Log).await;
        assert_eq!(last.await.unwrap(), Err(CallError::Failed { why: "out of order".into() }));
        let given_up = CallError::GaveUp { failures: 5, why: "out of order".into() };
        assert_eq!(behind, Err(given_up.clone()));
        assert_eq!(server.call(Ask::Log).await, Err(given_up));
        cluster.advance(10 * LONG).await;
        assert_eq!(server.cast(Tell::Note(1)), Err(CastError::GaveUp { failures: 5, why: "out of order".into() }));
        assert_eq!(server.until(|state| *state == ServerState::Running).await, None);
        assert_eq!(server.stop().await, Err(StopError::GaveUp { failures: 5, why: "out of order".into() }));
        assert_eq!((server.starts(), log.count("init")), (5, 4));
    });
}

#[test]
fn one_that_fails_seldom_goes_on_for_ever() {
    TestCluster::run(1, |cluster| async move {
        let probe = Probe::new(&Log::default()).with(|config| config.restarts(1, 10 * SECOND));
        let (_larry, server) = served(&cluster, &probe).await;
        for _ in 0..20 {
            server.call(Ask::Fail("again")).await.unwrap_err();
            cluster.advance(11 * SECOND).await;
        }
        assert_eq!((server.state(), server.starts()), (ServerState::Running, 21));
    });
}

#[test]
fn a_factory_that_panics_at_a_restart_is_a_failure_of_the_server() {
    TestCluster::run(1, |cluster| async move {
        let larry = single(&cluster).await;
        let probe = Probe::new(&Log::default());
        let mut built = 0;
        let factory = move || {
            built += 1;
            assert!(built != 2, "no parts");
            probe.clone()
        };
        let server = larry.serve(factory).unwrap();
        server.call(Ask::Fail("first")).await.unwrap_err();
        let why = server.until(|state| *state == ServerState::Restarting { why: "panicked: no parts".into() }).await;
        assert!(why.is_some());
        running(&server).await;
        assert_eq!(server.starts(), 3);
    });
}

#[test]
fn stopping_one_that_waits_to_be_restarted_ends_it_at_once() {
    TestCluster::run(1, |cluster| async move {
        let probe = Probe::new(&Log::default()).with(|config| config.backoff(LONG, LONG));
        let (_larry, server) = served(&cluster, &probe).await;
        server.call(Ask::Fail("once")).await.unwrap_err();
        let begin = cluster.elapsed();
        assert_eq!(server.stop().await, Ok(()));
        assert_eq!((cluster.elapsed(), server.state()), (begin, ServerState::Stopped));
    });
}
