//! The tasks of roles on hosts without a real application: pretended, as quick and as faithful as a test wants them.
//!
//! ```text
//!   StartRole ─▶ builds ── start ─▶ up ─┬─ StopRole ─▶ ending ── stop ─▶ ended, Stopped
//!                            Running    └─ fails ──────────────────────▶ ended, Failed
//! ```
//!
//! A task counts as [running](Simulation::running) from its start until it has ended, and as
//! [serving](Simulation::serving) in between only. How long it takes follows from its token, so that it repeats.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Happening, Simulation};
use crate::engine::{Input, RoleReport};
use crate::roles::{FencingToken, RoleStart};
use crate::testkit::host::NodeIndex;

/// How pretended role tasks behave. By default they start at once, end within a millisecond and never fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Habits {
    /// The longest that a task takes to come up, in milliseconds.
    pub start_ms: u64,
    /// The longest that it takes to end when it is asked to, in milliseconds; one more than that.
    pub stop_ms: u64,
    /// So many of a hundred starts fail, within [`Habits::FAILS_WITHIN_MS`].
    pub fails_percent: u64,
}

impl Habits {
    /// A start that is to fail does so within so many milliseconds after it came up.
    pub const FAILS_WITHIN_MS: u64 = 500;
}

/// What a pretended task does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::testkit) enum Turn {
    ComesUp,
    Fails,
    Ends,
}

/// A pretended task.
#[derive(Clone, Debug)]
pub(in crate::testkit) struct Pretended {
    pub(in crate::testkit) token: FencingToken,
    pub(in crate::testkit) up: bool,
    ending: bool,
}

/// While a process stands still, its tasks do too; so often is looked whether it goes on.
const STANDS_STILL: Duration = Duration::from_millis(5);

impl Simulation {
    /// Starts a role's task, pretended or real.
    pub(super) fn start_task(&mut self, host: usize, start: RoleStart) {
        let (seed, there) = (self.seed, &mut self.hosts[host]);
        if there.tenant.is_some() {
            if let Some(report) = there.start_role(start) {
                self.input(host, Duration::ZERO, Input::Role(report));
            }
            return;
        }
        let (habits, role, token) = (there.options.habits, start.spec.name.clone(), start.token);
        there.starts += 1;
        if there.pretended.insert(role.clone(), Pretended { token, up: false, ending: false }).is_some() {
            there.doubled.get_or_insert_with(|| role.clone());
        }
        there.tasks.insert(role.clone());
        let draw = |what: &[u8], below: u64| {
            let hash = xxh3_64_with_seed(&[role.as_bytes(), &token.as_u128().to_be_bytes()].concat(), seed);
            xxh3_64_with_seed(what, hash) % below
        };
        let after = Duration::from_millis(draw(b"start", habits.start_ms + 1));
        if draw(b"fail", 100) < habits.fails_percent {
            let then = Duration::from_millis(draw(b"when", Habits::FAILS_WITHIN_MS));
            self.turn(host, after + then, role.clone(), token, Turn::Fails);
        }
        self.turn(host, after, role, token, Turn::ComesUp);
    }

    /// Asks a role's task to end.
    pub(super) fn stop_task(&mut self, host: usize, role: String, token: FencingToken) {
        let (seed, there) = (self.seed, &mut self.hosts[host]);
        if there.tenant.is_some() {
            if let Some(report) = there.stop_role(role, token) {
                self.input(host, Duration::from_millis(1), Input::Role(report));
            }
            return;
        }
        // That another one ended was told already.
        let Some(task) = there.pretended.get_mut(&role).filter(|task| task.token == token) else { return };
        if std::mem::replace(&mut task.ending, true) {
            return;
        }
        let hash = xxh3_64_with_seed(&[role.as_bytes(), &token.as_u128().to_be_bytes()].concat(), !seed);
        let after = Duration::from_millis(1 + hash % (there.options.habits.stop_ms + 1));
        self.turn(host, after, role, token, Turn::Ends);
    }

    fn turn(&mut self, host: usize, after: Duration, role: String, token: FencingToken, turn: Turn) {
        let life = self.hosts[host].life;
        self.schedule(after, Happening::Task { host, life, task: Box::new((role, token, turn)) });
    }

    /// A pretended task does what it was to do.
    pub(super) fn take_turn(&mut self, host: usize, task: Box<(String, FencingToken, Turn)>) {
        let there = &mut self.hosts[host];
        if there.paused {
            let life = there.life;
            return self.schedule(STANDS_STILL, Happening::Task { host, life, task });
        }
        let (role, token, turn) = *task;
        let fails = there.options.habits.fails_percent > 0;
        let Some(found) = there.pretended.get_mut(&role).filter(|found| found.token == token) else { return };
        let report = match turn {
            Turn::ComesUp => {
                found.up = true;
                RoleReport::Running { role, token }
            }
            Turn::Fails if found.ending || !fails => return,
            Turn::Fails => {
                there.failures += 1;
                there.forget(&role);
                RoleReport::Failed { role, token, why: "it was drawn so".to_owned() }
            }
            Turn::Ends => {
                there.forget(&role);
                RoleReport::stopped(role, token)
            }
        };
        self.arrive(host, Input::Role(report));
    }

    /// Sets how role tasks behave on a host, also those that run: calmed down, none fails any more.
    pub fn set_habits(&mut self, node: NodeIndex, habits: Habits) {
        self.hosts[node.0].options.habits = habits;
    }

    /// The nodes on which a pretended task of this role is up and was not asked to end.
    pub fn serving(&self, role: &str) -> Vec<NodeIndex> {
        let serves = |index: &usize| self.hosts[*index].pretended.get(role).is_some_and(|task| task.up && !task.ending);
        (0..self.hosts.len()).filter(serves).map(NodeIndex).collect()
    }

    /// How many pretended tasks were started and how many of them failed, on all hosts.
    pub fn task_counts(&self) -> (u64, u64) {
        self.hosts.iter().fold((0, 0), |(starts, failures), host| (starts + host.starts, failures + host.failures))
    }

    /// A role that a node started while another task of it ran there.
    pub(crate) fn doubled(&self, node: NodeIndex) -> Option<&str> {
        self.hosts[node.0].doubled.as_deref()
    }
}
