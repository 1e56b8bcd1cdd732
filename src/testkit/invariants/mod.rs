//! What must be true of a cluster, whatever is done to it: one file each, with its reason.
//!
//! ```text
//!   trial ──▶ at_write    an application wrote
//!         ──▶ at_change   what a node holds changed in this step
//!         ──▶ look        four times a second
//!         ──▶ at_rest     nothing hurts any more, and it had time to heal
//! ```
//!
//! An invariant sees everything: all nodes, what really runs, and the story of all writes. It judges and touches nothing.
//! That it can fail is shown by the broken variants of the rules, see [`sabotage`](crate::sabotage).

mod agreement;
mod caps;
mod constraints;
mod dots;
mod equal_context;
mod false_down;
mod fencing;
mod final_value;
mod join_laws;
mod known_is_held;
mod load_bound;
mod names;
mod no_move_without_cause;
mod no_return;
mod only_orphans_move;
mod oracle;
mod outranks;
mod policies;
mod quiescence;
mod role_count;
mod same_assignment;

use std::time::Duration;

pub(crate) use oracle::{Hosts, Oracle};

use super::trial::{Facts, Story, Written};
use super::{NodeIndex, Simulation};

/// What an invariant sees.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) simulation: &'a Simulation,
    pub(crate) story: &'a Story,
    pub(crate) facts: &'a Facts,
}

impl Scene<'_> {
    pub(crate) fn now(&self) -> Duration {
        self.simulation.elapsed()
    }
}

/// Why an invariant does not hold, in words.
pub(crate) type Verdict = Result<(), String>;

/// Something that must be true.
pub(crate) trait Invariant {
    /// Its name, as reported.
    fn name(&self) -> &'static str;

    /// An application wrote.
    fn at_write(&mut self, _scene: Scene<'_>, _written: &Written) -> Verdict {
        Ok(())
    }

    /// What a node holds changed in this step.
    fn at_change(&mut self, _scene: Scene<'_>, _node: NodeIndex) -> Verdict {
        Ok(())
    }

    /// Some time passed.
    fn look(&mut self, _scene: Scene<'_>) -> Verdict {
        Ok(())
    }

    /// Everything had time to heal.
    fn at_rest(&mut self, _scene: Scene<'_>) -> Verdict {
        Ok(())
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<caps::Caps>::default(),
        Box::<dots::Dots>::default(),
        Box::new(outranks::Outranks),
        Box::<known_is_held::KnownIsHeld>::default(),
        Box::new(equal_context::EqualContext),
        Box::<no_return::NoReturn>::default(),
        Box::<false_down::FalseDown>::default(),
        Box::new(agreement::Agreement),
        Box::<names::Names>::default(),
        Box::<fencing::Fencing>::default(),
        Box::<role_count::RoleCount>::default(),
        Box::<policies::Policies>::default(),
        Box::new(constraints::Constraints),
        Box::new(load_bound::LoadBound),
        Box::new(only_orphans_move::OnlyOrphansMove),
        Box::new(no_move_without_cause::NoMoveWithoutCause),
        Box::new(same_assignment::SameAssignment),
        Box::new(quiescence::Quiescence),
        Box::new(final_value::FinalValue),
        Box::<join_laws::JoinLaws>::default(),
    ]
}
