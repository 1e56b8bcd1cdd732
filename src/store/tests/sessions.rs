//! Repair sessions and bucket repairs.

use super::*;

#[test]
fn an_interrupted_session_commits_nothing_but_what_it_carried() {
    let (a, b) = (store(1), store(2));
    for n in 0..30 {
        put(&a, 1_000, &format!("k{n}"), "v");
    }
    remove(&a, 1_000, "k7");
    let mut serving = a.serve(&b.context());
    assert_eq!(serving.remaining(), 30);
    let some = serving.next_rows(400).unwrap();
    let carried: Vec<_> = some.iter().map(|row| row.entry.dot).collect();
    b.merge(at(1_000), some);
    drop(serving);
    assert!(carried.len() < 30);
    for seq in 1..=31 {
        let dot = Dot { replica: id(1), seq };
        assert_eq!(b.knows(dot), carried.contains(&dot), "{dot:?}");
    }
    pull(at(1_000), &b, &a);
    assert_eq!((b.digest(), b.base_of(id(1)), live(&b)), (a.digest(), 31, live(&a)));
}

#[test]
fn a_session_carries_only_what_is_lacking_and_stays_at_its_instant() {
    let (a, b) = (store(1), store(2));
    put(&a, 1_000, "old", "1");
    b.merge(at(1_000), sent(&a));
    put(&a, 1_001, "k", "1");
    remove(&a, 1_001, "old");
    let mut serving = a.serve(&b.context());
    put(&a, 1_002, "k", "2");
    put(&a, 1_002, "late", "2");
    let carried: Vec<_> = std::iter::from_fn(|| serving.next_rows(1)).map(|rows| rows[0].clone()).collect();
    let shape: Vec<_> = carried.iter().map(|row| (row.entry.dot.seq, row.entry.value.is_some())).collect();
    assert!(shape.contains(&(2, true)) && shape.contains(&(3, false)) && shape.len() == 2, "{shape:?}");
    assert_eq!((serving.remaining(), serving.context().base(id(1))), (0, 3));
    assert!(a.serve(&a.context()).next_rows(1).is_none());
}

#[test]
fn nobody_else_tells_what_we_wrote() {
    let store = store(1);
    put(&store, 1_000, "k", "v");
    store.join_context(&[Dot { replica: id(1), seq: 9 }, Dot { replica: id(2), seq: 1 }].into_iter().collect());
    assert_eq!((store.base_of(id(1)), store.gaps(), store.base_of(id(2))), (1, vec![], 1));
    put(&store, 1_000, "k", "w");
    assert_eq!(sent(&store).len(), 2);
}

#[test]
fn what_a_row_takes_on_the_wire_is_bounded_by_its_size() {
    let mut big =
        row(&cars(), &[0xff; crate::store::MAX_KEY], entry(u64::MAX, u64::MAX, u64::MAX, Some(&"x".repeat(65_536))));
    big.swallowed = vec![u64::MAX; Row::MAX_SWALLOWED];
    for row in [big, row(&cars(), b"k", entry(1, 1, 1, None))] {
        let bytes = postcard::to_stdvec(&row).unwrap();
        assert!(bytes.len() <= row.max_size(), "{} > {}", bytes.len(), row.max_size());
        assert_eq!(postcard::from_bytes::<Row>(&bytes).unwrap(), row);
    }
    let hashes = store(1).bucket_hashes();
    assert_eq!(postcard::from_bytes::<BucketHashes>(&postcard::to_stdvec(&hashes).unwrap()).unwrap(), hashes);
    assert!(
        postcard::from_bytes::<BucketHashes>(&postcard::to_stdvec(&(vec![0_u64; 9], vec![0_u64; 64])).unwrap())
            .is_err()
    );
}

/// Two islands: one collected a removal that the other never saw.
#[test]
fn bucket_repair_ignores_what_is_known_and_present_beats_absent() {
    let (a, b) = (store(1), store(2));
    put(&a, 1_000, "k", "v");
    put(&a, 1_000, "same", "v");
    pull(at(1_000), &b, &a);
    a.set_roster(&members(1), 2);
    remove(&a, 1_001, "k");
    a.report(at(1_002));
    assert_eq!(a.collect(at(1_002)), 1);
    a.set_roster(&members(2), 3);
    b.set_roster(&members(2), 3);
    pull(at(1_003), &a, &b);
    pull(at(1_003), &b, &a);
    assert_eq!((a.context(), get(&a, "k"), get(&b, "k").as_deref()), (b.context(), None, Some("v")));
    assert_ne!(a.digest().root, b.digest().root, "equal contexts, different tables: what bucket repair is for");
    assert_eq!(a.bucket_hashes().differing(&b.bucket_hashes()), 1);
    let repair = |to: &Arc<Store>, from: &Arc<Store>| {
        let mut serving = from.serve_buckets(&to.bucket_hashes());
        let rows = std::iter::from_fn(|| serving.next_rows(1 << 20)).flatten().collect();
        to.merge_buckets(at(1_004), rows)
    };
    assert_eq!(repair(&a, &b).resurrected, 1);
    assert_eq!(repair(&b, &a), Merged::default(), "nothing differs any more");
    assert_eq!((a.digest(), a.stats().resurrected, get(&a, "k").as_deref()), (b.digest(), 1, Some("v")));
}

#[test]
fn replicas_that_collected_at_different_moments_still_agree() {
    let (a, b) = (store(1), store(2));
    put(&a, 1_000, "k", "v");
    remove(&a, 1_001, "k");
    pull(at(1_001), &b, &a);
    a.set_roster(&members(1), 2);
    a.report(at(1_002));
    assert_eq!((a.collect(at(1_002)), b.stats().tombstones), (1, 1));
    a.set_roster(&members(3), 1);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.bucket_hashes(), b.bucket_hashes());
}

#[test]
fn owner_rows_go_when_their_owner_leaves_the_roster() {
    let (a, b) = (store(1), store(2));
    let load = name("@load");
    for (store, value) in [(&a, 1), (&b, 2)] {
        store.put_own(at(1_000), &load, b"cpu", &[value]).unwrap();
    }
    put(&b, 1_000, "k", "stays");
    b.put_own(at(1_000), &load, b"gone", b"1").unwrap();
    b.remove_own(at(1_000), &load, b"gone").unwrap();
    let from_b = sent(&b);
    a.merge(at(1_000), from_b.clone());
    let recorder = Arc::new(Recorder::default());
    a.table(&load).watch(recorder.clone());
    a.set_roster(&[id(1), id(3)].into(), 2);
    assert_eq!(a.owner_rows(&load).iter().map(|(owner, ..)| *owner).collect::<Vec<_>>(), [id(1)]);
    assert_eq!((a.stats().tombstones, recorder.seen().len()), (0, 1));
    assert_eq!((get(&a, "k").as_deref(), a.base_of(id(2))), (Some("stays"), 4), "what is known stays known");
    assert_eq!(a.merge(at(1_000), vec![from_b[0].clone()]).refused, 1);
    let alone = store(1);
    alone.put_own(at(1_000), &load, b"cpu", &[1]).unwrap();
    assert_eq!((alone.digest().owners, a.digest().owners), (a.digest().owners, alone.digest().owners));
    a.set_roster(&members(3), 3);
    assert_eq!(a.merge_buckets(at(1_000), vec![from_b[0].clone()]).refused, 0, "back in the roster, back by repair");
    a.set_roster(&[id(2)].into(), 4);
    assert!(a.owner_rows(&load).iter().any(|(owner, ..)| *owner == id(1)), "one's own rows stay");
}

/// Two islands: the owner removed a row and collected that, and the other side still has it.
#[test]
fn what_an_owner_removed_does_not_come_back_to_it() {
    let (a, b, c) = (store(1), store(2), store(3));
    let claims = name("@claims");
    a.put_own(at(1_000), &claims, b"gate", b"running").unwrap();
    let claimed = sent(&a);
    b.merge(at(1_000), claimed.clone());
    c.merge(at(1_000), claimed);
    a.set_roster(&members(1), 2);
    a.remove_own(at(1_001), &claims, b"gate").unwrap();
    a.report(at(1_002));
    assert_eq!((a.collect(at(1_002)), sent(&a).len()), (1, 1));
    a.set_roster(&members(3), 3);
    let mut serving = b.serve_buckets(&a.bucket_hashes());
    let merged = a.merge_buckets(at(1_004), serving.next_rows(1 << 20).unwrap());
    assert_eq!((merged.resurrected, merged.refused, a.owner_rows(&claims).len()), (0, 0, 0));
    let again = sent(&a);
    assert_eq!(again.len(), 1);
    for other in [&b, &c] {
        other.merge(at(1_005), again.clone());
        assert_eq!((other.owner_rows(&claims).len(), other.digest().owners), (0, a.digest().owners));
    }
}

#[test]
fn a_digest_depends_on_what_is_known_and_not_on_the_way_there() {
    let (a, b) = (store(1), store(2));
    let from_3 = row(&cars(), b"k", entry(3, 2, 1_000, Some("v")));
    a.merge(at(1_000), vec![from_3.clone()]);
    let before = a.digest();
    a.set_roster(&members(2), 2);
    b.set_roster(&members(2), 2);
    b.merge(at(1_000), vec![from_3]);
    assert_eq!(a.digest(), b.digest(), "first known, then departed, or the other way round");
    assert!(a.digest().departed != before.departed && a.digest().context != before.context);
    put(&a, 1_001, "k", "w");
    assert_ne!(a.digest(), b.digest());
    pull(at(1_001), &b, &a);
    assert_eq!(a.digest(), b.digest());
}
