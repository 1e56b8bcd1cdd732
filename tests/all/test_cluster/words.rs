//! What a test is told: differences, who does not settle, mistakes.

use unisono::UntilError;

use super::*;

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
        "tests/all/test_cluster/words.rs",
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
