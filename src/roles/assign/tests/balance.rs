//! Where new instances go, and what each balance moves.

use super::*;

fn single(n: usize) -> RoleSpec {
    RoleSpec::new(format!("role-{n:03}")).kind("k")
}

fn singles(count: usize) -> Vec<RoleSpec> {
    (0..count).map(single).collect()
}

fn nodes(count: u64) -> Vec<Candidate> {
    (1..=count).map(|n| candidate(n, &["k"])).collect()
}

/// The roles lie on the nodes in these numbers, from node 1 on.
fn lying(shares: &[usize]) -> Vec<Holding> {
    let hosts = shares.iter().zip(1..).flat_map(|(share, node)| std::iter::repeat_n(node, *share));
    hosts.enumerate().map(|(n, node)| running(&single(n).name, node, n as u64)).collect()
}

fn even<'a>(candidates: &'a [Candidate], roles: &'a [RoleSpec], holdings: &'a [Holding]) -> Picture<'a> {
    Picture { candidates, roles, holdings, balance: Balance::Even, ..STICKY }
}

fn shares(assignment: &Assignment, roles: &[RoleSpec], nodes: u64) -> Vec<usize> {
    let loads = loads(assignment, roles);
    (1..=nodes).map(|n| loads.get(&ReplicaId(n)).copied().unwrap_or(0)).collect()
}

/// Carries assignments out until nothing changes. What was moved is pinned, as if all were over within a minute: how many
/// moves that took, and the most at a time.
fn rest(picture: &Picture<'_>) -> (Assignment, usize, usize) {
    let mut holdings = picture.holdings.to_vec();
    let (mut moves, mut most) = (0, 0);
    for _ in 0..1_000 {
        let assignment = assign(&Picture { holdings: &holdings, ..*picture });
        let failed = |h: &&Holding| matches!(h.claim.state, ClaimState::Failed { .. });
        let mut after: Vec<Holding> = holdings.iter().filter(failed).cloned().collect();
        for (n, spec) in picture.roles.iter().enumerate() {
            for host in assignment.hosts(&spec.name) {
                let before = holdings.iter().find(|h| h.role == spec.name && h.holder == *host && h.claim.holds());
                let fresh = || {
                    let had = holdings.iter().any(|h| h.role == spec.name && h.claim.holds());
                    let mut holding = running(&spec.name, host.0, 1_000_000 + n as u64);
                    holding.claim.pinned = had;
                    holding
                };
                after.push(before.cloned().unwrap_or_else(fresh));
            }
        }
        let moved = after.iter().filter(|h| !holdings.iter().any(|was| was.role == h.role && was.holder == h.holder));
        let moved = moved.count();
        if moved == 0 {
            return (assignment, moves, most);
        }
        (moves, most) = (moves + moved, most.max(moved));
        holdings = after;
    }
    panic!("no rest");
}

#[test]
fn fresh_roles_lie_evenly_whatever_the_balance() {
    for (count, of, expected) in
        [(30, 3, vec![10; 3]), (500, 3, vec![167, 167, 166]), (8, 4, vec![2; 4]), (6, 6, vec![1; 6])]
    {
        let (candidates, roles) = (nodes(of), singles(count));
        for balance in [Balance::Even, Balance::Sticky, Balance::Off] {
            let assignment = assign(&Picture { balance, ..even(&candidates, &roles, &[]) });
            let mut found = shares(&assignment, &roles, of);
            found.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(found, expected, "{count} on {of}, {balance}");
        }
    }
}

#[test]
fn an_orphan_goes_to_the_least_busy_node() {
    let (mut candidates, roles) = (nodes(3), singles(7));
    let at = |candidates: &[Candidate], shares: &[usize]| {
        let assignment = assign(&even(candidates, &roles, &lying(shares)));
        assignment.hosts(&roles[6].name)[0].0
    };
    assert_eq!(at(&candidates, &[2, 3, 1]), 3, "it hosts the fewest");
    candidates[2].load = 10;
    assert_eq!(at(&candidates, &[2, 3, 1]), 1, "8 roles are what its load weighs");
    // One bucket is none.
    candidates[2].load = 1;
    assert_eq!(at(&candidates, &[2, 3, 1]), 3);
    candidates.iter_mut().for_each(|candidate| candidate.load += 30);
    assert_eq!(at(&candidates, &[2, 3, 1]), 3, "equally busy are equal, however busy");
    candidates[2].load += 1;
    assert_eq!(at(&candidates, &[2, 3, 1]), 1, "two buckets are a difference");
}

#[test]
fn off_moves_no_running_role_and_sticky_what_is_above_its_bound() {
    let (candidates, roles) = (nodes(3), singles(12));
    let all_on_one = lying(&[12]);
    let with = |balance| {
        let mut shares = shares(&rest(&Picture { balance, ..even(&candidates, &roles, &all_on_one) }).0, &roles, 3);
        shares.sort_unstable_by(|a, b| b.cmp(a));
        shares
    };
    assert_eq!(with(Balance::Off), [12, 0, 0]);
    assert_eq!(with(Balance::Even), [4, 4, 4]);
    assert_eq!(with(Balance::Sticky), [5, 4, 3]);
}

#[test]
fn off_leaves_zones_and_makes_no_way() {
    let mut candidates = nodes(3);
    candidates[2].labels.insert("zone".into(), "b".into());
    candidates[..2].iter_mut().for_each(|candidate| drop(candidate.labels.insert("zone".into(), "a".into())));
    let spread = [RoleSpec::new("r").kind("k").count(2).spread_over("zone")];
    let together = [running("r", 1, 1), running("r", 2, 2)];
    let off = |roles: &[RoleSpec], holdings: &[Holding]| {
        assign(&Picture { balance: Balance::Off, ..even(&candidates, roles, holdings) })
    };
    assert_eq!(off(&spread, &together).hosts("r"), ids(&[1, 2]));
    let apart = [RoleSpec::new("a").kind("k").only_on("zone", "b").apart_from("b"), RoleSpec::new("b").kind("k")];
    let assignment = off(&apart, &[running("b", 3, 1)]);
    assert_eq!((assignment.hosts("a"), assignment.hosts("b")), (&ids(&[])[..], &ids(&[3])[..]));
    assert_eq!(assignment.missing().collect::<Vec<_>>(), [("a", 1)]);
}

#[test]
fn nothing_is_evened_out_before_it_is_calm_and_that_is_noted() {
    let (candidates, roles, holdings) = (nodes(3), singles(30), lying(&[4, 13, 13]));
    let restless = Picture { calm: false, ..even(&candidates, &roles, &holdings) };
    let (assignment, notes) = assign_noted(&restless, None);
    assert_eq!(shares(&assignment, &roles, 3), [4, 13, 13]);
    assert!(notes.uneven);
    let (assignment, moves, most) = rest(&even(&candidates, &roles, &holdings));
    assert_eq!((shares(&assignment, &roles, 3), moves, most), (vec![10; 3], 6, 3));
    // What is even already waits for nothing, and loads play no part.
    let holdings = lying(&[10, 11, 9]);
    let (_, notes) = assign_noted(&even(&candidates, &roles, &holdings), None);
    assert_eq!(notes, Notes { weighed: true, uneven: false });
    let holdings = lying(&[10, 10, 10]);
    let (_, notes) = assign_noted(&even(&candidates, &roles, &holdings), None);
    assert_eq!(notes, Notes::default());
}

#[test]
fn what_is_on_its_way_counts_against_what_moves_at_a_time() {
    let (candidates, roles) = (nodes(2), singles(20));
    let mut holdings = lying(&[16, 4]);
    assert_eq!(shares(&assign(&even(&candidates, &roles, &holdings)), &roles, 2), [14, 6]);
    holdings[0].claim.state = ClaimState::Draining { to: to(2) };
    assert_eq!(shares(&assign(&even(&candidates, &roles, &holdings)), &roles, 2), [14, 6]);
    holdings[1].claim.state = ClaimState::Stopped { to: to(2) };
    assert_eq!(shares(&assign(&even(&candidates, &roles, &holdings)), &roles, 2), [14, 6]);
    // Nothing moves for balance while something is missing.
    holdings.remove(0);
    holdings.remove(0);
    assert_eq!(shares(&assign(&even(&candidates, &roles, &holdings)), &roles, 2), [14, 6]);
    let placed = assign(&even(&candidates, &roles, &holdings));
    assert!(roles[..2].iter().all(|role| placed.hosts(&role.name) == ids(&[2])));
}

#[test]
fn a_busier_node_is_given_nothing() {
    let (mut candidates, roles, holdings) = (nodes(2), singles(10), lying(&[8, 2]));
    candidates[1].load = 9;
    let (assignment, moves, _) = rest(&even(&candidates, &roles, &holdings));
    assert_eq!((shares(&assignment, &roles, 2), moves), (vec![8, 2], 0), "6 roles are what its load weighs");
    candidates[1].load = 6;
    assert_eq!(shares(&rest(&even(&candidates, &roles, &holdings)).0, &roles, 2), [6, 4]);
    candidates[0].load = 20;
    assert_eq!(shares(&rest(&even(&candidates, &roles, &holdings)).0, &roles, 2), [5, 5], "not below what is even");
}

proptest! {
    /// Wherever single roles lie: in the end no node has two more than another, in as few moves as that takes, no role was
    /// moved twice, and never more than the stated number at a time.
    #[test]
    fn calm_brings_evenness_by_the_fewest_moves(
        begin in prop::collection::vec(0_usize..25, 1..7),
        loads in prop::collection::vec(0_u8..2, 7),
    ) {
        let (mut candidates, roles) = (nodes(begin.len() as u64), singles(begin.iter().sum()));
        candidates.iter_mut().zip(loads).for_each(|(candidate, load)| candidate.load = load);
        let holdings = lying(&begin);
        let (assignment, moves, most) = rest(&even(&candidates, &roles, &holdings));
        let mut after = shares(&assignment, &roles, begin.len() as u64);
        let (mut before, share) = (begin.clone(), roles.len() / begin.len());
        let over = roles.len() % begin.len();
        before.sort_unstable_by(|a, b| b.cmp(a));
        let fewest: usize =
            before.iter().enumerate().map(|(at, load)| load.saturating_sub(share + usize::from(at < over))).sum();
        after.sort_unstable();
        prop_assert!(after[after.len() - 1] <= after[0] + 1, "{after:?}");
        prop_assert_eq!(moves, fewest);
        prop_assert!(most <= Balance::at_once(roles.len()));
    }

    /// Loads that change at every step, as they like: the moves end, and none goes back.
    #[test]
    fn noise_makes_nothing_go_round(
        begin in prop::collection::vec(0_usize..12, 2..6),
        noise in prop::collection::vec(prop::collection::vec(0_u8..40, 6), 40),
    ) {
        let (mut candidates, roles) = (nodes(begin.len() as u64), singles(begin.iter().sum()));
        let mut holdings = lying(&begin);
        let squares = |holdings: &[Holding]| -> usize {
            (1..=begin.len() as u64).map(|n| holdings.iter().filter(|h| h.holder.0 == n).count().pow(2)).sum()
        };
        for loads in noise {
            candidates.iter_mut().zip(loads).for_each(|(candidate, load)| candidate.load = load);
            let assignment = assign(&even(&candidates, &roles, &holdings));
            let next = applied(&assignment, &roles, &[]);
            let still = next.iter().zip(&holdings).all(|(now, before)| now.holder == before.holder);
            prop_assert!(still || squares(&next) < squares(&holdings), "{holdings:?} {next:?}");
            holdings = next;
        }
    }

    /// With constraints of every kind: it comes to rest, nothing that could move for balance is left, and nothing goes where
    /// it must not.
    #[test]
    fn evenness_keeps_to_the_constraints(world in super::properties::rich(false, true, false)) {
        let picture = Picture { balance: Balance::Even, ..world.picture() };
        let (assignment, ..) = rest(&picture);
        let loads = loads(&assignment, &world.roles);
        let load = |replica: ReplicaId| loads.get(&replica).copied().unwrap_or(0);
        for spec in &world.roles {
            let hosts = assignment.hosts(&spec.name);
            prop_assert!(hosts.iter().all(|host| world.suited(spec).iter().any(|c| c.replica == *host)));
            if spec.spread_over.is_some() {
                continue;
            }
            let began = |host: &&ReplicaId| world.holds(&spec.name, **host);
            for host in hosts.iter().filter(began) {
                let from = world.candidates.iter().find(|c| c.replica == *host).unwrap();
                for to in world.suited(spec).iter().filter(|to| to.load <= from.load && !hosts.contains(&to.replica)) {
                    prop_assert!(load(*host) < load(to.replica) + 2, "{} from {host:?} to {:?}", spec.name, to.replica);
                }
            }
        }
    }

    /// The outcome depends on loads only where it is noted that they were looked at.
    #[test]
    fn what_was_not_weighed_does_not_depend_on_loads(
        world in super::properties::rich(true, true, true),
        loads in prop::collection::vec(0_u8..60, 9),
        balance in prop_oneof![Just(Balance::Even), Just(Balance::Sticky), Just(Balance::Off)],
    ) {
        let before = assign_noted(&Picture { balance, ..world.picture() }, None);
        let mut other = world.clone();
        other.candidates.iter_mut().zip(loads).for_each(|(candidate, load)| candidate.load = load);
        let after = assign_noted(&Picture { balance, ..other.picture() }, None);
        prop_assert_eq!(before.1.weighed, after.1.weighed);
        prop_assert!(before.1.weighed || before == after);
    }
}
