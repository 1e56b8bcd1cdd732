//! The measurement that chose the algorithm, and the table of the module's documentation.

use super::super::score::Fit;
use super::*;

const NODES: u64 = 50;
const ROLES: usize = 200;
/// Every fifth node has a load of 6: 1.25⁶ ≈ 3.8 times as busy as the others.
const BUSY: u8 = 6;

type Hosts = BTreeMap<String, ReplicaId>;
type Algorithm = fn(&[Candidate], &[RoleSpec], &Hosts) -> Hosts;

fn busy(n: u64) -> bool {
    n.is_multiple_of(5)
}

/// The best-scored, whatever it has.
fn plain(candidates: &[Candidate], roles: &[RoleSpec], _: &Hosts) -> Hosts {
    let best = |spec: &RoleSpec| candidates.iter().max_by_key(|c| score::hash(&spec.name, &c.node)).unwrap().replica;
    roles.iter().map(|spec| (spec.name.clone(), best(spec))).collect()
}

/// The best-scored with room, role by role.
fn bounded(candidates: &[Candidate], roles: &[RoleSpec], _: &Hosts) -> Hosts {
    let cap = (5 * roles.len()).div_ceil(4 * candidates.len());
    let (mut load, mut hosts) = (BTreeMap::<ReplicaId, usize>::new(), Hosts::new());
    for spec in roles {
        let room = candidates.iter().filter(|c| load.get(&c.replica).copied().unwrap_or(0) < cap);
        let best = room.max_by_key(|c| score::hash(&spec.name, &c.node)).unwrap().replica;
        *load.entry(best).or_default() += 1;
        hosts.insert(spec.name.clone(), best);
    }
    hosts
}

fn weighted(candidates: &[Candidate], roles: &[RoleSpec], before: &Hosts) -> Hosts {
    let there = |host: &ReplicaId| candidates.iter().any(|c| c.replica == *host);
    let claims = before.iter().filter(|(_, host)| there(host));
    let holdings: Vec<Holding> = claims.map(|(role, host)| running(role, host.0, 1)).collect();
    let assignment = assign(&Picture { candidates, roles, holdings: &holdings, roster: 0 });
    roles.iter().map(|spec| (spec.name.clone(), assignment.hosts(&spec.name)[0])).collect()
}

fn unweighted(candidates: &[Candidate], roles: &[RoleSpec], before: &Hosts) -> Hosts {
    let idle: Vec<_> = candidates.iter().map(|c| Candidate { load: 0, ..c.clone() }).collect();
    weighted(&idle, roles, before)
}

/// One of the nodes is lost, each in turn: how many instances that were not orphans moved, over all 50 losses; the highest
/// load ever; and how many of the 200 orphans went to the ten busy nodes.
fn measure(algorithm: Algorithm) -> (usize, usize, usize) {
    let roles: Vec<_> = (0..ROLES).map(|n| RoleSpec::new(format!("role-{n:03}")).kind("k")).collect();
    let mut candidates: Vec<_> =
        (0..NODES).map(|n| Candidate { load: if busy(n) { BUSY } else { 0 }, ..candidate(n, &["k"]) }).collect();
    let first = unweighted(&candidates, &roles, &Hosts::new());
    let is_stateless = [plain as Algorithm, bounded].iter().any(|one| std::ptr::fn_addr_eq(*one, algorithm));
    let first = if is_stateless { algorithm(&candidates, &roles, &first) } else { first };
    let (mut moved, mut highest, mut to_busy) = (0, 0, 0);
    for lost in 0..candidates.len() {
        let removed = candidates.remove(lost);
        let second = algorithm(&candidates, &roles, &first);
        let mut loads = BTreeMap::<ReplicaId, usize>::new();
        for (role, host) in &second {
            *loads.entry(*host).or_default() += 1;
            let orphan = first[role] == removed.replica;
            moved += usize::from(!orphan && first[role] != *host);
            to_busy += usize::from(orphan && busy(host.0));
        }
        highest = highest.max(loads.into_values().max().unwrap());
        candidates.insert(lost, removed);
    }
    (moved, highest, to_busy)
}

#[test]
fn the_table_of_the_documentation_is_what_is_measured() {
    let algorithms: [(&str, Algorithm); 4] = [
        ("plain rendezvous", plain),
        ("bounded", bounded),
        ("sticky, bounded", unweighted),
        ("sticky, bounded, weighted", weighted),
    ];
    let docs = include_str!("../mod.rs");
    let mut wrong = Vec::new();
    for (name, algorithm) in algorithms {
        let (moved, highest, to_busy) = measure(algorithm);
        let row = format!("//! | {name} | {moved} | {highest} | {to_busy} |");
        if !docs.contains(&row) {
            wrong.push(row);
        }
    }
    assert!(wrong.is_empty(), "the table should have\n{}", wrong.join("\n"));
}

/// An incumbent of a busy node stays, and a new instance seldom goes there.
#[test]
fn weights_steer_new_instances_only() {
    let fit = |load| Fit::new(u64::MAX / 3, load);
    assert!(fit(0) < fit(1) && fit(1) < fit(BUSY));
    let roles = [RoleSpec::new("a").kind("k")];
    let mut candidates: Vec<_> = (1..=3).map(|n| candidate(n, &["k"])).collect();
    let at = |candidates: &[Candidate], holdings: &[Holding]| {
        assign(&Picture { candidates, roles: &roles, holdings, roster: 0 }).hosts("a")[0]
    };
    let best = at(&candidates, &[]);
    let there = [running("a", best.0, 5)];
    candidates.iter_mut().filter(|c| c.replica == best).for_each(|c| c.load = 40);
    assert_eq!(at(&candidates, &there), best);
    assert_ne!(at(&candidates, &[]), best);
}
