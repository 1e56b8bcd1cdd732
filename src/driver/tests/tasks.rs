//! Role tasks, commands, and the end of a node.

use std::sync::Weak;

use bytes::Bytes;

use super::*;
use crate::driver::Gone;
use crate::driver::{NotTaken, Recipient};
use crate::engine::{Command, Event, Reply, RoleReport, RoleStart};
use crate::engine::{Letter, MailEvent};
use crate::time::Stamp;

fn token(start: u64) -> FencingToken {
    FencingToken { stamp: Stamp(start), replica: ReplicaId(1) }
}

fn start(role: &str, at: u64) -> Output {
    Output::StartRole(RoleStart { spec: Arc::new(RoleSpec::new(role)), token: token(at), handed: None })
}

async fn report(node: &mut Node) -> String {
    let report =
        node.input("a report", |input| if let Input::Role(report) = input { Some(report) } else { None }).await;
    match report {
        RoleReport::Running { role, token } => format!("{role}@{} running", token.stamp.0),
        RoleReport::Stopped { role, token, aborted_after: None, .. } => format!("{role}@{} stopped", token.stamp.0),
        RoleReport::Stopped { role, token, .. } => format!("{role}@{} aborted", token.stamp.0),
        RoleReport::Failed { role, token, why } => format!("{role}@{} failed: {why}", token.stamp.0),
    }
}

fn with_roles(stop_grace: Duration) -> Setup {
    let build: Build = Box::new(|spec, line| match spec.name.as_str() {
        "unbuildable" => panic!("no such {}", "thing"),
        "panics" => Box::pin(async { panic!("on the run") }),
        "fails" => Box::pin(async { Err("out of paper".to_owned()) }),
        "returns" => Box::pin(async { Ok(()) }),
        "panics when asked" => Box::pin(async move {
            line.stop_requested().await;
            panic!("what now")
        }),
        "stubborn" => Box::pin(std::future::pending()),
        _ => Box::pin(async move {
            assert!(!line.is_stop_requested());
            line.stop_requested().await;
            assert!(line.is_stop_requested());
            Ok(())
        }),
    });
    Setup { build, stop_grace, ..Setup::default() }
}

#[tokio::test]
async fn a_role_runs_until_it_is_asked_to_stop() {
    let mut node = Node::start(cluster_port(), with_roles(PATIENCE * 2)).await;
    for role in ["gate", "panics when asked"] {
        node.give([start(role, 1), start(role, 1)]);
        assert_eq!(report(&mut node).await, format!("{role}@1 running"));
        let stop = |at| Output::StopRole { role: role.to_owned(), token: token(at) };
        // Stopping another start of it stops nothing.
        node.give([stop(7), start(role, 2)]);
        assert_eq!(report(&mut node).await, format!("{role}@2 running"));
        node.give([stop(1)]);
        assert_eq!(report(&mut node).await, format!("{role}@1 stopped"));
        node.give([stop(2)]);
        assert_eq!(report(&mut node).await, format!("{role}@2 stopped"));
    }
}

#[tokio::test]
async fn what_ends_by_itself_has_failed_and_says_why() {
    let mut node = Node::start(cluster_port(), with_roles(PATIENCE)).await;
    for (role, why) in
        [("panics", "panicked: on the run"), ("fails", "out of paper"), ("returns", "returned without being asked to")]
    {
        node.give([start(role, 1)]);
        assert_eq!(report(&mut node).await, format!("{role}@1 failed: {why}"));
    }
    node.give([start("unbuildable", 1)]);
    assert_eq!(report(&mut node).await, "unbuildable@1 failed: panicked: no such thing");
}

#[tokio::test]
async fn a_role_that_does_not_stop_is_dropped_after_its_grace() {
    let mut node = Node::start(cluster_port(), with_roles(Duration::from_millis(50))).await;
    node.give([start("stubborn", 1)]);
    assert_eq!(report(&mut node).await, "stubborn@1 running");
    let asked = tokio::time::Instant::now();
    node.give([Output::StopRole { role: "stubborn".to_owned(), token: token(1) }]);
    assert_eq!(report(&mut node).await, "stubborn@1 aborted");
    assert!(asked.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_role_is_up_when_it_says_so_and_hands_over_what_it_left() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let build: Build = Box::new(move |spec, line| {
        let mut wait = wait.clone();
        Box::pin(async move {
            let (slow, one, other) = (spec.name == "slow", line.coming(), line.coming());
            drop(one);
            if slow {
                wait.wait_for(|go| *go).await.unwrap();
            }
            drop(other);
            line.stop_requested().await;
            line.leave_state(Bytes::from_static(b"first"));
            line.leave_state(line.handed().cloned().unwrap_or_default());
            Ok(())
        })
    });
    let mut node = Node::start(cluster_port(), Setup { build, ..Setup::default() }).await;
    let handed = Some(Bytes::from_static(b"7 cars"));
    let slow = RoleStart { spec: Arc::new(RoleSpec::new("slow")), token: token(1), handed: handed.clone() };
    node.give([Output::StartRole(slow), start("quick", 2)]);
    assert_eq!(report(&mut node).await, "quick@2 running", "the other one is still coming");
    go.send(true).unwrap();
    assert_eq!(report(&mut node).await, "slow@1 running");
    node.give([Output::StopRole { role: "slow".to_owned(), token: token(1) }]);
    let ended = node.input("a report", |input| if let Input::Role(report) = input { Some(report) } else { None }).await;
    assert_eq!(ended, RoleReport::Stopped { role: "slow".into(), token: token(1), handed, aborted_after: None });
}

#[tokio::test]
async fn a_spec_may_have_a_stop_grace_of_its_own() {
    let mut node = Node::start(cluster_port(), with_roles(PATIENCE * 10)).await;
    let spec = Arc::new(RoleSpec::new("stubborn").stop_grace(Duration::from_millis(50)));
    node.give([Output::StartRole(RoleStart { spec, token: token(1), handed: None })]);
    assert_eq!(report(&mut node).await, "stubborn@1 running");
    node.give([Output::StopRole { role: "stubborn".to_owned(), token: token(1) }]);
    let ended = node.input("a report", |input| if let Input::Role(report) = input { Some(report) } else { None }).await;
    let RoleReport::Stopped { aborted_after, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(aborted_after, Some(Duration::from_millis(50)));
}

#[tokio::test]
async fn commands_are_answered_and_forgotten() {
    let mut node = Node::start(cluster_port(), Setup::default()).await;
    let commander = node.driver.commander();
    let await_converged = |request| Command::AwaitConverged { request };
    let asked =
        |input| if let Input::Command(Command::AwaitConverged { request }) = input { Some(request) } else { None };
    let forgotten = |input| if let Input::Command(Command::Forget { request }) = input { Some(request) } else { None };

    let mut answered = commander.request(await_converged).await.unwrap();
    let first = node.input("the command", asked).await;
    let waiting = Reply::Waiting("for larry".to_owned());
    for reply in [waiting.clone(), Reply::Converged] {
        node.give([Output::Reply { request: first, reply }]);
    }
    assert_eq!(timeout(PATIENCE, answered.next()).await.unwrap(), Some(waiting));
    assert_eq!(timeout(PATIENCE, answered.next()).await.unwrap(), Some(Reply::Converged));
    assert_eq!(timeout(PATIENCE, answered.next()).await.unwrap(), None);

    let abandoned = commander.request(await_converged).await.unwrap();
    let second = node.input("the command", asked).await;
    drop((answered, abandoned));
    assert_eq!(node.input("Forget", forgotten).await, second, "an answered request was forgotten again");
}

#[tokio::test]
async fn statuses_and_events_come_out() {
    let node = Node::start(cluster_port(), Setup::default()).await;
    let (statuses, mut events) = (node.driver.status(), node.driver.events());
    assert_eq!(statuses.get().phase, Phase::Joining);
    let ready = Status { phase: Phase::Standalone, ..(*status(ReplicaId(1))).clone() };
    node.give([Output::Status(Arc::new(ready)), Output::Event(Event::Ready)]);
    timeout(PATIENCE, statuses.wait_for(|status| status.phase == Phase::Standalone)).await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, events.recv()).await.unwrap().unwrap(), Event::Ready);
    drop(node);
    assert!(timeout(PATIENCE, statuses.wait_for(|_| false)).await.unwrap().is_none());
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn once_a_leave_is_answered_everything_is_closed() {
    let mut node = Node::start(cluster_port(), with_roles(PATIENCE)).await;
    let mut leave =
        node.driver.commander().request(|request| Command::Leave { request, patience_ms: 1 }).await.unwrap();
    let request = |input| if let Input::Command(Command::Leave { request, .. }) = input { Some(request) } else { None };
    let request = node.input("the command", request).await;
    node.give([start("stubborn", 1), Output::Reply { request, reply: Reply::Left }]);
    assert_eq!(timeout(PATIENCE, leave.next()).await.unwrap(), Some(Reply::Left));
    let port = node.address.port();
    bind(&BindConfig { port: Some(port), ..on_loopback(port - 1) }).await.expect("the port is free");
    let gone = node.driver.commander().request(|request| Command::Leave { request, patience_ms: 1 }).await;
    assert_eq!(gone.err(), Some(Gone));
}

#[tokio::test]
async fn a_panic_of_the_engine_is_no_silence() {
    struct Poison;
    impl Strategy for Poison {
        fn name(&self) -> &str {
            "poison"
        }
        fn run(&mut self, context: crate::discovery::Context) -> crate::discovery::Run<'_> {
            Box::pin(async move {
                // Only once somebody waits for an answer.
                context.watch_alone().wait_for(|alone| !alone).await.unwrap();
                context.found("127.0.0.1:1".parse().unwrap()).await;
                std::future::pending::<()>().await;
            })
        }
    }
    let strategies: Vec<Box<dyn Strategy>> = vec![Box::new(Poison)];
    let node = Node::start(cluster_port(), Setup { strategies, ..Setup::default() }).await;
    let (statuses, commander) = (node.driver.status(), node.driver.commander());
    let mut unanswered = commander.request(|request| Command::AwaitConverged { request }).await.unwrap();
    let mut crowded = (*status(ReplicaId(1))).clone();
    crowded.members.push(crate::engine::Member {
        node: NodeId::new("bruno").unwrap(),
        replica: ReplicaId(2),
        address: node.address,
        liveness: crate::engine::Liveness::Alive,
        in_view: true,
    });
    node.give([Output::Status(Arc::new(crowded))]);
    assert_eq!(timeout(PATIENCE, unanswered.next()).await.unwrap(), None);
    timeout(PATIENCE, statuses.wait_for(|_| false)).await.expect("the status channel stays open");
    let again = commander.request(|request| Command::AwaitConverged { request }).await;
    assert_eq!(again.err(), Some(Gone));
}

/// Keeps what arrives.
#[derive(Default)]
struct Kept(Mutex<(Vec<MailEvent>, bool)>);

impl Recipient for Kept {
    fn mail(self: Arc<Self>, event: MailEvent) {
        self.0.lock().unwrap().0.push(event);
    }

    fn closed(self: Arc<Self>) {
        self.0.lock().unwrap().1 = true;
    }
}

#[tokio::test]
async fn letters_go_to_the_machine_together_and_what_comes_is_handed_over() {
    let mut node = Node::start(cluster_port(), Setup::default()).await;
    let (mail, kept) = (node.driver.mail(), Arc::<Kept>::default());
    let recipient: Weak<Kept> = Arc::downgrade(&kept);
    mail.set_recipient(recipient);
    let letter = |number| Letter { number, to: ReplicaId(7), until: None, bytes: Bytes::from_static(b"hello") };
    for number in 0..10 {
        mail.send(letter(number)).unwrap();
    }
    // Nothing was awaited in between.
    let sent = node.input("letters", |input| if let Input::Mail(letters) = input { Some(letters) } else { None }).await;
    assert_eq!(sent, (0..10).map(letter).collect::<Vec<_>>());
    let event = MailEvent::Interrupted { peer: ReplicaId(7) };
    node.give([Output::Mail(event.clone())]);
    until("it is handed over", || kept.0.lock().unwrap().0 == [event.clone()]).await;
    drop(node);
    until("it is closed", || kept.0.lock().unwrap().1).await;
    assert_eq!(mail.send(letter(0)), Err(NotTaken::Gone));
}
