//! Whether members come and go: the first member of the view, by name, tells all that they have not for a while.
//!
//! Roles move for balance only while the cluster is calm, and all members have to decide alike, so one of them says so in its
//! own row: the first in the order of the view. A member that becomes the first has not said so yet. It says so only while
//! there is something to move, so a balanced cluster costs no rows; and takes it back in the same turn in which it sees the
//! view change, so that no view is agreed on with what was said of another.

use crate::id::ReplicaId;
use crate::roles::{Balance, Candidate};
use crate::time::Instant;

use super::Engine;

/// What this node says, and goes by.
#[derive(Default)]
pub(super) struct Calm {
    /// What this node says in its own row.
    pub(super) told: bool,
    /// Since when the members have been the same.
    since: Option<Instant>,
    /// Who is there, and how many kinds each can build.
    members: Vec<(ReplicaId, Vec<String>)>,
}

impl Engine {
    /// Compares the members with those of before. Returns false if they are others.
    pub(super) fn note_members(&mut self, candidates: &[Candidate]) -> bool {
        let calm = &mut self.work.calm;
        let same = calm.members.len() == candidates.len()
            && calm.members.iter().zip(candidates).all(|((replica, kinds), candidate)| {
                *replica == candidate.replica && kinds.iter().eq(&candidate.kinds)
            });
        if same {
            return true;
        }
        let kinds = |candidate: &Candidate| candidate.kinds.iter().cloned().collect();
        calm.members = candidates.iter().map(|candidate| (candidate.replica, kinds(candidate))).collect();
        calm.since = Some(self.now.instant);
        if std::mem::take(&mut calm.told) {
            self.declare_self();
        }
        false
    }

    /// Tells the others that it is calm, if that is for this node to say and there is something to move. Once a second.
    pub(super) fn tell_calm(&mut self) {
        if !self.formed() || self.leaving.is_some() {
            return;
        }
        let first = self.work.view().next() == Some(self.own);
        let uneven = self.work.drawn().notes.uneven;
        let calm = &mut self.work.calm;
        let lasted = calm.since.is_some_and(|since| self.now.instant.since(since) >= Balance::CALM);
        if first && uneven && lasted && !calm.told {
            calm.told = true;
            self.declare_self();
        }
    }
}
