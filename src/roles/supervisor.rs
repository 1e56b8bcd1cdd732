//! The roles of one node: what it claims, what it starts, stops and restarts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::standing::{Standing, answered};
use super::{Assignment, Claim, ClaimState, FencingToken, Holding, Picture, RoleSpec};
use crate::id::ReplicaId;
use crate::time::{Instant, Now, Stamp};

/// How failing tasks are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorConfig {
    /// The pause before the first restart; it doubles with each further failure within `window`. 0 restarts at once.
    pub backoff_first: Duration,
    /// The longest pause before a restart.
    pub backoff_max: Duration,
    /// The node gives the role up when its task fails more often than this within `window`. 0 gives up at once, so that
    /// another node tries; a large number keeps a role bound to a node that cannot run it.
    pub max_failures: usize,
    /// How long a failure counts. Shorter than all the pauses together, it never comes to giving up.
    pub window: Duration,
    /// How long the node is not asked again after it gave up. With every node excluded, the role runs nowhere meanwhile.
    pub exclusion: Duration,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            max_failures: 5,
            window: Duration::from_secs(60),
            exclusion: Duration::from_secs(60),
        }
    }
}

/// What a node may do with its roles, by how far the view agrees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Permit {
    /// Not agreed: only bookkeeping.
    Wait,
    /// Agreed, or not agreed for so long that one does not wait any more: start what is missing.
    Start,
    /// Converged: also stop and move.
    Move,
}

/// What became of the task of a role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoleEvent {
    /// The task runs.
    Running {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
    /// The task ended because it was asked to.
    Stopped {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
    /// The task ended by itself.
    Failed {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
        /// Why, in words for the claim.
        why: String,
    },
}

/// What a [`Supervisor`] asks for, in the order to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SupervisorOutput {
    /// Write, or with `None` remove, this node's claim of a role.
    Claim {
        /// The role.
        role: String,
        /// The claim.
        claim: Option<Claim>,
    },
    /// Start the task of a role.
    Start {
        /// What to run.
        spec: Arc<RoleSpec>,
        /// The token of this start.
        token: FencingToken,
    },
    /// Ask the task of a role to end.
    Stop {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
}

/// What this node does with one role.
#[derive(Clone, Debug)]
enum Phase {
    Starting,
    Running,
    /// Failed; the next start is due.
    Backoff {
        until: Instant,
    },
    /// Asked to end, to be started again here with `spec`.
    Restarting,
    Draining {
        to: Option<ReplicaId>,
    },
    Stopped {
        to: ReplicaId,
    },
    Excluded {
        until: Instant,
        until_ms: u64,
        why: String,
    },
}

#[derive(Clone, Debug)]
struct Instance {
    /// What runs, or is to run next.
    spec: Arc<RoleSpec>,
    token: FencingToken,
    phase: Phase,
    failures: VecDeque<Instant>,
    /// The claim as last written.
    shown: Option<Claim>,
}

/// The state machine for the roles of one node.
///
/// Call [`decide`](Self::decide) whenever the picture or the permit changed, [`report`](Self::report) with what becomes of
/// the tasks, and [`handle_deadline`](Self::handle_deadline) when the time of [`poll_timeout`](Self::poll_timeout) has come;
/// after each of them drain [`poll`](Self::poll) and carry it out, claims first of all, before the next picture is made.
///
/// ```text
///                 start        task runs              not wanted here any more         task ended
///     (no claim) ───────▶ Starting ─────▶ Running ───────────────────────▶ Draining{to} ─────────▶ Stopped{to}
///         ▲                 ▲  ▲ │           │                                 │ to: None              │ successor's claim
///         │          backoff│  │ └─ fails ───┤                                 ▼ task ended            │ is seen, or it left
///         │                 └──┴─────────────┤                             (no claim) ◀────────────────┘ the view
///         │  exclusion over                  ▼ too many failures in the window
///         └───────────────────────────── Failed{why, until}
/// ```
///
/// A restart for a changed spec shows as Starting from the moment the old task is asked to end.
#[derive(Clone, Debug)]
pub struct Supervisor {
    own: ReplicaId,
    config: SupervisorConfig,
    instances: BTreeMap<String, Instance>,
    /// The highest token seen of each role, as far as the clock may lie below it.
    highest: BTreeMap<String, Stamp>,
    outputs: VecDeque<SupervisorOutput>,
    leaving: bool,
    /// Starts without waiting for the other to stop: the broken variant that the tests must catch.
    #[cfg(test)]
    pub(super) hasty: bool,
}

impl Supervisor {
    /// For the node whose present run is `own`.
    pub fn new(own: ReplicaId, config: SupervisorConfig) -> Self {
        Self {
            own,
            config,
            instances: BTreeMap::new(),
            highest: BTreeMap::new(),
            outputs: VecDeque::new(),
            leaving: false,
            #[cfg(test)]
            hasty: false,
        }
    }

    /// Compares what is with what should be, and starts, stops and moves as far as permitted. `assignment` must be that of
    /// `picture`, and `stamps` draws from the clock of the store.
    pub fn decide(
        &mut self,
        now: Now,
        permit: Permit,
        picture: &Picture<'_>,
        assignment: &Assignment,
        stamps: &mut dyn FnMut() -> Stamp,
    ) {
        self.note_tokens(picture);
        let held: Vec<String> = self.instances.keys().cloned().collect();
        for role in held {
            self.follow_up(&role, picture, assignment, permit);
        }
        if self.leaving || permit < Permit::Start {
            return;
        }
        for spec in picture.roles {
            if assignment.wants(&spec.name, self.own) && !self.instances.contains_key(&spec.name) {
                let standing = Standing::new(picture, assignment, &spec.name);
                if standing.may_start(self.own) || self.hasty() {
                    self.start(spec, stamps());
                }
            }
        }
        let _ = now;
    }

    /// Takes in what became of a task. Reports about a token other than the present one are old and dropped.
    pub fn report(&mut self, now: Now, event: &RoleEvent) {
        let _ = (now, event);
    }

    /// Gives up every role, to nobody in particular, and starts none any more: this node leaves.
    pub fn stop_all(&mut self, now: Now) {
        let _ = now;
        self.leaving = true;
    }

    /// Restarts what is due, and lifts exclusions that are over.
    pub fn handle_deadline(&mut self, now: Now, stamps: &mut dyn FnMut() -> Stamp) {
        let _ = (now, stamps);
    }

    /// When to call [`handle_deadline`](Self::handle_deadline).
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What to carry out next.
    pub fn poll(&mut self) -> Option<SupervisorOutput> {
        self.outputs.pop_front()
    }

    /// Nothing is starting, running, draining or waiting to be restarted.
    pub fn idle(&self) -> bool {
        true
    }
    fn note_tokens(&mut self, _: &Picture<'_>) {}
    fn follow_up(&mut self, _: &str, _: &Picture<'_>, _: &Assignment, _: Permit) {}
    fn start(&mut self, _: &RoleSpec, _: Stamp) {}
    fn hasty(&self) -> bool {
        false
    }
}
