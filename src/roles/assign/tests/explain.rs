//! Explanations: that they are of the decision itself, and what they say.

use super::*;

fn node(n: u64, zone: &str) -> Candidate {
    Candidate { labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]), ..candidate(n, &["k"]) }
}

fn of(explanation: &Explanation, n: u64) -> &Weighed {
    explanation.candidates.iter().find(|c| c.replica == ReplicaId(n)).unwrap()
}

#[test]
fn every_reason_is_told() {
    let mut candidates: Vec<_> = (1..=6).map(|n| node(n, if n < 5 { "a" } else { "b" })).collect();
    candidates[1].kinds.clear();
    candidates[2].labels.insert("zone".into(), "c".into());
    candidates[3].load = 7;
    let roles = [
        RoleSpec::new("b").kind("k").apart_from("r"),
        RoleSpec::new("q").kind("k").partition(PartitionPolicy::Quorum(9)),
        RoleSpec::new("r").kind("k").count(2).spread_over("zone").only_on("zone", "a"),
    ];
    let holdings = [running("b", 4, 10), claim("r", 1, 20, failed()), claim("r", 5, 20, ClaimState::Running)];
    let picture = Picture { candidates: &candidates, roles: &roles, holdings: &holdings, roster: 9 };
    let r = super::super::explain(&picture, "r").unwrap();
    // Node 4 is the only one left; `b` makes way, and its task has still to end.
    assert_eq!((r.wanted, r.assigned, r.held_back.as_ref()), (1, 0, None));
    assert!(of(&r, 4).waits);
    assert_eq!(of(&r, 2).obstacle, Some(Obstacle::Kind));
    assert!(matches!(&of(&r, 3).obstacle, Some(Obstacle::Label { has: Some(has), .. }) if has == "c"));
    assert_eq!(of(&r, 1).obstacle, Some(Obstacle::Failed { why: "no".into(), until_ms: 1 }));
    assert_eq!(of(&r, 4).load, 7);
    let b = super::super::explain(&picture, "b").unwrap();
    let host = b.candidates.first().unwrap();
    assert_eq!(host.chosen, Some(Chosen::MadeWay { from: candidates[3].node.clone(), role: "r".into() }));
    assert_eq!(of(&b, 4).given_up, Some(GivenUp::MakesWay { to: host.node.clone(), role: "r".into() }));
    let q = super::super::explain(&picture, "q").unwrap();
    let held_back = q.held_back.unwrap();
    assert_eq!((held_back.nodes, held_back.policy, q.wanted), (6, PartitionPolicy::Quorum(9), 0));
    assert_eq!(super::super::explain(&picture, "nobody"), None);
}

#[test]
fn a_person_can_read_it() {
    let candidates = [node(1, "a"), node(2, "a"), node(3, "b")];
    let roles = [RoleSpec::new("gate").kind("k").count(2).spread_over("zone")];
    let holdings = [running("gate", 1, 10), running("gate", 2, 20)];
    let picture = Picture { candidates: &candidates, roles: &roles, holdings: &holdings, roster: 3 };
    let text = super::super::explain(&picture, "gate").unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "role gate (k): 2 asked for, 2 can run, 2 assigned");
    assert!(lines[1].ends_with("not converged, 3 nodes of 3: node-01 node-02 node-03"), "{text}");
    assert_eq!(lines.len(), 6, "{text}");
    assert!(text.contains("instead of node-0") && text.contains("gives it to node-03"), "{text}");
    let starts: BTreeSet<_> = lines[2..].iter().map(|line| line.find("node")).collect();
    assert_eq!(starts.len(), 1, "columns stand below each other: {text}");
}

proptest! {
    /// It is the decision: what is chosen in the explanation is what is assigned, and everybody else has a reason.
    #[test]
    fn it_is_the_assignment(world in super::properties::rich(true, true, true)) {
        let assignment = assign(&world.picture());
        for spec in &world.roles {
            let explanation = super::super::explain(&world.picture(), &spec.name).unwrap();
            let mut chosen: Vec<_> =
                explanation.candidates.iter().filter(|c| c.chosen.is_some()).map(|c| c.replica).collect();
            chosen.sort();
            let mut hosts = assignment.hosts(&spec.name).to_vec();
            hosts.sort();
            prop_assert_eq!(chosen, hosts);
            prop_assert_eq!(explanation.candidates.len(), world.candidates.len());
            for one in &explanation.candidates {
                let holds = world.holds(&spec.name, one.replica);
                prop_assert_eq!(one.chosen == Some(Chosen::Incumbent), holds && one.chosen.is_some());
                let lost = holds && one.chosen.is_none();
                prop_assert!(!lost || one.given_up.is_some() || one.obstacle.is_some());
            }
            let json = serde_json::to_string(&explanation).unwrap();
            prop_assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
        }
    }
}
