//! How busy nodes are, and who is given work.

use unisono::{AllocationList, SignalsError};

use super::*;

unisono::signals! {
    /// What makes a node of these tests busy.
    struct Load {
        /// Requests under way.
        count requests: 0.5,
        percent disk: 1.0,
        amount queue: 1.0,
    }
}

unisono::signals! {
    /// Another part of the same application.
    struct Mail {
        amount queue: 1.0,
        pre_processed letters,
    }
}

unisono::signals! {
    /// A part that means something else by the same name.
    struct Other {
        amount letters: 1.0,
        percent queue: 1.0,
    }
}

/// Longer than it takes until everybody knows.
const TOLD: Duration = Duration::from_secs(3);

fn names(list: &AllocationList) -> Vec<&str> {
    list.iter().map(|load| load.node.as_str()).collect()
}

fn score(list: &AllocationList, node: &str) -> f64 {
    list.iter().find(|load| load.node.as_str() == node).unwrap().score
}

fn queue(cluster: &Cluster, length: f64) {
    cluster.signals::<Load>().unwrap().set_amount_queue(length).unwrap();
}

#[test]
fn the_busy_come_last_and_the_gone_are_not_there() {
    TestCluster::run(1, |cluster| async move {
        let nodes = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
        let [larry, gary, mary] = &nodes;
        assert_eq!((larry.allocate(), larry.allocation_list().len()), (None, 0), "it is joining");
        cluster.settle().await.unwrap();
        assert_eq!(names(&larry.allocation_list()), ["gary", "larry", "mary"], "nobody is busy");
        assert!(larry.allocation_list().iter().all(|load| load.score == 0.0 && load.parts.is_empty()));

        let load: Load = larry.signals().unwrap();
        let requests: Vec<_> = (0..20).map(|_| load.hold_requests()).collect();
        queue(gary, 2.0);
        queue(mary, 1.0);
        cluster.advance(TOLD).await;
        cluster.assert_converged().await;
        let list = larry.allocation_list();
        assert_eq!(names(&list), ["mary", "gary", "larry"]);
        assert_eq!((list[0].score, list[1].score, list[2].score), (1.0, 2.0, 10.0));
        assert!(nodes.iter().all(|node| node.allocation_list() == list), "all see the same");
        assert_eq!(gary.allocate().unwrap().address, mary.address());

        let zoe = cluster.start("zoe", |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        for node in [larry, gary, mary, &zoe] {
            assert_eq!(names(&node.allocation_list()), ["zoe", "mary", "gary", "larry"], "a new node is first");
            assert_eq!(node.allocate().unwrap().score, 0.0);
        }

        drop(requests);
        cluster.advance(TOLD).await;
        assert_eq!(names(&zoe.allocation_list()), ["larry", "zoe", "mary", "gary"], "it is busy no more");

        cluster.crash("zoe");
        cluster.settle().await.unwrap();
        assert_eq!(names(&gary.allocation_list()), ["larry", "mary", "gary"]);
        assert_eq!(zoe.allocate(), None);
        larry.leave().await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(names(&gary.allocation_list()), ["mary", "gary"]);
        assert_eq!((larry.allocate(), larry.allocate_spread()), (None, None));

        // Whoever comes back knows nothing of its former load.
        let larry = cluster.restart("larry").await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(names(&gary.allocation_list()), ["larry", "mary", "gary"]);
        assert_eq!(larry.allocation_list(), gary.allocation_list());
    });
}

#[test]
fn a_partition_allocates_within_its_side() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary, mary] = cluster.start_all(["larry", "gary", "mary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        queue(&larry, 5.0);
        queue(&mary, 1.0);
        cluster.advance(TOLD).await;
        let split = cluster.partition(&[&["larry"]]);
        cluster.settle().await.unwrap();
        assert_eq!(names(&larry.allocation_list()), ["larry"]);
        assert_eq!(names(&gary.allocation_list()), ["gary", "mary"]);
        queue(&larry, 0.0);
        cluster.advance(TOLD).await;
        split.heal();
        cluster.assert_converged().await;
        assert_eq!(names(&mary.allocation_list()), ["gary", "larry", "mary"]);
        assert_eq!(score(&mary.allocation_list(), "larry"), 0.0, "what it told meanwhile came over");
    });
}

#[test]
fn a_node_tells_once_a_second_at_most_and_nothing_while_nothing_changes() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let owners = || gary.snapshot().digest.owners;
        let quiet = owners();
        cluster.advance(Duration::from_secs(60)).await;
        assert_eq!(owners(), quiet, "a node without signals writes no rows");

        let (mut before, mut rows, mut last) = (owners(), 0, None);
        for step in 0..600_u32 {
            queue(&larry, f64::from(step % 2) * 100.0 + f64::from(step % 7));
            cluster.advance(Duration::from_millis(100)).await;
            let now = owners();
            if now != before {
                rows += 1;
                let at = cluster.elapsed();
                // As seen from the other node, a tenth of a second more or less.
                assert!(last.is_none_or(|last| at - last >= Duration::from_millis(850)), "{last:?} {at:?}");
                (before, last) = (now, Some(at));
            }
        }
        assert!((40..=61).contains(&rows), "{rows} rows in a minute");

        queue(&larry, 10.0);
        cluster.advance(TOLD).await;
        // And the load, by which roles are placed.
        cluster.advance(Duration::from_secs(20)).await;
        let quiet = owners();
        for step in 0..600_u32 {
            queue(&larry, 9.0 + f64::from(step % 3));
            cluster.advance(Duration::from_millis(100)).await;
        }
        assert_eq!(owners(), quiet, "a tenth more or less is not worth telling");
        assert_eq!(score(&gary.allocation_list(), "larry"), 10.0);
    });
}

#[test]
fn hosted_roles_count() {
    TestCluster::run(1, |cluster| async move {
        let [larry, gary] = cluster.start_all(["larry", "gary"], with_gate).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.running("gate").remove(0);
        let list = larry.allocation_list();
        assert_eq!(list, gary.allocation_list());
        assert_eq!((&list[1].node, list[1].score), (&host, 0.1));
        assert_eq!(list[0].score, 0.0);
        assert_eq!(list[1].to_string(), format!("{host} 0.10 (roles 1 × 0.1 = 0.10)"));
        cluster.crash(host.as_str());
        cluster.settle().await.unwrap();
        let stays = if &host == larry.node() { gary } else { larry };
        assert_eq!(stays.allocate().map(|load| load.score), Some(0.1), "the role runs here now");
    });
}

#[test]
fn several_sets_of_signals_add_up_unless_they_contradict() {
    TestCluster::run(1, |cluster| async move {
        let larry = cluster.start("larry", |builder| builder).await.unwrap();
        // Also before the node is ready.
        let (load, mail) = (larry.signals::<Load>().unwrap(), larry.signals::<Mail>().unwrap());
        load.set_amount_queue(1.0).unwrap();
        mail.set_amount_queue(3.0).unwrap();
        mail.pre_processed_letters(4.0).unwrap();
        assert!(load.percent_disk(f64::NAN).is_err() && load.percent_disk(101.0).is_err());
        assert!(mail.pre_processed_letters(-1.0).is_err() && mail.pre_processed_letters(f64::INFINITY).is_err());
        let error = larry.signals::<Other>().unwrap_err();
        assert!(matches!(error, SignalsError::Conflict { name: "letters", .. }), "{error}");
        cluster.settle().await.unwrap();
        cluster.advance(TOLD).await;
        assert_eq!(larry.allocate().unwrap().score, 7.0, "{}", larry.allocation_list());
        load.decrement_requests();
        load.increment_requests();
        load.percent_disk(100.0).unwrap();
        cluster.advance(TOLD).await;
        let parts: Vec<_> = larry.allocate().unwrap().parts.iter().map(ToString::to_string).collect();
        let expected = ["disk 100.0 % = 148.41", "letters 4.00", "queue 3.00 × 1 = 3.00", "requests 1 × 0.5 = 0.50"];
        assert_eq!(parts, expected);
    });
}

#[test]
fn spreading_leaves_out_the_busiest_and_is_the_same_for_a_seed() {
    let given = || {
        TestCluster::run(7, |cluster| async move {
            let nodes = cluster.start_all(["larry", "gary", "mary", "zoe"], |builder| builder).await.unwrap();
            cluster.settle().await.unwrap();
            for (length, node) in nodes.iter().enumerate() {
                queue(node, f64::from(u32::try_from(length).unwrap()));
            }
            cluster.advance(TOLD).await;
            let take = |_| nodes[0].allocate_spread().unwrap().node.to_string();
            (0..1_200).map(take).collect::<Vec<_>>()
        })
    };
    let first = given();
    let count = |name: &str| first.iter().filter(|node| *node == name).count();
    let shares = ["larry", "gary", "mary", "zoe"].map(count);
    // 1/2, 1/3, 1/6 and nothing.
    for (share, expected) in shares.into_iter().zip([600, 400, 200, 0]) {
        assert!(share.abs_diff(expected) <= expected / 4, "{shares:?}");
    }
    assert_eq!(given(), first);
}
