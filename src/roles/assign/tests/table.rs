//! The measurement that chose the algorithm, and the table of the module's documentation.

use super::*;

const NODES: u64 = 50;
const ROLES: usize = 200;
/// Every fifth node has a load of 6: 1.25⁶ ≈ 3.8 times as busy as the others.
const BUSY: u8 = 6;

type Hosts = BTreeMap<String, ReplicaId>;
/// Where roles go that lay like this, and whether the cluster is calm.
type Algorithm = fn(&[Candidate], &[RoleSpec], &Hosts, bool) -> Hosts;

fn busy(n: u64) -> bool {
    n.is_multiple_of(5)
}

/// The best-scored, whatever it has.
fn plain(candidates: &[Candidate], roles: &[RoleSpec], _: &Hosts, _: bool) -> Hosts {
    let best = |spec: &RoleSpec| candidates.iter().max_by_key(|c| score::hash(&spec.name, &c.node)).unwrap().replica;
    roles.iter().map(|spec| (spec.name.clone(), best(spec))).collect()
}

/// The best-scored with room, role by role.
fn bounded(candidates: &[Candidate], roles: &[RoleSpec], _: &Hosts, _: bool) -> Hosts {
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

fn assigned(candidates: &[Candidate], roles: &[RoleSpec], before: &Hosts, calm: bool, balance: Balance) -> Hosts {
    let there = |host: &ReplicaId| candidates.iter().any(|c| c.replica == *host);
    let claims = before.iter().filter(|(_, host)| there(host));
    let holdings: Vec<Holding> = claims.map(|(role, host)| running(role, host.0, 1)).collect();
    let assignment = assign(&Picture { candidates, roles, holdings: &holdings, roster: 0, balance, calm });
    roles.iter().map(|spec| (spec.name.clone(), assignment.hosts(&spec.name)[0])).collect()
}

fn off(candidates: &[Candidate], roles: &[RoleSpec], before: &Hosts, calm: bool) -> Hosts {
    assigned(candidates, roles, before, calm, Balance::Off)
}

fn sticky(candidates: &[Candidate], roles: &[RoleSpec], before: &Hosts, calm: bool) -> Hosts {
    assigned(candidates, roles, before, calm, Balance::Sticky)
}

fn even(candidates: &[Candidate], roles: &[RoleSpec], before: &Hosts, calm: bool) -> Hosts {
    assigned(candidates, roles, before, calm, Balance::Even)
}

fn loads_of(hosts: &Hosts) -> BTreeMap<ReplicaId, usize> {
    let mut loads = BTreeMap::new();
    hosts.values().for_each(|host| *loads.entry(*host).or_default() += 1);
    loads
}

fn moved(before: &Hosts, after: &Hosts) -> usize {
    before.iter().filter(|(role, host)| after[*role] != **host).count()
}

/// One of the nodes is lost, each in turn: how many instances that were not orphans moved, over all 50 losses; the highest
/// load ever; and how many of the 200 orphans went to the ten busy nodes. Then it comes back: how many moved for that, over all
/// 50 returns, and by how much the loads of the other 40 nodes then differed at most.
fn measure(algorithm: Algorithm) -> [usize; 5] {
    let roles: Vec<_> = (0..ROLES).map(|n| RoleSpec::new(format!("role-{n:03}")).kind("k")).collect();
    let mut candidates: Vec<_> = (0..NODES).map(|n| candidate(n, &["k"])).collect();
    let first = algorithm(&candidates, &roles, &Hosts::new(), true);
    candidates.iter_mut().filter(|c| busy(c.replica.0)).for_each(|c| c.load = BUSY);
    let [mut bystanders, mut highest, mut to_busy, mut back, mut uneven] = [0; 5];
    for lost in 0..candidates.len() {
        let removed = candidates.remove(lost);
        let second = algorithm(&candidates, &roles, &first, false);
        for (role, host) in &second {
            let orphan = first[role] == removed.replica;
            bystanders += usize::from(!orphan && first[role] != *host);
            to_busy += usize::from(orphan && busy(host.0));
        }
        highest = highest.max(loads_of(&second).into_values().max().unwrap());
        candidates.insert(lost, removed);
        let mut last = second;
        loop {
            let next = algorithm(&candidates, &roles, &last, true);
            let moved = moved(&last, &next);
            back += moved;
            last = next;
            if moved == 0 {
                break;
            }
        }
        let loads = loads_of(&last);
        let idle = (0..NODES).filter(|n| !busy(*n)).map(|n| loads.get(&ReplicaId(n)).copied().unwrap_or(0));
        let (least, most) = (idle.clone().min().unwrap(), idle.max().unwrap());
        uneven = uneven.max(most - least);
    }
    [bystanders, highest, to_busy, back, uneven]
}

#[test]
fn the_table_of_the_documentation_is_what_is_measured() {
    let algorithms: [(&str, Algorithm); 5] = [
        ("plain rendezvous", plain),
        ("bounded", bounded),
        ("least busy, `Off`", off),
        ("least busy, `Sticky`", sticky),
        ("least busy, `Even`", even),
    ];
    let docs = include_str!("../mod.rs");
    let mut wrong = Vec::new();
    for (name, algorithm) in algorithms {
        let row = measure(algorithm).map(|number| number.to_string()).join(" | ");
        let row = format!("//! | {name} | {row} |");
        if !docs.contains(&row) {
            wrong.push(row);
        }
    }
    assert!(wrong.is_empty(), "the table should have\n{}", wrong.join("\n"));
}

/// An incumbent of a busy node stays, and a new instance does not go there.
#[test]
fn weights_steer_new_instances_only() {
    let roles = [RoleSpec::new("a").kind("k")];
    let mut candidates: Vec<_> = (1..=3).map(|n| candidate(n, &["k"])).collect();
    let at = |candidates: &[Candidate], holdings: &[Holding]| {
        assign(&Picture { candidates, roles: &roles, holdings, roster: 0, ..STICKY }).hosts("a")[0]
    };
    let best = at(&candidates, &[]);
    let there = [running("a", best.0, 5)];
    candidates.iter_mut().filter(|c| c.replica == best).for_each(|c| c.load = 40);
    assert_eq!(at(&candidates, &there), best);
    assert_ne!(at(&candidates, &[]), best);
}
