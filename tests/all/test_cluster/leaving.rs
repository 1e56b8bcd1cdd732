//! Leaving does not cut work off, unless there is a deadline; then it says what.

use unisono::{
    Aborted, DistrServer, Event, LeaveError, Message, RoleProtocol, ServerConfig, ServerContext, ServerResult,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const THREE: [&str; 3] = ["larry", "gary", "jerry"];

/// Jobs that were begun and done.
#[derive(Clone, Default)]
struct Jobs {
    begun: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

impl Jobs {
    /// A role that is in the middle of a job that takes so long when it is asked to end, and hands its number of jobs over.
    fn kind(&self, takes: Duration) -> impl Fn(RoleContext) -> futures::Role + Clone + Send + Sync + 'static {
        let jobs = self.clone();
        move |context: RoleContext| {
            let jobs = jobs.clone();
            Box::pin(async move {
                let before = context.handed_over().map_or(0, |bytes| bytes[0]);
                jobs.begun.fetch_add(1, Ordering::SeqCst);
                context.stopped().await;
                tokio::time::sleep(takes).await;
                jobs.done.fetch_add(1, Ordering::SeqCst);
                cars(context.cluster()).insert(&context.cluster().node().to_string(), &u32::from(before + 1))?;
                context.hand_over(vec![before + 1])?;
                Ok(())
            })
        }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }
}

mod futures {
    use std::future::Future;
    use std::pin::Pin;

    pub(super) type Role = Pin<Box<dyn Future<Output = Result<(), unisono::RoleError>> + Send>>;
}

/// The node that hosts the role, and another one.
fn host_and_other(cluster: &TestCluster, role: &str) -> (Cluster, Cluster) {
    let host = cluster.node(cluster.running(role)[0].as_str());
    let others = host.members().into_iter().filter(|member| member.in_view && member.replica != host.replica());
    let other = cluster.node(others.map(|member| member.node).next().unwrap().as_str());
    (host, other)
}

async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = tokio::time::Instant::now();
    (future.await, began.elapsed())
}

#[test]
fn a_job_within_its_stop_grace_is_finished_and_handed_over() {
    for seed in 0..5 {
        TestCluster::run(seed, |cluster| async move {
            let jobs = Jobs::default();
            let kind = jobs.kind(8 * SECOND);
            let setup = move |builder: Builder| {
                builder.stop_grace(60 * SECOND).role_kind("job", kind.clone()).role(RoleSpec::new("job"))
            };
            cluster.start_all(THREE, setup).await.unwrap();
            cluster.settle().await.unwrap();
            for round in 1..=2 {
                let (host, other) = host_and_other(&cluster, "job");
                let mut events = host.events();
                let (left, took) = timed(host.leave()).await;
                assert_eq!(left, Ok(()));
                assert!((8 * SECOND..11 * SECOND).contains(&took), "{took:?}");
                assert_eq!(jobs.done(), round);
                cluster.settle().await.unwrap();
                let held = cars(&other).get(&host.node().to_string());
                assert_eq!(
                    held,
                    u32::try_from(round).ok(),
                    "what it wrote at its end is held, and what it left was given on"
                );
                while let Some(Ok(event)) = events.next().await {
                    assert!(!matches!(event, Event::RoleAborted { .. }), "{event:?}");
                }
            }
        });
    }
}

/// Where no other node can build the role, and the grace is that of a role that was added while all ran.
#[test]
fn a_role_added_at_run_time_has_its_own_grace_while_its_node_leaves() {
    TestCluster::run(1, |cluster| async move {
        let jobs = Jobs::default();
        let kind = jobs.kind(40 * SECOND);
        let larry = cluster.start("larry", move |builder| builder.role_kind("job", kind.clone())).await.unwrap();
        larry.ready(LONG).await.unwrap();
        let gary = cluster.start("gary", |builder| builder).await.unwrap();
        larry.add_role(RoleSpec::new("job").stop_grace(60 * SECOND)).await.unwrap();
        cluster.settle().await.unwrap();
        let (left, took) = timed(larry.leave()).await;
        assert_eq!((left, jobs.done()), (Ok(()), 1));
        assert!((40 * SECOND..42 * SECOND).contains(&took), "{took:?}");
        assert_eq!(cars(&gary).get(&"larry".into()), Some(1));
    });
}

#[test]
fn a_job_beyond_its_stop_grace_is_in_the_result_and_told_of() {
    TestCluster::run(1, |cluster| async move {
        let jobs = Jobs::default();
        let (long, short) = (jobs.kind(90 * SECOND), jobs.kind(20 * SECOND));
        let setup = move |builder: Builder| {
            let builder = builder.role_kind("long", long.clone()).role_kind("short", short.clone());
            let grace = |name| RoleSpec::new(name).stop_grace(30 * SECOND);
            builder.role(grace("long").count(3)).role(grace("short").count(3))
        };
        cluster.start_all(THREE, setup).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.node("larry");
        let mut events = host.events();
        let (left, took) = timed(host.leave()).await;
        let after = 30 * SECOND;
        let tasks = vec![Aborted::Role { role: "long".into(), after }];
        assert_eq!(left, Err(LeaveError::Aborted { tasks, rows: vec![] }));
        assert_eq!(jobs.done(), 1, "the short one was done");
        assert!((after..after + 3 * SECOND).contains(&took), "{took:?}");
        let mut aborted = Vec::new();
        while let Some(Ok(event)) = events.next().await {
            aborted.extend(Some(event).filter(|event| matches!(event, Event::RoleAborted { .. })));
        }
        assert_eq!(aborted, [Event::RoleAborted { role: "long".into(), after }]);
    });
}

#[test]
fn a_deadline_cuts_the_grace_to_fit_and_says_what_it_cut() {
    for (deadline, seed) in [(10, 0), (10, 1), (5, 2), (2, 3)] {
        let deadline = Duration::from_secs(deadline);
        TestCluster::run(seed, |cluster| async move {
            let jobs = Jobs::default();
            let (long, short) = (jobs.kind(LONG), jobs.kind(deadline / 2));
            let setup = move |builder: Builder| {
                let builder =
                    builder.stop_grace(LONG).role_kind("long", long.clone()).role_kind("short", short.clone());
                builder.role(RoleSpec::new("long").count(3)).role(RoleSpec::new("short").count(3))
            };
            cluster.start_all(THREE, setup).await.unwrap();
            cluster.settle().await.unwrap();
            let host = cluster.node("larry");
            let mut events = host.events();
            let (left, took) = timed(host.leave_within(deadline)).await;
            let error = left.unwrap_err();
            assert!(took <= deadline, "{took:?} of {deadline:?}");
            let [Aborted::Role { role, after }] = error.aborted() else { panic!("{error}") };
            assert!(role == "long" && *after > deadline / 2, "{error}");
            assert_eq!((error.unsaved(), jobs.done()), (&[][..], 1));
            let told = Event::RoleAborted { role: "long".into(), after: *after };
            while events.next().await.expect("it is told of").expect("none was missed") != told {}
            // What it handed over is there, and the others run what it ran as far as they can.
            assert_eq!(cars(&cluster.node("gary")).get(&"larry".into()), Some(1));
            cluster.settle().await.unwrap();
            assert_eq!(cluster.running("long").len(), 2);
        });
    }
}

#[test]
fn a_deadline_costs_nothing_where_everything_ends_in_time() {
    TestCluster::run_seeds(0..5, |cluster| async move {
        let jobs = Jobs::default();
        let kind = jobs.kind(Duration::from_millis(100));
        let setup = move |builder: Builder| builder.role_kind("job", kind.clone()).role(RoleSpec::new("job"));
        cluster.start_all(THREE, setup).await.unwrap();
        cluster.settle().await.unwrap();
        let (host, _) = host_and_other(&cluster, "job");
        let (left, took) = timed(host.leave_within(2 * SECOND)).await;
        assert_eq!((left, jobs.done()), (Ok(()), 1));
        assert!(took < SECOND, "{took:?}");
        cluster.settle().await.unwrap();
        assert_eq!(cluster.running("job").len(), 1);
    });
}

#[test]
fn a_leave_under_way_can_be_hurried() {
    TestCluster::run(1, |cluster| async move {
        let kind = Jobs::default().kind(LONG);
        let setup = move |builder: Builder| {
            builder.stop_grace(2 * LONG).role_kind("job", kind.clone()).role(RoleSpec::new("job").count(3))
        };
        cluster.start_all(THREE, setup).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.node("larry");
        let leaves = tokio::spawn({
            let host = host.clone();
            async move { timed(host.leave()).await }
        });
        cluster.advance(10 * SECOND).await;
        let (second, _) = timed(host.leave_within(10 * SECOND)).await;
        assert_eq!(second, Err(LeaveError::Gone));
        let (left, took) = leaves.await.unwrap();
        assert_eq!(left.unwrap_err().aborted().len(), 1);
        assert!(took <= 20 * SECOND, "{took:?}");
    });
}

/// A server that takes its time for each call.
struct Slow(Duration);

impl DistrServer for Slow {
    type Call = u32;
    type Reply = u32;
    type Cast = std::convert::Infallible;
    type Key = String;
    type Value = Lww<u32>;

    fn config(&self) -> ServerConfig {
        ServerConfig::new("cars")
    }

    async fn handle_call(&mut self, number: u32, context: &ServerContext<Self>) -> ServerResult<u32> {
        tokio::time::sleep(self.0).await;
        context.table().insert(&"served".into(), &number)?;
        Ok(number + 1)
    }
}

#[test]
fn a_call_to_a_server_that_is_under_way_is_answered() {
    TestCluster::run(1, |cluster| async move {
        cluster.start_all(THREE, |builder| builder.stop_grace(60 * SECOND)).await.unwrap();
        cluster.settle().await.unwrap();
        let [larry, gary, _] = THREE.map(|name| cluster.node(name));
        let server = larry.serve(|| Slow(8 * SECOND)).unwrap();
        server.call_within(1, LONG).await.unwrap();
        let call = tokio::spawn(async move { server.call_within(7, LONG).await });
        cluster.advance(SECOND).await;
        let (left, took) = timed(larry.leave()).await;
        assert_eq!((left, call.await.unwrap()), (Ok(()), Ok(8)));
        assert!((7 * SECOND..9 * SECOND).contains(&took), "{took:?}");
        assert_eq!(cars(&gary).get(&"served".into()), Some(7));
    });
}

#[test]
fn a_server_that_a_deadline_cuts_off_is_in_the_result() {
    TestCluster::run(1, |cluster| async move {
        cluster.start_all(THREE, |builder| builder.stop_grace(60 * SECOND)).await.unwrap();
        cluster.settle().await.unwrap();
        let larry = cluster.node("larry");
        let server = larry.serve(|| Slow(30 * SECOND)).unwrap();
        let call = tokio::spawn(async move { server.call_within(7, LONG).await });
        cluster.advance(SECOND).await;
        let (left, took) = timed(larry.leave_within(9 * SECOND)).await;
        let tasks = vec![Aborted::Server { table: "cars".into(), after: 3 * SECOND }];
        assert_eq!(left, Err(LeaveError::Aborted { tasks, rows: vec![] }));
        assert!(took <= 9 * SECOND, "{took:?}");
        assert!(call.await.unwrap().is_err());
    });
}

/// Asks for a number, and is given the next.
struct Next;

impl RoleProtocol for Next {
    type Call = u32;
    type Reply = u32;
    type Cast = ();
}

#[test]
fn a_call_to_a_role_that_is_under_way_is_answered() {
    for seed in 0..5 {
        TestCluster::run(seed, |cluster| async move {
            let next = |context: RoleContext| async move {
                let mut mailbox = context.mailbox::<Next>();
                while let Some(message) = mailbox.next().await {
                    if let Message::Call(number, caller) = message {
                        tokio::time::sleep(8 * SECOND).await;
                        caller.reply(number + 1);
                    }
                }
                Ok(())
            };
            let setup = move |builder: Builder| {
                builder.stop_grace(60 * SECOND).role_kind("next", next).role(RoleSpec::new("next"))
            };
            cluster.start_all(THREE, setup).await.unwrap();
            cluster.settle().await.unwrap();
            let (host, other) = host_and_other(&cluster, "next");
            let role = other.role::<Next>("next");
            let call = tokio::spawn({
                let role = role.clone();
                async move { role.call_within(7, LONG).await }
            });
            cluster.advance(SECOND).await;
            let leaves = tokio::spawn(async move { host.leave().await });
            cluster.advance(SECOND).await;
            // One that comes now waits for the next host.
            let later = tokio::spawn(async move { role.call_within(1, LONG).await });
            assert_eq!(leaves.await.unwrap(), Ok(()));
            assert_eq!((call.await.unwrap(), later.await.unwrap()), (Ok(8), Ok(2)));
        });
    }
}
