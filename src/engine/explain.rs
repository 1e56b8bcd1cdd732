//! Answers to why a role is where it is, and to what would move.

use super::{Engine, Output, Reply};
use crate::roles::{self, Explanation, Obstacle, WhatIf};

impl Engine {
    pub(super) fn explain(&mut self, request: u64, role: &str) {
        let reply = Reply::Explained(self.explanation(role).map(Box::new));
        self.outputs.push_back(Output::Reply { request, reply });
    }

    /// By the picture that was drawn last, and what this node knows besides.
    fn explanation(&self, role: &str) -> Option<Explanation> {
        let drawn = self.work.drawn();
        let mut explanation = roles::explain(&drawn.picture(), role)?;
        explanation.fingerprint = drawn.fingerprint.to_string();
        explanation.converged = self.work.converged();
        let unable = |obstacle: &Option<Obstacle>| *obstacle == Some(Obstacle::Kind);
        for candidate in explanation.candidates.iter_mut().filter(|candidate| unable(&candidate.obstacle)) {
            // Who leaves or is unready is shown to assignment as one that cannot build what it can.
            let info = self.work.info(candidate.replica);
            let Some(info) = info.filter(|info| info.kinds.contains(&explanation.spec.kind)) else { continue };
            candidate.obstacle = Some(if info.leaves { Obstacle::Leaves } else { Obstacle::Unready });
        }
        Some(explanation)
    }

    pub(super) fn what_if(&mut self, request: u64, change: &WhatIf) {
        let reply = Reply::Moves(roles::what_if(&self.work.drawn().picture(), change));
        self.outputs.push_back(Output::Reply { request, reply });
    }
}
