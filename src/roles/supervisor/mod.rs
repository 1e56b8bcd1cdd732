//! The roles of one node: what it claims, what it starts, stops and restarts.

mod instance;
mod types;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use instance::{Instance, PINNED, Phase};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub use types::{Permit, RoleReport, RoleStart, Scene, SupervisorOutput};

use super::given::LAST_TOKEN;
use super::standing::{Standing, answered};
use super::{FencingToken, Handover, InstanceId, Picture, RoleSpec};
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::{Instant, Now, Stamp};

/// How old a token must be for the clock alone to be above it, whatever its correction. Younger ones are remembered.
pub(crate) const TOKEN_MEMORY: Duration = Duration::from_secs(3_600);

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
///
/// An instance that starts or runs where it is assigned, and has a lower fencing token than one that has ended, is given a
/// higher one in place once the view has converged: after a cut the longest-running instance stays, and may have the lowest
/// token of all. The others keep theirs, so that the resource goes on refusing them.
#[derive(Clone, Debug)]
pub struct Supervisor {
    own: ReplicaId,
    instances: BTreeMap<String, Instance>,
    /// What was seen of each role, as far as the clock may lie below it.
    highest: BTreeMap<String, Highest>,
    outputs: VecDeque<SupervisorOutput>,
    leaving: bool,
    random: SmallRng,
    sabotage: Sabotage,
}

/// The highest stamps seen of a role.
#[derive(Clone, Copy, Debug, Default)]
struct Highest {
    started: Stamp,
    token: Stamp,
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

    /// Takes note of a token and the instance that has it, so that later ones of this node are above both.
    /// [`decide`](Self::decide) does so for the claims in its picture; this is for those of owners outside the view, whose
    /// tasks may still run somewhere, and for tokens of instances that have ended.
    pub fn see(&mut self, role: &str, token: FencingToken, started: InstanceId) {
        let highest = match self.highest.get_mut(role) {
            Some(highest) => highest,
            None => self.highest.entry(role.to_owned()).or_default(),
        };
        if token.stamp <= LAST_TOKEN {
            highest.token = highest.token.max(token.stamp);
        }
        if started.stamp <= LAST_TOKEN {
            highest.started = highest.started.max(started.stamp);
        }
    }

    /// Compares what is with what should be, and starts, stops, moves and raises as far as permitted. The assignment must be
    /// that of the picture, and `stamps` draws from the clock of the store, which observed every claim in the picture.
    ///
    /// To be called also while nothing is permitted: a claim whose successor has come up is removed in any case.
    pub fn decide(&mut self, now: Now, scene: &Scene<'_>, stamps: &mut dyn FnMut() -> Stamp) {
        let Scene { permit, picture, assignment, .. } = *scene;
        self.remember_tokens(now, picture);
        for role in self.instances.keys().cloned().collect::<Vec<_>>() {
            self.follow_up(&role, scene);
            self.raise(&role, scene, stamps);
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
                let start = self.start(&spec.name, stamps());
                let mut instance = Instance::new(Arc::new(spec.clone()), start);
                instance.pinned_until = moved.then(|| now.instant + PINNED);
                instance.handed = picture.handed_to(&spec.name, self.own);
                self.instances.insert(spec.name.clone(), instance);
                self.launch(&spec.name, start);
            }
        }
    }

    /// Takes in what became of a task. Reports about a start other than the present one are old and dropped.
    pub fn report(&mut self, now: Now, event: &RoleReport) {
        let (role, started) = event.start();
        let chance = self.random.random();
        let Some(instance) = self.instances.get_mut(role).filter(|instance| instance.started == started) else {
            return;
        };
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

    /// Gives up every role, and starts none any more: this node leaves. What is being handed to a successor still is; the
    /// other roles are given up to nobody in particular.
    ///
    /// The others place these once this node is no longer among their candidates.
    pub fn stop_all(&mut self, _now: Now) {
        self.leaving = true;
        for role in self.instances.keys().cloned().collect::<Vec<_>>() {
            let is_handed = |i: &Instance| matches!(i.phase, Phase::Draining { to: Some(_) });
            if !self.instances.get(&role).is_some_and(is_handed) {
                self.give_up(&role, None);
            }
        }
    }

    /// The roles whose tasks may run, each with the start of its task.
    pub fn unfinished(&self) -> impl Iterator<Item = (&str, InstanceId, &RoleSpec)> {
        let runs =
            |i: &Instance| !matches!(i.phase, Phase::Backoff { .. } | Phase::Stopped { .. } | Phase::Excluded { .. });
        let running = self.instances.iter().filter(move |(_, instance)| runs(instance));
        running.map(|(role, instance)| (role.as_str(), instance.started, &*instance.spec))
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
                    let start = self.start(&role, stamps());
                    self.launch(&role, start);
                }
                Phase::Excluded { until, .. } if until <= now.instant => self.remove(&role),
                _ => self.show(&role),
            }
        }
    }

    /// The current token of an instance of this node.
    pub fn token_of(&self, role: &str, started: InstanceId) -> Option<FencingToken> {
        self.instances.get(role).filter(|instance| instance.started == started).map(|instance| instance.token)
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
    fn follow_up(&mut self, role: &str, scene: &Scene<'_>) {
        let (own, Scene { permit, picture, assignment, .. }) = (self.own, *scene);
        let Some(instance) = self.instances.get_mut(role) else { return };
        let settled = permit == Permit::Move;
        let wanted = assignment.wants(role, own);
        // The successor left the view, or converged assignment prefers another: its reservation is void.
        let void = |to: &ReplicaId| !picture.has(*to) || (settled && !assignment.wants(role, *to));
        match &instance.phase {
            Phase::Stopped { to } => {
                let started = instance.started;
                if void(to) || answered(picture.of(role), started, *to) {
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
                let started = instance.started;
                instance.phase = Phase::Draining { to: None };
                self.show(role);
                self.outputs.push_back(SupervisorOutput::Stop { role: role.to_owned(), started });
            }
            // It is as if nothing had been decided; what is decided now comes next.
            Phase::Yielding { to } if void(to) => {
                instance.phase = Phase::Running;
                self.show(role);
                self.follow_up(role, scene);
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
                let started = instance.started;
                if picture.spec(role).is_some_and(|spec| instance.respec(spec)) && runs {
                    instance.phase = Phase::Restarting;
                    self.show(role);
                    self.outputs.push_back(SupervisorOutput::Stop { role: role.to_owned(), started });
                }
            }
        }
    }

    /// Gives a role up, for `to` to have it next.
    fn give_up(&mut self, role: &str, to: Option<ReplicaId>) {
        let Some(instance) = self.instances.get_mut(role) else { return };
        let started = instance.started;
        match (&instance.phase, to) {
            (Phase::Starting | Phase::Running | Phase::Yielding { .. }, _) => {
                instance.phase = Phase::Draining { to };
                self.show(role);
                self.outputs.push_back(SupervisorOutput::Stop { role: role.to_owned(), started });
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
    fn launch(&mut self, role: &str, (started, token): (InstanceId, FencingToken)) {
        let Some(instance) = self.instances.get_mut(role) else { return };
        (instance.started, instance.token) = (started, token);
        instance.phase = Phase::Starting;
        let (spec, handed) = (Arc::clone(&instance.spec), instance.handed.take());
        self.show(role);
        self.outputs.push_back(SupervisorOutput::Give { role: role.to_owned(), token, started });
        self.outputs.push_back(SupervisorOutput::Start(RoleStart { spec, started, token, handed }));
    }

    /// Raises the token of an instance that is to stay, if one that has ended had a higher one.
    fn raise(&mut self, role: &str, scene: &Scene<'_>, stamps: &mut dyn FnMut() -> Stamp) {
        let Some(instance) = self.instances.get(role) else { return };
        let (started, token) = (instance.started, instance.token);
        let runs = matches!(instance.phase, Phase::Starting | Phase::Running);
        let stays = runs && scene.permit == Permit::Move && scene.assignment.wants(role, self.own);
        let ended = if stays { scene.given.ended(scene.picture, scene.assignment, role) } else { None };
        // Raised to a token that is not above, it would be raised again for ever.
        let broken = [Rule::SurvivorNotRaised, Rule::TokenNotAbove].map(|rule| self.sabotage.breaks(rule));
        if ended <= Some(token) || broken.contains(&true) {
            return;
        }
        let token = self.token(role, stamps());
        let Some(instance) = self.instances.get_mut(role) else { return };
        instance.token = token;
        self.show(role);
        let role = role.to_owned();
        self.outputs.push_back(SupervisorOutput::Give { role: role.clone(), token, started });
        self.outputs.push_back(SupervisorOutput::Raise { role, started, token });
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

    /// A new instance, younger than all of the role seen, and its token.
    fn start(&mut self, role: &str, stamp: Stamp) -> (InstanceId, FencingToken) {
        let seen = self.highest.get(role).map(|highest| highest.started);
        let started = InstanceId { stamp: above(stamp, seen), replica: self.own };
        let token = self.token(role, stamp);
        self.see(role, token, started);
        (started, token)
    }

    /// A token above every token of the role seen.
    fn token(&mut self, role: &str, stamp: Stamp) -> FencingToken {
        let seen = self.highest.get(role).map(|highest| highest.token);
        let stamp = above(stamp, seen);
        if self.sabotage.breaks(Rule::TokenNotAbove) {
            return FencingToken { stamp: seen.unwrap_or(stamp), replica: self.own };
        }
        assert!(seen.is_none_or(|seen| stamp > seen), "fencing tokens of {role} ran out");
        self.highest.entry(role.to_owned()).or_default().token = stamp;
        FencingToken { stamp, replica: self.own }
    }

    fn remember_tokens(&mut self, now: Now, picture: &Picture<'_>) {
        for holding in picture.holdings {
            self.see(&holding.role, holding.claim.token, holding.claim.started);
        }
        let memory_ms = u64::try_from(TOKEN_MEMORY.as_millis()).unwrap_or(u64::MAX);
        let young = now.wall_ms.saturating_sub(memory_ms);
        self.highest.retain(|role, highest| highest.token.as_millis() >= young || picture.spec(role).is_some());
    }
}

/// The clock alone is above what was seen, except where a stamp was too far ahead to advance it (`HybridClock::observe`).
fn above(stamp: Stamp, seen: Option<Stamp>) -> Stamp {
    seen.map_or(stamp, |seen| stamp.max(seen.next()))
}

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
