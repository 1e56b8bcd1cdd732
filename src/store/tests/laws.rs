//! Whatever order rows come in, and how often: the same tables, the same digests, the outcome by rank.

use proptest::prelude::*;

use super::*;

/// Rows of three authors over a few keys, each author's dots distinct.
fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    let one = (11_u64..14, 0_u8..6, 1_000_u64..1_020, 0_u64..3, any::<bool>(), 0_u8..2);
    prop::collection::vec(one, 0..40).prop_map(|writes| {
        let made = writes.into_iter().enumerate().map(|(index, (author, key, ms, far, removal, table))| {
            let mut entry = entry(author, index as u64 + 1, ms, Some(&format!("v{index}")));
            entry.rank_time = Stamp::from_millis(ms + far);
            if removal {
                entry.value = None;
                // Ranks of removals are those of puts, so different removals often rank the same.
                entry.rank_author = id(11);
            }
            row(&name(["cars", "bikes"][usize::from(table)]), &[b'k', key], entry)
        });
        made.collect()
    })
}

fn empty(replica: u64) -> Arc<Store> {
    let store = store(replica);
    store.set_roster(&(1..20).map(ReplicaId).collect(), 1);
    store
}

/// The oracle: per key the greatest (rank, stamp, dot), folded over a plain list.
fn oracle(rows: &[Row]) -> BTreeMap<(TableName, Key), Value> {
    let mut winners = BTreeMap::new();
    for Row { table, key, entry, .. } in rows {
        let order = (entry.rank_time, entry.rank_author, entry.value.is_none(), entry.stamp, entry.dot);
        let winner = winners.entry((table.clone(), key.clone())).or_insert((order, entry.value.clone()));
        if winner.0 < order {
            *winner = (order, entry.value.clone());
        }
    }
    winners.into_iter().filter_map(|(key, (_, value))| Some((key, value?))).collect()
}

/// The sums, made afresh from what the store hands out.
fn recomputed(store: &Arc<Store>) -> BucketHashes {
    let mut hashes = BucketHashes::default();
    for row in rows(store).iter().filter(|row| !row.entry.is_tombstone()) {
        let place = hash::place(hash::table_hash(&row.table), &row.key);
        let buckets = if row.table.is_owner() { &mut hashes.owners } else { &mut hashes.rows };
        let bucket = &mut buckets[buckets::bucket_of(row.table.is_owner(), place)];
        *bucket = bucket.wrapping_add(hash::row_hash(place, &row.entry.mark()));
    }
    hashes
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        (rows, shuffled) in some_rows().prop_flat_map(|rows| {
            let twice = [rows.clone(), rows.clone()].concat();
            (Just(rows), Just(twice).prop_shuffle())
        }),
        chunk in 1_usize..9,
    ) {
        let (a, b, c) = (empty(1), empty(2), empty(3));
        prop_assert_eq!(a.merge(at(1_100), rows.clone()).news.len(), rows.len());
        prop_assert!(a.merge(at(1_100), rows.clone()).news.is_empty(), "known rows are no news");
        for some in shuffled.chunks(chunk) {
            b.merge(at(1_100), some.to_vec());
            c.merge_buckets(at(1_100), some.to_vec());
        }
        prop_assert_eq!(live(&a), oracle(&rows));
        for other in [&b, &c] {
            prop_assert_eq!(live(other), live(&a));
            prop_assert_eq!(other.digest(), a.digest());
            prop_assert_eq!(other.bucket_hashes(), a.bucket_hashes());
            prop_assert_eq!(other.table_digests(), a.table_digests());
            prop_assert_eq!(super::rows(other), super::rows(&a), "in the same order whatever the seed");
        }
        prop_assert_eq!(recomputed(&a), a.bucket_hashes());
        prop_assert_eq!(a.stats().live, oracle(&rows).len() as u64);
    }

    /// Two replicas write, push some of it, lose some of it, and pull.
    #[test]
    fn writers_converge_by_sessions(steps in prop::collection::vec((0_usize..2, 0_u8..5, 0_u8..8), 0..60)) {
        let stores = [store(1), store(2)];
        for (ms, (who, key, step)) in (1_000..).zip(steps) {
            let (us, them) = (&stores[who], &stores[1 - who]);
            let key = format!("k{key}");
            match step {
                0..=2 => drop(put(us, ms, &key, &format!("v{ms}"))),
                3 => drop(remove(us, ms, &key)),
                4 => drop(us.put_own(at(ms), &name("@load"), key.as_bytes(), &[step]).unwrap()),
                5 => drop(them.merge(at(ms), sent(us))),
                6 => drop(sent(us)),
                _ => pull(at(ms), us, them),
            }
            prop_assert_eq!(recomputed(us), us.bucket_hashes());
        }
        pull(at(2_000), &stores[0], &stores[1]);
        pull(at(2_000), &stores[1], &stores[0]);
        prop_assert_eq!(live(&stores[0]), live(&stores[1]));
        prop_assert_eq!(stores[0].digest(), stores[1].digest());
        prop_assert_eq!(stores[0].context(), stores[1].context());
    }
}

#[test]
fn digests_stay_what_they_are() {
    // Golden: a change here makes replicas of different versions repair without end.
    let store = store(1);
    put(&store, 1_000, "k", "v");
    store.put_own(at(1_000), &name("@load"), b"cpu", b"7").unwrap();
    let Digest { root, owners, .. } = store.digest();
    assert_eq!((root, owners), (13_811_704_878_227_482_046, 3_189_658_230_528_841_328));
}

#[test]
fn damage_is_refused_and_counted() {
    let store = store(1);
    put(&store, 1_000, "mine", "1");
    let owner_row = |owner: u64, author: u64, seq: u64| {
        row(&name("@load"), &owner_key(id(owner), b"cpu"), entry(author, seq, 1_000, Some("7")))
    };
    let mut far = entry(2, 9, 1_000, Some("x"));
    far.rank_time = Stamp(u64::MAX);
    let mut swallowing = row(&cars(), b"k", entry(2, 9, 1_000, None));
    swallowing.swallowed = vec![3];
    let mut itself = owner_row(2, 2, 5);
    itself.swallowed = vec![5];
    let damaged = vec![
        row(&cars(), b"k", entry(2, 0, 1_000, Some("no such write"))),
        row(&cars(), b"", entry(2, 1, 1_000, Some("no key"))),
        row(&cars(), &[0; crate::store::MAX_KEY + 1], entry(2, 1, 1_000, None)),
        row(&cars(), b"k", entry(2, 1, 1_000, Some(&"x".repeat(crate::store::MAX_VALUE + 1)))),
        row(&cars(), b"k", entry(1, 2, 1_000, Some("we never wrote that"))),
        row(&cars(), b"k", far),
        row(&name("@load"), b"short", entry(2, 1, 1_000, None)),
        swallowing,
        itself,
        owner_row(2, 3, 1),
        owner_row(9, 9, 1),
    ];
    let before = (store.digest(), store.context(), super::rows(&store));
    let merged = store.merge(at(1_000), damaged.clone());
    assert_eq!((merged.refused, merged.news.len()), (damaged.len(), 0));
    assert_eq!(store.merge_buckets(at(1_000), damaged.clone()).refused, damaged.len());
    assert_eq!((store.digest(), store.context(), super::rows(&store)), before);
    assert_eq!(store.stats().refused, 2 * damaged.len() as u64);
    assert_eq!(store.merge(at(1_000), vec![owner_row(2, 2, 1)]).news.len(), 1);
}
