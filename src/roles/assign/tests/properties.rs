//! What holds for any cluster, with every kind of constraint.

use super::*;

fn spec_of(n: usize, (kind, count): (usize, u32), (ssd, spread): (bool, bool), apart: Option<usize>) -> RoleSpec {
    let mut spec = RoleSpec::new(format!("role-{n:02}")).kind(["a", "b"][kind]).count(count);
    if ssd {
        spec = spec.only_on("disk", "ssd");
    }
    if spread {
        spec = spec.spread_over("zone");
    }
    match apart {
        Some(other) if other != n => spec.apart_from(format!("role-{other:02}")),
        _ => spec,
    }
}

/// Any view, specs and claims, with labels, loads, pins, zones and roles that exclude each other, as far as asked for.
pub(super) fn rich(apart: bool, spread: bool, moving: bool) -> impl Strategy<Value = World> {
    let kinds = proptest::sample::subsequence(vec!["a", "b"], 1..=2);
    let labels = (any::<bool>(), 0_usize..4, 0_u8..30);
    let nodes = proptest::collection::btree_map(0_u64..9, (kinds, labels), 1..9);
    let other = if apart { proptest::option::of(0_usize..8).boxed() } else { Just(None).boxed() };
    let role = ((0_usize..2, 1_u32..5), (prop::bool::weighted(0.3), any::<bool>()), other);
    let roles = proptest::collection::vec(role, 0..9);
    let claims = proptest::collection::btree_map((0_usize..9, 0_u64..9), (0_u64..50, 0_u8..10, 0_u64..9), 0..30);
    (nodes, roles, claims).prop_map(move |(nodes, roles, claims)| {
        let node = |(n, (kinds, (ssd, zone, load)))| {
            let zone: usize = zone;
            let kinds: Vec<&str> = kinds;
            let mut candidate = Candidate { load, ..candidate(n, &kinds) };
            if ssd {
                candidate.labels.insert("disk".into(), "ssd".into());
            }
            if zone < 3 {
                candidate.labels.insert("zone".into(), ["a", "b", "c"][zone].into());
            }
            candidate
        };
        let candidates: Vec<_> = nodes.into_iter().map(node).collect();
        let roles = roles.into_iter().enumerate();
        let roles =
            roles.map(|(n, (size, (ssd, zones), other))| spec_of(n, size, (ssd, zones && spread), other)).collect();
        let in_view = |holder: u64| candidates.iter().any(|c| c.replica.0 == holder);
        let holdings =
            claims.into_iter().filter(|((_, holder), _)| in_view(*holder)).map(|((role, holder), claimed)| {
                let (stamp, state, next) = claimed;
                let state = match state {
                    4 if moving => ClaimState::Starting,
                    5 if moving => ClaimState::Draining { to: to(next) },
                    6 if moving => ClaimState::Stopped { to: to(next) },
                    7 if moving => ClaimState::Yielding { to: ReplicaId(next) },
                    8 => failed(),
                    _ => ClaimState::Running,
                };
                let mut holding = claim(&format!("role-{role:02}"), holder, stamp, state);
                holding.claim.pinned = moving && stamp % 5 == 0 && holding.claim.holds();
                holding
            });
        let holdings = holdings.collect();
        World { candidates, roles, holdings }
    })
}

impl World {
    /// The members that could host a role, those that exclude it aside.
    fn suited(&self, spec: &RoleSpec) -> Vec<&Candidate> {
        let labels = |c: &Candidate| spec.requires.iter().all(|(label, value)| c.labels.get(label) == Some(value));
        let failed = |c: &Candidate| {
            let of = |h: &&Holding| h.role == spec.name && h.holder == c.replica;
            self.holdings.iter().find(of).is_some_and(|h| matches!(h.claim.state, ClaimState::Failed { .. }))
        };
        self.candidates.iter().filter(|c| c.kinds.contains(&spec.kind) && labels(c) && !failed(c)).collect()
    }

    fn carried_out(&self, assignment: &Assignment) -> Self {
        Self { holdings: applied(assignment, &self.roles, &self.holdings), ..self.clone() }
    }

    fn excludes(&self, one: &str, other: &str) -> bool {
        let names = |a: &str, b: &str| self.roles.iter().any(|spec| spec.name == a && spec.apart_from.contains(b));
        names(one, other) || names(other, one)
    }

    pub(super) fn holds(&self, role: &str, replica: ReplicaId) -> bool {
        self.holdings.iter().any(|h| h.role == role && h.holder == replica && h.claim.holds())
    }
}

/// The most instances that can run, by trying everything: pairs of (role, node), each used or not.
fn most(world: &World) -> usize {
    fn search(pairs: &[(&RoleSpec, ReplicaId)], taken: &mut Vec<(String, ReplicaId)>, world: &World) -> usize {
        let Some(((spec, node), rest)) = pairs.split_first() else { return taken.len() };
        let without = search(rest, taken, world);
        let used = taken.iter().filter(|(role, _)| *role == spec.name).count();
        let beside = taken.iter().any(|(role, at)| at == node && world.excludes(role, &spec.name));
        if used == spec.count as usize || beside {
            return without;
        }
        taken.push((spec.name.clone(), *node));
        let with = search(rest, taken, world);
        taken.pop();
        with.max(without)
    }
    let pairs: Vec<_> =
        world.roles.iter().flat_map(|spec| world.suited(spec).into_iter().map(move |c| (spec, c.replica))).collect();
    search(&pairs, &mut Vec::new(), world)
}

proptest! {
    #[test]
    fn counts_are_the_most_that_labels_allow(mut world in rich(false, true, true)) {
        world.candidates.truncate(4);
        world.roles.truncate(3);
        let nodes: BTreeSet<_> = world.candidates.iter().map(|c| c.replica).collect();
        world.holdings.retain(|h| nodes.contains(&h.holder));
        let assignment = assign(&world.picture());
        let assigned: usize = world.roles.iter().map(|spec| assignment.hosts(&spec.name).len()).sum();
        prop_assert_eq!(assigned, most(&world));
        for spec in &world.roles {
            let suited: Vec<_> = world.suited(spec).iter().map(|c| c.replica).collect();
            prop_assert!(assignment.hosts(&spec.name).iter().all(|host| suited.contains(host)));
        }
    }

    #[test]
    fn what_is_apart_never_shares_a_node(world in rich(true, true, true)) {
        let assignment = assign(&world.picture());
        for spec in &world.roles {
            for host in assignment.hosts(&spec.name) {
                for other in world.roles.iter().filter(|other| world.excludes(&spec.name, &other.name)) {
                    prop_assert!(!assignment.wants(&other.name, *host), "{} and {}", spec.name, other.name);
                }
                let new = !world.holds(&spec.name, *host);
                let task = world.holdings.iter().find(|h| {
                    h.holder == *host && h.claim.occupies() && world.excludes(&spec.name, &h.role)
                });
                prop_assert!(!new || task.is_none(), "{} would start beside {:?}", spec.name, task);
            }
        }
    }

    #[test]
    fn constraints_know_no_order_of_input_either(world in rich(true, true, true), seed in any::<u64>()) {
        let mut shuffled = world.clone();
        let order = |text: String| xxh3_64(format!("{seed}{text}").as_bytes());
        shuffled.candidates.sort_by_key(|c| order(c.node.to_string()));
        shuffled.roles.sort_by_key(|r| order(r.name.clone()));
        shuffled.holdings.sort_by_key(|h| order(format!("{h:?}")));
        prop_assert_eq!(assign(&world.picture()), assign(&shuffled.picture()));
    }

    /// Without roles that make way for each other, at once; with them, after some steps.
    #[test]
    fn what_was_carried_out_stays(world in rich(false, true, true), apart in rich(true, true, true)) {
        let first = assign(&world.picture());
        prop_assert_eq!(&first, &assign(&world.carried_out(&first).picture()));
        let mut now = apart;
        for _ in 0..20 {
            let assignment = assign(&now.picture());
            let next = now.carried_out(&assignment);
            if assign(&next.picture()) == assignment {
                return Ok(());
            }
            now = next;
        }
        prop_assert!(false, "no rest");
    }

    /// Loads that change all the time move nothing.
    #[test]
    fn weights_alone_move_nothing(world in rich(false, true, false), loads in prop::collection::vec(0_u8..60, 60)) {
        let first = assign(&world.picture());
        let mut now = world.carried_out(&first);
        for round in loads.chunks(10) {
            for (candidate, load) in now.candidates.iter_mut().zip(round) {
                candidate.load = *load;
            }
            let next = assign(&now.picture());
            prop_assert_eq!(&first, &next);
            now = now.carried_out(&next);
        }
    }

    #[test]
    fn what_is_pinned_stays_unless_it_is_too_much(world in rich(false, true, true)) {
        let assignment = assign(&world.picture());
        for holding in world.holdings.iter().filter(|h| h.claim.pinned) {
            let Some(spec) = world.roles.iter().find(|spec| spec.name == holding.role) else { continue };
            let suited: Vec<_> = world.suited(spec).iter().map(|c| c.replica).collect();
            let claims = world.holdings.iter().filter(|h| h.role == spec.name);
            let claims = claims.filter(|h| h.claim.holds() && suited.contains(&h.holder)).count();
            if suited.contains(&holding.holder) && claims <= spec.count as usize {
                prop_assert!(assignment.wants(&spec.name, holding.holder));
            }
        }
    }

    #[test]
    fn zones_differ_by_one_at_most_where_there_is_a_node(world in rich(false, true, false)) {
        let assignment = assign(&world.picture());
        for spec in world.roles.iter().filter(|spec| spec.spread_over.is_some()) {
            let suited = world.suited(spec);
            // A node without the label is a zone of its own.
            let zone = |c: &Candidate| c.labels.get("zone").cloned().unwrap_or_else(|| c.node.to_string());
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for candidate in &suited {
                let wants = usize::from(assignment.wants(&spec.name, candidate.replica));
                *counts.entry(zone(candidate)).or_default() += wants;
            }
            let most = counts.values().max().copied().unwrap_or(0);
            for open in suited.iter().filter(|c| !assignment.wants(&spec.name, c.replica)) {
                prop_assert!(most <= counts[&zone(open)] + 1, "{counts:?}");
            }
        }
    }

    /// Wherever everything began: where every node can have every role, none is left above the cap plus one. And one node
    /// more takes only what the others have above the new cap.
    #[test]
    fn the_bound_holds_and_a_newcomer_takes_what_is_above_it(nodes in 1_u64..9, at in prop::collection::vec(0_u64..9, 0..60)) {
        let roles: Vec<_> = (0..at.len()).map(|n| RoleSpec::new(format!("role-{n:02}")).kind("k")).collect();
        let mut candidates: Vec<_> = (0..nodes).map(|n| candidate(n, &["k"])).collect();
        let begin: Vec<_> =
            at.iter().enumerate().map(|(n, at)| running(&format!("role-{n:02}"), at % nodes, n as u64)).collect();
        let first = assign(&Picture { candidates: &candidates, roles: &roles, holdings: &begin, roster: 0 });
        let before = loads(&first, &roles);
        prop_assert!(before.values().all(|load| *load <= first.cap() + 1));

        candidates.push(candidate(nodes, &["k"]));
        let holdings = applied(&first, &roles, &[]);
        let second = assign(&Picture { candidates: &candidates, roles: &roles, holdings: &holdings, roster: 0 });
        let moved = roles.iter().filter(|spec| first.hosts(&spec.name) != second.hosts(&spec.name)).count();
        let above: usize = before.values().map(|load| load.saturating_sub(second.cap())).sum();
        prop_assert!(moved <= above, "{moved} moved, {above} were too much");
        prop_assert!(loads(&second, &roles).values().all(|load| *load <= second.cap() + 1));
    }
}
