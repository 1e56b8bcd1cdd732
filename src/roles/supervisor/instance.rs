//! One role on this node: its state, and the claim that tells it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::{Claim, ClaimState, FencingToken, Restarts, RoleSpec};
use crate::id::ReplicaId;
use crate::time::{Instant, Now};

/// The longest reason told in a claim, in bytes: every member holds it.
const MAX_WHY: usize = 1024;

/// For so long an instance that was moved stays where it is, unless its node is lost or may not have it any more.
pub(super) const PINNED: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The task was asked to start.
    Starting,
    /// The task runs.
    Running,
    /// The task runs until the successor's does.
    Yielding { to: ReplicaId },
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
    /// Until when it stays here, having been moved.
    pub(super) pinned_until: Option<Instant>,
    /// While it starts, what was left to it; when it has stopped, what it leaves.
    pub(super) handed: Option<Bytes>,
    /// When the task failed, within the window.
    failures: VecDeque<Instant>,
    /// The claim as last written.
    pub(super) shown: Option<Claim>,
}

impl Instance {
    pub(super) fn new(spec: Arc<RoleSpec>, token: FencingToken) -> Self {
        Self {
            spec,
            token,
            phase: Phase::Starting,
            pinned_until: None,
            handed: None,
            failures: VecDeque::new(),
            shown: None,
        }
    }

    /// The claim that tells the present state.
    pub(super) fn claim(&self) -> Claim {
        let state = match &self.phase {
            Phase::Starting | Phase::Backoff { .. } | Phase::Restarting => ClaimState::Starting,
            Phase::Running => ClaimState::Running,
            Phase::Yielding { to } => ClaimState::Yielding { to: *to },
            Phase::Draining { to } => ClaimState::Draining { to: *to },
            Phase::Stopped { to } => ClaimState::Stopped { to: Some(*to) },
            Phase::Excluded { until_ms, why, .. } => ClaimState::Failed { why: why.clone(), until_ms: *until_ms },
        };
        let handed = self.handed.clone().filter(|_| matches!(self.phase, Phase::Stopped { .. }));
        Claim { token: self.token, state, pinned: self.pinned_until.is_some(), handed }
    }

    /// When something is due here.
    pub(super) fn due(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Backoff { until } | Phase::Excluded { until, .. } => Some(until),
            _ => None,
        };
        phase.into_iter().chain(self.pinned_until).min()
    }

    /// Takes in another spec. Whether the task has to be started again for it.
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

    /// The task ended by itself: back off, or give up after too many failures in the window. `chance` is anything from 0 to
    /// 255.
    pub(super) fn fail(&mut self, now: Now, why: &str, chance: u8) {
        let restarts = self.spec.restarts;
        self.failures.push_back(now.instant);
        let window = Duration::from_millis(restarts.window_ms);
        while self.failures.front().is_some_and(|at| now.instant.since(*at) > window) {
            self.failures.pop_front();
        }
        let failures = self.failures.len();
        self.phase = if failures > restarts.max_failures as usize {
            self.pinned_until = None;
            Phase::Excluded {
                until: now.instant + Duration::from_millis(restarts.exclusion_ms),
                until_ms: now.wall_ms.saturating_add(restarts.exclusion_ms),
                why: clip(why),
            }
        } else {
            Phase::Backoff { until: now.instant + backoff(restarts, failures, chance) }
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

/// The pause after this many failures in a row, shortened by up to a quarter.
fn backoff(restarts: Restarts, failures: usize, chance: u8) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let pause = Duration::from_millis(restarts.backoff_first_ms.saturating_mul(factor).min(restarts.backoff_max_ms));
    pause - pause / 1024 * u32::from(chance)
}
