//! Where roles are placed, and how they come to lie evenly: by what users see, without a look inside.

use std::collections::{BTreeMap, BTreeSet};

use unisono::{Balance, Chosen, Event, WhatIf};

use super::*;

unisono::signals! {
    /// What makes a node of these tests busy.
    struct Work {
        amount backlog: 1.0,
    }
}

/// Longer than calm, saying so, and a few moves take.
const CALM: Duration = Duration::from_secs(20);

async fn idle(context: RoleContext) -> Result<(), unisono::RoleError> {
    context.stopped().await;
    Ok(())
}

fn gate_name(number: usize) -> String {
    format!("gate-{number:03}")
}

/// A node that can run gates, and asks for so many.
fn gates(builder: Builder, count: usize) -> Builder {
    (0..count).fold(builder.role_kind("gate", idle), |builder, number| {
        builder.role(RoleSpec::new(gate_name(number)).kind("gate"))
    })
}

/// Who runs each gate.
fn hosts(cluster: &TestCluster, count: usize) -> Vec<String> {
    let host = |number| cluster.running(&gate_name(number)).pop().map(|node| node.to_string());
    (0..count).map(|number| host(number).unwrap_or_default()).collect()
}

/// How many gates run on each node, the highest first.
fn shares(cluster: &TestCluster, count: usize) -> Vec<usize> {
    let mut nodes = BTreeMap::<String, usize>::new();
    hosts(cluster, count).into_iter().for_each(|host| *nodes.entry(host).or_default() += 1);
    let mut shares: Vec<usize> = nodes.into_values().collect();
    shares.sort_unstable_by(|a, b| b.cmp(a));
    shares
}

fn work(cluster: &Cluster, length: f64) {
    cluster.signals::<Work>().unwrap().set_amount_backlog(length).unwrap();
}

/// Lets time pass, a second at a time, and counts how often each gate moved; none is ever away for a whole second.
async fn moves_within(cluster: &TestCluster, count: usize, span: Duration) -> Vec<usize> {
    let (mut moves, mut before) = (vec![0; count], hosts(cluster, count));
    for _ in 0..span.as_secs() {
        cluster.advance(Duration::from_secs(1)).await;
        let now = hosts(cluster, count);
        for number in 0..count {
            moves[number] += usize::from(now[number] != before[number]);
        }
        before = now;
    }
    moves
}

async fn start(cluster: &TestCluster, names: &[&str], count: usize, balance: Balance) {
    for name in names {
        cluster.start(name, move |builder| gates(builder, count).balance(balance)).await.unwrap();
    }
    cluster.settle().await.unwrap();
}

/// Four gates on the first node, two join, and the first crashes: what it had goes to the less busy of the two, whatever
/// they had from it.
#[test]
fn orphans_go_to_the_least_busy() {
    TestCluster::run_seeds(0..60, |cluster| async move {
        let balance = [Balance::Even, Balance::Sticky, Balance::Off][usize::try_from(cluster.seed() % 3).unwrap()];
        start(&cluster, &["larry"], 4, balance).await;
        start(&cluster, &["gary", "mary"], 4, balance).await;
        if cluster.seed() % 2 == 0 {
            cluster.advance(CALM).await;
        }
        cluster.crash("larry");
        cluster.settle().await.unwrap();
        assert_eq!(shares(&cluster, 4), [2, 2], "seed {}, {balance}", cluster.seed());
    });
}

/// A load is published within a second of the change, and counts for the next placement, as it does for `allocate()`.
#[test]
fn a_node_that_is_busy_for_two_seconds_is_given_nothing() {
    for seed in 0..5 {
        TestCluster::run(seed, |cluster| async move {
            start(&cluster, &["larry", "gary", "mary"], 0, Balance::Even).await;
            cluster.advance(CALM).await;
            work(&cluster.node("gary"), 50.0);
            cluster.advance(Duration::from_secs(2)).await;
            assert_eq!(cluster.node("larry").allocation_list().last().unwrap().node.as_str(), "gary");
            for number in 0..24 {
                cluster.node("larry").add_role(RoleSpec::new(gate_name(number)).kind("gate")).await.unwrap();
            }
            cluster.settle().await.unwrap();
            assert_eq!(shares(&cluster, 24), [12, 12], "seed {seed}: {:?}", hosts(&cluster, 24));
            assert!(!hosts(&cluster, 24).contains(&"gary".to_owned()));
            let explained = cluster.node("larry").explain(gate_name(0)).await.unwrap();
            let gary = explained.candidates.iter().find(|one| one.node.as_str() == "gary").unwrap();
            assert_eq!((gary.hosted, gary.load, gary.busy), (0, 28, 515));

            // It is busy no more: calm shares the roles out again.
            work(&cluster.node("gary"), 0.0);
            cluster.advance(Duration::from_secs(60)).await;
            assert_eq!(shares(&cluster, 24), [8, 8, 8]);
        });
    }
}

/// Loads that move all the time: the cluster stays converged, and nothing moves.
#[test]
fn a_load_that_moves_costs_no_agreement_and_no_move() {
    TestCluster::run(3, |cluster| async move {
        start(&cluster, &["larry", "gary", "mary"], 10, Balance::Even).await;
        // By then what was moved is free to move again.
        cluster.advance(Duration::from_secs(130)).await;
        let before = hosts(&cluster, 10);
        let agreed = |cluster: &TestCluster| cluster.node("larry").status().fingerprint.clone();
        let fingerprint = agreed(&cluster);
        for step in 0..120_u32 {
            for (name, factor) in [("larry", 7), ("gary", 11), ("mary", 13)] {
                work(&cluster.node(name), f64::from(step * factor % 17) * 5.0);
            }
            cluster.advance(Duration::from_millis(500)).await;
            assert_eq!(agreed(&cluster), fingerprint, "step {step}");
            assert!(cluster.node("gary").status().agreed);
        }
        assert_eq!(hosts(&cluster, 10), before);
        // And a crash in the middle of it is answered as fast as ever.
        cluster.crash("mary");
        let took = cluster.settle().await.unwrap();
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn eight_on_four_and_six_on_six_lie_evenly() {
    for (count, nodes, expected) in [(8, 4, vec![2; 4]), (6, 6, vec![1; 6])] {
        TestCluster::run_seeds(0..4, |cluster| {
            let expected = expected.clone();
            async move {
                let names = ["larry", "gary", "mary", "harry", "barry", "terry"];
                start(&cluster, &names[..nodes], count, Balance::Even).await;
                let moves = moves_within(&cluster, count, Duration::from_secs(40)).await;
                assert_eq!(shares(&cluster, count), expected, "seed {}", cluster.seed());
                assert!(moves.iter().all(|moves| *moves <= 1), "{moves:?}");
                assert_eq!(cluster.node("larry").what_if(WhatIf::new()).await.unwrap(), []);
            }
        });
    }
}

#[test]
fn thirty_on_three_are_even_again_two_minutes_after_a_crash_and_a_restart() {
    TestCluster::run_seeds(0..6, |cluster| async move {
        start(&cluster, &["larry", "gary", "mary"], 30, Balance::Even).await;
        cluster.advance(Duration::from_secs(130)).await;
        assert_eq!(shares(&cluster, 30), [10, 10, 10]);
        cluster.crash("mary");
        cluster.settle().await.unwrap();
        assert_eq!(shares(&cluster, 30), [15, 15], "its orphans go to the less busy");
        cluster.restart("mary").await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(shares(&cluster, 30), [15, 15], "not while members come and go");
        let moves = moves_within(&cluster, 30, Duration::from_secs(120)).await;
        assert_eq!(shares(&cluster, 30), [10, 10, 10]);
        assert_eq!((moves.iter().sum::<usize>(), moves.iter().max()), (10, Some(&1)));
    });
}

#[test]
fn five_hundred_on_three_lie_evenly() {
    TestCluster::run(1, |cluster| async move {
        start(&cluster, &["larry", "gary", "mary"], 500, Balance::Even).await;
        let moves = moves_within(&cluster, 500, Duration::from_secs(60)).await;
        assert_eq!(shares(&cluster, 500), [167, 167, 166]);
        assert!(moves.iter().all(|moves| *moves <= 1));
    });
}

/// A role that was moved stays for a minute, so that also what comes and goes every half minute moves none twice in one.
#[test]
fn nothing_moves_while_members_come_and_go() {
    TestCluster::run(2, |cluster| async move {
        start(&cluster, &["larry", "gary"], 12, Balance::Even).await;
        cluster.advance(Duration::from_secs(90)).await;
        let before = hosts(&cluster, 12);
        for _ in 0..6 {
            start(&cluster, &["mary"], 12, Balance::Even).await;
            cluster.advance(Duration::from_secs(7)).await;
            cluster.crash("mary");
            cluster.settle().await.unwrap();
            assert_eq!(hosts(&cluster, 12), before);
        }
        start(&cluster, &["mary"], 12, Balance::Even).await;
        let explained = cluster.node("gary").explain(gate_name(3)).await.unwrap();
        assert!(!explained.calm && explained.uneven && explained.balance == Balance::Even);
        assert!(explained.to_string().contains("balance even, roles move once"), "{explained}");
        let foretold = cluster.node("gary").what_if(WhatIf::new()).await.unwrap();
        assert_eq!(foretold.len(), 4);
        cluster.advance(CALM).await;
        assert_eq!(shares(&cluster, 12), [4, 4, 4]);
        let now = hosts(&cluster, 12);
        let moved: BTreeSet<_> = (0..12).filter(|gate| now[*gate] != before[*gate]).map(gate_name).collect();
        assert_eq!(moved, foretold.into_iter().map(|one| one.role).collect());
    });
}

#[test]
fn with_off_the_first_node_keeps_what_it_has_when_others_join() {
    TestCluster::run(1, |cluster| async move {
        start(&cluster, &["larry"], 4, Balance::Off).await;
        start(&cluster, &["gary", "mary"], 4, Balance::Off).await;
        cluster.advance(Duration::from_secs(180)).await;
        assert_eq!(hosts(&cluster, 4), ["larry"; 4]);
        let larry = cluster.node("larry");
        assert_eq!(larry.what_if(WhatIf::new()).await.unwrap(), []);
        let explained = larry.explain(gate_name(0)).await.unwrap();
        assert_eq!((explained.balance, explained.uneven), (Balance::Off, false));
        assert_eq!(explained.candidates[0].chosen, Some(Chosen::Incumbent));
        larry.leave().await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(shares(&cluster, 4), [2, 2]);
    });
}

/// The one that moves the least counts for all, and those that want otherwise are told.
#[test]
fn one_balance_counts_for_all() {
    TestCluster::run(1, |cluster| async move {
        start(&cluster, &["larry"], 6, Balance::Even).await;
        let mut events = cluster.node("larry").events();
        start(&cluster, &["gary"], 6, Balance::Off).await;
        cluster.advance(CALM).await;
        assert_eq!(hosts(&cluster, 6), ["larry"; 6]);
        let told = loop {
            let event = events.next().await.unwrap().unwrap();
            if matches!(event, Event::BalanceDiffers { .. }) {
                break event;
            }
        };
        let expected = Event::BalanceDiffers { standing: Balance::Off, declared: Balance::Even };
        assert_eq!(told, expected);
        cluster.node("gary").leave().await.unwrap();
        start(&cluster, &["mary"], 6, Balance::Even).await;
        cluster.advance(CALM).await;
        assert_eq!(shares(&cluster, 6), [3, 3]);
    });
}
