//! Rules of placement, broken on purpose: [`assign`](super::assign) is handed a picture that lacks what the rule goes by.
//!
//! All nodes break them alike, so they still agree on everything, and only whoever looks at what runs where can notice.

use super::{Assignment, Candidate, Holding, PartitionPolicy, Picture, RoleSpec, assign_as};
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};

/// What `own` makes of a picture; what everybody does, if no rule is broken.
pub(crate) fn assign_broken(picture: &Picture<'_>, sabotage: Sabotage, own: ReplicaId) -> Assignment {
    let who = sabotage.breaks(Rule::UnsortedOrphans).then_some(own);
    let rules = [Rule::NoStickiness, Rule::NoBound, Rule::NoPolicy, Rule::NoConstraints];
    if !rules.into_iter().any(|rule| sabotage.breaks(rule)) {
        return assign_as(picture, who);
    }
    let candidates: Vec<Candidate> = picture.candidates.to_vec();
    let mut roles: Vec<RoleSpec> = picture.roles.to_vec();
    let mut holdings: Vec<Holding> = picture.holdings.to_vec();
    for spec in &mut roles {
        if sabotage.breaks(Rule::NoPolicy) {
            spec.partition = PartitionPolicy::Overlap;
        }
        if sabotage.breaks(Rule::NoConstraints) {
            spec.requires.clear();
            spec.apart_from.clear();
            spec.spread_over = None;
        }
    }
    if sabotage.breaks(Rule::NoStickiness) {
        holdings.retain(|holding| !holding.claim.holds());
    }
    for holding in &mut holdings {
        holding.claim.pinned |= sabotage.breaks(Rule::NoBound);
    }
    assign_as(&Picture { candidates: &candidates, roles: &roles, holdings: &holdings, roster: picture.roster }, who)
}
