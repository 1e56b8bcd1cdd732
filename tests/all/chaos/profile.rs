//! How a run is to be: drawn from the seed, so that runs differ in kind ("swarm testing", Groce et al., 2012).

use std::time::Duration;

use unisono::engine::Timing;

use crate::schedule::rng::Rng;

/// What is done to the cluster next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Put,
    Remove,
    Kill,
    Restart,
    Leave,
    Cut,
    CutOneWay,
    Bridge,
    Reject,
    Heal,
    Loss,
    Delay,
    Wait,
}

const USUAL: [(Action, usize); 13] = [
    (Action::Put, 120),
    (Action::Remove, 40),
    (Action::Kill, 8),
    (Action::Restart, 16),
    (Action::Leave, 4),
    (Action::Cut, 6),
    (Action::CutOneWay, 4),
    (Action::Bridge, 2),
    (Action::Reject, 3),
    (Action::Heal, 10),
    (Action::Loss, 8),
    (Action::Delay, 6),
    (Action::Wait, 20),
];

/// How a run is to be.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) nodes: usize,
    pub(crate) keys: usize,
    pub(crate) timing: Timing,
    /// Clocks are wrong by up to this much.
    pub(crate) skew_ms: usize,
    /// For how long the cluster is hurt.
    pub(crate) hurt: Duration,
    /// The most time that passes between two actions.
    pub(crate) most_pause_ms: usize,
    /// Members that are Down are struck from the roster so soon that they may be alive.
    pub(crate) evicts: bool,
    weights: Vec<(Action, usize)>,
}

impl Profile {
    pub(crate) fn new(rng: &mut Rng, nodes: usize, evicts: bool) -> Self {
        let weights = USUAL.map(|(action, usual)| {
            let factors: &[usize] = match action {
                Action::Put | Action::Restart | Action::Heal | Action::Wait => &[2, 4, 8],
                _ => &[0, 1, 4, 8],
            };
            (action, usual * *rng.pick(factors))
        });
        let mut timing = if rng.percent(50) { Timing::lan() } else { Timing::local() };
        if evicts {
            timing.evict_after = Duration::from_secs(5);
        }
        Self {
            nodes,
            keys: rng.between(2, 30),
            timing,
            skew_ms: if rng.percent(25) { 60_000 } else { 0 },
            hurt: Duration::from_secs(rng.between(30, 60) as u64),
            most_pause_ms: *rng.pick(&[50, 300, 1_500]),
            evicts,
            weights: weights.to_vec(),
        }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> Action {
        let mut at = rng.below(self.weights.iter().map(|(_, weight)| weight).sum());
        for &(action, weight) in &self.weights {
            if at < weight {
                return action;
            }
            at -= weight;
        }
        unreachable!("the number was below the sum of the weights")
    }
}
