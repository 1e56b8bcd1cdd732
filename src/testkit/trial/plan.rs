//! How a trial is to be: drawn from the seed, so that trials differ in kind ("swarm testing", Groce et al., 2012).

use std::time::Duration;

use super::super::rng::Rng;
use crate::engine::Timing;

/// What kind of harm a trial does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Plan {
    /// Everything but the two below: cuts, losses, delays, flipped bits, pauses, crashes, restarts, leaving.
    Hurt,
    /// As `Hurt`, and members that are Down are evicted from the roster so soon that they may be alive.
    Evicted,
    /// As `Hurt`, with clocks that are wrong by up to a minute, and jump.
    Skewed,
    /// Datagrams are lost, doubled, late and out of order, and processes die; but whoever lives can be reached.
    Lossy,
    /// The nodes begin as two islands, which write on their own before they meet; and members are evicted as in `Evicted`.
    Islands,
}

impl Plan {
    /// All plans.
    pub const ALL: [Self; 5] = [Self::Hurt, Self::Evicted, Self::Skewed, Self::Lossy, Self::Islands];

    /// The name, as the example takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hurt => "hurt",
            Self::Evicted => "evicted",
            Self::Skewed => "skewed",
            Self::Lossy => "lossy",
            Self::Islands => "islands",
        }
    }

    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(100) {
            0..45 => Self::Hurt,
            45..60 => Self::Evicted,
            60..75 => Self::Skewed,
            75..90 => Self::Lossy,
            _ => Self::Islands,
        }
    }

    /// Members that are Down may be evicted from the roster while they live, so that one part of the cluster may have
    /// collected what another still holds.
    pub(crate) fn evicts(self) -> bool {
        matches!(self, Self::Evicted | Self::Islands)
    }
}

/// What is done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Put,
    Remove,
    Kill,
    Unplug,
    Restart,
    Join,
    Leave,
    Pause,
    Resume,
    ChangeRole,
    Cut,
    CutOneWay,
    Bridge,
    Reject,
    Mute,
    Slow,
    Loss,
    Duplicate,
    Reorder,
    Delay,
    Flip,
    SetClock,
    AddRole,
    RemoveRole,
    /// The load of a node changes.
    Sample,
    HealOne,
    HealAll,
    Wait,
}

/// Datagrams and frames as large as they may be.
const WHOLE: (usize, usize) = (usize::MAX, usize::MAX);

const USUAL: [(Action, usize); 28] = [
    (Action::Put, 120),
    (Action::Remove, 40),
    (Action::Kill, 6),
    (Action::Unplug, 3),
    (Action::Restart, 16),
    (Action::Join, 1),
    (Action::Leave, 4),
    (Action::Pause, 4),
    (Action::Resume, 12),
    (Action::ChangeRole, 2),
    (Action::Cut, 6),
    (Action::CutOneWay, 4),
    (Action::Bridge, 2),
    (Action::Reject, 3),
    (Action::Mute, 1),
    (Action::Slow, 2),
    (Action::Loss, 6),
    (Action::Duplicate, 4),
    (Action::Reorder, 4),
    (Action::Delay, 4),
    (Action::Flip, 3),
    (Action::SetClock, 6),
    (Action::AddRole, 3),
    (Action::RemoveRole, 1),
    (Action::Sample, 12),
    (Action::HealOne, 16),
    (Action::HealAll, 4),
    (Action::Wait, 20),
];

/// How one trial is to be.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) plan: Plan,
    pub(super) keys: usize,
    /// Values are this long, or as short as they can be.
    pub(super) value_bytes: usize,
    /// How much goes into a datagram and into a frame at most: small, so that everything comes in pieces.
    pub(super) packing: (usize, usize),
    pub(super) timing: Timing,
    /// Clocks are wrong by up to this much.
    pub(super) skew_ms: usize,
    /// So many departed authors may have rows left before these are adopted.
    pub(super) departed_authors: usize,
    /// For how long the cluster is hurt.
    pub(super) hurt: Duration,
    /// The most time that passes between two actions.
    pub(super) most_pause_ms: usize,
    weights: Vec<(Action, usize)>,
}

impl Profile {
    pub(super) fn new(rng: &mut Rng, plan: Plan) -> Self {
        let weights = USUAL.map(|(action, usual)| {
            let factors: &[usize] = match action {
                Action::Put | Action::Restart | Action::Resume | Action::Wait => &[2, 4, 8],
                Action::Remove => &[0, 1, 4, 16],
                // Without them what is cut stays so until the end.
                Action::HealOne | Action::HealAll => &[0, 2, 8],
                _ => &[0, 1, 4, 8],
            };
            // Drawn for every action, so that plans of one seed have the most in common.
            let factor = *rng.pick(factors);
            (action, if plan.allows(action) { usual * factor } else { 0 })
        });
        let mut timing = if rng.percent(50) { Timing::lan() } else { Timing::local() };
        if plan.evicts() {
            timing.evict_after = Duration::from_secs(5);
        }
        let skew_ms = if plan == Plan::Skewed { 60_000 } else { *rng.pick(&[0, 0, 5, 100]) };
        Self {
            plan,
            keys: rng.between(2, 30),
            value_bytes: *rng.pick(&[0, 0, 0, 300, 2_000, 20_000]),
            packing: *rng.pick(&[WHOLE, WHOLE, (200, 1), (600, 500), (1_400, 5_000)]),
            timing,
            skew_ms,
            departed_authors: *rng.pick(&[0, 0, 1, 64]),
            hurt: Duration::from_millis(*rng.pick(&[1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 20_000])),
            most_pause_ms: *rng.pick(&[30, 100, 300, 1_500]),
            weights: weights.to_vec(),
        }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> Action {
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

impl Plan {
    fn allows(self, action: Action) -> bool {
        match self {
            Self::Lossy => !matches!(
                action,
                Action::Unplug
                    | Action::Pause
                    | Action::Cut
                    | Action::CutOneWay
                    | Action::Bridge
                    | Action::Reject
                    | Action::Mute
                    | Action::Slow
                    | Action::Flip
                    | Action::SetClock
            ),
            Self::Skewed => true,
            Self::Hurt | Self::Evicted | Self::Islands => action != Action::SetClock,
        }
    }
}
