//! One role on this node: its state, and the claim that tells it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Claim, ClaimState, FencingToken, RoleSpec};
use super::SupervisorConfig;
use crate::id::ReplicaId;
use crate::time::Instant;

/// The longest reason told in a claim, in bytes: every member holds it.
const MAX_WHY: usize = 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The task was asked to start.
    Starting,
    /// The task runs.
    Running,
    /// The task ended; the next start is due at `until`.
    Backoff { until: Instant },
    /// The task was asked to end, to start again here with another spec.
    Restarting,
    /// The task was asked to end.
    Draining { to: Option<ReplicaId> },
    /// The task ended; the row waits until the successor was seen.
    Stopped { to: ReplicaId },
    /// The task failed too often.
    Excluded { until: Instant, until_ms: u64, why: String },
}

#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// What runs, or is to run next.
    pub(super) spec: Arc<RoleSpec>,
    pub(super) token: FencingToken,
    pub(super) phase: Phase,
    /// When the task failed, within the window.
    failures: VecDeque<Instant>,
    /// The claim as last written.
    pub(super) shown: Option<Claim>,
}

impl Instance {
    pub(super) fn new(spec: Arc<RoleSpec>, token: FencingToken) -> Self {
        Self { spec, token, phase: Phase::Starting, failures: VecDeque::new(), shown: None }
    }

    /// The claim that tells the present state.
    pub(super) fn claim(&self) -> Claim {
        let state = match &self.phase {
            Phase::Starting | Phase::Backoff { .. } | Phase::Restarting => ClaimState::Starting,
            Phase::Running => ClaimState::Running,
            Phase::Draining { to } => ClaimState::Draining { to: *to },
            Phase::Stopped { to } => ClaimState::Stopped { to: Some(*to) },
            Phase::Excluded { until_ms, why, .. } => ClaimState::Failed { why: why.clone(), until_ms: *until_ms },
        };
        Claim { token: self.token, state, pinned: false, handed: None }
    }

    /// When something is due here.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Backoff { until } | Phase::Excluded { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Takes in another spec. Whether the task has to be started again for it: not for another count.
    pub(super) fn respec(&mut self, spec: &RoleSpec) -> bool {
        if *self.spec == *spec {
            return false;
        }
        let other = !self.spec.builds_as(spec);
        self.spec = Arc::new(spec.clone());
        if other {
            self.failures.clear();
        }
        other
    }

    /// The task ended by itself: back off, or give up after too many failures in the window.
    pub(super) fn fail(&mut self, now: crate::time::Now, why: &str, config: &SupervisorConfig) {
        self.failures.push_back(now.instant);
        while self.failures.front().is_some_and(|at| now.instant.since(*at) > config.window) {
            self.failures.pop_front();
        }
        let failures = self.failures.len();
        self.phase = if failures > config.max_failures {
            let exclusion_ms = u64::try_from(config.exclusion.as_millis()).unwrap_or(u64::MAX);
            Phase::Excluded {
                until: now.instant + config.exclusion,
                until_ms: now.wall_ms.saturating_add(exclusion_ms),
                why: clip(why),
            }
        } else {
            Phase::Backoff { until: now.instant + backoff(config, failures) }
        };
    }
}

/// As many whole characters as a claim has room for.
fn clip(why: &str) -> String {
    let mut end = why.len().min(MAX_WHY);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why[..end].to_owned()
}

/// The pause after this many failures in a row.
fn backoff(config: &SupervisorConfig, failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    config.backoff_first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(config.backoff_max)
}
