//! One run: a cluster is hurt by a seeded schedule, then no longer, and then it has to heal.

use std::time::Duration;

use unisono::crdt::Dot;
use unisono::engine::{Event, Phase, Reply};
use unisono::id::ReplicaId;
use unisono::roles::RoleSpec;
use unisono::sabotage;
use unisono::store::TableName;
use unisono::testkit::{Delay, Guard, NodeIndex, NodeOptions, Rule, Simulation};

use super::oracle::Oracle;
use super::profile::{Action, Profile};
use super::watchdog::Watchdog;
use crate::schedule::rng::Rng;

/// Within this virtual time everything heals once nothing hurts any more. Nodes that never met are found by the beacons
/// of those that have company, which come every 30 s.
pub(crate) const HEALED_WITHIN: Duration = Duration::from_secs(40);

/// How long a node that leaves may try to hand over.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct World {
    pub(crate) simulation: Simulation,
    rng: Rng,
    profile: Profile,
    nodes: Vec<NodeIndex>,
    /// Those that were asked to leave, when, and how many replies they had given before.
    leaving: Vec<(NodeIndex, Duration, usize)>,
    roles: Vec<RoleSpec>,
    table: TableName,
    oracle: Oracle,
    watchdog: Watchdog,
    writes: u64,
    /// When a process ended the last time.
    ended_at: Duration,
    tells: bool,
    lossy: Vec<Guard>,
}

/// What a run came to.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Outcome {
    pub(crate) healed_after: Duration,
    pub(crate) writes: usize,
    pub(crate) resurrected: u64,
    pub(crate) collected: u64,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, evicts: bool) -> Self {
        Self::broken(seed, nodes, evicts, &[])
    }

    /// One in which all nodes break these rules.
    pub(crate) fn broken(seed: u64, nodes: usize, evicts: bool, broken: &[sabotage::Rule]) -> Self {
        let mut rng = Rng::new(seed);
        let profile = Profile::new(&mut rng, nodes, evicts);
        let roles = vec![RoleSpec::new("one"), RoleSpec::new("two").count(2)];
        let mut simulation = Simulation::new(seed);
        let nodes = (0..profile.nodes)
            .map(|number| {
                let spread = i64::try_from(profile.skew_ms).unwrap();
                let skew = i64::try_from(rng.below(2 * profile.skew_ms + 1)).unwrap() - spread;
                let options = NodeOptions::named(&format!("n{number:02}")).timing(profile.timing.clone()).skew_ms(skew);
                let options = broken.iter().fold(options, |options, rule| options.sabotage(*rule));
                simulation.add(roles.iter().fold(options, |options, role| options.role(role.clone())))
            })
            .collect();
        let table = TableName::new("lot").unwrap();
        let tells = std::env::var_os("UNISONO_TELL").is_some();
        Self {
            simulation,
            rng,
            nodes,
            leaving: Vec::new(),
            roles,
            oracle: Oracle::new(table.clone()),
            table,
            watchdog: Watchdog::default(),
            writes: 0,
            ended_at: Duration::ZERO,
            tells,
            lossy: Vec::new(),
            profile,
        }
    }

    /// Hurts, heals, checks.
    pub(crate) fn run(mut self) -> Result<Outcome, String> {
        self.tell(&format!("{:?}", self.profile));
        while self.simulation.elapsed() < self.profile.hurt {
            let pause = Duration::from_millis(self.rng.between(1, self.profile.most_pause_ms) as u64);
            self.pass(pause)?;
            let action = self.profile.draw(&mut self.rng);
            self.act(action);
        }
        self.tell("stops hurting");
        self.mend()?;
        let healed_after = self.await_health()?;
        // It lasts.
        self.pass(Duration::from_secs(5))?;
        if !self.healthy() {
            return Err(format!("did not stay healthy; {}", self.describe()));
        }
        let mut outcome = Outcome { healed_after, writes: self.oracle.len(), ..Outcome::default() };
        // Nodes that start while they are cut off make islands too.
        let islands = self.nodes.iter().flat_map(|node| self.simulation.events(*node));
        let islands = self.profile.evicts || islands.clone().any(|event| matches!(event, Event::IslandsMerged { .. }));
        for node in self.simulation.alive() {
            let store = self.simulation.store(node);
            self.oracle
                .check(store, !islands && self.profile.skew_ms == 0)
                .map_err(|why| format!("{node:?}: {why}"))?;
            if !islands && store.stats().resurrected > 0 {
                return Err(format!("{node:?}: {} rows came back without islands", store.stats().resurrected));
            }
            outcome.resurrected += store.stats().resurrected;
            outcome.collected += store.stats().collected;
        }
        Ok(outcome)
    }

    fn tell(&self, what: &str) {
        if self.tells {
            println!("{:>10.3?} {what}", self.simulation.elapsed());
        }
    }

    /// Lets time pass, and looks now and then.
    fn pass(&mut self, span: Duration) -> Result<(), String> {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(Duration::from_millis(50));
            self.simulation.run_for(step);
            left -= step;
            self.note_leavers()?;
            let leaving: Vec<NodeIndex> = self.leaving.iter().map(|(node, ..)| *node).collect();
            self.watchdog.look(&self.simulation, &self.roles, &leaving)?;
        }
        Ok(())
    }

    fn note_leavers(&mut self) -> Result<(), String> {
        let gone = |simulation: &Simulation, node| simulation.engine(node).is_none();
        for (node, since, told) in self.leaving.clone() {
            if !gone(&self.simulation, node) {
                continue;
            }
            self.leaving.retain(|(leaver, ..)| *leaver != node);
            let lost = self.process_ended();
            let reply = self.simulation.replies(node).get(told).map(|(_, reply)| reply.clone());
            self.tell(&format!("{node:?} left: {reply:?}, lost: {lost:?}"));
            let own = self.simulation.store(node).replica();
            // What it handed over may have gone with its new holder meanwhile.
            let others_stayed = self.ended_at < since;
            self.ended_at = self.simulation.elapsed();
            if others_stayed && reply == Some(Reply::Left) && lost.iter().any(|dot| dot.replica == own) {
                return Err(format!("{node:?} ({own}) left in order and of its writes these are lost: {lost:?}"));
            }
        }
        Ok(())
    }

    fn process_ended(&mut self) -> Vec<Dot> {
        let alive = self.simulation.alive();
        let others: Vec<_> = alive.iter().map(|node| self.simulation.store(*node)).collect();
        self.oracle.lost(&others)
    }

    fn pick(&mut self, among: &[NodeIndex]) -> Option<NodeIndex> {
        (!among.is_empty()).then(|| *self.rng.pick(among))
    }

    fn dead(&self) -> Vec<NodeIndex> {
        self.nodes.iter().copied().filter(|node| self.simulation.engine(*node).is_none()).collect()
    }

    /// Nodes that run and are not about to leave.
    fn staying(&self) -> Vec<NodeIndex> {
        let leaves = |node: &NodeIndex| self.leaving.iter().any(|(leaver, ..)| leaver == node);
        self.simulation.alive().into_iter().filter(|node| !leaves(node)).collect()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Put | Action::Remove => self.write(action == Action::Put),
            Action::Kill => self.kill(),
            Action::Restart => {
                let dead = self.dead();
                if let Some(node) = self.pick(&dead) {
                    self.tell(&format!("restart {node:?}"));
                    self.simulation.restart(node);
                }
            }
            Action::Leave => {
                let staying = self.staying();
                if let Some(node) = self.pick(&staying).filter(|_| staying.len() > 1) {
                    self.tell(&format!("leave {node:?}"));
                    self.leaving.push((node, self.simulation.elapsed(), self.simulation.replies(node).len()));
                    self.simulation.leave(node, PATIENCE);
                }
            }
            Action::Loss => {
                let (loss, copies) = (self.rng.below(41), self.rng.below(31));
                self.tell(&format!("loss {loss} %, duplication {copies} %"));
                let network = self.simulation.network();
                let rules = [Rule::loss(loss as f64 / 100.0), Rule::duplication(copies as f64 / 100.0)];
                self.lossy = rules.map(|rule| network.add(rule)).into();
            }
            Action::Delay => {
                let most = *self.rng.pick(&[1, 10, 50]);
                self.tell(&format!("delay up to {most} ms"));
                self.simulation
                    .network()
                    .set_base_delay(Delay::Uniform(Duration::from_micros(100), Duration::from_millis(most)));
            }
            Action::Heal => {
                self.tell("heal");
                self.simulation.network().heal();
            }
            Action::Wait => {}
            Action::Cut | Action::CutOneWay | Action::Bridge | Action::Reject => self.separate(action),
        }
    }

    fn write(&mut self, put: bool) {
        let staying = self.staying();
        let Some(node) = self.pick(&staying) else { return };
        let key = format!("k{}", self.rng.below(self.profile.keys));
        let now = self.simulation.now_at(node);
        let store = self.simulation.store(node).clone();
        self.writes += 1;
        let value = format!("v{}", self.writes);
        let wrote = if put {
            store.put(now, &self.table, key.as_bytes(), value.as_bytes()).is_ok()
        } else {
            store.remove(now, &self.table, key.as_bytes()).is_ok_and(|former| former.is_some())
        };
        if wrote {
            self.tell(&format!("{} {key} {value} at {node:?}", if put { "put" } else { "remove" }));
            self.oracle.wrote(&store, &key);
            self.simulation.wrote(node);
        }
    }

    fn kill(&mut self) {
        let alive = self.simulation.alive();
        let Some(node) = self.pick(&alive).filter(|_| alive.len() > 1) else { return };
        self.simulation.kill(node);
        self.leaving.retain(|(leaver, ..)| *leaver != node);
        let lost = self.process_ended();
        self.ended_at = self.simulation.elapsed();
        self.tell(&format!("kill {node:?}, lost: {lost:?}"));
    }

    fn separate(&mut self, action: Action) {
        let mut nodes = self.nodes.clone();
        for at in (1..nodes.len()).rev() {
            nodes.swap(at, self.rng.below(at + 1));
        }
        let at = self.rng.between(1, nodes.len() - 1);
        self.tell(&format!("{action:?} {:?} | {:?}", &nodes[..at], &nodes[at..]));
        let network = self.simulation.network();
        match action {
            Action::Cut => network.cut(&nodes[..at], &nodes[at..]).keep(),
            Action::CutOneWay => network.cut_one_way(&nodes[..1], &nodes[1..2]).keep(),
            // One node sees both sides, which do not see each other.
            Action::Bridge if nodes.len() > 2 => {
                network.cut(&nodes[1..=at.min(nodes.len() - 2)], &nodes[at + 1..]).keep();
            }
            Action::Reject => network.reject(&nodes[..1], &nodes[1..2]).keep(),
            _ => {}
        }
    }

    /// Nothing hurts any more and every host is up.
    fn mend(&mut self) -> Result<(), String> {
        let network = self.simulation.network();
        network.heal();
        self.lossy.clear();
        network.set_base_delay(Delay::Uniform(Duration::from_micros(100), Duration::from_micros(500)));
        let patience = self.simulation.elapsed() + PATIENCE + Duration::from_secs(2);
        while !self.leaving.is_empty() {
            self.pass(Duration::from_millis(100))?;
            if self.simulation.elapsed() > patience {
                return Err(format!("{:?} did not leave in time", self.leaving));
            }
        }
        for node in self.dead() {
            self.simulation.restart(node);
        }
        Ok(())
    }

    fn await_health(&mut self) -> Result<Duration, String> {
        let start = self.simulation.elapsed();
        while !self.healthy() {
            self.pass(Duration::from_millis(100))?;
            if self.simulation.elapsed() - start > HEALED_WITHIN {
                return Err(format!("not healed within {HEALED_WITHIN:?}; {}", self.describe()));
            }
        }
        Ok(self.simulation.elapsed() - start)
    }

    fn healthy(&self) -> bool {
        let joining =
            |node: &NodeIndex| self.simulation.status(*node).is_none_or(|status| status.phase == Phase::Joining);
        let counts =
            |role: &RoleSpec| self.simulation.running(&role.name).len() == self.nodes.len().min(role.count as usize);
        self.simulation.all_converged() && !self.nodes.iter().any(joining) && self.roles.iter().all(counts)
    }

    fn describe(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for role in &self.roles {
            let _ = write!(text, "\n    {:?} runs on {:?}", role.name, self.simulation.running(&role.name));
        }
        for node in &self.nodes {
            let Some(status) = self.simulation.status(*node) else { continue };
            let members: Vec<String> = status
                .members
                .iter()
                .map(|member| {
                    format!(
                        "{}#{:.6}{}{:?}",
                        member.node,
                        short(member.replica),
                        if member.in_view { " in view " } else { " " },
                        member.liveness
                    )
                })
                .collect();
            let _ = write!(
                text,
                "\n  {node:?} {:?} agreed {} {:?}\n    {}\n    {:?}\n    {:?}",
                status.phase,
                status.agreed,
                self.simulation.store(*node).digest(),
                members.join(", "),
                self.simulation.engine(*node).map(|engine| engine.stats()),
                self.simulation.store(*node).stats(),
            );
            let events = self.simulation.events(*node);
            for event in &events[events.len().saturating_sub(6)..] {
                let _ = write!(text, "\n    {event:?}");
            }
        }
        text
    }
}

fn short(replica: ReplicaId) -> String {
    format!("{:016x}", replica.0)
}
