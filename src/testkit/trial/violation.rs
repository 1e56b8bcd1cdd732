//! What went wrong, so that somebody can find out why.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::{Broken, Course, Plan, Trial};
use crate::id::ReplicaId;

/// An invariant did not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("seed {seed}, {nodes} nodes, plan {}: at {at:?} \"{invariant}\" did not hold: {why}", plan.name())]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// How many nodes there were in the beginning.
    pub nodes: usize,
    /// What kind of harm was done.
    pub plan: Plan,
    /// The first invariant that did not hold.
    pub invariant: String,
    /// Why, in words.
    pub why: String,
    /// When, in virtual time.
    pub at: Duration,
    /// What was done before, the last of it.
    pub last: Vec<String>,
    /// What every node sees.
    pub scene: Vec<String>,
}

impl Violation {
    pub(super) fn new(trial: &Trial, course: &Course, (invariant, why): Broken) -> Self {
        Self {
            seed: trial.seed,
            nodes: trial.nodes,
            plan: course.profile.plan,
            invariant: invariant.to_owned(),
            why,
            at: course.simulation.elapsed(),
            last: course.log.lines(),
            scene: describe(course),
        }
    }

    /// All of it, over several lines.
    pub fn story(&self) -> String {
        let lines = |lines: &[String]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
        format!("{self}\nwhat was done last:\n{}what the nodes see:\n{}", lines(&self.last), lines(&self.scene))
    }
}

fn describe(course: &Course) -> Vec<String> {
    let simulation = &course.simulation;
    let mut lines = Vec::new();
    for node in simulation.nodes() {
        let Some(status) = simulation.status(node) else {
            lines.push(format!("{node:?} does not run"));
            continue;
        };
        let members = status.members.iter().map(|member| {
            let view = if member.in_view { "in view " } else { "" };
            format!("{}#{} {view}{:?}", member.node, short(member.replica), member.liveness)
        });
        let members: Vec<String> = members.collect();
        let still = if simulation.is_paused(node) { ", stands still" } else { "" };
        lines.push(format!(
            "{node:?} {:?}, agreed: {}{still}, {}: {}",
            status.phase,
            status.agreed,
            status.fingerprint,
            members.join(", ")
        ));
        lines.push(format!("    {:?} {:?}", simulation.store(node).digest(), simulation.store(node).stats()));
        if let Some(engine) = simulation.engine(node) {
            lines.push(format!("    {:?}", engine.stats()));
        }
        let events = simulation.events(node);
        lines.extend(events[events.len().saturating_sub(6)..].iter().map(|event| format!("    {event:?}")));
    }
    let roles = simulation.alive().first().and_then(|node| simulation.status(*node)).map(|status| &status.roles);
    for role in roles.into_iter().flatten() {
        lines.push(format!("{:?} runs on {:?}", role.spec.name, simulation.running(&role.spec.name)));
    }
    lines
}

fn short(replica: ReplicaId) -> String {
    format!("{:016x}", replica.0)[..6].to_owned()
}

/// The last lines of what was done.
#[derive(Debug, Default)]
pub(super) struct Log(VecDeque<(Duration, String)>);

impl Log {
    const LINES: usize = 40;

    pub(super) fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        self.0.push_back((at, what.to_string()));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(at, what)| format!("{at:>12.3?} {what}")).collect()
    }
}
