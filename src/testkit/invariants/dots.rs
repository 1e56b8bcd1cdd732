//! Every write has a dot of its own and a stamp above everything that its author wrote before, near true time.
//!
//! Two writes of one dot would be one write to everybody (the design, 3: replica ids are fresh and never reused). Stamps
//! that do not rise let a later write lose to an earlier one of the same author; stamps far from true time win or lose
//! against everybody for as long as the clock is off.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Scene, Verdict};
use crate::crdt::Dot;
use crate::id::ReplicaId;
use crate::testkit::trial::Written;
use crate::time::Stamp;

/// See the module.
#[derive(Default)]
pub(crate) struct Dots {
    seen: BTreeSet<Dot>,
    last: BTreeMap<ReplicaId, Stamp>,
}

/// How far ahead of the fastest clock that there may be a stamp may be: what a clock follows of others, and the error of
/// what was measured. That clocks are set while they run changes nothing.
const DRIFT_MS: u64 = 500 + 50;

impl Invariant for Dots {
    fn name(&self) -> &'static str {
        "dots are unique, stamps rise and stay near true time"
    }

    fn at_write(&mut self, scene: Scene<'_>, written: &Written) -> Verdict {
        let dot = written.entry.dot;
        if !self.seen.insert(dot) {
            return Err(format!("{dot:?} was given to two writes, the second to {:?}", written.key));
        }
        let stamp = written.entry.stamp;
        if let Some(last) = self.last.insert(dot.replica, stamp).filter(|last| *last >= stamp) {
            return Err(format!("{dot:?} is stamped {stamp:?}, not above {last:?} of its author's write before"));
        }
        let highest = scene.simulation.true_wall_ms() + scene.facts.most_skew_ms + DRIFT_MS;
        if stamp > Stamp::from_millis(highest) {
            return Err(format!("{dot:?} is stamped {stamp:?}, above {highest} ms, which no clock shows"));
        }
        Ok(())
    }
}
