//! What is explained and foretold, against what then happens.

use std::collections::BTreeMap;

use unisono::{Chosen, ExplainError, Move, NewNode, NodeId, Obstacle, WhatIf, WhatIfError};

use super::*;

const GATES: usize = 9;

fn gate(number: usize) -> String {
    format!("gate-{number}")
}

fn setup(builder: Builder) -> Builder {
    let gate_task = |context: RoleContext| async move {
        context.stopped().await;
        Ok(())
    };
    (1..=GATES).fold(builder.role_kind("gate", gate_task), |builder, number| {
        builder.role(RoleSpec::new(gate(number)).kind("gate"))
    })
}

/// Who runs each gate.
fn running(cluster: &TestCluster) -> BTreeMap<String, NodeId> {
    let host = |number| (gate(number), cluster.running(&gate(number)).pop().unwrap());
    (1..=GATES).map(host).collect()
}

/// The gates that run elsewhere than before.
fn moved(before: &BTreeMap<String, NodeId>, after: &BTreeMap<String, NodeId>) -> Vec<Move> {
    let changed = before.iter().filter(|(role, from)| after[*role] != **from);
    let one = |(role, from): (&String, &NodeId)| Move {
        role: role.clone(),
        from: Some(from.clone()),
        to: Some(after[role].clone()),
    };
    changed.map(one).collect()
}

#[test]
fn what_would_move_is_what_then_moves() {
    for seed in 1..=5 {
        TestCluster::run(seed, |cluster| async move {
            cluster.start_all(["larry", "gary", "harry", "barry"], setup).await.unwrap();
            cluster.settle().await.unwrap();
            // What was moved while they came is free to move again, and comes to rest.
            cluster.advance(Duration::from_secs(130)).await;
            cluster.settle().await.unwrap();
            let larry = cluster.node("larry");
            assert_eq!(larry.what_if(WhatIf::new()).await.unwrap(), []);

            let before = running(&cluster);
            let change = WhatIf::new().without_node("harry".parse().unwrap());
            let foretold = larry.what_if(change).await.unwrap();
            cluster.crash("harry");
            cluster.settle().await.unwrap();
            let after = running(&cluster);
            assert_eq!(foretold, moved(&before, &after), "seed {seed}");
            assert!(!foretold.is_empty());

            let before = after;
            let change = WhatIf::new().with_node(NewNode::new("terry".parse().unwrap(), ["gate"]));
            let foretold = larry.what_if(change).await.unwrap();
            cluster.start("terry", setup).await.unwrap();
            cluster.settle().await.unwrap();
            assert_eq!(foretold, moved(&before, &running(&cluster)), "seed {seed}");
        });
    }
}

#[test]
fn every_node_explains_alike_and_says_why() {
    TestCluster::run(1, |cluster| async move {
        cluster.start_all(["larry", "gary"], setup).await.unwrap();
        cluster.start("idle", |builder| builder).await.unwrap();
        cluster.settle().await.unwrap();
        let explained = cluster.node("larry").explain("gate-1").await.unwrap();
        assert_eq!(explained, cluster.node("idle").explain("gate-1").await.unwrap());
        assert!(explained.converged);
        assert_eq!((explained.view.len(), explained.wanted, explained.assigned), (3, 1, 1));
        let host = &explained.candidates[0];
        assert_eq!(
            (host.chosen.as_ref(), vec![host.node.clone()]),
            (Some(&Chosen::Incumbent), cluster.running("gate-1"))
        );
        let idle = explained.candidates.iter().find(|one| one.node.as_str() == "idle").unwrap();
        assert_eq!(idle.obstacle, Some(Obstacle::Kind));
        let text = explained.to_string();
        assert!(text.contains("cannot build the kind") && text.contains(&explained.fingerprint), "{text}");

        let nobody = cluster.node("gary").explain("nobody").await.unwrap_err();
        assert_eq!(nobody, ExplainError::NoSuchRole { role: "nobody".to_owned() });
        let stranger: NodeId = "stranger".parse().unwrap();
        let refused = cluster.node("gary").what_if(WhatIf::new().without_node(stranger.clone())).await;
        assert_eq!(refused, Err(WhatIfError::NoSuchNode { node: stranger }));
    });
}
