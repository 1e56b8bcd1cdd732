//! Names, as applications see them: what `ready` says, which events come, and where the roles run.

use unisono::{Event, Phase, ReadyError};

use super::*;

fn with_gates(builder: Builder) -> Builder {
    let gates = (1..=4).map(|number| RoleSpec::new(format!("gate-{number}")).kind("gate"));
    gates.fold(builder.role_kind("gate", gate), Builder::role)
}

/// Where the gates run.
fn gates(cluster: &TestCluster) -> Vec<Vec<unisono::NodeId>> {
    (1..=4).map(|number| cluster.running(&format!("gate-{number}"))).collect()
}

#[test]
fn a_node_under_a_name_in_use_is_told_by_ready_and_nothing_moves() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, gary, mary] = cluster.start_all(["larry", "gary", "mary"], with_gates).await.unwrap();
        cluster.settle().await.unwrap();
        cluster.advance(Duration::from_secs(1)).await;
        let before = gates(&cluster);
        let (mut of_larry, mut of_gary) = (larry.events(), gary.events());
        let second = cluster.start_on("annex", "larry", with_gates).await.unwrap();
        let began = cluster.elapsed();
        let (node, address) = (larry.node().clone(), larry.address());
        assert_eq!(second.ready(LONG).await, Err(ReadyError::NameTaken { node, address }));
        let took = cluster.elapsed() - began;
        assert!(took < Duration::from_secs(2), "{took:?}");
        cluster.advance(Duration::from_secs(30)).await;
        assert_eq!(second.status().phase, Phase::Joining);
        cluster.crash("annex");
        cluster.advance(Duration::from_secs(10)).await;
        assert_eq!(gates(&cluster), before);
        let told = of_larry.next().await.unwrap().unwrap();
        assert!(matches!(told, Event::NameTaken { keeps: true, other, .. } if other == second.replica()), "{told:?}");
        mary.leave().await.unwrap();
        cluster.settle().await.unwrap();
        // Nothing was told before that.
        let first = of_gary.next().await.unwrap().unwrap();
        assert!(matches!(&first, Event::Left { node, .. } if node.as_str() == "mary"), "{first:?}");
    });
}

#[test]
fn a_node_that_crashed_or_left_is_replaced_on_another_host_at_once() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, ..] = cluster.start_all(["larry", "gary", "mary"], with_gates).await.unwrap();
        cluster.settle().await.unwrap();
        if cluster.seed() % 2 == 0 {
            cluster.crash("larry")
        } else {
            larry.leave().await.unwrap()
        }
        let began = cluster.elapsed();
        let moved = cluster.start_on("annex", "larry", with_gates).await.unwrap();
        moved.ready(LONG).await.unwrap();
        let took = cluster.elapsed() - began;
        assert!(took < Duration::from_millis(200), "{took:?}");
        cluster.settle().await.unwrap();
        assert!(gates(&cluster).iter().all(|hosts| hosts.len() == 1));
        assert_eq!(moved.snapshot().view(), ["gary", "larry", "mary"]);
    });
}

#[test]
fn a_node_that_stood_still_and_was_replaced_stops_its_roles_and_says_why() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        let [larry, ..] = cluster.start_all(["larry", "gary", "mary"], with_gates).await.unwrap();
        cluster.settle().await.unwrap();
        let mut events = larry.events();
        cluster.pause("larry");
        let moved = cluster.start_on("annex", "larry", with_gates).await.unwrap();
        moved.ready(Duration::from_secs(2)).await.unwrap();
        cluster.advance(Duration::from_secs(5)).await;
        cluster.resume("larry");
        let address = moved.address();
        larry.until(Duration::from_secs(2), |status| status.name_taken_by == Some(address)).await.unwrap();
        let node = larry.node().clone();
        assert_eq!(larry.ready(LONG).await, Err(ReadyError::NameTaken { node, address }));
        let told = async {
            loop {
                if let Some(Ok(Event::NameTaken { keeps, .. })) = events.next().await {
                    return keeps;
                }
            }
        };
        assert!(!told.await);
        let why = larry.converged_within(Duration::from_millis(200)).await.unwrap_err();
        assert!(why.to_string().contains("is called larry too"), "{why}");
        cluster.advance(Duration::from_secs(5)).await;
        assert!(gates(&cluster).iter().all(|hosts| hosts.len() == 1), "{:?}", gates(&cluster));
        cluster.crash("larry");
        cluster.settle().await.unwrap();
        assert_eq!(moved.snapshot().view(), ["gary", "larry", "mary"]);
    });
}

#[test]
fn of_two_that_were_started_on_the_two_sides_of_a_cut_the_earlier_stands() {
    TestCluster::run_seeds(0..10, |cluster| async move {
        cluster.start_all(["larry", "gary", "mary", "harry", "west", "east"], with_gates).await.unwrap();
        cluster.settle().await.unwrap();
        for host in ["west", "east"] {
            cluster.node(host).leave().await.unwrap();
        }
        let split = cluster.partition(&[&["larry", "gary", "west"], &["mary", "harry", "east"]]);
        cluster.settle().await.unwrap();
        let west = cluster.start_on("west", "carl", with_gates).await.unwrap();
        west.ready(LONG).await.unwrap();
        cluster.advance(Duration::from_secs(1)).await;
        let east = cluster.start_on("east", "carl", with_gates).await.unwrap();
        east.ready(LONG).await.unwrap();
        cluster.settle().await.unwrap();
        split.heal();
        let address = west.address();
        east.until(LONG, |status| status.name_taken_by == Some(address)).await.unwrap();
        cluster.crash("east");
        cluster.settle().await.unwrap();
        assert_eq!(west.status().name_taken_by, None);
        assert_eq!(west.snapshot().view(), ["carl", "gary", "harry", "larry", "mary"]);
        assert!(gates(&cluster).iter().all(|hosts| hosts.len() == 1));
    });
}
