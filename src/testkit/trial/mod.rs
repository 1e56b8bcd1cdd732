//! A trial: a cluster is hurt by a schedule that follows from its seed, then no longer, and then it has to heal.
//!
//! ```text
//!   seed ──▶ plan, profile ──▶ hurt for 1 to 20 virtual seconds ──▶ mend ──▶ healed in time? ──▶ at rest
//!                                 └── invariants look on all the time ────────────┴──────────────┘
//! ```
//!
//! In two phases always, as TigerBeetle's simulator does it: a cluster that is being hurt must not go wrong, and one that
//! no longer is must get well. Everything follows from the seed: a failing one repeats.

#[cfg(feature = "sabotage")]
mod canary;
mod facts;
mod harm;
mod notes;
mod palette;
mod plan;
mod settled;
mod story;
mod violation;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use facts::Facts;
pub use plan::Plan;
pub(crate) use settled::{Component, Pair};
pub(crate) use story::{Story, Written};
pub use violation::Violation;

use self::harm::Harm;
use self::palette::Palette;
use self::plan::Profile;
use self::settled::Memory;
use super::invariants::{self, Invariant, Oracle, Scene, Verdict};
use super::rng::Rng;
use super::trace::Trace;
use super::{Habits, NodeIndex, NodeOptions, Rule as NetworkRule, Simulation};
use crate::engine::Phase;
#[cfg(feature = "sabotage")]
use crate::sabotage::Rule;
use crate::store::{Digest, TableName};
use crate::time::Instant;

/// Within this virtual time everything heals once nothing hurts any more. Nodes that never met are found by the beacons
/// of those that have company, which come every 30 s.
const HEALED_WITHIN: Duration = Duration::from_secs(40);

/// How long it must stay well, looked at twice.
const STAYS_WELL: Duration = Duration::from_millis(1_500);

/// How long what a node writes by itself may take to everybody, and how often that may happen before all is well again.
const UNDER_WAY: Duration = Duration::from_millis(500);
const UNDER_WAY_TIMES: usize = 4;

/// How long a node that leaves may try to hand over.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often invariants look.
const LOOK: Duration = Duration::from_millis(250);

/// A trial to be run.
///
/// ```
/// use unisono::testkit::Trial;
///
/// let report = Trial::new(42).nodes(5).run().unwrap();
/// assert_eq!(report, Trial::new(42).nodes(5).run().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct Trial {
    seed: u64,
    nodes: usize,
    plan: Option<Plan>,
    records: bool,
    #[cfg(feature = "sabotage")]
    broken: Vec<Rule>,
    /// Judged by this invariant alone.
    #[cfg(feature = "sabotage")]
    judge: Option<String>,
}

/// What a trial came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What kind of harm was done.
    pub plan: Plan,
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// How much virtual time it took.
    pub elapsed: Duration,
    /// How long it took to heal.
    pub healed_after: Duration,
    /// How many writes were acknowledged.
    pub writes: usize,
    /// How many removed rows were collected.
    pub collected: u64,
    /// How many rows came back that one side had collected; only where members were evicted from the roster.
    pub resurrected: u64,
    /// How often a cluster was looked at before and after the loss of one member, with nothing else between.
    pub losses_judged: u64,
    /// The same with nothing between at all.
    pub calm_judged: u64,
    /// How many steps the simulation took: inputs, deadlines, beacons.
    pub steps: u64,
}

impl Trial {
    /// The trial of a seed, with 5 nodes and a plan that follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: 5,
            plan: None,
            records: false,
            #[cfg(feature = "sabotage")]
            broken: Vec::new(),
            #[cfg(feature = "sabotage")]
            judge: None,
        }
    }

    /// With so many nodes to begin with, at least 2.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes.max(2);
        self
    }

    /// With harm of one kind.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Runs the trial.
    ///
    /// # Errors
    ///
    /// The first invariant that did not hold.
    pub fn run(self) -> Result<Report, Box<Violation>> {
        self.run_recorded().0
    }

    /// Runs the trial and records it: whatever came of it, there is a trace.
    pub fn record(mut self) -> (Result<Report, Box<Violation>>, Trace) {
        self.records = true;
        let seed = self.seed;
        let (outcome, trace) = self.run_recorded();
        (outcome, trace.unwrap_or(Trace { seed, records: Vec::new() }))
    }

    fn run_recorded(self) -> (Result<Report, Box<Violation>>, Option<Trace>) {
        let mut course = Course::new(&self);
        let outcome = course.run();
        let trace = course.simulation.take_trace();
        (outcome.map_err(|broken| Box::new(Violation::new(&self, &course, broken))), trace)
    }
}

/// An invariant that does not hold: its name, and why.
type Broken = (&'static str, String);

/// A trial on its way.
struct Course {
    simulation: Simulation,
    rng: Rng,
    profile: Profile,
    palette: Palette,
    story: Story,
    facts: Facts,
    harm: Harm,
    memory: Memory,
    invariants: Vec<Box<dyn Invariant>>,
    /// What each node held when it was looked at last.
    held: BTreeMap<NodeIndex, (u64, Digest)>,
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
    steps: u64,
    looked_at: Duration,
    /// What was done and what happened, in words, the last of it.
    log: violation::Log,
    #[cfg(feature = "sabotage")]
    broken: Vec<Rule>,
}

impl Course {
    fn new(trial: &Trial) -> Self {
        let mut rng = Rng::new(trial.seed);
        let drawn = Plan::draw(&mut rng);
        let profile = Profile::new(&mut rng, trial.plan.unwrap_or(drawn));
        let mut simulation = Simulation::new(trial.seed);
        if trial.records {
            simulation.record();
        }
        let table = TableName::new("lot").expect("a table may have this name");
        let palette = Palette::draw(trial.seed);
        let mut facts = Facts::new(profile.plan, trial.nodes, profile.skew_ms as u64);
        facts.stop_grace = palette.stop_grace();
        let mut course = Self {
            simulation,
            rng,
            story: Story::new(table),
            facts,
            harm: Harm::default(),
            memory: Memory::default(),
            palette,
            invariants: invariants::all(),
            held: BTreeMap::new(),
            events: BTreeMap::new(),
            steps: 0,
            looked_at: Duration::ZERO,
            log: violation::Log::default(),
            #[cfg(feature = "sabotage")]
            broken: trial.broken.clone(),
            profile,
        };
        #[cfg(feature = "sabotage")]
        course.invariants.retain(|invariant| trial.judge.as_ref().is_none_or(|judge| judge == invariant.name()));
        let nodes: Vec<NodeIndex> = (0..trial.nodes).map(|_| course.add_node()).collect();
        if course.profile.plan == Plan::Islands {
            let (one, other) = nodes.split_at(course.rng.between(1, nodes.len() - 1));
            course.hurt_by(&format!("islands {one:?} | {other:?}"), NetworkRule::cut().between(one, other), true);
        }
        course
    }

    fn add_node(&mut self) -> NodeIndex {
        let spread = i64::try_from(self.profile.skew_ms).unwrap_or_default();
        let skew = i64::try_from(self.rng.below(2 * self.profile.skew_ms + 1)).unwrap_or_default() - spread;
        let name = format!("n{:02}", self.simulation.nodes().len());
        let (datagram, frame) = self.profile.packing;
        let options = NodeOptions::named(&name).timing(self.profile.timing.clone()).skew_ms(skew);
        let options = options.packing(datagram, frame).departed_authors(self.profile.departed_authors);
        #[cfg(feature = "sabotage")]
        let options = self.broken.iter().fold(options, |options, rule| options.sabotage(*rule));
        self.facts.processes += 1;
        let options = options.habits(self.palette.habits).label("zone", self.palette.zone());
        let options = self.palette.roles.iter().fold(options, |options, role| options.role(role.clone()));
        let now = self.simulation.elapsed();
        self.palette.roles.iter().for_each(|role| self.facts.asked(role, now));
        self.simulation.add(options)
    }

    /// Hurts, heals, checks.
    fn run(&mut self) -> Result<Report, Broken> {
        self.log.note(self.simulation.elapsed(), format_args!("{:?} {:?}", self.profile, self.palette));
        while self.simulation.elapsed() < self.profile.hurt {
            let pause = Duration::from_millis(self.rng.between(1, self.profile.most_pause_ms) as u64);
            self.pass(pause)?;
            self.note_leavers()?;
            let action = self.profile.draw(&mut self.rng);
            self.act(action)?;
        }
        self.mend()?;
        let healed_after = self.await_health()?;
        for _ in 0..2 {
            self.pass(STAYS_WELL)?;
            // Departed authors are forgotten by and by, which takes writes; who gave a role up takes it on again some time.
            for _ in 0..UNDER_WAY_TIMES {
                if self.ill().is_some() {
                    self.pass(UNDER_WAY)?;
                }
            }
            if let Some(why) = self.ill() {
                return Err(("what is well stays well", why));
            }
            self.ask(|invariant, scene| invariant.at_rest(scene))?;
        }
        let stores = self.simulation.alive().into_iter().map(|node| self.simulation.store(node).stats());
        let (collected, resurrected) = stores.fold((0, 0), |(collected, resurrected), stats| {
            (collected + stats.collected, resurrected + stats.resurrected)
        });
        Ok(Report {
            plan: self.profile.plan,
            trace_hash: self.simulation.trace_hash(),
            elapsed: self.simulation.elapsed(),
            healed_after,
            writes: self.story.written().len(),
            collected,
            resurrected,
            losses_judged: self.facts.pairs_seen.0,
            calm_judged: self.facts.pairs_seen.1,
            steps: self.steps,
        })
    }

    /// Lets time pass while the invariants look on.
    fn pass(&mut self, span: Duration) -> Result<(), Broken> {
        let end = self.simulation.elapsed() + span;
        while self.simulation.elapsed() < end {
            let stop = end.min(self.looked_at + LOOK);
            let until = Instant::ZERO + stop;
            while let Some(node) = self.simulation.step(until) {
                self.steps += 1;
                self.stepped(node)?;
            }
            self.simulation.run_to(until);
            if self.simulation.elapsed() >= self.looked_at + LOOK {
                self.looked_at = self.simulation.elapsed();
                self.note_leavers()?;
                self.note_calm();
                self.note_components();
                self.ask(|invariant, scene| invariant.look(scene))?;
            }
        }
        Ok(())
    }

    fn stepped(&mut self, node: NodeIndex) -> Result<(), Broken> {
        if self.simulation.engine(node).is_none() {
            return Ok(());
        }
        self.note_islands(node);
        let store = self.simulation.store(node);
        let held = (store.replica().0, store.digest());
        if self.held.get(&node) == Some(&held) {
            return Ok(());
        }
        self.held.insert(node, held);
        self.ask(|invariant, scene| invariant.at_change(scene, node))
    }

    /// Asks all invariants; the first that does not hold ends the trial.
    fn ask(&mut self, mut ask: impl FnMut(&mut dyn Invariant, Scene<'_>) -> Verdict) -> Result<(), Broken> {
        let scene = Scene { simulation: &self.simulation, story: &self.story, facts: &self.facts };
        for invariant in &mut self.invariants {
            ask(invariant.as_mut(), scene).map_err(|why| (invariant.name(), why))?;
        }
        Ok(())
    }

    fn await_health(&mut self) -> Result<Duration, Broken> {
        let start = self.simulation.elapsed();
        while let Some(why) = self.ill() {
            self.pass(Duration::from_millis(50))?;
            if self.simulation.elapsed() - start > HEALED_WITHIN {
                return Err((
                    "a cluster that is not hurt any more heals",
                    format!("not within {HEALED_WITHIN:?}: {why}"),
                ));
            }
        }
        Ok(self.simulation.elapsed() - start)
    }

    /// What is not well yet.
    fn ill(&self) -> Option<String> {
        let nodes = self.simulation.nodes();
        for node in &nodes {
            let status = self.simulation.status(*node);
            if status.is_none_or(|status| status.phase == Phase::Joining) {
                return Some(format!("{node:?} is not ready"));
            }
        }
        if !self.simulation.all_converged() {
            return Some("views, agreement or rows differ".to_owned());
        }
        // Not as often as the nodes believe that they should run, but as was asked for.
        let oracle = Oracle::new(&self.simulation, &nodes)?;
        let hosts = oracle.hosts(&self.simulation);
        self.facts.asked_names().into_iter().find_map(|role| match oracle.spec(role) {
            Some(spec) => oracle.miscount(&hosts, spec),
            None if !self.facts.optional.contains(role) => Some(format!("nobody knows that {role:?} was asked for")),
            None => {
                let running = self.simulation.running(role);
                (!running.is_empty()).then(|| format!("nobody asks for {role:?}, and it runs on {running:?}"))
            }
        })
    }
}

#[cfg(test)]
mod tests;
