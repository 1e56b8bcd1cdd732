//! A cluster of supervisors, for tests: claims, reports, views and spec lists each travel on their own, late and out of
//! order, and the newest version of each wins. Comes in: what happens to the cluster ([`Op`]). Goes out: a complaint about
//! the first rule that was broken.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::Xxh3;

use super::super::{Candidate, Claim, ClaimState, Holding, Restarts, RoleSpec, assign};
use super::*;
use crate::id::NodeId;
use crate::time::HybridClock;

#[path = "sim_checks.rs"]
mod checks;

const SETTLE: u64 = 8;
pub(super) const ROLES: [&str; 4] = ["w", "x", "y", "z"];
/// For so many steps a node that leaves waits for its roles to run elsewhere.
const DRAIN: u64 = 300;
const RESTARTS: Restarts =
    Restarts { backoff_first_ms: 5, backoff_max_ms: 20, max_failures: 2, window_ms: 200, exclusion_ms: 300 };

/// splitmix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Clone)]
enum Letter {
    Row {
        owner: ReplicaId,
        role: String,
        claim: Option<Claim>,
    },
    Report {
        from: ReplicaId,
        print: u128,
    },
    /// Who is there, and whether it leaves.
    View(BTreeMap<ReplicaId, bool>),
    Specs(Vec<RoleSpec>),
    Task(RoleReport),
}

struct Post {
    due: u64,
    from: Option<ReplicaId>,
    to: ReplicaId,
    version: u64,
    letter: Letter,
}

struct Node {
    supervisor: Supervisor,
    clock: HybridClock,
    skew_ms: u64,
    side: u64,
    view: (u64, BTreeMap<ReplicaId, bool>),
    specs: (u64, Vec<RoleSpec>),
    rows: BTreeMap<(String, ReplicaId), (u64, Option<Claim>)>,
    reports: BTreeMap<ReplicaId, (u64, u128)>,
    agreed_on: Option<(u128, u64)>,
    tasks: BTreeMap<String, FencingToken>,
    /// Those of the tasks that wait for their successors, or for their own end since these run.
    yielding: BTreeSet<String>,
    /// Until when it waits for its roles to be taken over.
    leaving: Option<u64>,
}

pub(super) struct World {
    dice: Dice,
    step: u64,
    version: u64,
    next_id: u64,
    nodes: BTreeMap<ReplicaId, Node>,
    specs: Vec<RoleSpec>,
    post: Vec<Post>,
    /// The most instances of a role that may run: the highest count asked for since the last rest.
    limit: BTreeMap<String, usize>,
    /// Sides that part may each run the full count.
    parted: bool,
    sabotage: Sabotage,
    pub(super) starts: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Join,
    Crash(u64),
    Leave(u64),
    Fail(u64),
    Spec { role: usize, kind: bool, arguments: bool, count: u32, gently: bool },
    Unspec(usize),
    Part(u64),
    Heal,
    Rest,
}

fn kinds(replica: ReplicaId) -> BTreeSet<String> {
    let mut kinds = BTreeSet::from(["all".to_owned()]);
    if replica.0.is_multiple_of(2) {
        kinds.insert("even".to_owned());
    }
    kinds
}

impl World {
    pub(super) fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            step: 0,
            version: 0,
            next_id: 0,
            nodes: BTreeMap::new(),
            specs: Vec::new(),
            post: Vec::new(),
            limit: BTreeMap::new(),
            parted: false,
            sabotage,
            starts: 0,
        };
        (0..3).for_each(|_| world.join());
        for role in 0..3 {
            world.spec(role, "all", "", 1 + u32::from(role == 2), role != 0);
        }
        world
    }

    fn now(&self, skew_ms: u64) -> Now {
        Now { instant: Instant::from_nanos(self.step * 1_000_000), wall_ms: 1_000_000 + self.step + skew_ms }
    }

    fn send(&mut self, delay: u64, from: Option<ReplicaId>, to: ReplicaId, letter: Letter) {
        self.version += 1;
        let due = self.step + 1 + self.dice.roll(delay);
        self.post.push(Post { due, from, to, version: self.version, letter });
    }

    fn tell_views(&mut self) {
        for to in self.nodes.keys().copied().collect::<Vec<_>>() {
            let side = self.nodes[&to].side;
            let there = self.nodes.iter().filter(|(_, n)| n.side == side);
            let view = there.map(|(id, n)| (*id, n.leaving.is_some())).collect();
            self.send(8, None, to, Letter::View(view));
        }
    }

    fn tell_specs(&mut self) {
        self.specs.sort();
        for to in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.send(8, None, to, Letter::Specs(self.specs.clone()));
        }
    }

    /// A joiner pulls first: it begins with what some member knows.
    fn join(&mut self) {
        self.next_id += 1;
        let id = ReplicaId(self.next_id);
        let mut supervisor = Supervisor::new(id, id.0).sabotaged(self.sabotage);
        let sponsor = self.nodes.values().next();
        for ((role, _), (_, claim)) in sponsor.iter().flat_map(|s| &s.rows) {
            claim.iter().for_each(|claim| supervisor.see(role, claim.token));
        }
        let node = Node {
            supervisor,
            clock: HybridClock::default(),
            skew_ms: [0, 0, 100, 5_000][usize::try_from(self.dice.roll(4)).unwrap()],
            side: sponsor.map_or(0, |s| s.side),
            view: (0, BTreeMap::new()),
            specs: (0, self.specs.clone()),
            rows: sponsor.map_or_else(BTreeMap::new, |s| s.rows.clone()),
            reports: BTreeMap::new(),
            agreed_on: None,
            tasks: BTreeMap::new(),
            yielding: BTreeSet::new(),
            leaving: None,
        };
        self.nodes.insert(id, node);
        self.tell_views();
    }

    pub(super) fn spec(&mut self, role: usize, kind: &str, arguments: &str, count: u32, gently: bool) {
        self.specs.retain(|spec| spec.name != ROLES[role]);
        let spec = RoleSpec::new(ROLES[role]).kind(kind).arguments(arguments).count(count).restarts(RESTARTS);
        let handover = if gently { Handover::MakeBeforeBreak } else { Handover::BreakBeforeMake };
        self.specs.push(spec.handover(handover));
        let limit = self.limit.entry(ROLES[role].to_owned()).or_default();
        *limit = (*limit).max(count as usize);
        self.tell_specs();
    }

    fn others_stay(&self, n: u64) -> bool {
        let picked = self.pick(n);
        self.nodes.iter().any(|(id, node)| *id != picked && node.leaving.is_none())
    }

    fn pick(&self, n: u64) -> ReplicaId {
        *self.nodes.keys().nth(usize::try_from(n).unwrap() % self.nodes.len()).unwrap()
    }

    pub(super) fn apply(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Join if self.nodes.len() < 7 => self.join(),
            // One stays always: those who leave will be gone.
            Op::Crash(n) if self.others_stay(*n) => {
                self.nodes.remove(&self.pick(*n));
                self.tell_views();
            }
            Op::Leave(n) if self.others_stay(*n) => {
                let (id, until) = (self.pick(*n), self.step + DRAIN);
                self.nodes.get_mut(&id).unwrap().leaving.get_or_insert(until);
                self.tell_views();
            }
            Op::Fail(n) => {
                let id = self.pick(*n);
                let node = self.nodes.get_mut(&id).unwrap();
                if let Some((role, token)) = node.tasks.pop_first() {
                    node.yielding.remove(&role);
                    self.send(2, None, id, Letter::Task(RoleReport::Failed { role, token, why: "no luck".into() }));
                }
            }
            Op::Spec { role, kind, arguments, count, gently } => {
                let kind = if *kind { "even" } else { "all" };
                self.spec(*role, kind, if *arguments { "fast" } else { "" }, *count, *gently);
            }
            Op::Unspec(role) => {
                self.specs.retain(|spec| spec.name != ROLES[*role]);
                self.tell_specs();
            }
            Op::Part(n) => {
                self.parted = true;
                for (i, node) in self.nodes.values_mut().enumerate() {
                    node.side = n >> i & 1;
                }
                self.tell_views();
            }
            Op::Heal => {
                self.nodes.values_mut().for_each(|node| node.side = 0);
                self.tell_views();
            }
            Op::Rest => self.rest()?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn run(&mut self, steps: u64) -> Result<(), String> {
        for _ in 0..steps {
            self.step += 1;
            let (due, later): (Vec<_>, Vec<_>) = self.post.drain(..).partition(|post| post.due <= self.step);
            self.post = later;
            due.into_iter().for_each(|post| self.deliver(post));
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.turn(id)?;
            }
            self.let_leave()?;
            self.check()?;
        }
        Ok(())
    }

    /// Who leaves stops what is still there when its time is over, and goes when nothing is.
    fn let_leave(&mut self) -> Result<(), String> {
        let now = self.now(0);
        for (id, until) in self.nodes.iter().filter_map(|(id, n)| Some((*id, n.leaving?))).collect::<Vec<_>>() {
            let node = self.nodes.get_mut(&id).unwrap();
            if node.supervisor.handed_over() || self.step >= until {
                node.supervisor.stop_all(now);
                self.carry_out(id)?;
            }
            let node = &self.nodes[&id];
            if node.supervisor.idle() && (node.supervisor.handed_over() || self.step >= until) {
                self.nodes.remove(&id);
                self.tell_views();
            }
        }
        Ok(())
    }

    fn deliver(&mut self, post: Post) {
        let from_side = post.from.map(|from| self.nodes.get(&from).map(|n| n.side));
        let step = self.step;
        let Some(node) = self.nodes.get_mut(&post.to) else { return };
        if from_side.is_some_and(|side| side != Some(node.side)) {
            return;
        }
        let now = Now { instant: Instant::from_nanos(step * 1_000_000), wall_ms: 1_000_000 + step + node.skew_ms };
        match post.letter {
            Letter::Row { owner, role, claim } => {
                if let Some(claim) = &claim {
                    let _ = node.clock.observe(now, claim.token.stamp);
                    node.supervisor.see(&role, claim.token);
                }
                let row = node.rows.entry((role, owner)).or_insert((0, None));
                if row.0 < post.version {
                    *row = (post.version, claim);
                }
            }
            Letter::Report { from, print } => {
                let report = node.reports.entry(from).or_insert((0, 0));
                *report = (*report).max((post.version, print));
            }
            Letter::View(view) if node.view.0 < post.version => node.view = (post.version, view),
            Letter::Specs(specs) if node.specs.0 < post.version => node.specs = (post.version, specs),
            Letter::Task(event) => {
                if let RoleReport::Stopped { role, token, .. } = &event
                    && node.tasks.get(role) == Some(token)
                {
                    node.tasks.remove(role);
                    node.yielding.remove(role);
                }
                node.supervisor.report(now, &event);
            }
            _ => {}
        }
    }

    fn turn(&mut self, id: ReplicaId) -> Result<(), String> {
        self.carry_out(id)?;
        let step = self.step;
        let now = self.now(self.nodes[&id].skew_ms);
        let node = self.nodes.get_mut(&id).unwrap();
        node.supervisor.handle_deadline(now, &mut || node.clock.tick(now));
        self.carry_out(id)?;
        let node = self.nodes.get_mut(&id).unwrap();
        let (candidates, holdings) = node.sees();
        let picture = Picture { candidates: &candidates, roles: &node.specs.1, holdings: &holdings, roster: 0 };
        let mut hash = Xxh3::new();
        picture.describe(|section, bytes| {
            hash.update(&[u8::from(section), u8::try_from(bytes.len()).unwrap()]);
            hash.update(bytes);
        });
        let print = hash.digest128();
        let agreed = node.view.1.contains_key(&id)
            && node.view.1.keys().all(|m| *m == id || node.reports.get(m).is_some_and(|(_, p)| *p == print));
        node.agreed_on = agreed.then(|| node.agreed_on.filter(|(on, _)| *on == print).unwrap_or((print, step)));
        let permit = match node.agreed_on {
            Some((_, since)) if step - since >= SETTLE => Permit::Move,
            Some(_) => Permit::Start,
            None => Permit::Wait,
        };
        let assignment = assign(&picture);
        node.supervisor.decide(now, permit, &picture, &assignment, &mut || node.clock.tick(now));
        self.carry_out(id)?;
        for to in self.nodes.keys().copied().filter(|to| *to != id).collect::<Vec<_>>() {
            self.send(5, Some(id), to, Letter::Report { from: id, print });
        }
        // What got lost is repaired: own rows are told again, with the version they have.
        if self.dice.roll(4) == 0 {
            let own: Vec<_> = self.nodes[&id]
                .rows
                .iter()
                .filter(|((_, o), _)| *o == id)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            let to = self.pick(self.dice.0 >> 32);
            for ((role, owner), (version, claim)) in own {
                let due = step + 1 + self.dice.roll(5);
                self.post.push(Post { due, from: Some(id), to, version, letter: Letter::Row { owner, role, claim } });
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, id: ReplicaId) -> Result<(), String> {
        while let Some(output) = self.nodes.get_mut(&id).and_then(|node| node.supervisor.poll()) {
            match output {
                SupervisorOutput::Claim { role, claim } => {
                    for to in self.nodes.keys().copied().filter(|to| *to != id).collect::<Vec<_>>() {
                        let letter = Letter::Row { owner: id, role: role.clone(), claim: claim.clone() };
                        self.send(5, Some(id), to, letter);
                    }
                    let version = self.version;
                    let node = self.nodes.get_mut(&id).unwrap();
                    match claim.as_ref().map(|claim| &claim.state) {
                        Some(ClaimState::Yielding { .. }) => drop(node.yielding.insert(role.clone())),
                        Some(ClaimState::Running) => drop(node.yielding.remove(&role)),
                        _ => {}
                    }
                    node.rows.insert((role, id), (version, claim));
                }
                SupervisorOutput::Start(RoleStart { spec, token, .. }) => {
                    self.starts += 1;
                    let node = self.nodes.get_mut(&id).unwrap();
                    let lower = |((role, owner), (_, claim)): (&(String, ReplicaId), &(u64, Option<Claim>))| {
                        *role != spec.name || *owner == id || claim.as_ref().is_none_or(|c| c.token < token)
                    };
                    if !node.rows.iter().all(lower) {
                        return Err(format!("{id} starts {} below a token it saw", spec.name));
                    }
                    if node.tasks.insert(spec.name.clone(), token).is_some() {
                        return Err(format!("{id} starts {} twice", spec.name));
                    }
                    self.send(3, None, id, Letter::Task(RoleReport::Running { role: spec.name.clone(), token }));
                }
                SupervisorOutput::Stop { role, token } => {
                    self.send(6, None, id, Letter::Task(RoleReport::stopped(role, token)));
                }
            }
        }
        Ok(())
    }

    pub(super) fn running(&self, role: &str) -> usize {
        self.nodes.values().filter(|node| node.tasks.contains_key(role)).count()
    }

    /// How many of them run beside their successors, as they were asked to.
    fn yielding(&self, role: &str) -> usize {
        self.nodes.values().filter(|node| node.yielding.contains(role)).count()
    }
}

impl Node {
    fn sees(&self) -> (Vec<Candidate>, Vec<Holding>) {
        let candidate = |(replica, leaves): (&ReplicaId, &bool)| {
            let node = NodeId::new(format!("node-{}", replica.0)).unwrap();
            let kinds = if *leaves { BTreeSet::new() } else { kinds(*replica) };
            Candidate { node, replica: *replica, kinds, labels: BTreeMap::new(), load: 0 }
        };
        let mut candidates: Vec<_> = self.view.1.iter().map(candidate).collect();
        candidates.sort_by_key(|c| (c.node.clone(), c.replica));
        let live = self.rows.iter().filter(|((_, owner), _)| self.view.1.contains_key(owner));
        let holdings = live.filter_map(|((role, holder), (_, claim))| {
            Some(Holding { role: role.clone(), holder: *holder, claim: claim.clone()? })
        });
        (candidates, holdings.collect())
    }
}
