//! Trials that are to fail: rules broken on purpose, and one invariant at a time to judge.

use super::Trial;
use crate::sabotage::Rule;
use crate::testkit::invariants;

impl Trial {
    /// With nodes that break these rules, to see whether anything notices.
    #[must_use]
    pub fn sabotage(mut self, broken: &[Rule]) -> Self {
        self.broken = broken.to_vec();
        self
    }

    /// Judged by the invariant of this name alone, besides having to heal: to see that it can fail where others would
    /// have been first.
    #[must_use]
    pub fn judge(mut self, invariant: &str) -> Self {
        self.judge = Some(invariant.to_owned());
        self
    }

    /// The names of the invariants that a trial is judged by.
    pub fn invariants() -> Vec<&'static str> {
        invariants::all().iter().map(|invariant| invariant.name()).collect()
    }
}
