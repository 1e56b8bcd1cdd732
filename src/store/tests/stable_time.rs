//! When tombstones may be collected, and above all when not.

use super::*;
use crate::crdt::Rank;
use crate::sabotage::Rule;

fn report(from: &Store, to: &[&Arc<Store>], ms: u64) -> Report {
    let report = from.report(at(ms));
    to.iter().for_each(|store| store.observe_report(report));
    report
}

/// All tell all, twice: promises first, then what they cover.
fn gossip(stores: &[&Arc<Store>], ms: u64) {
    for _ in 0..2 {
        for store in stores {
            report(store, stores, ms);
        }
    }
}

/// Three replicas that know the same removal of `k`.
fn removed() -> [Arc<Store>; 3] {
    let stores = [store(1), store(2), store(3)];
    put(&stores[0], 1_000, "k", "v");
    remove(&stores[0], 1_001, "k");
    let rows = sent(&stores[0]);
    stores[1].merge(at(1_001), rows.clone());
    stores[2].merge(at(1_001), rows);
    stores
}

#[test]
fn a_tombstone_goes_once_everybody_reported_twice() {
    let [a, b, c] = &removed();
    assert_eq!((a.collect(at(9_000)), a.stable_time()), (0, None), "age does not count");
    report(a, &[b, c], 1_010);
    report(b, &[a, c], 1_010);
    report(c, &[a, b], 1_010);
    assert_eq!(a.collect(at(9_000)), 0, "b reported before it had a promise of c");
    gossip(&[a, b, c], 1_020);
    for store in [a, b, c] {
        assert_eq!((store.collect(at(1_020)), store.collect(at(1_020)), store.stats().tombstones), (1, 0, 0));
        assert_eq!((store.stats().collected, store.stats().bytes), (1, 0));
        assert!(store.knows(Dot { replica: id(1), seq: 2 }), "what is known stays known");
    }
}

#[test]
fn later_writes_are_stamped_above_the_promise() {
    let store = store(1);
    let promise = store.report(at(5_000));
    assert_eq!((promise.seq, promise.clock), (0, Stamp::from_millis(5_000)), "an idle clock moves to estimated time");
    put(&store, 4_000, "k", "v");
    assert!(sent(&store)[0].entry.stamp > promise.clock);
    let next = store.report(at(4_000));
    assert!(next.version > promise.version && next.seq == 1 && next.clock > promise.clock);
}

#[test]
fn only_promises_whose_writes_are_known_are_covered() {
    let [a, b, c] = &[store(1), store(2), store(3)];
    gossip(&[a, b, c], 1_000);
    put(a, 1_005, "k", "v");
    let late = report(a, &[b, c], 1_010);
    report(c, &[a, b], 1_010);
    let without = b.report(at(1_020));
    assert!(without.covered < Stamp::from_millis(1_005), "b misses the write before that promise");
    b.merge(at(1_020), sent(a));
    let with = b.report(at(1_020));
    assert_eq!(with.covered, late.clock.min(c.reports()[2].clock));
    assert!(with.covered >= Stamp::from_millis(1_010));
}

#[test]
fn pending_promises_are_thinned_from_the_middle() {
    let [a, b, _] = &[store(1), store(2), store(3)];
    a.set_roster(&members(2), 5);
    b.set_roster(&members(2), 5);
    let mut rows = Vec::new();
    let mut promises = Vec::new();
    for ms in 1_000..1_040 {
        put(a, ms, "k", "v");
        rows.extend(sent(a));
        promises.push(report(a, &[b], ms).clock);
    }
    let rest = rows.split_off(1);
    b.merge(at(1_040), rows);
    assert_eq!(b.report(at(1_040)).covered, promises[0], "the oldest pending promise is kept");
    b.merge(at(1_040), rest);
    assert_eq!(b.report(at(1_041)).covered, promises[39], "and so is the newest");
}

#[test]
fn reports_under_another_roster_do_not_count() {
    let [a, b, c] = &removed();
    gossip(&[a, b, c], 1_020);
    for store in [a, b] {
        store.set_roster(&members(3), 2);
    }
    assert_eq!((a.reports().len(), a.collect(at(1_030))), (0, 0), "forgotten with the roster");
    gossip(&[a, b, c], 1_030);
    assert_eq!((a.collect(at(1_030)), c.collect(at(1_030))), (0, 0), "c still has the old roster");
    c.set_roster(&members(3), 2);
    gossip(&[a, b, c], 1_040);
    assert_eq!((a.collect(at(1_040)), c.collect(at(1_040))), (1, 1));
    let stranger = Report { replica: id(9), ..a.report(at(1_041)) };
    a.observe_report(stranger);
    assert!(a.reports().iter().all(|report| report.replica != id(9)));
}

#[test]
fn a_roster_changed_step_by_step_is_one_that_was_set() {
    let (steps, set) = (store(1), store(1));
    for store in [&steps, &set] {
        for author in 2..6 {
            store.set_roster(&members(6), 2);
            store.merge(at(1_000), vec![row(&cars(), b"k", entry(author, 1, 900 + author, Some("v")))]);
        }
    }
    let roster: BTreeSet<_> = [1, 3, 6].map(id).into();
    set.set_roster(&roster, 9);
    steps.change_roster(&[id(3)], &[id(2), id(4), id(7)], 8);
    steps.change_roster(&[id(6), id(7)], &[id(5)], 7);
    steps.change_roster(&[id(1)], &[id(7)], 9);
    assert!(steps.has_roster(&roster) && set.has_roster(&roster) && !set.has_roster(&members(6)));
    assert_eq!(steps.digest(), set.digest());
    assert_ne!(steps.digest().departed, 0);
}

#[test]
fn an_older_report_does_not_replace_a_newer_one() {
    let [a, b, _] = &removed();
    let old = b.report(at(1_010));
    let new = b.report(at(1_020));
    a.observe_report(new);
    a.observe_report(old);
    assert_eq!(a.reports(), [new]);
}

#[test]
fn nothing_is_collected_while_knowledge_of_the_departed_differs() {
    let [a, b, c] = &removed();
    let of_the_departed = row(&cars(), b"other", entry(9, 1, 900, Some("v")));
    a.merge(at(1_001), vec![of_the_departed.clone()]);
    b.merge(at(1_001), vec![of_the_departed.clone()]);
    gossip(&[a, b, c], 1_020);
    assert_eq!((a.collect(at(1_020)), c.collect(at(1_020))), (0, 0));
    c.merge(at(1_030), vec![of_the_departed]);
    assert_eq!(c.collect(at(1_030)), 0, "c must report anew");
    gossip(&[a, b, c], 1_040);
    assert_eq!((a.collect(at(1_040)), c.collect(at(1_040))), (1, 1));
}

#[test]
fn nothing_is_collected_while_a_session_is_served() {
    let [a, b, c] = &removed();
    gossip(&[a, b, c], 1_020);
    let serving = a.serve(&Context::new());
    let another = a.serve_buckets(&BucketHashes::default());
    drop(serving);
    assert_eq!(a.collect(at(1_020)), 0);
    drop(another);
    assert_eq!(a.collect(at(1_020)), 1);
}

/// The rows of a bucket repair are long under way, and are taken whether or not their dots are known: what is removed
/// meanwhile must not be collected before the last of them came, or it comes back.
#[test]
fn nothing_is_collected_while_buckets_are_compared() {
    let late = |holds: bool| {
        let [a, b, c] = [store(1), store(2), store(3)];
        put(&a, 1_000, "k", "v");
        let rows = sent(&a);
        b.merge(at(1_000), rows.clone());
        c.merge(at(1_000), rows);
        let hold = holds.then(|| b.hold_tombstones());
        let mut serving = a.serve_buckets(&BucketHashes::default());
        let under_way = serving.next_rows(1 << 20).unwrap();
        drop(serving);
        remove(&a, 1_001, "k");
        let removal = sent(&a);
        b.merge(at(1_001), removal.clone());
        c.merge(at(1_001), removal);
        gossip(&[&a, &b, &c], 1_010);
        gossip(&[&a, &b, &c], 1_020);
        assert_eq!((a.collect(at(1_020)), b.collect(at(1_020))), (1, usize::from(!holds)));
        let merged = b.merge_buckets(at(1_030), under_way);
        drop(hold);
        (merged.resurrected, get(&b, "k"), b.collect(at(1_030)))
    };
    assert_eq!(late(true), (0, None, 1));
    assert_eq!(late(false), (1, Some("v".to_owned()), 0), "this is what it is held for");
}

/// `a` puts with a clock an hour ahead, `b` removes that; `c` puts concurrently, stamped after the removal but ranked
/// below it. Whoever lost the tombstone by then would let c's put win, and the others would not.
#[test]
fn a_tombstone_over_an_entry_from_the_future_waits_for_that_future() {
    let [a, b, c] = &[store(1), store(2), store(3)];
    let hour = 3_600_000;
    put(a, 1_000 + hour, "k", "future");
    let future = sent(a);
    b.merge(at(1_000), future.clone());
    c.merge(at(1_000), Vec::new());
    remove(b, 1_001, "k");
    let removal = sent(b);
    let Rank { time, .. } = removal[0].entry.rank();
    assert!(time > removal[0].entry.stamp);
    a.set_clock_offset_ms(at(1_010), -(hour as i64));
    gossip(&[a, b, c], 1_010);
    put(c, 1_020, "k", "concurrent");
    for store in [a, c] {
        store.merge(at(1_030), future.clone());
        store.merge(at(1_030), removal.clone());
    }
    gossip(&[a, b, c], 1_030);
    assert!(b.stable_time().is_some_and(|stable| stable > removal[0].entry.stamp));
    assert_eq!([a, b, c].map(|store| store.collect(at(1_030))), [0, 0, 0]);
    let concurrent = sent(c);
    a.merge(at(1_040), concurrent.clone());
    b.merge(at(1_040), concurrent);
    assert_eq!([get(a, "k"), get(b, "k"), get(c, "k")], [None, None, None]);
    gossip(&[a, b, c], 2_000 + hour);
    assert_eq!([a, b, c].map(|store| store.collect(at(2_000 + hour))), [1, 1, 1]);
}

#[test]
fn two_removals_of_one_put_leave_one_tombstone() {
    let [a, b, c] = &[store(1), store(2), store(3)];
    put(a, 1_000, "k", "v");
    let rows = sent(a);
    b.merge(at(1_000), rows.clone());
    c.merge(at(1_000), rows);
    // The same stamp, so the same grave.
    let same = |author| {
        let mut removal = entry(author, 1, 1_500, None);
        (removal.rank_time, removal.rank_author) = (Stamp::from_millis(1_000), id(1));
        row(&cars(), b"k", removal)
    };
    a.merge(at(1_500), vec![same(2), same(3)]);
    assert_eq!((a.stats().tombstones, a.stats().live), (1, 0));
    a.set_roster(&members(1), 2);
    a.report(at(2_000));
    assert_eq!((a.collect(at(2_000)), a.stats().tombstones), (1, 0), "alone, stable time is one's own");
}

#[test]
fn sabotage_collects_too_early() {
    let sabotaged = |rule: Rule| {
        let config = StoreConfig { sabotage: rule.into(), ..StoreConfig::new(id(1), 1) };
        let store = store_with(config);
        put(&store, 1_000, "k", "v");
        remove(&store, 1_001, "k");
        store
    };
    let age = sabotaged(Rule::AgeGc);
    assert_eq!((age.collect(at(1_250)), age.collect(at(1_400))), (0, 1));
    let dots = sabotaged(Rule::DotGc);
    dots.feed_context(id(2), dots.context());
    assert_eq!(dots.collect(at(9_000)), 0);
    dots.feed_context(id(3), dots.context());
    assert_eq!(dots.collect(at(9_000)), 1);
    let stale = sabotaged(Rule::StaleReports);
    let others = [store(2), store(3)];
    let rows = sent(&stale);
    others.iter().for_each(|store| drop(store.merge(at(1_001), rows.clone())));
    gossip(&[&stale, &others[0], &others[1]], 1_010);
    stale.set_roster(&members(3), 2);
    assert_eq!(stale.collect(at(1_020)), 1);
}
