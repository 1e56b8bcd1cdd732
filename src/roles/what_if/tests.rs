//! What would move, against what then moves.

use super::*;

fn node(n: u64) -> Candidate {
    Candidate {
        node: name(n),
        replica: ReplicaId(n),
        kinds: BTreeSet::from(["k".to_owned()]),
        labels: BTreeMap::new(),
        load: 0,
    }
}

fn name(n: u64) -> NodeId {
    NodeId::new(format!("node-{n:02}")).unwrap()
}

/// So many nodes and roles, at rest.
fn cluster(nodes: u64, roles: usize) -> Supposed {
    let roles = (0..roles).map(|n| RoleSpec::new(format!("role-{n:02}")).kind("k")).collect();
    let mut cluster = Supposed { candidates: (1..=nodes).map(node).collect(), roles, holdings: Vec::new(), roster: 9 };
    let assignment = assign(&cluster.picture());
    cluster.carry_out(&assignment);
    cluster
}

fn held(cluster: &Supposed, n: u64) -> BTreeSet<String> {
    cluster.holdings.iter().filter(|h| h.holder == ReplicaId(n)).map(|h| h.role.clone()).collect()
}

#[test]
fn a_lost_node_loses_what_it_has_and_nothing_else_moves() {
    let cluster = cluster(4, 12);
    let moves = what_if(&cluster.picture(), &WhatIf::new().without_node(name(2))).unwrap();
    assert!(moves.iter().all(|one| one.from == Some(name(2)) && one.to.is_some()));
    assert_eq!(moves.into_iter().map(|one| one.role).collect::<BTreeSet<_>>(), held(&cluster, 2));
    assert_eq!(what_if(&cluster.picture(), &WhatIf::new()).unwrap(), []);
}

#[test]
fn a_new_node_takes_what_is_too_much() {
    let cluster = cluster(1, 4);
    let moves = what_if(&cluster.picture(), &WhatIf::new().with_node(NewNode::new(name(2), ["k"]))).unwrap();
    assert_eq!(moves.len(), 1);
    assert_eq!((&moves[0].from, &moves[0].to), (&Some(name(1)), &Some(name(2))));
    let useless = WhatIf::new().with_node(NewNode::new(name(2), ["other"]).label("zone", "a").load(3));
    assert_eq!(what_if(&cluster.picture(), &useless).unwrap(), []);
}

#[test]
fn counts_roles_and_loads() {
    let cluster = cluster(3, 2);
    let more = what_if(&cluster.picture(), &WhatIf::new().count("role-00", 3)).unwrap();
    assert_eq!(more.len(), 2);
    assert!(more.iter().all(|one| one.role == "role-00" && one.from.is_none() && one.to.is_some()));
    let gone = what_if(&cluster.picture(), &WhatIf::new().remove_role("role-01")).unwrap();
    assert_eq!(gone.len(), 1);
    assert!(gone[0].from.is_some() && gone[0].to.is_none());
    // Weights move nothing by themselves; they say where something new goes.
    let new = WhatIf::new().add_role(RoleSpec::new("role-02").kind("k"));
    let to = what_if(&cluster.picture(), &new).unwrap()[0].to.clone().unwrap();
    assert_eq!(what_if(&cluster.picture(), &WhatIf::new().load(to.clone(), 40)).unwrap(), []);
    let busy = what_if(&cluster.picture(), &new.load(to.clone(), 40)).unwrap();
    assert_ne!(busy[0].to, Some(to));
}

/// `b` has to leave the only node that `a` can run on before `a` comes: two steps.
#[test]
fn it_goes_on_until_all_is_at_rest() {
    let mut cluster = cluster(2, 0);
    cluster.candidates[0].labels.insert("only".into(), "1".into());
    cluster.roles = vec![RoleSpec::new("b").kind("k").only_on("only", "1")];
    let assignment = assign(&cluster.picture());
    cluster.carry_out(&assignment);
    cluster.roles[0].requires.clear();
    let new = RoleSpec::new("a").kind("k").only_on("only", "1").apart_from("b");
    let moves = what_if(&cluster.picture(), &WhatIf::new().add_role(new)).unwrap();
    let expected = [("a", None, Some(name(1))), ("b", Some(name(1)), Some(name(2)))];
    assert_eq!(moves, expected.map(|(role, from, to)| Move { role: role.to_owned(), from, to }));
}

/// What was moved a short time ago is taken to be free to move again.
#[test]
fn pins_are_over() {
    let mut cluster = cluster(1, 4);
    cluster.candidates.push(node(2));
    cluster.holdings.iter_mut().for_each(|holding| holding.claim.pinned = true);
    assert_eq!(what_if(&cluster.picture(), &WhatIf::new()).unwrap().len(), 1);
}

#[test]
fn what_is_not_there_cannot_be_supposed_away() {
    let cluster = cluster(2, 1);
    let refused = |change: WhatIf| what_if(&cluster.picture(), &change).unwrap_err();
    assert_eq!(refused(WhatIf::new().without_node(name(9))), WhatIfError::NoSuchNode { node: name(9) });
    assert_eq!(refused(WhatIf::new().load(name(9), 1)), WhatIfError::NoSuchNode { node: name(9) });
    assert_eq!(
        refused(WhatIf::new().with_node(NewNode::new(name(1), ["k"]))),
        WhatIfError::NodeExists { node: name(1) }
    );
    assert_eq!(refused(WhatIf::new().count("x", 1)), WhatIfError::NoSuchRole { role: "x".into() });
    assert_eq!(refused(WhatIf::new().remove_role("x")), WhatIfError::NoSuchRole { role: "x".into() });
    assert!(matches!(refused(WhatIf::new().count("role-00", 0)), WhatIfError::Role(_)));
}
