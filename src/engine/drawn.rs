//! The picture that every member draws from the same rows, its fingerprint, and the assignment that follows from it.

use std::collections::BTreeSet;

use super::message::MemberInfo;
use super::work::Work;
use super::{Engine, Event};
use crate::convergence::{Fingerprint, FingerprintBuilder};
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::roles::{self, Assignment, Balance, Candidate, Holding, Notes, Picture, RoleSpec};
use crate::sabotage::Rule;

/// The picture that this node draws.
#[derive(Default)]
pub(super) struct Drawn {
    pub(super) candidates: Vec<Candidate>,
    /// The same as a set.
    pub(super) in_view: BTreeSet<ReplicaId>,
    pub(super) roles: Vec<RoleSpec>,
    pub(super) holdings: Vec<Holding>,
    pub(super) roster: usize,
    pub(super) balance: Balance,
    pub(super) calm: bool,
    pub(super) fingerprint: Fingerprint,
    pub(super) assignment: Assignment,
    pub(super) notes: Notes,
}

impl Drawn {
    pub(super) fn picture(&self) -> Picture<'_> {
        let Self { candidates, roles, holdings, roster, balance, calm, .. } = self;
        Picture { candidates, roles, holdings, roster: *roster, balance: *balance, calm: *calm }
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
                load: system.load(*replica),
            }
        };
        let mut candidates: Vec<Candidate> = living().map(candidate).collect();
        candidates.sort_by(|one, other| (&one.node, one.replica).cmp(&(&other.node, other.replica)));
        let mut specs: Vec<RoleSpec> = system.roles().specs().cloned().collect();
        specs.sort();
        let in_view: BTreeSet<ReplicaId> = candidates.iter().map(|candidate| candidate.replica).collect();
        let holdings = system.claims().iter().filter(|((_, holder), _)| in_view.contains(holder));
        let holdings = holdings
            .map(|((role, holder), claim)| Holding { role: role.clone(), holder: *holder, claim: claim.clone() })
            .collect();
        let roster = self.roster.members().count();
        // Of all members of the view, that counts which moves the least.
        let balance = living().map(|(_, info)| info.balance).min().unwrap_or(self.config.balance);
        let first = candidates.first().map(|candidate| candidate.replica);
        let told = first.and_then(|first| system.members().get(&first)).is_some_and(|info| info.calm);
        let mut drawn = Drawn { candidates, in_view, roles: specs, holdings, roster, balance, ..Drawn::default() };
        drawn.calm = self.note_members(&drawn.candidates) && told;
        let (assignment, notes) = roles::assign_broken(&drawn.picture(), self.sabotage, self.own);
        let covered = (!self.sabotage.breaks(Rule::UnsortedOrphans)).then_some(&assignment);
        drawn.fingerprint = fingerprint(&drawn.picture(), covered);
        (drawn.assignment, drawn.notes) = (assignment, notes);
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

impl Engine {
    /// Takes over the loads that members published. Returns whether the assignment may depend on them, so that it has to be
    /// made anew; if not, they are there to be explained.
    pub(super) fn read_loads(&mut self) -> bool {
        self.refresh();
        let Work { system, drawn, .. } = &mut self.work;
        let mut changed = false;
        for candidate in &mut drawn.candidates {
            let load = system.load(candidate.replica);
            changed |= std::mem::replace(&mut candidate.load, load) != load;
        }
        changed && drawn.notes.weighed
    }
}

/// Covers everything that `assign` reads, or what it made of it, so that equal fingerprints mean equal assignments.
fn fingerprint(picture: &Picture<'_>, assignment: Option<&Assignment>) -> Fingerprint {
    let mut builder = FingerprintBuilder::new();
    let mut piece = |section: bool, piece: &[u8]| {
        if section {
            builder.section(std::str::from_utf8(piece).unwrap_or_default());
        } else {
            builder.bytes(piece);
        }
    };
    picture.describe(&mut piece);
    if let Some(assignment) = assignment {
        assignment.describe(&mut piece);
    }
    builder.finish()
}
