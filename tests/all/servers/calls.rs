//! Calls, casts, and how a server ends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use unisono::Event;

use super::*;

#[test]
fn calls_are_answered_and_the_table_is_everybody_s() {
    TestCluster::run(1, |cluster| async move {
        let (larry, server) = served(&cluster, &Probe::new(&Log::default())).await;
        server.call(Ask::Put("a", 1)).await.unwrap();
        assert_eq!(rows(&larry).get(&"a".to_owned()), Some(1));
        assert_eq!(server.table().get(&"a".to_owned()), Some(1));
        assert_eq!((server.state(), server.starts()), (ServerState::Running, 1));
    });
}

#[test]
fn a_call_before_the_node_is_ready_waits_for_it() {
    TestCluster::run(1, |cluster| async move {
        let larry = cluster.start("larry", |builder| builder).await.unwrap();
        let server = Probe::new(&Log::default()).serve(&larry);
        assert_eq!(server.state(), ServerState::Starting);
        let seen = server.call(Ask::Log).await.unwrap();
        assert_eq!(seen, ["creating on larry", "created on larry", "init with 1"]);
    });
}

#[test]
fn a_call_waits_as_long_as_was_said_and_is_not_begun_with_afterwards() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (_larry, server) = served(&cluster, &Probe::new(&log)).await;
        let begin = cluster.elapsed();
        let error = server.call_within(Ask::Sleep(10 * SECOND), 2 * SECOND).await.unwrap_err();
        assert_eq!(error, CallError::Timeout { after: 2 * SECOND });
        // The server still sleeps; this one is in its mailbox meanwhile.
        let error = server.call_within(Ask::Put("late", 1), 3 * SECOND).await.unwrap_err();
        assert_eq!(error, CallError::Timeout { after: 3 * SECOND });
        assert_eq!(cluster.elapsed() - begin, 5 * SECOND);
        let error = server.call(Ask::Put("late", 2)).await.unwrap_err();
        assert_eq!(error, CallError::Timeout { after: ServerHandle::<Probe>::CALL_TIMEOUT });
        server.call(Ask::Log).await.unwrap();
        assert_eq!(log.take(), ["sleep 10", "woke"], "it finished what it had begun with");
        assert_eq!(server.table().get(&"late".to_owned()), None);
    });
}

#[test]
fn a_call_that_is_dropped_is_not_begun_with() {
    TestCluster::run(1, |cluster| async move {
        let (_larry, server) = served(&cluster, &Probe::new(&Log::default())).await;
        server.cast(Tell::Sleep(SECOND)).unwrap();
        settle_tasks().await;
        {
            let mut call = pin!(server.call(Ask::Put("dropped", 1)));
            poll_fn(|context| {
                assert!(call.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        server.call(Ask::Log).await.unwrap();
        assert_eq!(server.table().get(&"dropped".to_owned()), None);
    });
}

#[test]
fn messages_of_one_sender_come_in_order() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (_larry, server) = served(&cluster, &Probe::new(&log)).await;
        (0..500).for_each(|number| server.cast(Tell::Note(number)).unwrap());
        let seen = server.call(Ask::Log).await.unwrap();
        assert!(seen.iter().cloned().eq((0..500).map(|number| number.to_string())), "{seen:?}");
    });
}

#[test]
fn a_full_mailbox_refuses() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (_larry, server) = served(&cluster, &Probe::new(&log).with(|config| config.mailbox(2))).await;
        server.cast(Tell::Sleep(SECOND)).unwrap();
        settle_tasks().await;
        server.cast(Tell::Note(1)).unwrap();
        server.cast(Tell::Note(2)).unwrap();
        assert_eq!(server.cast(Tell::Note(3)), Err(CastError::Full { capacity: 2 }));
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Full { capacity: 2 }));
        cluster.advance(2 * SECOND).await;
        assert_eq!(server.call(Ask::Log).await.unwrap(), ["1", "2"]);
    });
}

#[test]
fn stopping_finishes_what_is_begun_and_lets_it_terminate() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (larry, server) = served(&cluster, &Probe { end: SECOND, ..Probe::new(&log) }).await;
        let begun = tokio::spawn({
            let server = server.clone();
            async move { server.call(Ask::Sleep(SECOND)).await }
        });
        settle_tasks().await;
        let waiting = tokio::spawn({
            let server = server.clone();
            async move { server.call(Ask::Put("waiting", 1)).await }
        });
        settle_tasks().await;
        let (stopped, state) = tokio::join!(server.stop(), async {
            cluster.advance(SECOND + SECOND / 2).await;
            let refused = (server.cast(Tell::Note(1)), server.call(Ask::Log).await);
            assert_eq!(refused, (Err(CastError::Stopped), Err(CallError::Stopped)));
            assert!(waiting.is_finished(), "nobody waits for last words");
            server.state()
        });
        assert_eq!((stopped, state), (Ok(()), ServerState::Stopping));
        assert!(begun.await.unwrap().is_ok());
        assert_eq!(waiting.await.unwrap(), Err(CallError::Stopped));
        assert_eq!(log.take(), ["sleep 1", "woke", "terminated"]);
        assert_eq!(rows(&larry).get(&"last words".to_owned()), Some(1));
        assert_eq!(rows(&larry).get(&"waiting".to_owned()), None);
        assert_eq!(server.state(), ServerState::Stopped);
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Stopped));
        assert_eq!(server.until(|state| *state == ServerState::Running).await, None);
        assert_eq!(server.stop().await, Ok(()), "twice is once");
    });
}

#[test]
fn who_overruns_its_stop_grace_is_dropped() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let larry = cluster.start("larry", |builder| builder.stop_grace(2 * SECOND)).await.unwrap();
        let server = Probe::new(&log).serve(&larry);
        running(&server).await;
        log.take();
        let call = tokio::spawn({
            let server = server.clone();
            async move { server.call(Ask::Sleep(LONG)).await }
        });
        settle_tasks().await;
        let begin = cluster.elapsed();
        assert_eq!(server.stop().await, Err(StopError::Overran { after: 2 * SECOND }));
        assert_eq!(cluster.elapsed() - begin, 2 * SECOND);
        assert_eq!(call.await.unwrap(), Err(dropped()));
        assert_eq!(log.take(), ["sleep 60"], "no last words");
    });
}

/// It may have been carried out.
fn dropped() -> CallError {
    CallError::Failed { why: "it was dropped before it answered".into() }
}

#[test]
fn who_fails_while_it_ends_has_ended_and_the_caller_is_told() {
    TestCluster::run(1, |cluster| async move {
        let (_larry, server) = served(&cluster, &Probe::new(&Log::default())).await;
        let call = tokio::spawn({
            let server = server.clone();
            async move { server.call(Ask::SleepAndPanic("no power")).await }
        });
        cluster.advance(SECOND / 2).await;
        assert_eq!(server.stop().await, Ok(()));
        assert_eq!(call.await.unwrap(), Err(CallError::Failed { why: "panicked: no power".into() }));
        assert_eq!((server.state(), server.starts()), (ServerState::Stopped, 1));
    });
}

#[test]
fn one_that_waits_for_its_turn_ends_at_once() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let slow = Probe { pace: LONG, ..Probe::new(&log) };
        let _first = slow.serve(&larry);
        cluster.advance(SECOND).await;
        let second = slow.serve(&gary);
        cluster.advance(SECOND).await;
        let begin = cluster.elapsed();
        assert_eq!(second.stop().await, Ok(()));
        assert_eq!(cluster.elapsed(), begin);
        assert_eq!(log.take(), ["creating on larry"], "no last words of one that never ran");
    });
}

#[test]
fn leaving_lets_servers_terminate_and_keeps_what_they_wrote() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let server = Probe { end: SECOND, ..Probe::new(&log) }.serve(&larry);
        running(&server).await;
        larry.leave().await.unwrap();
        assert_eq!(log.count("terminated"), 1);
        assert_eq!(rows(&gary).get(&"last words".to_owned()), Some(1));
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Stopped));
        assert_eq!(larry.serve(|| Probe::new(&Log::default())).unwrap_err(), ServeError::Gone);
    });
}

#[test]
fn a_crash_ends_servers_without_a_word_and_nobody_waits() {
    TestCluster::run(1, |cluster| async move {
        let log = Log::default();
        let (_larry, server) = served(&cluster, &Probe::new(&log)).await;
        let call = tokio::spawn({
            let server = server.clone();
            async move { server.call(Ask::Sleep(LONG)).await }
        });
        settle_tasks().await;
        let begin = cluster.elapsed();
        cluster.crash("larry");
        assert_eq!(call.await.unwrap(), Err(dropped()));
        assert_eq!(cluster.elapsed(), begin);
        assert_eq!((server.state(), server.stop().await), (ServerState::Stopped, Ok(())));
        assert_eq!(log.take(), ["sleep 60"]);
    });
}

#[test]
fn a_server_does_not_keep_its_node() {
    TestCluster::run(1, |cluster| async move {
        let (larry, server) = served(&cluster, &Probe::new(&Log::default())).await;
        let mut events = larry.events();
        drop((larry, cluster.release("larry")));
        while let Some(event) = events.next().await {
            assert!(!matches!(event, Ok(Event::Down { .. })), "{event:?}");
        }
        settle_tasks().await;
        assert_eq!(server.call(Ask::Log).await, Err(CallError::Stopped));
    });
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    TestCluster::run(1, |cluster| async move {
        let larry = single(&cluster).await;
        let probe = Probe::new(&Log::default());
        let refused = |change: fn(ServerConfig) -> ServerConfig| {
            let probe = probe.with(change);
            larry.serve(move || probe.clone()).unwrap_err()
        };
        let reserved = refused(|_| ServerConfig::new("_tables"));
        assert!(reserved.to_string().contains("reserved"), "{reserved}");
        assert!(matches!(refused(|_| ServerConfig::new("")), ServeError::Table(_)));
        assert_eq!(refused(|config| config.mailbox(0)), ServeError::Mailbox { messages: 0 });
        assert_eq!(refused(|config| config.mailbox(usize::MAX)), ServeError::Mailbox { messages: usize::MAX });
        cluster.crash("larry");
        assert_eq!(refused(|config| config), ServeError::Gone);
    });
}

/// Takes no casts of its own.
struct Deaf;

impl DistrServer for Deaf {
    type Call = ();
    type Reply = ();
    type Cast = u32;
    type Key = String;
    type Value = Lww<u32>;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("rows").changes()
    }

    async fn handle_call(&mut self, (): (), _: &ServerContext<Self>) -> ServerResult {
        Ok(())
    }
}

#[test]
fn what_a_server_does_not_write_does_no_harm() {
    TestCluster::run(1, |cluster| async move {
        let larry = single(&cluster).await;
        let server = larry.serve(|| Deaf).unwrap();
        server.call(()).await.unwrap();
        server.cast(1).unwrap();
        rows(&larry).insert(&"a".into(), &1).unwrap();
        server.call(()).await.unwrap();
        assert_eq!((server.starts(), server.stop().await), (1, Ok(())));
    });
}
