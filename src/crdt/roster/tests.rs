//! The roster: joining in any order, replacement by a newer boot, eviction and return.

use crdts::CvRDT;
use proptest::prelude::*;

use super::*;

fn node(n: u64) -> NodeId {
    NodeId::new(format!("node-{n}")).unwrap()
}

/// Replica `r` is run `r / 3` of node `r % 3`; boots of a node collide now and then.
fn admit(roster: &mut Roster, replica: u64) -> bool {
    roster.admit(ReplicaId(replica), node(replica % 3), 100 + replica / 6)
}

fn roster() -> impl Strategy<Value = Roster> {
    prop::collection::vec((0_u64..9, 0_u8..4), 0..20).prop_map(|steps| {
        let mut roster = Roster::new();
        for (replica, step) in steps {
            match step {
                0 | 1 => admit(&mut roster, replica),
                2 => roster.evict(ReplicaId(replica)),
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
    assert_eq!((&roster.members, &roster.newest), (&anew.members, &anew.newest), "kept up to date, and taken anew");
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
    fn of_a_node_only_its_newest_run_is_a_member(roster in roster()) {
        for member in roster.members() {
            let Admission { node, boot, length } = roster.get(member).unwrap();
            prop_assert_eq!(length % 2, 1);
            prop_assert!(roster.iter().filter(|(_, other)| other.node == *node).all(|(id, other)| (other.boot, id) <= (*boot, member)));
        }
        prop_assert!(roster.iter().all(|(id, _)| roster.is_admitted(id) != roster.is_evicted(id)));
    }

    #[test]
    fn bytes_carry_a_roster_whole(roster in roster()) {
        let bytes = postcard::to_stdvec(&roster).unwrap();
        let decoded: Roster = postcard::from_bytes(&bytes).unwrap();
        prop_assert_eq!(seen(&decoded), seen(&roster));
        prop_assert_eq!(decoded, roster);
    }

    #[test]
    fn even_forged_names_converge(lengths in prop::collection::vec((0_u64..2, 1_u32..3, 0_u64..3, 0_u64..3), 1..6)) {
        let single = |&(id, length, name, boot): &(u64, u32, u64, u64)| {
            let mut roster = Roster::new();
            roster.join_one(ReplicaId(id), &Admission { length, node: node(name), boot });
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
fn a_newer_run_replaces_the_older_for_good() {
    let mut roster = Roster::new();
    roster.admit(ReplicaId(9), node(1), 100);
    roster.admit(ReplicaId(5), node(1), 200);
    assert_eq!(roster.members().collect::<Vec<_>>(), [ReplicaId(5)]);
    assert!(roster.is_superseded(ReplicaId(9)) && roster.is_evicted(ReplicaId(9)));
    roster.evict(ReplicaId(5));
    assert_eq!(roster.members().count(), 0, "the older run does not come back");
    assert!(!roster.is_admitted(ReplicaId(7)) && !roster.is_evicted(ReplicaId(7)), "unknown is neither");
}

#[test]
fn parts_make_the_whole_again() {
    let mut roster = Roster::new();
    for id in 1..=30 {
        roster.admit(ReplicaId(id), node(id % 7), id);
    }
    roster.evict(ReplicaId(28));
    let parts = roster.parts(4);
    assert_eq!((parts.len(), parts.iter().map(Roster::len).max()), (8, Some(4)));
    let whole = parts.iter().rev().fold(Roster::new(), joined);
    assert_eq!((whole.fingerprint(), whole.member_set()), (roster.fingerprint(), roster.member_set()));
}

#[test]
fn what_is_out_of_order_or_never_admitted_is_not_decoded() {
    let one = |id: u64, length: u32| (ReplicaId(id), Admission { length, node: node(1), boot: 1 });
    for forged in [vec![one(1, 0)], vec![one(2, 1), one(1, 1)], vec![one(1, 1), one(1, 1)]] {
        assert!(postcard::from_bytes::<Roster>(&postcard::to_stdvec(&forged).unwrap()).is_err());
    }
}
