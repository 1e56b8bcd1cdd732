//! What is told of roles besides what runs where: those that no node can run, and those that a node gave up.

use std::collections::BTreeMap;

use super::drawn::Drawn;
use super::event::Unplaced;
use super::{Engine, Event};
use crate::id::{NodeId, ReplicaId};
use crate::roles::{Candidate, ClaimState, FencingToken, Holding, PartitionPolicy, RoleSpec};

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Told {
    unplaced: BTreeMap<String, Unplaced>,
    /// Who gave up which role, and which instance of it.
    gave_up: BTreeMap<(String, ReplicaId), FencingToken>,
}

/// Whether a member can host a role at all: it can build it and has the labels that it asks for.
fn is_able(candidate: &Candidate, spec: &RoleSpec) -> bool {
    let has = |(label, value): (&String, &String)| candidate.labels.get(label) == Some(value);
    candidate.kinds.contains(&spec.kind) && spec.requires.iter().all(has)
}

impl Drawn {
    /// The claims on a role.
    pub(super) fn claims_of(&self, role: &str) -> &[Holding] {
        let start = self.holdings.partition_point(|holding| holding.role.as_str() < role);
        let rest = &self.holdings[start..];
        &rest[..rest.partition_point(|holding| holding.role == role)]
    }

    /// The name of a member of the view.
    pub(super) fn node(&self, replica: ReplicaId) -> Option<&NodeId> {
        self.candidates.iter().find(|candidate| candidate.replica == replica).map(|candidate| &candidate.node)
    }

    /// How many members of the view can host a role at all.
    pub(super) fn able(&self, spec: &RoleSpec) -> usize {
        self.candidates.iter().filter(|candidate| is_able(candidate, spec)).count()
    }

    /// Why a role has no place anywhere, if it has none.
    pub(super) fn unplaced(&self, spec: &RoleSpec) -> Option<Unplaced> {
        let mut able = self.candidates.iter().filter(|candidate| is_able(candidate, spec)).peekable();
        if able.peek().is_none() {
            let builds = self.candidates.iter().any(|candidate| candidate.kinds.contains(&spec.kind));
            return Some(if builds { Unplaced::NoLabels } else { Unplaced::NoKind });
        }
        if !self.assignment.hosts(&spec.name).is_empty() {
            return None;
        }
        let failed = |replica| {
            let mut claims = self.claims_of(&spec.name).iter();
            claims.any(|h| h.holder == replica && matches!(h.claim.state, ClaimState::Failed { .. }))
        };
        let all_failed = able.all(|candidate| failed(candidate.replica));
        Some(match () {
            () if self.is_held_back(spec) => Unplaced::Partition,
            () if all_failed => Unplaced::AllFailed,
            () => Unplaced::Apart,
        })
    }

    /// Whether a role is not to run on this side of the network.
    pub(super) fn is_held_back(&self, spec: &RoleSpec) -> bool {
        spec.partition != PartitionPolicy::Overlap && self.assignment.held_back().any(|role| role == spec.name)
    }
}

impl Told {
    /// What is new about roles without a place.
    fn places(&mut self, drawn: &Drawn) -> Vec<Event> {
        let mut told = Vec::new();
        let mut former = std::mem::take(&mut self.unplaced);
        for spec in &drawn.roles {
            let (role, kind) = (spec.name.clone(), spec.kind.clone());
            match (former.remove(&spec.name), drawn.unplaced(spec)) {
                (None, None) => continue,
                (Some(_), None) => told.push(Event::RolePlaced { role }),
                (before, Some(why)) => {
                    self.unplaced.insert(role.clone(), why);
                    if before != Some(why) {
                        told.push(Event::RoleUnplaced { role, kind, why });
                    }
                }
            }
        }
        told
    }

    /// What is new about roles that members of the view gave up.
    fn failures(&mut self, drawn: &Drawn, still_claims: impl Fn(&str, ReplicaId) -> bool) -> Vec<Event> {
        let mut told = Vec::new();
        for Holding { role, holder, claim } in &drawn.holdings {
            let key = (role.clone(), *holder);
            let ClaimState::Failed { why, until_ms } = &claim.state else { continue };
            if self.gave_up.insert(key, claim.token) != Some(claim.token)
                && let Some(node) = drawn.node(*holder)
            {
                let (role, node, replica) = (role.clone(), node.clone(), *holder);
                told.push(Event::RoleGaveUp { role, node, replica, why: why.clone(), until_ms: *until_ms });
            }
        }
        self.gave_up.retain(|(role, holder), _| {
            let Some(node) = drawn.node(*holder) else { return still_claims(role, *holder) };
            let claims = drawn.claims_of(role).iter();
            let excluded =
                claims.filter(|h| h.holder == *holder).any(|h| matches!(h.claim.state, ClaimState::Failed { .. }));
            if !excluded && drawn.roles.iter().any(|spec| spec.name == *role) {
                told.push(Event::RoleExclusionOver { role: role.clone(), node: node.clone(), replica: *holder });
            }
            excluded
        });
        told
    }
}

impl Engine {
    /// Tells what is new about the places of roles.
    pub(super) fn tell_placement(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        let drawn = self.work.drawn();
        let mut told = self.told_roles.places(drawn);
        told.extend(self.told_roles.failures(drawn, |role, holder| self.work.has_claim(role, holder)));
        told.into_iter().for_each(|event| self.event(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::{self, Claim, Picture};
    use crate::time::Stamp;

    fn member(replica: u64, kinds: &[&str], zone: &str) -> Candidate {
        Candidate {
            node: NodeId::new(format!("n{replica}")).unwrap(),
            replica: ReplicaId(replica),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            labels: [("zone".to_owned(), zone.to_owned())].into(),
            load: 0,
        }
    }

    fn claim(role: &str, holder: u64, state: ClaimState) -> Holding {
        let holder = ReplicaId(holder);
        let token = FencingToken { stamp: Stamp(1), replica: holder };
        Holding { role: role.to_owned(), holder, claim: Claim { token, state, pinned: false, handed: None } }
    }

    fn failed(why: &str) -> ClaimState {
        ClaimState::Failed { why: why.to_owned(), until_ms: 7 }
    }

    fn drawn(candidates: Vec<Candidate>, spec: RoleSpec, holdings: Vec<Holding>) -> Drawn {
        let mut drawn = Drawn { candidates, roles: vec![spec], holdings, ..Drawn::default() };
        let picture =
            Picture { candidates: &drawn.candidates, roles: &drawn.roles, holdings: &drawn.holdings, roster: 1 };
        drawn.assignment = roles::assign(&picture);
        drawn
    }

    fn why(event: &[Event]) -> Vec<Option<Unplaced>> {
        let why = |event: &Event| match event {
            Event::RoleUnplaced { why, .. } => Some(*why),
            Event::RolePlaced { .. } => None,
            other => panic!("{other:?}"),
        };
        event.iter().map(why).collect()
    }

    #[test]
    fn a_role_that_nobody_can_run_is_told_of_once_per_reason_and_again_when_it_has_a_place() {
        let gate = || RoleSpec::new("gate").only_on("zone", "a");
        let mut told = Told::default();
        let nobody = drawn(vec![member(1, &["lamp"], "a")], gate(), vec![]);
        assert_eq!(why(&told.places(&nobody)), [Some(Unplaced::NoKind)]);
        assert_eq!(told.places(&nobody), []);
        let elsewhere = drawn(vec![member(1, &["gate"], "b")], gate(), vec![]);
        assert_eq!(why(&told.places(&elsewhere)), [Some(Unplaced::NoLabels)]);
        let fine = || vec![member(1, &["gate"], "a")];
        assert_eq!(why(&told.places(&drawn(fine(), gate(), vec![]))), [None]);
        assert_eq!(told.places(&drawn(fine(), gate(), vec![])), []);
        let excluded = drawn(fine(), gate(), vec![claim("gate", 1, failed("stuck"))]);
        assert_eq!(why(&told.places(&excluded)), [Some(Unplaced::AllFailed)]);
        let small = drawn(fine(), gate().partition(PartitionPolicy::Quorum(2)), vec![]);
        assert_eq!(why(&told.places(&small)), [Some(Unplaced::Partition)]);
        assert!(small.is_held_back(&small.roles[0]));
        assert_eq!(told.places(&Drawn::default()), [], "nobody wants it any more");
        assert!(told.unplaced.is_empty());
    }

    #[test]
    fn what_a_member_gave_up_is_told_once_and_when_it_may_be_asked_again() {
        let gate = || RoleSpec::new("gate");
        let two = || vec![member(1, &["gate"], "a"), member(2, &["gate"], "a")];
        let mut told = Told::default();
        let mut tell = |drawn: &Drawn| told.failures(drawn, |_, _| true);
        let gave_up = drawn(two(), gate(), vec![claim("gate", 1, failed("stuck"))]);
        let node = NodeId::new("n1").unwrap();
        let (role, replica) = ("gate".to_owned(), ReplicaId(1));
        let expected =
            Event::RoleGaveUp { role: role.clone(), node: node.clone(), replica, why: "stuck".to_owned(), until_ms: 7 };
        assert_eq!(tell(&gave_up), [expected]);
        assert_eq!(tell(&gave_up), []);
        assert_eq!(tell(&drawn(vec![member(2, &["gate"], "a")], gate(), vec![])), [], "it is only out of sight");
        assert_eq!(tell(&gave_up), []);
        let over = Event::RoleExclusionOver { role, node, replica };
        assert_eq!(tell(&drawn(two(), gate(), vec![claim("gate", 2, ClaimState::Running)])), [over]);
        assert_eq!(tell(&drawn(two(), gate(), vec![])), []);
        told.failures(&gave_up, |_, _| true);
        assert_eq!(told.failures(&Drawn::default(), |_, _| false), []);
        assert!(told.gave_up.is_empty(), "its claims are gone for good");
    }
}
