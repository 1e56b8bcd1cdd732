//! The roles of one node: what it claims, what it starts, stops and restarts.

mod instance;
mod types;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use instance::{Instance, PINNED, Phase};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub use types::{Permit, RoleReport, RoleStart, SupervisorOutput};

use super::standing::{Standing, answered};
use super::{Assignment, FencingToken, Handover, Picture};
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::{Instant, Now, Stamp};

/// How old a token must be for the clock alone to be above it, whatever its correction. Younger ones are remembered.
const TOKEN_MEMORY: Duration = Duration::from_secs(3_600);

/// No clock gets here (the year 6429): a token beyond is rubbish, and nothing could be above the highest of them.
const LAST_TOKEN: Stamp = Stamp(u64::MAX / 2);

/// The state machine for the roles of one node.
///
/// Call [`decide`](Self::decide) whenever the picture or the permit changed, [`report`](Self::report) with what becomes of
/// the tasks, and [`handle_deadline`](Self::handle_deadline) when the time of [`poll_timeout`](Self::poll_timeout) has come;
/// after each of them drain [`poll`](Self::poll) and carry it out, claims first of all, before the next picture is made.
///
/// ```text
///                 start        task runs              not wanted here any more         task ended
///     (no claim) ───────▶ Starting ─────▶ Running ───────────────────────▶ Draining{to} ─────────▶ Stopped{to}
///         ▲                 ▲  ▲ │          │  └─▶ Yielding{to} ─────────────▲ │ to: None              │ successor's claim
///         │          backoff│  │ └─ fails ──┤      make before break: until   │                       │ is seen, or it left
///         │                 └──┴────────────┤      the successor's task runs  ▼ task ended            │ the view
///         │                                 │                             (no claim) ◀────────────────┘
///         │  exclusion over                 ▼ too many failures in the window
///         └───────────────────────────── Failed{why, until}
/// ```
///
/// A restart for a changed spec shows as Starting from the moment the old task is asked to end.
#[derive(Clone, Debug)]
pub struct Supervisor {
    own: ReplicaId,
    instances: BTreeMap<String, Instance>,
    /// The highest token seen of each role, as far as the clock may lie below it.
    highest: BTreeMap<String, Stamp>,
    outputs: VecDeque<SupervisorOutput>,
    leaving: bool,
    random: SmallRng,
    sabotage: Sabotage,
}

impl Supervisor {
    /// For the node whose present run is `own`. The seed is for the pauses before restarts.
    pub fn new(own: ReplicaId, seed: u64) -> Self {
        Self {
            own,
            instances: BTreeMap::new(),
            highest: BTreeMap::new(),
            outputs: VecDeque::new(),
            leaving: false,
            random: SmallRng::seed_from_u64(seed),
            sabotage: Sabotage::default(),
        }
    }

    /// Breaks rules on purpose.
    #[must_use]
    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        Self { sabotage, ..self }
    }

    /// Takes note of a token, so that later ones of this node are above it. [`decide`](Self::decide) does so for the claims
    /// in its picture; this is for those of owners outside the view, whose tasks may still run somewhere.
    pub fn see(&mut self, role: &str, token: FencingToken) {
        if token.stamp > LAST_TOKEN {
            return;
        }
        if let Some(highest) = self.highest.get_mut(role) {
            *highest = token.stamp.max(*highest);
        } else {
            self.highest.insert(role.to_owned(), token.stamp);
        }
    }

    /// Compares what is with what should be, and starts, stops and moves as far as permitted. `assignment` must be that of
    /// `picture`, and `stamps` draws from the clock of the store, which observed every claim in the picture.
    ///
    /// To be called also while nothing is permitted: a claim whose successor has come up is removed in any case.
    pub fn decide(
        &mut self,
        now: Now,
        permit: Permit,
        picture: &Picture<'_>,
        assignment: &Assignment,
        stamps: &mut dyn FnMut() -> Stamp,
    ) {
        self.remember_tokens(now, picture);
        for role in self.instances.keys().cloned().collect::<Vec<_>>() {
            self.follow_up(&role, permit, picture, assignment);
        }
        if self.leaving || permit < Permit::Start {
            return;
        }
        for spec in picture.roles {
            if self.instances.contains_key(&spec.name) || !assignment.wants(&spec.name, self.own) {
                continue;
            }
            let hasty = self.sabotage.breaks(Rule::StartBeforeStopped);
            let standing = Standing::new(picture, assignment, &spec.name);
            let moved = standing.is_handed_to(self.own);
            if hasty || moved || standing.is_free_for(self.own) {
                let token = self.token(&spec.name, stamps());
                let mut instance = Instance::new(Arc::new(spec.clone()), token);
                instance.pinned_until = moved.then(|| now.instant + PINNED);
                instance.handed = picture.handed_to(&spec.name, self.own);
                self.instances.insert(spec.name.clone(), instance);
                self.launch(&spec.name, token);
            }
        }
    }

    /// Takes in what became of a task. Reports about a token other than the present one are old and dropped.
    pub fn report(&mut self, now: Now, event: &RoleReport) {
        let (role, token) = event.start();
        let chance = self.random.random();
        let Some(instance) = self.instances.get_mut(role).filter(|instance| instance.token == token) else { return };
        if let RoleReport::Stopped { handed, .. } = event {
            instance.handed.clone_from(handed);
        }
        match (&instance.phase, event) {
            (Phase::Starting, RoleReport::Running { .. }) => instance.phase = Phase::Running,
            (_, RoleReport::Running { .. }) => return,
            (Phase::Starting | Phase::Running, RoleReport::Failed { why, .. }) => instance.fail(now, why, chance),
            (Phase::Starting | Phase::Running, RoleReport::Stopped { .. }) => {
                instance.fail(now, "ended without being asked to", chance);
            }
            (Phase::Restarting, _) => instance.phase = Phase::Backoff { until: now.instant },
            // Whatever it ended of, the successor is at hand.
            (Phase::Yielding { to } | Phase::Draining { to: Some(to) }, _) => {
                instance.phase = Phase::Stopped { to: *to }
            }
            (Phase::Draining { to: None }, _) => return self.remove(role),
            (Phase::Backoff { .. } | Phase::Stopped { .. } | Phase::Excluded { .. }, _) => return,
        }
        self.show(role);
    }

    /// Gives up every role, to nobody in particular, and starts none any more: this node leaves.
    ///
    /// The others place these roles again once this node is no longer among their candidates.
    pub fn stop_all(&mut self, _now: Now) {
        self.leaving = true;
        for role in self.instances.keys().cloned().collect::<Vec<_>>() {
            self.give_up(&role, None);
        }
    }

    /// Restarts what is due, and lifts exclusions that are over.
    pub fn handle_deadline(&mut self, now: Now, stamps: &mut dyn FnMut() -> Stamp) {
        let due = self.instances.iter().filter(|(_, instance)| instance.due().is_some_and(|due| due <= now.instant));
        for role in due.map(|(role, _)| role.clone()).collect::<Vec<_>>() {
            let Some(instance) = self.instances.get_mut(&role) else { continue };
            if instance.pinned_until.is_some_and(|until| until <= now.instant) {
                instance.pinned_until = None;
            }
            match instance.phase {
                Phase::Backoff { until } if until <= now.instant => {
                    let token = self.token(&role, stamps());
                    self.launch(&role, token);
                }
                Phase::Excluded { until, .. } if until <= now.instant => self.remove(&role),
                _ => self.show(&role),
            }
        }
    }

    /// When to call [`handle_deadline`](Self::handle_deadline).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.instances.values().filter_map(Instance::due).min()
    }

    /// What to carry out next.
    pub fn poll(&mut self) -> Option<SupervisorOutput> {
        self.outputs.pop_front()
    }

    /// Nothing is starting, running, draining or waiting to be restarted.
    pub fn idle(&self) -> bool {
        self.instances.values().all(|i| matches!(i.phase, Phase::Stopped { .. } | Phase::Excluded { .. }))
    }

    /// [`idle`](Self::idle), and every successor has shown itself.
    pub fn handed_over(&self) -> bool {
        self.instances.values().all(|i| matches!(i.phase, Phase::Excluded { .. }))
    }

    /// Brings one role of this node in line with the picture.
    fn follow_up(&mut self, role: &str, permit: Permit, picture: &Picture<'_>, assignment: &Assignment) {
        let own = self.own;
        let Some(instance) = self.instances.get_mut(role) else { return };
        let settled = permit == Permit::Move;
        let wanted = assignment.wants(role, own);
        // The successor left the view, or converged assignment prefers another: its reservation is void.
        let void = |to: &ReplicaId| !picture.has(*to) || (settled && !assignment.wants(role, *to));
        match &instance.phase {
            Phase::Stopped { to } => {
                let token = instance.token;
                if void(to) || answered(picture.of(role), token, *to) {
                    self.remove(role);
                }
            }
            Phase::Draining { to: Some(to) } => {
                if void(to) {
                    instance.phase = Phase::Draining { to: None };
                    self.show(role);
                }
            }
            Phase::Yielding { .. } if self.sabotage.breaks(Rule::YieldsForEver) => {}
            Phase::Yielding { to } if picture.runs(role, *to) => {
                let token = instance.token;
                instance.phase = Phase::Draining { to: None };
                self.show(role);
                self.outputs.push_back(SupervisorOutput::Stop { role: role.to_owned(), token });
            }
            // It is as if nothing had been decided; what is decided now comes next.
            Phase::Yielding { to } if void(to) => {
                instance.phase = Phase::Running;
                self.show(role);
                self.follow_up(role, permit, picture, assignment);
            }
            Phase::Yielding { .. } | Phase::Draining { to: None } => {}
            _ if !settled => {}
            Phase::Excluded { .. } => {
                if picture.spec(role).is_none_or(|spec| instance.respec(spec)) {
                    self.remove(role);
                }
            }
            _ if !wanted && self.sabotage.breaks(Rule::NeverStopExtra) => {}
            _ if !wanted => {
                let to = Standing::new(picture, assignment, role).successor(own);
                let gently = picture.spec(role).is_some_and(|spec| spec.handover == Handover::MakeBeforeBreak);
                match (&instance.phase, to) {
                    (Phase::Running, Some(to)) if gently => {
                        instance.phase = Phase::Yielding { to };
                        self.show(role);
                    }
                    _ => self.give_up(role, to),
                }
            }
            phase => {
                let runs = matches!(phase, Phase::Starting | Phase::Running);
                let token = instance.token;
                if picture.spec(role).is_some_and(|spec| instance.respec(spec)) && runs {
                    instance.phase = Phase::Restarting;
                    self.show(role);
                    self.outputs.push_back(SupervisorOutput::Stop { role: role.to_owned(), token });
                }
            }
        }
    }

    /// Gives a role up, for `to` to have it next.
    fn give_up(&mut self, role: &str, to: Option<ReplicaId>) {
        let Some(instance) = self.instances.get_mut(role) else { return };
        let token = instance.token;
        match (&instance.phase, to) {
            (Phase::Starting | Phase::Running | Phase::Yielding { .. }, _) => {
                instance.phase = Phase::Draining { to };
                self.show(role);
                self.outputs.push_back(SupervisorOutput::Stop { role: role.to_owned(), token });
            }
            (Phase::Restarting | Phase::Draining { .. }, _) => {
                instance.phase = Phase::Draining { to };
                self.show(role);
            }
            (Phase::Backoff { .. }, Some(to)) => {
                instance.phase = Phase::Stopped { to };
                self.show(role);
            }
            (Phase::Backoff { .. }, None) => self.remove(role),
            (Phase::Stopped { .. } | Phase::Excluded { .. }, _) => {}
        }
    }

    /// Claims, then starts.
    fn launch(&mut self, role: &str, token: FencingToken) {
        let Some(instance) = self.instances.get_mut(role) else { return };
        instance.token = token;
        instance.phase = Phase::Starting;
        let (spec, handed) = (Arc::clone(&instance.spec), instance.handed.take());
        self.show(role);
        self.outputs.push_back(SupervisorOutput::Start(RoleStart { spec, token, handed }));
    }

    /// Writes the claim, if it is not what is written already.
    fn show(&mut self, role: &str) {
        let Some(instance) = self.instances.get_mut(role) else { return };
        let claim = Some(instance.claim());
        if instance.shown != claim {
            instance.shown.clone_from(&claim);
            self.outputs.push_back(SupervisorOutput::Claim { role: role.to_owned(), claim });
        }
    }

    fn remove(&mut self, role: &str) {
        if self.instances.remove(role).is_some() {
            self.outputs.push_back(SupervisorOutput::Claim { role: role.to_owned(), claim: None });
        }
    }

    /// A token above every token of the role seen. The clock alone sees to that, except above a token whose stamp was too
    /// far ahead to advance the clock (the design, 3.11).
    fn token(&mut self, role: &str, stamp: Stamp) -> FencingToken {
        let seen = self.highest.get(role).copied();
        let stamp = seen.map_or(stamp, |seen| stamp.max(seen.next()));
        if self.sabotage.breaks(Rule::TokenNotAbove) {
            return FencingToken { stamp: seen.unwrap_or(stamp), replica: self.own };
        }
        assert!(seen.is_none_or(|seen| stamp > seen), "fencing tokens of {role} ran out");
        self.highest.insert(role.to_owned(), stamp);
        FencingToken { stamp, replica: self.own }
    }

    fn remember_tokens(&mut self, now: Now, picture: &Picture<'_>) {
        for holding in picture.holdings {
            self.see(&holding.role, holding.claim.token);
        }
        let memory_ms = u64::try_from(TOKEN_MEMORY.as_millis()).unwrap_or(u64::MAX);
        let young = now.wall_ms.saturating_sub(memory_ms);
        self.highest.retain(|role, stamp| stamp.as_millis() >= young || picture.spec(role).is_some());
    }
}

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
