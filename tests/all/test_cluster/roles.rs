//! Role tasks that panic or overrun their stop grace.

use unisono::Event;

use super::*;

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
