//! The same seed tells the same story, in another process too.

use super::*;

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
    let test = "test_cluster::story::the_same_seed_tells_the_same_story_in_another_process_too";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(STORY, "7")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("the story: {trace:016x} {log:?}")), "{text}");
}
