//! How long a cluster takes over what happens to it, over many seeds, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use unisono::engine::{Engine, EngineStats, Event, Liveness, Timing};
use unisono::store::TableName;
use unisono::testkit::{NodeIndex, NodeOptions, Rule, Simulation};
use unisono::{Preset, ReplicaId};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A host vanishes in silence.
    Crash,
    /// A process is killed; its host lives.
    Kill,
    /// Nobody dies, and somebody is taken for dead.
    FalseDown,
    /// A cut through the middle ends.
    Heal,
    /// A cut that kept one node from all others ends.
    Return,
    /// One more node comes.
    Join,
    /// All nodes start at once.
    Many,
    /// Every second one starts again under a new name.
    Restarts,
}

impl What {
    pub(crate) const ALL: [(&'static str, Self); 8] = [
        ("crash", Self::Crash),
        ("kill", Self::Kill),
        ("false-down", Self::FalseDown),
        ("heal", Self::Heal),
        ("return", Self::Return),
        ("join", Self::Join),
        ("many", Self::Many),
        ("restarts", Self::Restarts),
    ];
}

/// How it is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Measure {
    pub(crate) what: What,
    /// So many of a hundred datagrams are lost.
    pub(crate) loss: u8,
    /// How long a cut lasts, or a watch for false accusations, or how often somebody restarts.
    pub(crate) seconds: u64,
    pub(crate) preset: Preset,
}

/// How exactly the time is measured.
const TICK: Duration = Duration::from_millis(5);
/// How long after a heal false verdicts are still counted.
const AFTERMATH: Duration = Duration::from_secs(10);
/// What has not happened by then does not.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came of a heal.
struct Healed {
    /// When all were in one view again.
    views: Duration,
    /// When all agreed and held the same.
    all: Duration,
    /// How often members of one side took each other for dead.
    false_downs: usize,
}

impl Measure {
    pub(crate) fn run(self, nodes: usize, first: u64, seeds: u64) -> Result<(), String> {
        println!("{:?}, {nodes} nodes, {} % loss, seeds {first}..{}", self.what, self.loss, first + seeds);
        let (mut one, mut all) = (Figures::default(), Figures::default());
        let (mut accused, mut accusing) = (0, 0);
        for seed in first..first + seeds {
            match self.what {
                What::Crash | What::Kill => {
                    let (first, last) = self.crash(nodes, seed)?;
                    one.0.push(first);
                    all.0.push(last);
                }
                What::FalseDown => accused += self.false_down(nodes, seed)?,
                What::Heal | What::Return => {
                    let healed = self.heal(nodes, seed)?;
                    one.0.push(healed.views);
                    all.0.push(healed.all);
                    accused += healed.false_downs;
                    accusing += u64::from(healed.false_downs > 0);
                }
                What::Join => all.0.push(self.join(nodes, seed)?),
                What::Many => {
                    let mut simulation = self.cluster(nodes, seed);
                    all.0.push(await_all(&mut simulation, Simulation::all_converged)?);
                    println!("{}", spent(&simulation));
                }
                What::Restarts => self.restarts(nodes, seed)?,
            }
        }
        match self.what {
            What::Crash | What::Kill => println!("first to know  {one}\neverybody      {all}"),
            What::FalseDown => println!("{accused} false verdicts in {seeds} times {} s", self.seconds),
            What::Heal | What::Return => println!(
                "equal views    {one}\nconverged      {all}\n{accused} false verdicts between members of one side, in \
                 {accusing} of {seeds} seeds"
            ),
            What::Join => println!("known to all   {all}"),
            What::Many => println!("converged      {all}"),
            What::Restarts => {}
        }
        Ok(())
    }

    fn cluster(self, nodes: usize, seed: u64) -> Simulation {
        let mut simulation = Simulation::new(seed);
        for number in 0..nodes {
            simulation.add(self.node(number));
        }
        simulation
    }

    fn node(self, number: usize) -> NodeOptions {
        let timing = match self.preset {
            Preset::Local => Timing::local(),
            Preset::Lan => Timing::lan(),
            Preset::Wan => Timing::wan(),
        };
        NodeOptions::named(&format!("n{number:04}")).timing(timing)
    }

    /// A cluster at rest, at some moment that follows from the seed, with the loss that is asked for.
    fn at_rest(self, nodes: usize, seed: u64) -> Result<Simulation, String> {
        let mut simulation = self.cluster(nodes, seed);
        await_all(&mut simulation, Simulation::all_converged)?;
        if self.loss > 0 {
            simulation.network().add(Rule::loss(f64::from(self.loss) / 100.0)).keep();
        }
        simulation.run_for(Duration::from_secs(10) + Duration::from_millis(seed.wrapping_mul(7_919) % 2_000));
        Ok(simulation)
    }

    /// When the first of the others knows of it, and when the last.
    fn crash(self, nodes: usize, seed: u64) -> Result<(Duration, Duration), String> {
        let mut simulation = self.at_rest(nodes, seed)?;
        let all = simulation.nodes();
        let lost = all[usize::try_from(seed).unwrap_or_default() % all.len()];
        let replica = simulation.store(lost).replica();
        if self.what == What::Kill {
            simulation.kill(lost);
        } else {
            simulation.unplug(lost);
        }
        let is_down = |simulation: &Simulation, node: &NodeIndex| {
            let members = simulation.status(*node).map(|status| status.members.as_slice()).unwrap_or_default();
            members.iter().all(|member| member.replica != replica || member.liveness == Liveness::Down)
        };
        let first =
            await_all(&mut simulation, |simulation| simulation.alive().iter().any(|node| is_down(simulation, node)))?;
        let rest =
            await_all(&mut simulation, |simulation| simulation.alive().iter().all(|node| is_down(simulation, node)))?;
        Ok((first, first + rest))
    }

    fn false_down(self, nodes: usize, seed: u64) -> Result<usize, String> {
        let mut simulation = self.at_rest(nodes, seed)?;
        simulation.run_for(Duration::from_secs(self.seconds));
        let verdicts = |node: NodeIndex| {
            simulation.events(node).iter().filter(|event| matches!(event, Event::Down { .. })).count()
        };
        Ok(simulation.nodes().into_iter().map(verdicts).sum())
    }

    fn heal(self, nodes: usize, seed: u64) -> Result<Healed, String> {
        let mut simulation = self.at_rest(nodes, seed)?;
        let mut one = simulation.nodes();
        let by = usize::try_from(seed).unwrap_or_default() % one.len();
        one.rotate_left(by);
        let kept = if self.what == What::Return { nodes - 1 } else { 1 + by % (nodes - 1) };
        let other = one.split_off(kept);
        let from: BTreeMap<NodeIndex, usize> =
            simulation.nodes().into_iter().map(|node| (node, simulation.events(node).len())).collect();
        let cut = simulation.network().cut(&one, &other);
        simulation.run_for(Duration::from_secs(self.seconds));
        cut.heal();
        let views = await_all(&mut simulation, |simulation| {
            simulation.alive().iter().all(|node| simulation.view(*node).len() == nodes)
        })?;
        let rest = await_all(&mut simulation, Simulation::all_converged)?;
        simulation.run_for(AFTERMATH);
        let false_downs = [one, other].iter().map(|side| verdicts_within(&simulation, side, &from)).sum();
        Ok(Healed { views, all: views + rest, false_downs })
    }

    /// Each process writes a row of its own, which stays, and one that all share, and removes another.
    fn restarts(self, nodes: usize, seed: u64) -> Result<(), String> {
        let mut simulation = self.at_rest(nodes, seed)?;
        let all = simulation.nodes();
        let lot = TableName::new("lot").map_err(|error| error.to_string())?;
        let mut most = [0; 4];
        for number in 0..self.seconds {
            let node = all[usize::try_from(number).unwrap_or_default() % all.len()];
            simulation.restart_as(node, &format!("run-{number}"));
            await_all(&mut simulation, |simulation| simulation.store(node).is_open())?;
            let write = |simulation: &mut Simulation, key: &str| {
                simulation.put(node, &lot, key.as_bytes(), b"car").map_err(|error| format!("{error:?}"))
            };
            write(&mut simulation, &format!("own {number}"))?;
            write(&mut simulation, "shared")?;
            write(&mut simulation, &format!("gone {number}"))?;
            let gone = format!("gone {}", number.saturating_sub(1));
            simulation.remove(node, &lot, gone.as_bytes()).map_err(|error| format!("{error:?}"))?;
            simulation.run_for(Duration::from_secs(1));
            for node in &all {
                let stats = simulation.store(*node).stats();
                let known = simulation.engine(*node).map_or(0, Engine::remembered) as u64;
                let members = simulation.status(*node).map_or(0, |status| status.members.len()) as u64;
                for (most, now) in most.iter_mut().zip([stats.departed, stats.tombstones, known, members]) {
                    *most = now.max(*most);
                }
            }
        }
        await_all(&mut simulation, Simulation::all_converged)?;
        let rows = simulation.store(all[0]).table(&lot).len();
        let [departed, tombstones, known, members] = most;
        println!(
            "after {} restarts {rows} rows; at the most {departed} departed authors, {tombstones} tombstones, {known} \
             processes in the roster, {members} members listed",
            self.seconds
        );
        Ok(())
    }

    fn join(self, nodes: usize, seed: u64) -> Result<Duration, String> {
        let mut simulation = self.at_rest(nodes - 1, seed)?;
        simulation.add(self.node(nodes - 1));
        await_all(&mut simulation, |simulation| {
            simulation.alive().iter().all(|node| simulation.view(*node).len() == nodes)
        })
    }
}

/// How often a node of this side took another one of it for dead, since so many events of each.
fn verdicts_within(simulation: &Simulation, side: &[NodeIndex], from: &BTreeMap<NodeIndex, usize>) -> usize {
    let replicas: BTreeSet<ReplicaId> = side.iter().map(|node| simulation.store(*node).replica()).collect();
    let is_false = |event: &&Event| matches!(event, Event::Down { replica, .. } if replicas.contains(replica));
    side.iter().map(|node| simulation.events(*node)[from[node]..].iter().filter(is_false).count()).sum()
}

fn await_all(simulation: &mut Simulation, condition: impl Fn(&Simulation) -> bool) -> Result<Duration, String> {
    let start = simulation.elapsed();
    while !condition(simulation) {
        if simulation.elapsed() - start > PATIENCE {
            return Err(format!("seed {}: not within {PATIENCE:?} of virtual time", simulation.seed()));
        }
        simulation.run_for(TICK);
    }
    Ok(simulation.elapsed() - start)
}

/// What that took, per node.
fn spent(simulation: &Simulation) -> String {
    let nodes = simulation.alive();
    let sum = |what: fn(&EngineStats) -> u64| {
        nodes.iter().filter_map(|node| simulation.engine(*node)).map(|engine| what(&engine.stats())).sum::<u64>()
            / nodes.len() as u64
    };
    format!(
        "per node: {} datagrams of {} bytes in sum (membership {}, rows {}), {} bytes over streams, {} sessions, \
         {} rows refused, {} messages of strangers dropped",
        sum(|stats| stats.datagrams_sent),
        sum(|stats| stats.datagram_bytes),
        sum(|stats| stats.swim_bytes),
        sum(|stats| stats.row_bytes),
        sum(|stats| stats.stream_bytes),
        sum(|stats| stats.pulls),
        sum(|stats| stats.rows_refused),
        sum(|stats| stats.outside_roster + stats.over_rate),
    )
}

/// Spans of time, one for each seed.
#[derive(Default)]
struct Figures(Vec<Duration>);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = |share: usize| sorted.get((sorted.len() * share / 100).min(sorted.len().saturating_sub(1)));
        for (name, share) in [("min", 0), ("median", 50), ("p99", 99), ("max", 100)] {
            write!(f, "{name} {:>7.3} s  ", at(share).map_or(0.0, Duration::as_secs_f64))?;
        }
        Ok(())
    }
}
