//! Whole nodes on the loopback network, through the public face. Each test has a cluster name and ports of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::engine::{Event, Liveness, Phase, Status};
use crate::roles::RoleSpec;
use crate::store::Origin;
use crate::table::Lww;

/// Long enough for a busy host; conditions usually hold within a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(20);

type Vehicles = Table<String, Lww<u32>>;

fn builder(name: &str, port: u16, node: &str) -> Builder {
    Cluster::builder().name(name).port(port).node(node).converge_timeout(PATIENCE)
}

async fn start(builder: Builder) -> Cluster {
    let cluster = builder.start().await.unwrap();
    cluster.ready(PATIENCE).await.unwrap();
    cluster
}

/// Two nodes that see each other.
async fn pair(name: &str, port: u16) -> (Cluster, Cluster) {
    let larry = start(builder(name, port, "larry")).await;
    let moe = start(builder(name, port, "moe")).await;
    for node in [&larry, &moe] {
        node.until(PATIENCE, |status| in_view(status) == 2).await.unwrap();
    }
    (larry, moe)
}

fn in_view(status: &Status) -> usize {
    status.members.iter().filter(|member| member.in_view).count()
}

fn vehicles(cluster: &Cluster) -> Vehicles {
    cluster.table("vehicles").unwrap()
}

/// A factory that counts the tasks alive in `running`.
fn counted(running: &Arc<AtomicUsize>) -> impl Fn(RoleContext) -> RoleTask + Send + Sync + 'static {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = Arc::clone(running);
    move |context| {
        running.fetch_add(1, Ordering::SeqCst);
        let count = Count(Arc::clone(&running));
        Box::pin(async move {
            assert_eq!((context.role(), context.arguments()), ("gate-1", "north"));
            context.stopped().await;
            drop(count);
            Ok(())
        })
    }
}

type RoleTask = std::pin::Pin<Box<dyn Future<Output = RoleResult> + Send>>;

fn gate() -> RoleSpec {
    RoleSpec::new("gate-1").kind("gate").arguments("north")
}

#[tokio::test]
async fn two_nodes_share_a_table() {
    let (larry, moe) = pair("test-share", 21_200).await;
    let mut changes = vehicles(&moe).watch();
    vehicles(&larry).insert(&"a".to_owned(), &1).unwrap();
    let change = tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((change.new, change.origin), (Some(1), Origin::Remote(larry.replica())));
    moe.converged().await.unwrap();
    let (one, other) = (larry.snapshot_with_rows(), moe.snapshot_with_rows());
    assert_eq!(one.tables, other.tables);
    assert_eq!((&one.digest.root, one.view()), (&other.digest.root, other.view()));
    assert_eq!(one.table("vehicles").unwrap().content.as_ref().unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_handle_of_the_application_keeps_the_node() {
    let running = Arc::new(AtomicUsize::new(0));
    let larry = start(builder("test-keep", 21_220, "larry").role_kind("gate", counted(&running)).role(gate())).await;
    let moe = start(builder("test-keep", 21_220, "moe")).await;
    larry.until(PATIENCE, |status| in_view(status) == 2).await.unwrap();
    larry.converged().await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 1);
    let host = moe.until(PATIENCE, |status| status.roles.iter().any(|role| !role.hosts.is_empty())).await.unwrap();
    assert_eq!(host.roles[0].hosts[0].replica, larry.replica());

    let table = vehicles(&larry);
    let replica = larry.replica();
    let mut watch = table.watch();
    let mut events = larry.events();
    let uncounted = larry.uncounted();
    let clone = larry.clone();
    drop(larry);
    table.insert(&"a".to_owned(), &1).expect("a clone keeps the node");
    drop(clone);
    assert_eq!(table.insert(&"a".to_owned(), &2), Err(WriteError::Gone));
    assert_eq!(table.get(&"a".to_owned()), Some(1));
    assert_eq!(uncounted.status().phase, Phase::Left);
    assert_eq!(uncounted.converged().await, Err(ConvergeError::Gone));
    assert!(watch.next().await.unwrap().is_ok());
    assert_eq!(watch.next().await, None);
    while events.next().await.is_some() {}
    let down = |status: &Status| {
        status.members.iter().all(|member| member.replica != replica || member.liveness == Liveness::Down)
    };
    moe.until(PATIENCE, down).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 0, "the task of the role ended with its node");
}

#[tokio::test]
async fn a_node_that_leaves_hands_over_its_rows_and_roles() {
    let running = Arc::new(AtomicUsize::new(0));
    let with_gate = |node| builder("test-leave", 21_240, node).role_kind("gate", counted(&running)).role(gate());
    let larry = start(with_gate("larry")).await;
    larry.until(PATIENCE, |_| !larry.lookup("gate-1").is_empty()).await.unwrap();
    let moe = start(with_gate("moe")).await;
    moe.converged().await.unwrap();
    assert_eq!(moe.lookup("gate-1")[0].replica, larry.replica(), "a role stays where it is");
    let first = moe.lookup("gate-1")[0].token;

    vehicles(&larry).insert(&"a".to_owned(), &1).unwrap();
    larry.leave().await.unwrap();
    assert_eq!(vehicles(&moe).get(&"a".to_owned()), Some(1));
    let moved =
        |status: &Status| status.roles[0].hosts.iter().any(|host| host.replica == moe.replica() && host.token > first);
    moe.until(PATIENCE, moved).await.unwrap();
    moe.converged().await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 1);

    assert_eq!(larry.status().phase, Phase::Left);
    assert_eq!(larry.leave().await, Err(LeaveError::Gone));
    assert_eq!(larry.converged().await, Err(ConvergeError::Gone));
    assert_eq!(larry.ready(PATIENCE).await, Err(ReadyError::Gone));
    assert_eq!(larry.until(PATIENCE, |_| false).await, Err(UntilError::Gone));
    assert_eq!(vehicles(&larry).insert(&"b".to_owned(), &2), Err(WriteError::Gone));
    assert_eq!(vehicles(&larry).get(&"a".to_owned()), Some(1));
    assert_eq!(larry.events().next().await, None);
}

#[tokio::test]
async fn the_last_node_names_the_rows_that_go_with_it() {
    let larry = start(builder("test-last", 21_260, "larry").leave_patience(Duration::from_millis(200))).await;
    vehicles(&larry).insert(&"a".to_owned(), &1).unwrap();
    let Err(LeaveError::Unsaved { rows }) = larry.leave().await else { panic!("nobody can have saved it") };
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].starts_with("vehicles/"), "{rows:?}");
    assert_eq!(larry.status().phase, Phase::Left);
}

#[tokio::test]
async fn waiting_names_the_culprit_and_can_be_dropped() {
    // By the timers of `wan` a node looks for others for at least a second before it goes on alone.
    let larry = builder("test-culprit", 21_280, "larry").preset(Preset::Wan).start().await.unwrap();
    let after = Duration::from_millis(50);
    let Err(ConvergeError::Timeout { culprit, .. }) = larry.converged_within(after).await else {
        panic!("a node that has not joined cannot be converged")
    };
    assert!(culprit.contains("this node is not ready"), "{culprit}");
    let Err(ReadyError::Timeout { known: 0, why, .. }) = larry.ready(after).await else { panic!("it knows nobody") };
    assert!(why.contains("admitted by no member"), "{why}");
    assert_eq!(larry.until(after, |_| false).await, Err(UntilError::Timeout { after }));
    larry.ready(PATIENCE).await.unwrap();
    drop(larry.converged());
    assert_eq!(larry.status().phase, Phase::Standalone);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let larry = start(builder("test-port", 21_300, "larry")).await;
    let taken = larry.address().port();
    let refused = builder("test-port", 21_300, "moe").own_port(taken).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Bind(_)), "{refused:?}");
    assert!(refused.to_string().contains(&taken.to_string()), "{refused}");
}

#[tokio::test]
async fn what_the_network_refuses_names_its_field() {
    let wrong = || builder("test-fields", 21_320, "larry");
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cases = [
        ("net", wrong().net("203.0.113.0/29")),
        ("bind", wrong().bind("203.0.113.1")),
        ("bind", wrong().net("203.0.113.0/29").bind("203.0.113.1")),
        ("advertise", wrong().advertise("203.0.113.1:4871")),
        ("own_port", wrong().own_port(occupied.local_addr().unwrap().port())),
        ("role_kind", wrong().role_kind("", |_| async { Ok(()) })),
    ];
    for (field, builder) in cases {
        let refused = builder.start().await.unwrap_err();
        assert_eq!(refused.field(), field, "{refused}");
        assert!(refused.to_string().starts_with(&format!("{field}: ")), "{refused}");
    }
}

#[tokio::test]
async fn a_role_that_nobody_can_build_is_told_and_holds_up_nobody() {
    let larry = start(builder("test-nobody", 21_340, "larry").role(RoleSpec::new("siren"))).await;
    larry.converged().await.unwrap();
    let roles = larry.roles();
    assert_eq!((roles[0].candidates, roles[0].hosts.len()), (0, 0));
    assert!(larry.snapshot().to_string().contains("nowhere: no member registered this kind"));
    let kind = |_: RoleContext| async { std::future::pending::<RoleResult>().await };
    let moe = start(builder("test-nobody", 21_340, "moe").role_kind("siren", kind)).await;
    larry.until(PATIENCE, |_| larry.lookup("siren").iter().any(|host| host.replica == moe.replica())).await.unwrap();
    assert_eq!(larry.roles()[0].candidates, 1);
}

#[tokio::test]
async fn clusters_on_one_port_ignore_each_other_and_say_so() {
    let larry = start(builder("test-apart", 21_360, "larry")).await;
    let mut events = larry.events();
    let moe = start(builder("test-other", 21_360, "moe")).await;
    let met = async {
        loop {
            if let Some(Ok(Event::OtherCluster { address, .. })) = events.next().await {
                return address;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, met).await.unwrap(), moe.address());
    assert_eq!((larry.members().len(), moe.members().len()), (1, 1));
}

/// Whether the node keeps its name, as soon as it is told that another one has it.
async fn keeps_name(events: &mut Events) -> bool {
    let told = async {
        loop {
            if let Some(Ok(Event::NameTaken { keeps, .. })) = events.next().await {
                return keeps;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap()
}

#[tokio::test]
async fn two_live_nodes_of_one_name_are_both_told() {
    let first = start(builder("test-name", 21_380, "larry")).await;
    let _moe = start(builder("test-name", 21_380, "moe")).await;
    let mut events = first.events();
    let second = builder("test-name", 21_380, "larry").start().await.unwrap();
    let mut of_second = second.events();
    assert!(!keeps_name(&mut events).await && keeps_name(&mut of_second).await);
    second.ready(PATIENCE).await.unwrap();
}

struct Echo;

impl RoleProtocol for Echo {
    type Call = Vec<u8>;
    type Reply = Vec<u8>;
    type Cast = ();
}

async fn echo(context: RoleContext) -> RoleResult {
    let mut mailbox = context.mailbox::<Echo>();
    while let Some(message) = mailbox.next().await {
        if let Message::Call(bytes, responder) = message {
            responder.reply(bytes);
        }
    }
    Ok(())
}

#[tokio::test]
async fn messages_of_all_sizes_reach_roles_and_handlers_of_other_nodes_until_these_end() {
    let role = |builder: Builder| builder.role(RoleSpec::new("echo"));
    let larry = start(role(builder("messages", 23_880, "larry"))).await;
    let moe = role(builder("messages", 23_880, "moe")).role_kind("echo", echo);
    let moe = start(moe.handler("length", |bytes: Vec<u8>, _| async move { bytes.len() })).await;
    let role = larry.role::<Echo>("echo");
    let calls = (0..200_usize).map(|number| {
        let role = role.clone();
        let length = if number % 50 == 0 { 1_000_000 } else { number };
        tokio::spawn(async move {
            let answer = role.call_within(vec![7; length], PATIENCE).await.unwrap();
            assert!(answer == vec![7; length]);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let node = larry.on_node(moe.node());
    assert_eq!(node.call_within("length", &vec![1_u8; 100_000], PATIENCE).await, Ok(100_000_usize));
    let endless = tokio::spawn({
        let role = role.clone();
        async move {
            loop {
                if let Err(error) = role.call_within(vec![1], PATIENCE).await {
                    return error;
                }
            }
        }
    });
    drop(moe);
    let error = endless.await.unwrap();
    let is_told = matches!(error, MessageError::Interrupted { .. } | MessageError::NoInstance { .. });
    assert!(is_told || matches!(error, MessageError::NotReachable { .. }), "{error}");
}
