//! The picture that every member draws from the same rows, its fingerprint, and the assignment that follows from it.

use std::collections::BTreeSet;

use super::message::MemberInfo;
use super::{Engine, Event};
use crate::convergence::{Fingerprint, FingerprintBuilder};
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::roles::{self, Assignment, Candidate, Holding, Picture, RoleSpec};

/// The picture that this node draws.
#[derive(Default)]
pub(super) struct Drawn {
    pub(super) candidates: Vec<Candidate>,
    /// The same as a set.
    pub(super) in_view: BTreeSet<ReplicaId>,
    pub(super) roles: Vec<RoleSpec>,
    pub(super) holdings: Vec<Holding>,
    pub(super) roster: usize,
    pub(super) fingerprint: Fingerprint,
    pub(super) assignment: Assignment,
}

impl Drawn {
    pub(super) fn picture(&self) -> Picture<'_> {
        Picture { candidates: &self.candidates, roles: &self.roles, holdings: &self.holdings, roster: self.roster }
    }
}

impl Engine {
    /// Puts together everything that assignment depends on, from the system tables and from membership.
    pub(super) fn draw(&mut self) {
        self.refresh();
        let system = &self.work.system;
        let alive = |replica: ReplicaId| {
            replica == self.own
                || (self.roster.is_admitted(replica)
                    && !self.leavers.contains(&replica)
                    && self.swim.member(replica).is_some_and(|(_, liveness)| liveness != Liveness::Down))
        };
        let living = || system.members().iter().filter(|(owner, _)| alive(**owner));
        // Who is unready builds only what nobody else can.
        let ready =
            living().filter(|(_, info)| !info.unready && !info.leaves && !info.late).flat_map(|(_, info)| &info.kinds);
        let offered: BTreeSet<&String> = ready.collect();
        let candidate = |(replica, info): (&ReplicaId, &MemberInfo)| {
            let builds = |kind: &&String| !info.leaves && !info.late && (!info.unready || !offered.contains(kind));
            let kinds = info.kinds.iter().filter(builds).cloned().collect();
            Candidate {
                node: info.node.clone(),
                replica: *replica,
                kinds,
                labels: info.labels.clone(),
                load: info.load,
            }
        };
        let mut candidates: Vec<Candidate> = living().map(candidate).collect();
        candidates.sort_by(|one, other| (&one.node, one.replica).cmp(&(&other.node, other.replica)));
        let mut specs: Vec<RoleSpec> = system.roles().cloned().collect();
        specs.sort();
        let in_view: BTreeSet<ReplicaId> = candidates.iter().map(|candidate| candidate.replica).collect();
        let holdings = system.claims().iter().filter(|((_, holder), _)| in_view.contains(holder));
        let holdings = holdings
            .map(|((role, holder), claim)| Holding { role: role.clone(), holder: *holder, claim: claim.clone() })
            .collect();
        let roster = self.roster.members().count();
        let mut drawn = Drawn { candidates, in_view, roles: specs, holdings, roster, ..Drawn::default() };
        drawn.fingerprint = fingerprint(&drawn.picture());
        drawn.assignment = roles::assign_broken(&drawn.picture(), self.sabotage, self.own);
        let before = std::mem::replace(&mut self.work.drawn, drawn);
        let mut told = Vec::new();
        for Candidate { node, replica, .. } in &self.work.drawn.candidates {
            let (node, replica) = (node.clone(), *replica);
            if self.said_down.remove(&replica) {
                told.push(Event::Rejoined { node, replica });
            } else if replica != self.own && !before.in_view.contains(&replica) {
                told.push(Event::Joined { node, replica });
            }
        }
        told.into_iter().for_each(|event| self.event(event));
    }
}

/// Covers everything that `assign` reads, so that equal fingerprints mean equal assignments.
fn fingerprint(picture: &Picture<'_>) -> Fingerprint {
    let mut builder = FingerprintBuilder::new();
    picture.describe(|section, piece| {
        if section {
            builder.section(std::str::from_utf8(piece).unwrap_or_default());
        } else {
            builder.bytes(piece);
        }
    });
    builder.finish()
}
