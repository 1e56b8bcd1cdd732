//! The roster: joining in any order, who has a name, eviction and return.

use crdts::CvRDT;
use proptest::prelude::*;

use super::*;

fn node(n: u64) -> NodeId {
    NodeId::new(format!("node-{n}")).unwrap()
}

fn at(stamp: u64) -> Stamp {
    Stamp::from_millis(stamp)
}

/// Replica `r` is a run of node `r % 3`; stamps of a node collide now and then.
fn admit(roster: &mut Roster, replica: u64) -> bool {
    roster.admit(ReplicaId(replica), node(replica % 3), Tenure::first(ReplicaId(replica), at(100 + replica / 6)))
}

/// The same in place of whoever has the name.
fn supersede(roster: &mut Roster, replica: u64, now: u64) -> bool {
    let tenure = roster.tenure_of(ReplicaId(replica), &node(replica % 3), Proof::Silent, at(now));
    roster.admit(ReplicaId(replica), node(replica % 3), tenure)
}

fn roster() -> impl Strategy<Value = Roster> {
    prop::collection::vec((0_u64..9, 0_u8..6), 0..20).prop_map(|steps| {
        let mut roster = Roster::new();
        for (now, (replica, step)) in (100..).zip(steps) {
            match step {
                0 | 1 => admit(&mut roster, replica),
                2 | 3 => supersede(&mut roster, replica, now),
                4 => roster.evict(ReplicaId(replica)),
                _ => roster.readmit(ReplicaId(replica)),
            };
        }
        roster
    })
}

fn joined(mut a: Roster, b: &Roster) -> Roster {
    let before = a.clone();
    let included = a.includes(b);
    assert_eq!(a.join(b), a != before);
    assert_eq!(included, a == before);
    a
}

proptest! {
    #[test]
    fn what_is_about_some_says_of_them_what_the_whole_says(roster in roster(), some in prop::collection::btree_set(0_u64..9, 0..5)) {
        let about = roster.about(some.iter().copied().map(ReplicaId));
        for replica in some.into_iter().map(ReplicaId) {
            prop_assert_eq!(about.get(replica), roster.get(replica));
            prop_assert_eq!(about.is_admitted(replica), roster.is_admitted(replica));
            prop_assert_eq!(about.superseded_by(replica), roster.superseded_by(replica));
        }
        prop_assert!(roster.includes(&about));
    }
}

fn seen(roster: &Roster) -> (BTreeSet<ReplicaId>, Vec<bool>, u64) {
    let mut anew = Roster::new();
    for (replica, admission) in roster.iter() {
        anew.join_one(replica, admission);
    }
    assert_eq!(roster.fingerprint(), anew.fingerprint(), "kept up to date, and taken anew");
    anew.derive_anew();
    assert_eq!((&roster.members, &roster.holders), (&anew.members, &anew.holders), "kept up to date, and taken anew");
    (roster.member_set(), (0..9).map(|id| roster.is_evicted(ReplicaId(id))).collect(), roster.fingerprint())
}

proptest! {
    #[test]
    fn joining_is_commutative_associative_and_idempotent(a in roster(), b in roster(), c in roster()) {
        let (ab, ba) = (joined(a.clone(), &b), joined(b.clone(), &a));
        prop_assert_eq!(&ab, &ba);
        prop_assert_eq!(seen(&ab), seen(&ba));
        let (left, right) = (joined(ab, &c), joined(a.clone(), &joined(b, &c)));
        prop_assert_eq!(seen(&left), seen(&right));
        prop_assert_eq!(seen(&joined(a.clone(), &a)), seen(&a));
        let mut merged = a.clone();
        CvRDT::merge(&mut merged, c.clone());
        prop_assert_eq!(merged, joined(a, &c));
    }

    #[test]
    fn of_a_node_only_the_holder_of_its_name_is_a_member(roster in roster()) {
        for member in roster.members() {
            let Admission { node, tenure, length } = roster.get(member).unwrap();
            prop_assert_eq!(length % 2, 1);
            prop_assert_eq!(roster.holder_of(node), Some(member));
            let runs = roster.iter().filter(|(_, other)| other.node == *node);
            prop_assert!(runs.into_iter().all(|(id, other)| other.tenure.standing(id) <= tenure.standing(member)));
            prop_assert!(roster.ahead_of(member, node, tenure).is_empty());
        }
        prop_assert!(roster.iter().all(|(id, _)| roster.is_admitted(id) != roster.is_evicted(id)));
    }

    /// Whatever else is heard of, and in whatever order.
    #[test]
    fn a_run_that_was_proved_gone_never_has_the_name_before_the_one_that_superseded_it(a in roster(), b in roster(), replica in 9_u64..12) {
        let name = node(replica % 3);
        let former = a.holder_of(&name);
        let mut superseded = a.clone();
        supersede(&mut superseded, replica, 500);
        prop_assert!(superseded.is_admitted(ReplicaId(replica)));
        let all = joined(superseded, &b);
        prop_assert_ne!(all.holder_of(&name), former.filter(|former| b.get(*former).is_none_or(|known| Some(known) == a.get(*former))));
        let rest = all.without(&a);
        prop_assert!(rest.iter().all(|(id, _)| a.get(id).is_none()));
    }

    /// Of two that were admitted without proof on the two sides of a cut.
    #[test]
    fn without_proof_the_earlier_admission_stands(one in (100_u64..103, 0_u64..4), other in (100_u64..103, 4_u64..8)) {
        let side = |(stamp, id): (u64, u64)| {
            let mut roster = Roster::new();
            roster.admit(ReplicaId(id), node(1), Tenure::first(ReplicaId(id), at(stamp)));
            roster
        };
        let (there, back) = (joined(side(one), &side(other)), joined(side(other), &side(one)));
        prop_assert_eq!(seen(&there), seen(&back));
        prop_assert_eq!(there.holder_of(&node(1)), Some(ReplicaId(one.min(other).1)));
        // Both superseded the same one.
        let mut before = Roster::new();
        before.admit(ReplicaId(8), node(1), Tenure::first(ReplicaId(8), at(1)));
        let side = |(stamp, id): (u64, u64)| {
            let mut roster = before.clone();
            let tenure = roster.tenure_of(ReplicaId(id), &node(1), Proof::Down, at(stamp));
            roster.admit(ReplicaId(id), node(1), tenure);
            roster
        };
        prop_assert_eq!(joined(side(one), &side(other)).holder_of(&node(1)), Some(ReplicaId(one.min(other).1)));
    }

    #[test]
    fn bytes_carry_a_roster_whole(roster in roster()) {
        let bytes = postcard::to_stdvec(&roster).unwrap();
        let decoded: Roster = postcard::from_bytes(&bytes).unwrap();
        prop_assert_eq!(seen(&decoded), seen(&roster));
        prop_assert_eq!(decoded, roster);
    }

    #[test]
    fn even_forged_names_converge(lengths in prop::collection::vec((0_u64..2, 1_u32..3, 0_u64..3, 0_u64..3, 0_u32..2), 1..6)) {
        let single = |&(id, length, name, stamp, turn): &(u64, u32, u64, u64, u32)| {
            let mut roster = Roster::new();
            let tenure = Tenure { turn, ..Tenure::first(ReplicaId(id), at(stamp)) };
            roster.join_one(ReplicaId(id), &Admission { length, node: node(name), tenure });
            roster
        };
        let forward = lengths.iter().map(single).fold(Roster::new(), |all, one| joined(all, &one));
        let backward = lengths.iter().rev().map(single).fold(Roster::new(), |all, one| joined(all, &one));
        prop_assert_eq!(seen(&forward), seen(&backward));
    }
}

#[test]
fn evicted_is_evicted_until_islands_meet() {
    let mut roster = Roster::new();
    assert!(!roster.evict(ReplicaId(1)), "nobody evicts who was never there");
    assert!(admit(&mut roster, 1) && !admit(&mut roster, 1));
    let early = roster.clone();
    assert!(roster.evict(ReplicaId(1)) && !roster.evict(ReplicaId(1)));
    assert!(!admit(&mut roster, 1) && !roster.join(&early));
    assert!(roster.is_evicted(ReplicaId(1)) && !roster.is_admitted(ReplicaId(1)));
    assert!(roster.readmit(ReplicaId(1)) && !roster.readmit(ReplicaId(1)));
    assert!(roster.is_admitted(ReplicaId(1)));
}

#[test]
fn a_run_that_supersedes_another_replaces_it_for_good() {
    let mut roster = Roster::new();
    roster.admit(ReplicaId(9), node(1), Tenure::first(ReplicaId(9), at(100)));
    let tenure = roster.tenure_of(ReplicaId(5), &node(1), Proof::Down, at(50));
    assert_eq!(tenure.supersedes, Some(Superseded { run: ReplicaId(9), proof: Proof::Down }));
    roster.admit(ReplicaId(5), node(1), tenure);
    assert_eq!(roster.members().collect::<Vec<_>>(), [ReplicaId(5)]);
    assert!(roster.is_superseded(ReplicaId(9)) && roster.is_evicted(ReplicaId(9)));
    roster.evict(ReplicaId(5));
    assert_eq!(roster.members().count(), 0, "the former run does not come back");
    assert!(!roster.is_admitted(ReplicaId(7)) && !roster.is_evicted(ReplicaId(7)), "unknown is neither");
}

#[test]
fn a_name_that_was_passed_on_is_taken_back_only_with_proof() {
    let mut roster = Roster::new();
    roster.admit(ReplicaId(1), node(1), Tenure::first(ReplicaId(1), at(100)));
    let before = roster.clone();
    let tenure = roster.tenure_of(ReplicaId(2), &node(1), Proof::Silent, at(200));
    roster.admit(ReplicaId(2), node(1), tenure);
    let ahead = roster.ahead_of(ReplicaId(1), &node(1), &before.get(ReplicaId(1)).unwrap().tenure);
    assert_eq!(ahead.iter().map(|(id, _)| id).collect::<Vec<_>>(), [ReplicaId(2)]);
    let first = Tenure::first(ReplicaId(1), at(50));
    assert!(!joined(roster.clone(), &before).is_admitted(ReplicaId(1)));
    assert!(first > tenure, "an earlier succession would have it, and it was no such");
    let back = roster.tenure_of(ReplicaId(1), &node(1), Proof::Down, at(300));
    roster.admit(ReplicaId(1), node(1), back);
    assert_eq!((roster.holder_of(&node(1)), back.turn), (Some(ReplicaId(1)), 2));
}

fn supersede_as(roster: &mut Roster, replica: u64, name: u64) {
    let tenure = roster.tenure_of(ReplicaId(replica), &node(name), Proof::Left, at(replica));
    roster.admit(ReplicaId(replica), node(name), tenure);
}

#[test]
fn parts_make_the_whole_again() {
    let mut roster = Roster::new();
    for id in 1..=30 {
        supersede_as(&mut roster, id, id % 7);
    }
    roster.evict(ReplicaId(28));
    let parts = roster.parts(4);
    assert_eq!((parts.len(), parts.iter().map(Roster::len).max()), (8, Some(4)));
    let whole = parts.iter().rev().fold(Roster::new(), joined);
    assert_eq!((whole.fingerprint(), whole.member_set()), (roster.fingerprint(), roster.member_set()));
}

#[test]
fn what_is_out_of_order_or_never_admitted_is_not_decoded() {
    let one = |id: u64, length: u32| {
        (ReplicaId(id), Admission { length, node: node(1), tenure: Tenure::first(ReplicaId(id), at(1)) })
    };
    for forged in [vec![one(1, 0)], vec![one(2, 1), one(1, 1)], vec![one(1, 1), one(1, 1)]] {
        assert!(postcard::from_bytes::<Roster>(&postcard::to_stdvec(&forged).unwrap()).is_err());
    }
}
