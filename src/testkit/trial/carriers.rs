//! What is done to one carrier alone: streams that fail while datagrams arrive, the other way round, and paths that take
//! small datagrams only.
//!
//! It is drawn from a generator of its own, beside what else is done to the cluster: what a seed did before it still does.

use std::time::Duration;

use super::super::rng::Rng;
use super::Course;
use crate::testkit::{Guard, NodeIndex, Rule};

/// What is wrong with carriers at present.
#[derive(Debug)]
pub(super) struct Carriers {
    rng: Rng,
    /// In so many of a hundred steps something is done.
    percent: usize,
    /// Rules in force, and whether each is harsher than what the promise about false accusations states.
    rules: Vec<(Guard, bool)>,
    /// When something was wrong the last time.
    hurt_at: Option<Duration>,
}

impl Carriers {
    pub(super) fn new(seed: u64, is_allowed: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x7374_7265_616d);
        let percent = *rng.pick(&[0, 0, 2, 8]);
        Self { rng, percent: if is_allowed { percent } else { 0 }, rules: Vec::new(), hurt_at: None }
    }

    /// Whether something is wrong that may make members lose each other.
    pub(super) fn is_harsh(&self) -> bool {
        self.rules.iter().any(|(_, harsh)| *harsh)
    }

    /// Whether something was wrong at some time after `since`.
    pub(super) fn hurt_since(&self, since: Duration) -> bool {
        self.hurt_at.is_some_and(|at| at >= since)
    }

    pub(super) fn note(&mut self, now: Duration) {
        if !self.rules.is_empty() {
            self.hurt_at = Some(now);
        }
    }

    pub(super) fn heal(&mut self) {
        self.rules.clear();
    }

    /// A rule for these nodes in this order, and whether it is harsh.
    fn draw(&mut self, nodes: &[NodeIndex]) -> (Rule, bool) {
        let at = self.rng.between(1, nodes.len() - 1);
        let (one, other) = nodes.split_at(at);
        match self.rng.below(8) {
            0 => (Rule::no_streams().between(one, other), false),
            1 => (Rule::no_streams().from(one).to(other), false),
            2 => (Rule::no_datagrams().between(one, other), true),
            3 | 4 => (Rule::streams_unanswered().to(one), false),
            // Those whose streams broke before have two watchers that are refused, as if the process were gone.
            5 => (Rule::streams_refused().to(one), true),
            6 => (Rule::resets(*self.rng.pick(&[0.01, 0.05, 0.3, 1.0])).from(one), false),
            _ => (Rule::largest_datagram(*self.rng.pick(&[300, 600, 1_200, 1_399])).between(one, other), true),
        }
    }
}

impl Course {
    /// Hurts a carrier, or ends what hurts one.
    pub(super) fn hurt_carriers(&mut self) {
        let now = self.simulation.elapsed();
        let mut nodes = self.simulation.nodes();
        let carriers = &mut self.carriers;
        carriers.note(now);
        if !carriers.rng.percent(carriers.percent) {
            return;
        }
        if !carriers.rules.is_empty() && carriers.rng.percent(40) {
            let at = carriers.rng.below(carriers.rules.len());
            let (guard, _) = carriers.rules.swap_remove(at);
            return self.log.note(now, format_args!("{guard:?} is healed"));
        }
        for at in (1..nodes.len()).rev() {
            nodes.swap(at, carriers.rng.below(at + 1));
        }
        let (rule, harsh) = carriers.draw(&nodes);
        let what = format!("{rule:?}");
        let guard = self.simulation.network().add(rule);
        self.log.note(now, format_args!("{guard:?}: {what}"));
        self.carriers.rules.push((guard, harsh));
        self.carriers.note(now);
        self.note_calm();
    }
}
