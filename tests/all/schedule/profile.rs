//! How a run is to be: drawn from the seed, so that runs differ in kind and not only in order ("swarm testing", Groce
//! et al., 2012): some seeds crash often and hardly talk, others talk all the time and collect at once.

use super::Rng;

/// What may happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Write,
    Flush,
    Deliver,
    Lose,
    OpenSession,
    StepSession,
    Interrupt,
    Report,
    Gossip,
    Collect,
    Crash,
    Join,
    Wait,
}

/// How often what happens, and with how many.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// At the start.
    pub(crate) nodes: usize,
    /// Nodes are added up to this number.
    pub(crate) most_nodes: usize,
    pub(crate) keys: usize,
    /// A row is sent to each member with this chance; the rest is left to repair.
    pub(crate) send_percent: usize,
    /// A row is held up on the way for very long.
    pub(crate) late_percent: usize,
    /// An arriving packet will arrive again.
    pub(crate) again_percent: usize,
    /// What was news is passed on.
    pub(crate) forward_percent: usize,
    /// Writes, crashes and joins come in bursts of so many steps, then as many without: time to collect.
    burst: usize,
    /// Clocks are wrong by up to this much.
    pub(crate) skew_ms: usize,
    /// The storm is over, but nothing is mended yet: no writes, nobody comes or goes, sessions last.
    pub(crate) calm: bool,
    weights: Vec<(Action, usize)>,
}

const USUAL: [(Action, usize); 13] = [
    (Action::Write, 200),
    (Action::Flush, 160),
    (Action::Deliver, 500),
    (Action::Lose, 10),
    (Action::OpenSession, 60),
    (Action::StepSession, 700),
    (Action::Interrupt, 5),
    (Action::Report, 240),
    (Action::Gossip, 80),
    (Action::Collect, 100),
    (Action::Crash, 3),
    (Action::Join, 2),
    (Action::Wait, 20),
];

impl Profile {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        // A cluster that only grows, and in which one hardly hears of those who came: rosters differ for long.
        let growing = rng.percent(25);
        let nodes = if growing { 2 } else { rng.between(3, 5) };
        let keys = rng.between(1, if growing { 3 } else { 8 });
        let weights = USUAL.map(|(action, usual)| {
            let factors: &[usize] = match action {
                Action::Crash if growing => &[0],
                Action::Join if growing => &[8],
                Action::OpenSession | Action::Gossip if growing => &[1, 2],
                // Often nobody comes or goes, or hardly anybody repairs: eager rows are on their own.
                Action::Crash | Action::Join => &[0, 2, 8, 16],
                Action::OpenSession => &[2, 4, 8, 16],
                _ => &[4, 8, 16],
            };
            (action, usual * *rng.pick(factors))
        });
        Self {
            nodes,
            most_nodes: if growing { 7 } else { nodes + rng.between(0, 2) },
            keys,
            late_percent: if growing { 40 } else { *rng.pick(&[0, 5, 20, 40]) },
            send_percent: rng.between(50, 100),
            again_percent: rng.between(0, 30),
            forward_percent: rng.between(0, if growing { 10 } else { 50 }),
            burst: rng.between(150, 400),
            skew_ms: if rng.percent(30) { 400 } else { 0 },
            calm: false,
            weights: weights.to_vec(),
        }
    }

    /// What happens in step `t`.
    pub(crate) fn draw(&self, rng: &mut Rng, t: usize) -> Action {
        let mut at = rng.below(self.weights.iter().map(|(_, weight)| weight).sum());
        for &(action, weight) in &self.weights {
            if at < weight {
                let pause = (t / self.burst) % 2 == 1;
                if self.calm && matches!(action, Action::Write | Action::Crash | Action::Join | Action::Interrupt) {
                    return Action::OpenSession;
                }
                let uproar = matches!(action, Action::Write | Action::Crash | Action::Join);
                return if pause && uproar { Action::Deliver } else { action };
            }
            at -= weight;
        }
        unreachable!("the number was below the sum of the weights")
    }

    /// By how much the clock of a new host is wrong.
    pub(crate) fn skew(&self, rng: &mut Rng) -> i64 {
        if self.skew_ms == 0 {
            return 0;
        }
        let by = i64::try_from(rng.below(2 * self.skew_ms + 1)).expect("a few hours");
        by - i64::try_from(self.skew_ms).expect("a few hours")
    }
}
