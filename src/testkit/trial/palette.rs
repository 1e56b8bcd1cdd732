//! The roles of a trial: drawn from its seed, so that clusters differ in what they run as much as in what hurts them.

use std::time::Duration;

use super::super::rng::Rng;
use crate::roles::{Handover, PartitionPolicy, Restarts, RoleSpec};
use crate::testkit::Habits;

/// What trials draw from.
pub(super) const ZONES: [&str; 3] = ["a", "b", "c"];

/// The roles that a trial may ask for, and how their tasks behave.
#[derive(Clone, Debug)]
pub(super) struct Palette {
    /// A stream of its own: what hurts a cluster does not depend on what it runs.
    rng: Rng,
    /// What nodes ask for that start.
    pub(super) roles: Vec<RoleSpec>,
    /// In percent, for each of the ways in which a role may be special.
    share: Share,
    pub(super) habits: Habits,
}

/// How many of a hundred roles are special.
#[derive(Clone, Copy, Debug)]
struct Share {
    requires: usize,
    apart: usize,
    spread: usize,
    overlapping: usize,
    policy: usize,
}

impl Palette {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x009a_1e77_e000);
        let share = Share {
            requires: *rng.pick(&[0, 0, 20, 50]),
            apart: *rng.pick(&[0, 0, 20, 50]),
            spread: *rng.pick(&[0, 0, 20, 50]),
            overlapping: *rng.pick(&[0, 20, 50]),
            policy: *rng.pick(&[0, 0, 30, 60]),
        };
        let habits = Habits {
            start_ms: *rng.pick(&[0, 0, 10, 300]),
            stop_ms: *rng.pick(&[0, 0, 20, 400]),
            fails_percent: *rng.pick(&[0, 0, 0, 10, 40]),
        };
        let mut palette = Self { rng, roles: Vec::new(), share, habits };
        let count = *palette.rng.pick(&[3, 3, 3, 3, 3, 3, 4, 4, 6, 12]);
        palette.roles = vec![RoleSpec::new("one"), RoleSpec::new("two").count(2)];
        for number in 2..count {
            let role = palette.spec(number);
            palette.roles.push(role);
        }
        palette
    }

    /// The longest that a task takes to end.
    pub(super) fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.habits.stop_ms + 1)
    }

    /// The zone of the next node.
    pub(super) fn zone(&mut self) -> &'static str {
        self.rng.pick::<&'static str>(&ZONES)
    }

    /// What somebody asks for while all runs: one of the roles as it was not before, or one that was not there.
    pub(super) fn another(&mut self) -> RoleSpec {
        let revision = *self.rng.pick(&[0, 0, 1]);
        let number = self.rng.below(self.roles.len() + 2);
        if number == 1 {
            return RoleSpec::new("two").count(self.count()).revision(revision);
        }
        self.spec(number).revision(revision)
    }

    fn count(&mut self) -> u32 {
        u32::try_from(self.rng.between(1, 3)).unwrap_or(1)
    }

    fn spec(&mut self, number: usize) -> RoleSpec {
        let name = |number: usize| match number {
            0 => "one".to_owned(),
            1 => "two".to_owned(),
            _ => format!("r{number}"),
        };
        let count = self.count();
        let mut spec = RoleSpec::new(name(number)).count(count).restarts(self.restarts());
        // Drawn always, so that palettes of one seed have the most in common.
        let (rng, share) = (&mut self.rng, self.share);
        let zone = *rng.pick(&ZONES);
        if rng.percent(share.requires) {
            spec = spec.only_on("zone", zone);
        }
        let other = rng.below(number.max(1));
        if rng.percent(share.apart) && other != number {
            spec = spec.apart_from(name(other));
        }
        if rng.percent(share.spread) {
            spec = spec.spread_over("zone");
        }
        if rng.percent(share.overlapping) {
            spec = spec.handover(Handover::MakeBeforeBreak);
        }
        if rng.percent(share.policy) {
            let quorum = u32::try_from(rng.between(2, 4)).unwrap_or(2);
            let policies = [PartitionPolicy::Majority, PartitionPolicy::Majority, PartitionPolicy::Quorum(quorum)];
            spec = spec.partition(*rng.pick(&policies));
        }
        spec
    }

    /// With pauses that are over before a trial is.
    fn restarts(&mut self) -> Restarts {
        Restarts {
            max_failures: *self.rng.pick(&[0, 1, 5]),
            window_ms: 10_000,
            backoff_first_ms: *self.rng.pick(&[0, 50, 200]),
            backoff_max_ms: 1_000,
            exclusion_ms: *self.rng.pick(&[300, 3_000]),
        }
    }
}
