//! What is done to the cluster.

use std::time::Duration;

use super::plan::Action;
use super::{Broken, Course, Habits, PATIENCE};
use crate::engine::Engine;
use crate::roles::RoleSpec;
use crate::testkit::{Delay, Guard, NodeIndex, Rule, Simulation};

/// What is wrong at present.
#[derive(Debug, Default)]
pub(super) struct Harm {
    /// Rules in force, and whether each is harsher than what the promise about false accusations states.
    rules: Vec<(Guard, bool)>,
    leavers: Vec<Leaver>,
    /// When a process ended the last time.
    pub(super) ended_at: Duration,
}

/// A node that was asked to leave.
#[derive(Clone, Debug)]
pub(super) struct Leaver {
    pub(super) node: NodeIndex,
    pub(super) since: Duration,
    /// How many replies it had given before.
    pub(super) replies: usize,
    /// Those that were to stay, and could take over.
    pub(super) company: Vec<NodeIndex>,
}

/// So many nodes join late at most.
const LATE: usize = 2;

impl Harm {
    /// Whether the network is worse than the promise about false accusations states.
    pub(super) fn is_harsh(&self) -> bool {
        self.rules.iter().any(|(_, harsh)| *harsh)
    }

    /// Those that were asked to leave and do not run any more.
    pub(super) fn gone(&mut self, simulation: &Simulation) -> Vec<Leaver> {
        if self.leavers.is_empty() {
            return Vec::new();
        }
        let (gone, still) = self.leavers.drain(..).partition(|leaver| simulation.engine(leaver.node).is_none());
        self.leavers = still;
        gone
    }

    /// A node's process ended in another way.
    fn died(&mut self, node: NodeIndex, now: Duration) {
        self.leavers.retain(|leaver| leaver.node != node);
        self.ended_at = now;
    }
}

impl Course {
    pub(super) fn act(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Put | Action::Remove => return self.write(action == Action::Put),
            Action::Kill | Action::Unplug => self.end_one(action),
            Action::Restart | Action::ChangeRole => self.restart_one(action),
            Action::Join if self.simulation.nodes().len() < self.facts.first_nodes + LATE => {
                let node = self.add_node();
                self.say(format_args!("{node:?} joins"));
            }
            Action::Leave => self.leave_one(),
            Action::Sample => self.sample(),
            Action::AddRole => self.add_role(),
            Action::RemoveRole => self.remove_role(),
            Action::Pause => self.stand_still(),
            Action::Resume => {
                let still: Vec<_> =
                    self.simulation.nodes().into_iter().filter(|node| self.simulation.is_paused(*node)).collect();
                if let Some(node) = self.pick(&still) {
                    self.say(format_args!("{node:?} goes on"));
                    self.simulation.resume(node);
                }
            }
            Action::SetClock => {
                let nodes = self.simulation.nodes();
                let spread = i64::try_from(self.profile.skew_ms).unwrap_or_default();
                let skew = i64::try_from(self.rng.below(2 * self.profile.skew_ms + 1)).unwrap_or_default() - spread;
                if let Some(node) = self.pick(&nodes) {
                    self.say(format_args!("the clock of {node:?} is set {skew} ms off"));
                    self.simulation.set_skew_ms(node, skew);
                }
            }
            Action::HealOne if !self.harm.rules.is_empty() => {
                let at = self.rng.below(self.harm.rules.len());
                let (guard, _) = self.harm.rules.swap_remove(at);
                self.say(format_args!("{guard:?} is healed"));
            }
            Action::HealAll => {
                self.say(format_args!("all is healed"));
                self.harm.rules.clear();
            }
            Action::Join | Action::HealOne | Action::Wait => {}
            _ => self.hurt_network(action),
        }
        Ok(())
    }

    fn say(&mut self, what: std::fmt::Arguments<'_>) {
        self.log.note(self.simulation.elapsed(), what);
    }

    fn pick(&mut self, among: &[NodeIndex]) -> Option<NodeIndex> {
        (!among.is_empty()).then(|| *self.rng.pick(among))
    }

    /// Nodes that run and are not about to leave.
    pub(super) fn staying(&self) -> Vec<NodeIndex> {
        self.simulation.alive().into_iter().filter(|node| !self.facts.leaving.contains(node)).collect()
    }

    fn dead(&self) -> Vec<NodeIndex> {
        self.simulation.nodes().into_iter().filter(|node| self.simulation.engine(*node).is_none()).collect()
    }

    fn write(&mut self, put: bool) -> Result<(), Broken> {
        let staying = self.staying();
        let Some(node) = self.pick(&staying) else { return Ok(()) };
        let key = format!("k{}", self.rng.below(self.profile.keys));
        let value = format!("v{:_<width$}", self.story.written().len(), width = self.profile.value_bytes);
        let table = self.story.table().clone();
        // A removal of what is not there is no write.
        if !put && self.simulation.store(node).get(&table, key.as_bytes()).is_none() {
            return Ok(());
        }
        let outcome = if put {
            self.simulation.put(node, &table, key.as_bytes(), value.as_bytes())
        } else {
            self.simulation.remove(node, &table, key.as_bytes())
        };
        if outcome.is_err() {
            return Ok(());
        }
        self.say(format_args!("{node:?} {} {key} {value:.12}", if put { "puts" } else { "removes" }));
        let store = self.simulation.store(node).clone();
        let written = self.story.wrote(node, &store, &key).map_err(|why| ("a write is served to others", why))?.clone();
        self.ask(|invariant, scene| invariant.at_write(scene, &written))
    }

    fn end_one(&mut self, action: Action) {
        let alive = self.simulation.alive();
        let Some(node) = self.pick(&alive).filter(|_| alive.len() > 1) else { return };
        if action == Action::Kill {
            self.simulation.kill(node);
        } else {
            self.simulation.unplug(node);
        }
        self.facts.leaving.retain(|leaver| *leaver != node);
        self.harm.died(node, self.simulation.elapsed());
        let lost = self.process_ended();
        self.say(format_args!("{action:?} {node:?}, lost {lost:?}"));
    }

    /// Starts one that does not run, or a running one anew with another count of a role.
    fn restart_one(&mut self, action: Action) {
        let changes = action == Action::ChangeRole;
        let nodes = if changes { self.staying() } else { self.dead() };
        let Some(node) = self.pick(&nodes).filter(|_| !changes || nodes.len() > 1) else { return };
        if changes {
            let spec = self.palette.another();
            self.asked(&spec);
            self.say(format_args!("{node:?} is restarted and asks for {spec:?}"));
            self.simulation.reconfigure(node, |options| options.role(spec));
            self.simulation.kill(node);
            self.harm.died(node, self.simulation.elapsed());
            self.process_ended();
        } else {
            self.say(format_args!("restart {node:?}"));
        }
        // It asks again for what it asked for before.
        self.facts.changes += 1;
        self.facts.processes += 1;
        self.simulation.restart(node);
    }

    fn asked(&mut self, spec: &RoleSpec) {
        let now = self.simulation.elapsed();
        self.facts.asked(spec, now);
        self.facts.changes += 1;
    }

    /// Somebody asks for a role while all runs, or asks for it otherwise than before.
    fn add_role(&mut self) {
        let staying = self.staying();
        let Some(node) = self.pick(&staying) else { return };
        let spec = self.palette.another();
        self.say(format_args!("{node:?} asks for {spec:?}"));
        if !self.facts.asked_names().contains(spec.name.as_str()) {
            self.facts.optional.insert(spec.name.clone());
        }
        self.asked(&spec);
        self.simulation.add_role(node, spec);
    }

    fn remove_role(&mut self) {
        let staying = self.staying();
        let Some(node) = self.pick(&staying) else { return };
        let names: Vec<String> = self.facts.asked_names().into_iter().map(str::to_owned).collect();
        let role = self.rng.pick(&names).clone();
        self.say(format_args!("{node:?} removes {role:?}"));
        self.simulation.remove_role(node, &role);
        self.facts.changes += 1;
        self.facts.optional.insert(role);
    }

    /// The load of one changes.
    fn sample(&mut self) {
        let alive = self.simulation.alive();
        if let Some(node) = self.pick(&alive) {
            let value = *self.rng.pick(&[0, 1, 3, 10, 100, 10_000]);
            self.say(format_args!("{node:?} measures {value}"));
            self.simulation.sample(node, f64::from(value));
        }
    }

    fn leave_one(&mut self) {
        let staying = self.staying();
        let Some(node) = self.pick(&staying).filter(|_| staying.len() > 1) else { return };
        self.say(format_args!("{node:?} is asked to leave"));
        let (since, replies) = (self.simulation.elapsed(), self.simulation.replies(node).len());
        self.facts.leaving.push(node);
        let mut company = self.staying();
        let roster = self.simulation.engine(node).map(Engine::roster);
        company.retain(|other| {
            let store = self.simulation.store(*other);
            store.is_open() && roster.is_some_and(|roster| roster.is_admitted(store.replica()))
        });
        self.harm.leavers.push(Leaver { node, since, replies, company });
        self.simulation.leave(node, PATIENCE);
    }

    fn stand_still(&mut self) {
        let running: Vec<NodeIndex> =
            self.simulation.alive().into_iter().filter(|node| !self.simulation.is_paused(*node)).collect();
        if let Some(node) = self.pick(&running).filter(|_| running.len() > 1) {
            self.say(format_args!("{node:?} stands still"));
            self.simulation.pause(node);
        }
    }

    pub(super) fn hurt_by(&mut self, what: &str, rule: Rule, harsh: bool) {
        let guard = self.simulation.network().add(rule);
        self.say(format_args!("{guard:?}: {what}"));
        self.harm.rules.push((guard, harsh));
        self.note_calm();
    }

    fn hurt_network(&mut self, action: Action) {
        let mut nodes = self.simulation.nodes();
        for at in (1..nodes.len()).rev() {
            nodes.swap(at, self.rng.below(at + 1));
        }
        let at = self.rng.between(1, nodes.len() - 1);
        let (one, other) = nodes.split_at(at);
        // Up to what is stated where nothing worse is to happen, and beyond it elsewhere.
        let gentle = self.profile.plan == super::Plan::Lossy;
        let share = |rng: &mut super::Rng, most: usize| rng.below(most + 1) as f64 / 100.0;
        let ms = |ms: usize| Duration::from_millis(ms as u64);
        let rng = &mut self.rng;
        let (rule, harsh) = match action {
            Action::Cut => (Rule::cut().between(one, other), true),
            Action::CutOneWay => (Rule::cut().from(one).to(other), true),
            // The last sees both sides, which do not see each other.
            Action::Bridge => (Rule::cut().between(one, &other[..other.len() - 1]), true),
            Action::Reject => (Rule::rejection().between(&one[..1], &other[..1]), true),
            Action::Mute => (Rule::no_broadcast().between(one, other), false),
            Action::Slow => (Rule::slow(*rng.pick(&[20_000, 200_000, 2_000_000]), 20_000).from(one), true),
            Action::Loss => (Rule::loss(share(rng, if gentle { 3 } else { 40 })), !gentle),
            Action::Duplicate => (Rule::duplication(share(rng, 30)), false),
            Action::Reorder => (Rule::reordering(share(rng, 30), ms(if gentle { 10 } else { 200 })), !gentle),
            Action::Delay if gentle => (Rule::delay(Delay::Uniform(ms(0), ms(rng.between(1, 5)))), false),
            Action::Delay => {
                let delay = match rng.below(3) {
                    0 => Delay::Uniform(ms(0), ms(*rng.pick(&[1, 10, 50]))),
                    1 => Delay::Exponential { mean: ms(*rng.pick(&[1, 10, 30])) },
                    _ => Delay::Tail { usual: ms(1), late: ms(500), share: 0.02 },
                };
                (Rule::delay(delay), true)
            }
            Action::Flip => (Rule::flips(share(rng, 5)), true),
            _ => return,
        };
        if gentle && self.harm.rules.len() >= 3 {
            // Rules compose, and the stated loss is that of all together.
            self.harm.rules.clear();
        }
        let what = format!("{action:?} {one:?} | {other:?}: {rule:?}");
        self.hurt_by(&what, rule, harsh);
    }

    /// Nothing hurts any more and every host is up.
    pub(super) fn mend(&mut self) -> Result<(), Broken> {
        self.say(format_args!("nothing hurts any more"));
        self.harm.rules.clear();
        for node in self.simulation.nodes() {
            self.simulation.resume(node);
            // What fails for ever is nowhere at rest.
            self.simulation.set_habits(node, Habits { fails_percent: 0, ..self.palette.habits });
        }
        let patience = self.simulation.elapsed() + PATIENCE + Duration::from_secs(2);
        while !self.facts.leaving.is_empty() {
            self.pass(Duration::from_millis(100))?;
            if self.simulation.elapsed() > patience {
                return Err(("who was asked to leave leaves", format!("{:?} did not", self.facts.leaving)));
            }
        }
        for node in self.dead() {
            self.facts.processes += 1;
            self.simulation.restart(node);
        }
        Ok(())
    }
}
