//! Whether everybody in the view reports the same fingerprint, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::Fingerprint;
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::Instant;

/// How long to wait for agreement before starting what is missing without it (the design, 5).
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What an update or a deadline changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// Agreed as of now, on another fingerprint than before or for the first time; not converged yet.
    Agreed,
    /// Agreed, and nothing changed for the settle time.
    Converged,
    /// No longer agreed.
    Lost,
    /// Not agreed for as long as patience lasts.
    Impatient,
}

/// What keeps a member from agreeing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lag {
    /// It is in the view, but reported no fingerprint yet.
    Silent,
    /// It reports this fingerprint, most report another.
    Differs(Fingerprint),
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("reported no fingerprint yet"),
            Self::Differs(reported) => write!(f, "reports fingerprint {reported}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing to agree on: this node is in no view yet.
    Nowhere,
    Disagreed {
        since: Instant,
        impatient: bool,
    },
    Agreed {
        since: Instant,
        converged: bool,
    },
}

/// Compares fingerprints; the states are drawn in the [module docs](super).
///
/// Call [`update`](Self::update) whenever the own fingerprint, the view or a report changed, and
/// [`handle_deadline`](Self::handle_deadline) when the time of [`poll_timeout`](Self::poll_timeout) has come. Both
/// return what that changed.
#[derive(Clone, Debug)]
pub struct Agreement {
    settle: Duration,
    patience: Duration,
    state: State,
    own: Option<Fingerprint>,
    view: BTreeSet<ReplicaId>,
    sabotage: Sabotage,
}

impl Agreement {
    /// `settle` is how long an agreement must last before it counts as converged: long enough for a change that is on its
    /// way to arrive, a few round trips. Too short and roles move on a picture that is about to change; too long and every
    /// move waits for it. `patience` is how long to wait for agreement at all; see [`PATIENCE`].
    pub fn new(settle: Duration, patience: Duration) -> Self {
        let (view, sabotage) = (BTreeSet::new(), Sabotage::default());
        Self { settle, patience, state: State::Nowhere, own: None, view, sabotage }
    }

    /// Other times from now on, also for what is under way.
    pub fn set_times(&mut self, settle: Duration, patience: Duration) {
        (self.settle, self.patience) = (settle, patience);
    }

    /// Breaks rules on purpose.
    #[must_use]
    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        Self { sabotage, ..self }
    }

    /// Takes in the present state of things. `reports` holds the newest report of every member, this node's own too;
    /// reports of members outside the view are not looked at. An empty view agrees on nothing.
    pub fn update(
        &mut self,
        now: Instant,
        own: Fingerprint,
        view: &BTreeSet<ReplicaId>,
        reports: &BTreeMap<ReplicaId, Fingerprint>,
    ) -> Option<Edge> {
        let before = self.handle_deadline(now);
        let unchanged = self.own == Some(own) && self.view == *view;
        if !unchanged {
            self.own = Some(own);
            self.view.clone_from(view);
        }
        let alone = self.sabotage.breaks(Rule::SelfAgreement);
        let agrees = !view.is_empty() && (alone || view.iter().all(|member| reports.get(member) == Some(&own)));
        let was = self.state;
        match (was, agrees) {
            (State::Agreed { .. }, true) if unchanged => return before,
            (_, true) => self.state = State::Agreed { since: now, converged: false },
            (_, false) if view.is_empty() => self.state = State::Nowhere,
            (State::Disagreed { .. }, false) => return before,
            (_, false) => self.state = State::Disagreed { since: now, impatient: false },
        }
        match (was, self.state) {
            (_, State::Agreed { .. }) => Some(Edge::Agreed),
            (State::Agreed { .. }, _) => Some(Edge::Lost),
            _ => before,
        }
    }

    /// To be called when the time of [`poll_timeout`](Self::poll_timeout) has come; earlier calls do nothing.
    pub fn handle_deadline(&mut self, now: Instant) -> Option<Edge> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        match &mut self.state {
            State::Nowhere => None,
            State::Disagreed { impatient, .. } => {
                *impatient = true;
                Some(Edge::Impatient)
            }
            State::Agreed { converged, .. } => {
                *converged = true;
                Some(Edge::Converged)
            }
        }
    }

    /// When to call [`handle_deadline`](Self::handle_deadline).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Agreed { since, converged: false } => Some(since + self.settle),
            State::Disagreed { since, impatient: false } => Some(since + self.patience),
            _ => None,
        }
    }

    /// Everybody in the view reports the own fingerprint.
    pub fn agreed(&self) -> bool {
        matches!(self.state, State::Agreed { .. })
    }

    /// Agreed, and nothing changed for the settle time.
    pub fn converged(&self) -> bool {
        matches!(self.state, State::Agreed { converged: true, .. })
    }

    /// Not agreed for so long that what is missing should be started anyway.
    pub fn impatient(&self) -> bool {
        matches!(self.state, State::Disagreed { impatient: true, .. })
    }

    /// Who holds up agreement, and how: the first member that is silent, else the first whose report differs from what
    /// most report. That may be this node itself. Looks at everybody's report, those of the last
    /// [`update`](Self::update): for when somebody asks.
    pub fn laggard(&self, reports: &BTreeMap<ReplicaId, Fingerprint>) -> Option<(ReplicaId, Lag)> {
        find_laggard(self.own?, &self.view, reports)
    }
}

fn find_laggard(
    own: Fingerprint,
    view: &BTreeSet<ReplicaId>,
    reports: &BTreeMap<ReplicaId, Fingerprint>,
) -> Option<(ReplicaId, Lag)> {
    if let Some(silent) = view.iter().find(|member| !reports.contains_key(member)) {
        return Some((*silent, Lag::Silent));
    }
    let mut votes: BTreeMap<Fingerprint, usize> = BTreeMap::new();
    for member in view {
        *votes.entry(reports[member]).or_default() += 1;
    }
    // With a tie the own fingerprint is the measure: of two nodes each names the other.
    let common = votes.iter().max_by_key(|(fingerprint, count)| (**count, **fingerprint == own))?.0;
    let laggard = view.iter().find(|member| reports[member] != *common)?;
    Some((*laggard, Lag::Differs(reports[laggard])))
}

#[cfg(test)]
#[path = "agreement_tests.rs"]
mod tests;
