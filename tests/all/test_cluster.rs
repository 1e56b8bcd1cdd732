//! Test clusters, tested: whole nodes with real role tasks on virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unisono::cluster::Builder;
use unisono::testkit::{Rule, TestCluster};
use unisono::{Cluster, Event, LeaveError, Lww, Phase, RoleContext, RoleSpec, Status, Table, UntilError, WriteError};

/// Longer than anything takes here, of virtual time.
const LONG: Duration = Duration::from_secs(60);

type Cars = Table<String, Lww<u32>>;

fn cars(cluster: &Cluster) -> Cars {
    cluster.table("cars").unwrap()
}

fn car(number: u32) -> String {
    format!("B-AB {number}")
}

fn in_view(status: &Status) -> usize {
    status.members.iter().filter(|member| member.in_view).count()
}

/// A gate that notes each car that comes, one a second.
async fn gate(context: RoleContext) -> Result<(), unisono::RoleError> {
    let cars = context.cluster().table::<String, Lww<u32>>("cars")?;
    for number in 0.. {
        tokio::select! {
            biased;
            () = context.stopped() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        cars.insert(&format!("{} {number}", context.token()), &number)?;
    }
    Ok(())
}

fn with_gate(builder: Builder) -> Builder {
    builder.role_kind("gate", gate).role(RoleSpec::new("gate"))
}

#[test]
fn nodes_share_a_table_on_virtual_time() {
    let began = std::time::Instant::now();
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        larry.ready(LONG).await.unwrap();
        larry.until(LONG, |status| in_view(status) == 2).await.unwrap();
        let mut changes = cars(&gary).watch();
        cars(&larry).insert(&car(1), &417).unwrap();
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!((change.key, change.new), (car(1), Some(417)));
        larry.converged().await.unwrap();
        cluster.assert_converged().await;
        assert_eq!(cluster.differences(), None);
        cluster.advance(Duration::from_secs(600)).await;
        assert!(cluster.elapsed() >= Duration::from_secs(600), "{:?}", cluster.elapsed());
    });
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// What happened in a run, in order, with the virtual time.
type Log = Arc<Mutex<Vec<String>>>;

fn listen(log: &Log, cluster: &Cluster) {
    let (name, begin) = (cluster.node().clone(), tokio::time::Instant::now());
    let note = {
        let log = Arc::clone(log);
        move |what: String| log.lock().unwrap().push(format!("{:?} {name}: {what}", begin.elapsed()))
    };
    let (mut events, mut changes) = (cluster.events(), cars(cluster).watch());
    tokio::spawn({
        let note = note.clone();
        async move {
            while let Some(event) = events.next().await {
                note(format!("{event:?}"));
            }
        }
    });
    tokio::spawn({
        let note = note.clone();
        async move {
            while let Some(change) = changes.next().await {
                note(format!("{change:?}"));
            }
        }
    });
    // Many wait for one status: they are woken in the order in which they began to.
    for number in 0..20 {
        let (cluster, note) = (cluster.clone(), note.clone());
        tokio::spawn(async move {
            let outcome = cluster.until(LONG, |status| in_view(status) == 3).await.map(|_| ());
            note(format!("{number} {outcome:?}"));
        });
    }
}

/// A run with everything in it; its trace and what the application saw.
fn story(seed: u64) -> (u64, Vec<String>) {
    TestCluster::run(seed, |cluster| async move {
        let log = Log::default();
        let nodes = cluster.start_all(["larry", "gary", "mary"], with_gate).await.unwrap();
        nodes.iter().for_each(|node| listen(&log, node));
        let lossy = cluster.network().add(Rule::loss(0.1));
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["larry"], &["gary"]]);
        cluster.advance(Duration::from_secs(20)).await;
        split.heal();
        cluster.crash("gary");
        cluster.advance(Duration::from_secs(5)).await;
        let gary = cluster.restart("gary").await.unwrap();
        listen(&log, &gary);
        drop(lossy);
        cluster.assert_converged().await;
        gary.leave().await.unwrap();
        cluster.assert_converged().await;
        let log = log.lock().unwrap().clone();
        (cluster.trace_hash(), log)
    })
}

/// With this in the environment, only the story of that seed is told.
const STORY: &str = "UNISONO_TEST_STORY";

#[test]
fn the_same_seed_tells_the_same_story_in_another_process_too() {
    if let Ok(seed) = std::env::var(STORY) {
        let (trace, log) = story(seed.parse().unwrap());
        println!("the story: {trace:016x} {log:?}");
        return;
    }
    let (trace, log) = story(7);
    assert!(log.len() > 100, "{log:?}");
    assert_eq!(story(7), (trace, log.clone()));
    assert_ne!(story(8).0, trace);
    let test = "test_cluster::the_same_seed_tells_the_same_story_in_another_process_too";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(STORY, "7")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("the story: {trace:016x} {log:?}")), "{text}");
}

#[test]
fn dropping_the_last_handle_of_a_released_node_is_a_crash() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], with_gate).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.running("gate").remove(0);
        let (stays, goes) = if &host == larry.node() { (gary, larry) } else { (larry, gary) };
        let table = cars(&goes);
        drop(goes);
        cluster.advance(Duration::from_secs(2)).await;
        assert_eq!(cluster.running("gate"), std::slice::from_ref(&host), "the test cluster keeps a handle");

        drop(cluster.release(host.as_str()));
        let took = cluster.settle().await.unwrap();
        assert!(took < Duration::from_secs(2), "a crash is noticed at once, not after {took:?}");
        assert_eq!(table.insert(&car(1), &1), Err(WriteError::Gone));
        assert_eq!(stays.snapshot().view(), [stays.node().as_str()]);
        assert_eq!(cluster.running("gate"), [stays.node().clone()]);

        let back = cluster.restart(host.as_str()).await.unwrap();
        cluster.assert_converged().await;
        assert_eq!(back.snapshot().view().len(), 2);
    });
}

#[test]
fn a_crash_is_known_at_once_and_a_host_that_vanishes_later() {
    let noticed = |end: fn(&TestCluster, &str)| {
        TestCluster::run(1, move |cluster| async move {
            let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
            cluster.settle().await.unwrap();
            end(&cluster, "gary");
            assert_eq!(gary.status().phase, Phase::Left);
            assert_eq!(gary.until(LONG, |_| false).await, Err(UntilError::Gone));
            let begin = cluster.elapsed();
            larry.until(LONG, |status| in_view(status) == 1).await.unwrap();
            cluster.elapsed() - begin
        })
    };
    let (crash, silence) = (noticed(TestCluster::crash), noticed(TestCluster::unplug));
    assert!(crash < Duration::from_millis(100), "{crash:?}");
    assert!(silence > Duration::from_millis(500), "{silence:?}");
}

#[test]
fn a_role_that_panics_goes_elsewhere_and_says_why() {
    TestCluster::run(1, |cluster| async move {
        let picky = |context: RoleContext| async move {
            assert_eq!(context.cluster().node().as_str(), "gary", "no power");
            context.stopped().await;
            Ok(())
        };
        let setup = move |builder: Builder| builder.role_kind("gate", picky).role(RoleSpec::new("gate"));
        let larry = cluster.start("larry", setup).await.unwrap();
        larry.ready(LONG).await.unwrap();
        let mut events = larry.events();
        cluster.start("gary", setup).await.unwrap();
        cluster.settle().await.unwrap();
        larry.until(LONG, |_| larry.lookup("gate").iter().any(|host| host.node.as_str() == "gary")).await.unwrap();
        assert_eq!(cluster.running("gate"), [cluster.node("gary").node().clone()]);
        loop {
            let event = events.next().await.unwrap().unwrap();
            if let Event::RoleStopped { why, .. } = event {
                assert!(why.contains("no power"), "{why}");
                break;
            }
        }
    });
}

#[test]
fn a_role_that_overruns_its_stop_grace_is_dropped() {
    const GRACE: Duration = Duration::from_secs(3);
    TestCluster::run(1, |cluster| async move {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let stubborn = move |context: RoleContext| {
            let asked = Arc::clone(&counter);
            async move {
                context.stopped().await;
                asked.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
        };
        let setup = move |builder: Builder| {
            builder.stop_grace(GRACE).role_kind("gate", stubborn.clone()).role(RoleSpec::new("gate"))
        };
        cluster.start_all(["larry", "gary"], setup).await.unwrap();
        cluster.settle().await.unwrap();
        let split = cluster.partition(&[&["larry"]]);
        cluster.settle().await.unwrap();
        assert_eq!(cluster.running("gate").len(), 2);
        split.heal();
        while asked.load(Ordering::SeqCst) == 0 {
            cluster.advance(Duration::from_millis(1)).await;
        }
        cluster.advance(GRACE - Duration::from_millis(10)).await;
        assert_eq!(cluster.running("gate").len(), 2, "it has its grace");
        cluster.advance(Duration::from_millis(20)).await;
        assert_eq!(cluster.running("gate").len(), 1);
        cluster.assert_converged().await;
    });
}

#[test]
fn who_leaves_hands_over_and_the_last_one_says_what_is_lost() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        cars(&larry).insert(&car(1), &1).unwrap();
        larry.leave().await.unwrap();
        assert_eq!(larry.leave().await, Err(LeaveError::Gone));
        assert_eq!(cars(&gary).get(&car(1)), Some(1));
        cluster.assert_converged().await;
        assert!(matches!(gary.leave().await, Err(LeaveError::Unsaved { .. })));
        let larry = cluster.restart("larry").await.unwrap();
        cluster.assert_converged().await;
        assert!(cars(&larry).is_empty(), "all nodes were gone at once");
    });
}

#[test]
fn a_partition_lasts_as_long_as_its_guard() {
    TestCluster::run(1, |cluster| async move {
        let nodes = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
        let views = || nodes.each_ref().map(|node| node.snapshot().view().len());
        cluster.settle().await.unwrap();
        {
            let _larry = cluster.partition(&[&["larry"]]);
            cluster.settle().await.unwrap();
            assert_eq!(views(), [1, 2, 2]);
            let _gary = cluster.partition(&[&["gary"], &["mary"]]);
            cluster.settle().await.unwrap();
            assert_eq!(views(), [1, 1, 1]);
        }
        cluster.assert_converged().await;
        let cut = cluster.partition(&[&["larry"], &["gary"], &["mary"]]);
        cluster.settle().await.unwrap();
        assert_eq!(views(), [1, 1, 1]);
        cluster.heal();
        cluster.assert_converged().await;
        drop(cut);
        cluster.assert_converged().await;
    });
}

#[test]
fn a_node_that_stands_still_is_taken_for_dead_and_comes_back() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.pause("gary");
        cars(&gary).insert(&car(1), &1).unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(larry.snapshot().view(), ["larry"]);
        assert_eq!(gary.snapshot().view(), ["gary", "larry"], "it has seen nothing new");
        cluster.resume("gary");
        cluster.assert_converged().await;
        assert_eq!(cars(&larry).get(&car(1)), Some(1));
    });
}

#[test]
fn a_wrong_clock_is_a_host_s_own() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.set_skew_ms("larry", 60_000);
        let mut events = gary.events();
        cars(&larry).insert(&car(1), &1).unwrap();
        while !matches!(events.next().await.unwrap().unwrap(), Event::ClockAhead { .. }) {}
        cluster.assert_converged().await;
    });
}

/// The message of a panic.
fn panic_of(body: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(body).expect_err("it should have panicked");
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap()
}

#[test]
fn what_differs_can_be_read() {
    let text = panic_of(|| {
        TestCluster::run(3, |cluster| async move {
            let [larry, gary, mary] = cluster.start_all(["larry", "gary", "mary"], with_siren).await.unwrap();
            cluster.settle().await.unwrap();
            let _cut = cluster.partition(&[&["larry"]]);
            cluster.settle().await.unwrap();
            cars(&larry).insert(&car(1), &1).unwrap();
            (2..9).for_each(|number| cars(&mary).insert(&car(number), &number).unwrap());
            let text: Table<String, Lww<String>> = gary.table("drivers").unwrap();
            text.insert(&"north".into(), &"bruno".into()).unwrap();
            cluster.assert_converged().await;
        });
    });
    let expected = [
        "tests/all/test_cluster.rs",
        "seed 3: not one converged cluster after 120s of virtual time",
        "larry does not have gary and mary in its view",
        "views:\n  gary and mary: see gary and mary\n  larry: see larry",
        "role \"siren\":\n",
        "table \"cars\": 8 rows differ; rows: 7 at gary, 1 at larry and 7 at mary",
        "  \"B-AB 1\": nothing at gary and mary; 0x01 at larry",
        "  and 3 more",
        "table \"drivers\": 1 row differs; rows: 1 at gary, 0 at larry and 1 at mary\n  \"north\": nothing at larry; \"bruno\" at gary and mary",
    ];
    for piece in expected {
        assert!(text.contains(piece), "{piece:?} is not in\n{text}");
    }
}

fn with_siren(builder: Builder) -> Builder {
    let siren = |context: RoleContext| async move {
        context.stopped().await;
        Ok(())
    };
    builder.role_kind("siren", siren).role(RoleSpec::new("siren"))
}

#[test]
fn who_does_not_settle_is_named() {
    TestCluster::run(5, |cluster| async move {
        cluster.start("larry", |builder| builder).await.unwrap();
        let error = cluster.settle_within(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(error.to_string(), "seed 5: not settled after 1ms of virtual time: larry has not joined yet");
        cluster.settle().await.unwrap();
        let gary = cluster.start("gary", with_siren).await.unwrap();
        gary.ready(LONG).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.crash("gary");
        let error = cluster.settle_within(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.lags, ["larry still has gary in its view, out of its reach or not running"]);
    });
}

#[test]
fn an_application_starts_its_node_itself() {
    async fn application(builder: Builder) -> Result<Cluster, Box<dyn std::error::Error>> {
        let cluster = with_siren(builder).start().await?;
        cluster.ready(LONG).await?;
        Ok(cluster)
    }
    TestCluster::run(1, |cluster| async move {
        let larry = application(cluster.builder("larry")).await.unwrap();
        assert_eq!(larry.node().as_str(), "larry");
        assert_eq!(cluster.node("larry").replica(), larry.replica());
        let wrong = cluster.start("gary", |builder| builder.name("")).await.unwrap_err();
        assert_eq!(wrong.field(), "cluster");
        cluster.assert_converged().await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_test_may_bring_its_own_runtime() {
    let cluster = TestCluster::new(1);
    let [larry, _gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
    cluster.assert_converged().await;
    drop(cluster);
    tokio::task::yield_now().await;
    assert_eq!(larry.until(LONG, |_| false).await, Err(UntilError::Gone));
}

#[test]
fn mistakes_are_told() {
    let mistake = |body: fn(&TestCluster)| {
        panic_of(move || {
            TestCluster::run(1, |cluster| async move {
                cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
                cluster.crash("gary");
                body(&cluster);
            });
        })
    };
    let unknown = mistake(|cluster| drop(cluster.node("lary")));
    assert_eq!(unknown, "\"lary\" was never started; running: larry");
    let crashed = mistake(|cluster| cluster.crash("gary"));
    assert!(crashed.starts_with("\"gary\" does not run: it crashed or left"), "{crashed}");
    let released = mistake(|cluster| drop((cluster.release("larry"), cluster.node("larry"))));
    assert!(released.contains("its handles are yours"), "{released}");
    let twice = mistake(|cluster| drop(cluster.partition(&[&["larry"], &["larry"]])));
    assert!(twice.contains("two sides"), "{twice}");
    let again = panic_of(|| {
        TestCluster::run(1, |cluster| async move {
            cluster.start_all(["larry", "larry"], |builder| builder).await.unwrap();
        });
    });
    assert!(again.contains("\"larry\" runs already"), "{again}");
    let hangs = panic_of(|| TestCluster::run(1, |_cluster| std::future::pending()));
    assert!(hangs.contains("did not end within 86400s"), "{hangs}");
    let outside = panic_of(|| drop(TestCluster::new(1)));
    assert!(outside.contains("no tokio runtime"), "{outside}");
}
