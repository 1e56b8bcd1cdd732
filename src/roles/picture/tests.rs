//! That the description covers what assignment reads, and no more.

use super::*;
use crate::id::NodeId;
use crate::roles::FencingToken;
use crate::time::Stamp;

#[derive(Clone)]
struct Owned {
    candidates: Vec<Candidate>,
    roles: Vec<RoleSpec>,
    holdings: Vec<Holding>,
    roster: usize,
}

impl Owned {
    fn new() -> Self {
        let candidate = |n: u64| Candidate {
            node: NodeId::new(format!("node-{n}")).unwrap(),
            replica: ReplicaId(n),
            kinds: BTreeSet::from(["k".to_owned()]),
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            load: 0,
        };
        let token = FencingToken { stamp: Stamp(5), replica: ReplicaId(1) };
        let claim = Claim { token, state: ClaimState::Starting, pinned: false, handed: None };
        Self {
            candidates: vec![candidate(1), candidate(2)],
            roles: vec![RoleSpec::new("r").kind("k")],
            holdings: vec![Holding { role: "r".into(), holder: ReplicaId(1), claim }],
            roster: 2,
        }
    }

    fn described(&self) -> Vec<(bool, Vec<u8>)> {
        let mut pieces = Vec::new();
        let Self { candidates, roles, holdings, roster } = self;
        let picture = Picture { candidates, roles, holdings, roster: *roster };
        picture.describe(|section, piece| pieces.push((section, piece.to_vec())));
        pieces
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

fn state(state: ClaimState) -> impl FnOnce(&mut Owned) {
    move |picture| picture.holdings[0].claim.state = state
}

#[test]
fn whatever_assignment_could_see_changes_the_description() {
    let (base, to) = (Owned::new(), ReplicaId(2));
    let changes = [
        base.with(|p| p.candidates[0].node = NodeId::new("other").unwrap()),
        base.with(|p| p.candidates[1].replica = ReplicaId(3)),
        base.with(|p| p.candidates[0].kinds.clear()),
        base.with(|p| p.candidates[0].labels.clear()),
        base.with(|p| drop(p.candidates[0].labels.insert("zone".into(), "b".into()))),
        base.with(|p| p.candidates[0].load = 1),
        base.with(|p| drop(p.candidates.pop())),
        base.with(|p| p.roles.clear()),
        base.with(|p| p.roles[0].count = 2),
        base.with(|p| p.roles[0].revision = 1),
        base.with(|p| p.roles[0].arguments = "x".into()),
        base.with(|p| p.roles[0] = p.roles[0].clone().only_on("zone", "a")),
        base.with(|p| p.roles[0] = p.roles[0].clone().apart_from("s")),
        base.with(|p| p.roles[0] = p.roles[0].clone().spread_over("zone")),
        base.with(|p| p.roles[0].partition = PartitionPolicy::Quorum(1)),
        base.with(|p| p.roles[0].restarts.max_failures = 1),
        base.with(|p| p.roles[0].stop_grace_ms = Some(1)),
        base.with(|p| p.holdings.clear()),
        base.with(|p| p.holdings[0].role = "s".into()),
        base.with(|p| p.holdings[0].holder = ReplicaId(2)),
        base.with(|p| p.holdings[0].claim.token.stamp = Stamp(6)),
        base.with(|p| p.holdings[0].claim.pinned = true),
        base.with(state(ClaimState::Yielding { to })),
        base.with(state(ClaimState::Draining { to: None })),
        base.with(state(ClaimState::Draining { to: Some(to) })),
        base.with(state(ClaimState::Stopped { to: Some(to) })),
        base.with(state(ClaimState::Failed { why: "no".into(), until_ms: 1 })),
    ];
    let mut seen = BTreeSet::from([base.described()]);
    for (n, changed) in changes.iter().enumerate() {
        assert!(seen.insert(changed.described()), "change {n} is not seen");
    }
}

#[test]
fn what_assignment_treats_alike_is_described_alike() {
    let base = Owned::new();
    let alike = |one: Owned, other: Owned| assert_eq!(one.described(), other.described());
    alike(base.clone(), base.with(state(ClaimState::Running)));
    alike(base.clone(), base.with(|p| p.holdings[0].claim.handed = Some(vec![1].into())));
    let failed = |why: &str, until_ms| ClaimState::Failed { why: why.to_owned(), until_ms };
    alike(base.with(state(failed("one", 1))), base.with(state(failed("other", 2))));
    alike(base.clone(), base.with(|p| p.roster = 3));
    let majority = base.with(|p| p.roles[0].partition = PartitionPolicy::Majority);
    assert_ne!(majority.described(), majority.with(|p| p.roster = 3).described());
}
