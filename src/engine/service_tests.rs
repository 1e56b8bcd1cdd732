//! Overlaps and gaps, told from pictures made by hand.

use ClaimState::{Draining, Running, Starting, Stopped};

use super::*;

const WALL_MS: u64 = 1_000_000;

/// A role that is asked for once, and what its watch says as time goes by.
struct Watch {
    service: Service,
    count: usize,
    placed: usize,
    held_back: bool,
    view: BTreeSet<ReplicaId>,
}

impl Watch {
    fn new(count: usize) -> Self {
        let view = (1..=4).map(ReplicaId).collect();
        Self { service: Service::default(), count, placed: count, held_back: false, view }
    }

    /// Shows it the claims: by whom, started when, in what state.
    fn at(&mut self, at_ms: u64, claims: &[(u64, u64, ClaimState)]) -> Vec<Event> {
        let claims: Vec<Holding> =
            claims.iter().map(|(holder, start_ms, state)| claim(*holder, *start_ms, state)).collect();
        let mut moment = Moment {
            now: Instant::ZERO + Duration::from_millis(at_ms),
            view: &self.view,
            shortest: Duration::from_millis(200),
            stamp: &mut || Stamp::from_millis(WALL_MS + at_ms),
        };
        let seen =
            Seen { role: "gate", count: self.count, placed: self.placed, held_back: self.held_back, claims: &claims };
        self.service.look(&mut moment, std::iter::once(seen))
    }

    fn lasting(&mut self, at_ms: u64) -> Vec<Event> {
        self.service.lasting(Instant::ZERO + Duration::from_millis(at_ms), Duration::from_millis(200))
    }
}

fn claim(holder: u64, start_ms: u64, state: &ClaimState) -> Holding {
    let holder = ReplicaId(holder);
    let token = FencingToken { stamp: Stamp::from_millis(WALL_MS + start_ms), replica: holder };
    Holding {
        role: "gate".to_owned(),
        holder,
        claim: Claim { token, state: state.clone(), pinned: false, handed: None },
    }
}

fn overlap(instances: u32, lasted_ms: u64, over: bool) -> Vec<Event> {
    let (role, lasted) = ("gate".to_owned(), Duration::from_millis(lasted_ms));
    vec![Event::RoleOverlap { role, instances, lasted, over }]
}

fn gap(missing: u32, lasted_ms: u64, over: bool) -> Vec<Event> {
    let (role, lasted) = ("gate".to_owned(), Duration::from_millis(lasted_ms));
    vec![Event::RoleGap { role, missing, lasted, over }]
}

const TO_TWO: Option<ReplicaId> = Some(ReplicaId(2));

#[test]
fn an_overlap_began_when_the_first_that_was_too_many_started() {
    let mut watch = Watch::new(1);
    assert_eq!(watch.at(5_000, &[(1, 0, Running)]), []);
    // The cut is healed: two others, started meanwhile, come into the view.
    assert_eq!(watch.at(9_000, &[(1, 0, Running), (2, 7_500, Running)]), []);
    assert_eq!(watch.at(9_100, &[(1, 0, Running), (2, 7_500, Running), (3, 8_000, Starting)]), []);
    assert_eq!(watch.at(9_200, &[(1, 0, Running), (2, 7_500, Draining { to: None })]), []);
    assert_eq!(watch.at(9_500, &[(1, 0, Running)]), []);
    assert_eq!(watch.lasting(10_400), [], "it may not be over yet");
    assert_eq!(watch.lasting(10_500), overlap(3, 2_000, true));
    assert_eq!(watch.lasting(60_000), [], "once");
}

#[test]
fn an_overlap_that_goes_on_a_moment_later_is_one() {
    let mut watch = Watch::new(1);
    let two = [(1, 0, Running), (2, 1_000, Running)];
    for at in [5_000, 5_300, 5_600] {
        assert_eq!(watch.at(at, &two), []);
        assert_eq!(watch.at(at + 200, &two[..1]), []);
    }
    assert_eq!(watch.at(7_000, &two), overlap(2, 4_800, true), "and this is another");
    assert_eq!(watch.at(7_300, &two[..1]), []);
    assert_eq!(watch.lasting(9_000), overlap(2, 6_300, true));
}

#[test]
fn what_lasts_is_told_of_before_it_is_over_once() {
    let mut watch = Watch::new(1);
    let two = [(1, 0, Running), (2, 0, Running)];
    assert_eq!(watch.at(9_000, &two), []);
    assert_eq!(watch.lasting(9_999), []);
    assert_eq!(watch.lasting(10_000), overlap(2, 10_000, false));
    assert_eq!(watch.lasting(60_000), []);
    assert_eq!(watch.at(61_000, &two[..1]), []);
    assert_eq!(watch.at(70_000, &[]), overlap(2, 61_000, true));
    assert_eq!(watch.lasting(80_000), gap(1, 10_000, false));
    assert_eq!(watch.lasting(90_000), []);
    assert_eq!(watch.at(95_000, &[(3, 95_000, Running)]), gap(1, 25_000, true));
}

#[test]
fn a_planned_move_is_no_overlap() {
    for state in [ClaimState::Yielding { to: ReplicaId(2) }, Draining { to: TO_TWO }, Stopped { to: TO_TWO }] {
        let mut watch = Watch::new(1);
        watch.at(0, &[(1, 0, Running)]);
        for at in [1_000, 60_000] {
            assert_eq!(watch.at(at, &[(1, 0, state.clone()), (2, 900, Running)]), [], "{state:?}");
        }
        assert_eq!(watch.at(61_000, &[(2, 900, Running)]), [], "{state:?}");
        assert_eq!(watch.lasting(100_000), []);
    }
}

#[test]
fn a_lower_count_is_no_overlap_until_it_is_reached() {
    let mut watch = Watch::new(2);
    let two = [(1, 0, Running), (2, 0, Running)];
    watch.at(0, &two);
    (watch.count, watch.placed) = (1, 1);
    assert_eq!(watch.at(1_000, &two), []);
    assert_eq!(watch.at(60_000, &two[..1]), []);
    assert_eq!(watch.at(61_000, &two), [], "seen from now on");
    watch.at(62_000, &two[..1]);
    assert_eq!(watch.lasting(63_000), overlap(2, 62_000, true));
}

#[test]
fn rows_in_another_order_are_no_overlap() {
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running)]);
    // The successor is heard of before the end of the one before.
    assert_eq!(watch.at(5_000, &[(1, 0, Running), (2, 4_995, Starting)]), []);
    assert_eq!(watch.at(5_100, &[(2, 4_995, Running)]), []);
    assert_eq!(watch.lasting(7_000), []);
    // Whose clock is wrong tells nothing of before.
    assert_eq!(watch.at(8_000, &[(1, 0, Running), (2, 4_000_000, Running)]), []);
    assert_eq!(watch.at(8_300, &[(1, 0, Running)]), []);
    assert_eq!(watch.lasting(10_000), overlap(2, 300, true));
}

#[test]
fn a_role_that_never_ran_has_no_gap() {
    let mut watch = Watch::new(2);
    assert_eq!(watch.at(0, &[]), []);
    assert_eq!(watch.at(20_000, &[(1, 20_000, Starting)]), []);
    assert_eq!(watch.at(20_001, &[(1, 20_000, Running)]), []);
    assert_eq!(watch.lasting(60_000), [], "and neither has the instance that is still to come");
}

#[test]
fn a_gap_lasts_until_as_many_run_as_did() {
    let mut watch = Watch::new(2);
    watch.at(0, &[(1, 0, Running), (2, 0, Running)]);
    assert_eq!(watch.at(1_000, &[(1, 0, Running)]), []);
    assert_eq!(watch.at(1_020, &[]), []);
    assert_eq!(watch.at(1_030, &[(3, 1_030, Starting), (4, 1_030, Running)]), []);
    assert_eq!(watch.at(1_050, &[(3, 1_030, Running), (4, 1_030, Running)]), gap(2, 50, true));
}

#[test]
fn break_before_make_is_a_short_gap() {
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running)]);
    assert_eq!(watch.at(100, &[(1, 0, Draining { to: TO_TWO })]), []);
    assert_eq!(watch.at(110, &[(1, 0, Stopped { to: TO_TWO }), (2, 110, Starting)]), []);
    assert_eq!(watch.at(120, &[(2, 110, Running)]), gap(1, 20, true));
}

#[test]
fn make_before_break_is_neither_gap_nor_overlap_in_whatever_order_rows_come() {
    let to = ReplicaId(2);
    let yields = || (1, 0, ClaimState::Yielding { to });
    let ends = || (1, 0, Draining { to: None });
    let (starts, runs) = (|| (2, 100, Starting), || (2, 100, Running));
    let orders = [
        vec![vec![yields()], vec![yields(), starts()], vec![yields(), runs()], vec![ends(), runs()]],
        vec![vec![yields(), starts()], vec![ends(), starts()], vec![ends(), runs()]],
        vec![vec![yields(), starts()], vec![starts()]],
        vec![vec![yields()], vec![ends()], vec![], vec![starts()]],
    ];
    for order in orders {
        let mut watch = Watch::new(1);
        watch.at(0, &[(1, 0, Running)]);
        let mut told = Vec::new();
        for (at, claims) in (100..).step_by(50).zip(&order) {
            told.extend(watch.at(at, claims));
        }
        // Its task may take its time to end.
        told.extend(watch.at(350, &[runs()]));
        told.extend(watch.lasting(60_000));
        assert_eq!(told, [], "{order:?}");
        assert_eq!(watch.at(60_000, &[]), [], "from now on");
        assert_eq!(watch.at(60_100, &[(3, 60_050, Running)]), gap(1, 100, true), "{order:?}");
    }
}

#[test]
fn a_host_that_dies_before_its_successor_runs_is_a_gap() {
    let to = ReplicaId(2);
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running)]);
    assert_eq!(watch.at(100, &[(1, 0, ClaimState::Yielding { to }), (2, 100, Starting)]), []);
    watch.view.remove(&ReplicaId(1));
    assert_eq!(watch.at(200, &[(2, 100, Starting)]), []);
    assert_eq!(watch.at(250, &[(2, 100, Running)]), gap(1, 50, true));
    // Its task may fail as well.
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running)]);
    watch.at(100, &[(1, 0, ClaimState::Yielding { to }), (2, 100, Starting)]);
    assert_eq!(watch.at(200, &[(1, 0, Stopped { to: TO_TWO }), (2, 100, Starting)]), []);
    assert_eq!(watch.at(250, &[(2, 100, Running)]), gap(1, 50, true));
}

#[test]
fn without_a_place_nothing_is_missing_but_what_was_is() {
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running)]);
    watch.placed = 0;
    assert_eq!(watch.at(1_000, &[]), []);
    assert_eq!(watch.lasting(60_000), []);
    watch.placed = 1;
    assert_eq!(watch.at(60_000, &[(1, 60_000, Starting)]), []);
    watch.placed = 0;
    assert_eq!(watch.at(60_500, &[]), []);
    watch.placed = 1;
    assert_eq!(watch.at(61_000, &[(1, 61_000, Running)]), gap(1, 1_000, true));
    // Two had a place, then one: that is what it is compared with from then on.
    (watch.count, watch.placed) = (2, 2);
    watch.at(62_000, &[(1, 61_000, Running), (2, 62_000, Running)]);
    watch.placed = 1;
    assert_eq!(watch.at(63_000, &[(1, 61_000, Running)]), []);
    watch.placed = 2;
    assert_eq!(watch.at(64_000, &[(1, 61_000, Running), (2, 64_000, Starting)]), []);
    assert_eq!(watch.at(64_100, &[(1, 61_000, Running), (2, 64_000, Running)]), []);
}

#[test]
fn what_is_held_back_is_not_missed_nor_is_it_at_once_when_it_may_run_again() {
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running)]);
    assert_eq!(watch.at(1_000, &[]), []);
    (watch.placed, watch.held_back) = (0, true);
    assert_eq!(watch.at(1_100, &[]), []);
    assert_eq!(watch.lasting(60_000), []);
    (watch.placed, watch.held_back) = (1, false);
    assert_eq!(watch.at(60_000, &[]), [], "its host comes into sight a little later");
    assert_eq!(watch.at(60_010, &[(2, 1_000, Running)]), []);
}

#[test]
fn roles_that_are_gone_are_forgotten() {
    let mut watch = Watch::new(1);
    watch.at(0, &[(1, 0, Running), (2, 0, Running)]);
    let mut moment = Moment {
        now: Instant::ZERO + Duration::from_secs(1),
        view: &BTreeSet::new(),
        shortest: Duration::ZERO,
        stamp: &mut Stamp::default,
    };
    assert_eq!(watch.service.look(&mut moment, std::iter::empty()), []);
    assert!(watch.service.roles.is_empty());
}
